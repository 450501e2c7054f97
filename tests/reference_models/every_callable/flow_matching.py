"""How to call what stands in `reference_models/flow_matching`."""

from __future__ import annotations

import torch

from reference_models.diffusion.latent_diffusion import KLAutoencoder
from reference_models.flow_matching import (
    ExactVelocity,
    FlowMatching,
    FlowMatchingDensity,
    GuidedFlowMatching,
    LatentFlowMatching,
    OTFlowMatching,
    RectifiedFlow,
    guidance,
    ot_coupling,
)
from reference_models.flow_matching.paths import Linear, Trigonometric, VariancePreserving
from reference_models.parts.networks import TimeMLP
from tests.reference_models.every_callable.foundations import MIXTURE
from tests.reference_models.every_callable.rows import Row, With, built, fixed, gen

X, X_0, T = fixed(6, 2), fixed(6, 2, seed=1), torch.linspace(0.1, 0.9, 6, dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 0, 1, 2])
FEW = {"steps": 3}


def network(classes=None):
    return built(TimeMLP, 2, (6,), 2, time_scale=1.0, num_classes=classes)


def matching(family=FlowMatching, classes=None, **k):
    return family(network(classes), (2,), **k)


def labelled():
    return matching(classes=3)


def guided(**k):
    return GuidedFlowMatching(network(4), (2,), 3, **k)


def density(**k):
    return FlowMatchingDensity(network(), (2,), **{"steps": 3} | k)


class Images(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Conv2d(2, 2, 3, padding=1)
        self.label = torch.nn.Embedding(3, 2)

    def forward(self, x, t, y=None):
        h = self.net(x) * (1 + t.reshape(-1, 1, 1, 1))
        return h if y is None else h + self.label(y)[..., None, None]


def latent():
    autoencoder = built(KLAutoencoder, 1, 2, base=4, multipliers=(1, 2))
    return LatentFlowMatching(autoencoder, FlowMatching(built(Images), (2, 2, 2)))


def rectified():
    return matching(RectifiedFlow)


def class_log_prob(x, t):
    return torch.log_softmax(x @ torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 1.0]], dtype=x.dtype), -1)


def steered(**k):
    field = guidance.classifier_guided(network(), class_log_prob, **k)
    return field(X, T) if callable(field) else field


def pairs():
    return rectified().pairs(7, steps=2, generator=gen())


IMAGES = fixed(6, 1, 4, 4)
SAMPLER = {"steps": 4, "method": "midpoint"}
ROWS = [
    Row(
        "flow_matching.conditional.FlowMatching", lambda **k: matching(**k).loss(X, x_0=X_0, t=T), path=Trigonometric()
    ),
    Row(
        "flow_matching.conditional.FlowMatching.loss",
        lambda **k: labelled().loss(X, **{"y": Y} | k),
        y=Y.flip(0),
        x_0=X_0,
        t=T,
    ),
    Row(
        "flow_matching.conditional.FlowMatching.field",
        lambda **k: labelled().field(**k)(X, T),
        condition=With(Y, condition=Y.flip(0)),
    ),
    Row(
        "flow_matching.conditional.FlowMatching.trajectory",
        lambda **k: labelled().trajectory(X, **FEW | {"condition": Y} | k),
        condition=Y.flip(0),
        **SAMPLER,
    ),
    Row(
        "flow_matching.conditional.FlowMatching.encode",
        lambda **k: labelled().encode(X, **FEW | {"condition": Y} | k),
        condition=Y.flip(0),
        **SAMPLER,
    ),
    Row(
        "flow_matching.conditional.FlowMatching.follow",
        lambda **k: matching().follow(network(), X, steps=3, **k),
        start=0.5,
        end=0.5,
        method="midpoint",
    ),
    Row(
        "flow_matching.conditional.FlowMatching.sample",
        lambda **k: labelled().sample(6, **FEW | {"condition": Y} | k),
        condition=Y.flip(0),
        **SAMPLER,
    ),
    Row("flow_matching.exact.ExactVelocity", lambda **k: ExactVelocity(MIXTURE, **k)(X, T), path=Trigonometric()),
    Row(
        "flow_matching.exact.ExactVelocity.__call__",
        lambda **k: ExactVelocity(MIXTURE)(X, T, **k),
        y=torch.tensor([0, 1, 0, 1, 0, 1]),
    ),
    Row(
        "flow_matching.guidance.GuidedFlowMatching",
        lambda **k: guided(**k).loss(X, Y, x_0=X_0, t=T, generator=gen()),
        path=Trigonometric(),
        drop=0.9,
    ),
    Row(
        "flow_matching.guidance.GuidedFlowMatching.loss",
        lambda **k: guided(drop=0.1).loss(X, **{"y": Y} | k),
        y=Y.flip(0),
        x_0=X_0,
        t=T,
    ),
    Row("flow_matching.guidance.GuidedFlowMatching.field", lambda **k: guided().field(**k)(X, T), condition=Y),
    Row(
        "flow_matching.guidance.GuidedFlowMatching.sample_guided",
        lambda **k: guided().sample_guided(6, condition=Y, weight=2.0, **FEW | k),
        **SAMPLER,
    ),
    Row("flow_matching.guidance.classifier_guided", steered, weight=2.0, path=Trigonometric()),
    Row(
        "flow_matching.latent.LatentFlowMatching.loss",
        lambda **k: latent().loss(IMAGES, **k),
        y=Y,
        x_0=fixed(6, 2, 2, 2),
        t=T,
    ),
    Row(
        "flow_matching.latent.LatentFlowMatching.sample",
        lambda **k: latent().sample(6, **FEW | k),
        condition=Y,
        **SAMPLER,
    ),
    Row("flow_matching.likelihood.FlowMatchingDensity", lambda **k: density(**k).log_prob(X), steps=4, method="euler"),
    Row("flow_matching.likelihood.FlowMatchingDensity", lambda **k: density(**k).path, path=Trigonometric()),
    Row("flow_matching.likelihood.FlowMatchingDensity.forward", lambda **k: density().forward(X, **k), probes=X_0),
    Row("flow_matching.likelihood.FlowMatchingDensity.inverse", lambda **k: density().inverse(X, **k), probes=X_0),
    Row("flow_matching.likelihood.FlowMatchingDensity.log_prob", lambda **k: density().log_prob(X, **k), probes=X_0),
    Row(
        "flow_matching.ot_coupling.sinkhorn",
        lambda **k: ot_coupling.sinkhorn(torch.cdist(X, X_0), 0.1, **k),
        iterations=3,
    ),
    Row(
        "flow_matching.ot_coupling.draw_partners",
        lambda **k: ot_coupling.draw_partners(torch.softmax(X @ X_0.T, 1) / 6, **k),
    ),
    Row(
        "flow_matching.ot_coupling.OTFlowMatching",
        lambda **k: matching(OTFlowMatching, **k).loss(X, t=T, generator=gen()),
        path=Trigonometric(),
        epsilon=2.0,
    ),
    Row(
        "flow_matching.ot_coupling.OTFlowMatching.couple",
        lambda **k: matching(OTFlowMatching, epsilon=2.0).couple(X_0, X, **k),
    ),
    Row("flow_matching.paths.Linear", lambda **k: Linear(**k).interpolate(X_0, X, T), sigma_min=0.1),
    Row(
        "flow_matching.paths.VariancePreserving",
        lambda **k: VariancePreserving(**k).interpolate(X_0, X, T),
        beta_min=0.5,
        beta_max=10.0,
    ),
    Row("flow_matching.rectified_flow.Pairs.batch", lambda **k: pairs().batch(3, **k)),
    Row("flow_matching.rectified_flow.RectifiedFlow.pairs", lambda **k: rectified().pairs(3, **FEW | k), **SAMPLER),
    Row(
        "flow_matching.rectified_flow.RectifiedFlow.reflow_loss",
        lambda **k: rectified().reflow_loss(pairs(), **k),
        t=torch.linspace(0, 1, 7, dtype=torch.float64),
    ),
    Row(
        "flow_matching.rectified_flow.RectifiedFlow.straightness", lambda **k: rectified().straightness(X, **k), steps=3
    ),
    Row("flow_matching.conditional.FlowMatching.couple", lambda **k: matching().couple(X_0, X, **k), drawn=False),
]
CONDITION = ("flow_matching/test_likelihood.py", "test_labels_choose_the_density")
APART = {
    "flow_matching.conditional.cifar10_network.num_classes": (
        "flow_matching/test_conditional.py",
        "test_at_real_size_the_network_is_that_of_ddpm",
    ),
    "flow_matching.likelihood.FlowMatchingDensity.forward.condition": CONDITION,
    "flow_matching.likelihood.FlowMatchingDensity.inverse.condition": CONDITION,
    "flow_matching.likelihood.FlowMatchingDensity.log_prob.condition": CONDITION,
}
