"""Guidance on a mixture whose conditional and unconditional velocities are known."""

from __future__ import annotations

import pytest
import torch

from reference_models.flow_matching.conditional import FlowMatching
from reference_models.flow_matching.exact import ExactVelocity
from reference_models.flow_matching.guidance import GuidedFlowMatching, classifier_guided
from reference_models.parts.networks import TimeMLP
from tests.reference_models.flow_matching.fields import PATHS, Known, mixture, names
from tests.reference_models.helpers import close, perturb


def known() -> GuidedFlowMatching:
    """The exact velocities of three classes; label 3 means none."""
    velocity = ExactVelocity(mixture())
    return GuidedFlowMatching(Known(lambda x, t, y: velocity(x, t, torch.where(y == 3, -1, y))), (2,), 3)


def test_weight_one_is_the_conditional_flow_and_weight_zero_the_unconditional():
    model, x, t = known(), torch.randn(6, 2), torch.tensor(0.4)
    y, velocity = torch.tensor([0, 1, 2, 0, 1, 2]), ExactVelocity(mixture())
    assert close(model.guided(y, 1.0)(x, t), velocity(x, t, y), 1e-12)
    assert close(model.guided(y, 0.0)(x, t), velocity(x, t), 1e-12)
    assert not close(velocity(x, t), velocity(x, t, y), 0.1)


def test_guidance_is_affine_in_its_weight():
    model, x, t, y = known(), torch.randn(6, 2), torch.tensor(0.4), torch.full((6,), 1)
    v = {w: model.guided(y, w)(x, t) for w in (0.0, 1.0, 3.0)}
    assert close(v[3.0], v[0.0] + 3 * (v[1.0] - v[0.0]), 1e-12)


@pytest.mark.parametrize("path", PATHS, ids=names)
@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_an_exact_classifier_guides_as_the_conditional_velocities_do(path, weight):
    """log p_t(y|x) by Bayes from the noised mixture: v + w ½g² ∇log p_t(y|x) = (1 − w) v + w v(y)."""
    target, y, x, t = mixture(), 2, torch.randn(5, 2), torch.tensor(0.6)

    def class_log_prob(x, t):
        c = path.coefficients(t)
        return target.noised(c.alpha, c.sigma).responsibilities(x)[..., y].log()

    velocity = ExactVelocity(target, path)
    expected = (1 - weight) * velocity(x, t) + weight * velocity(x, t, torch.tensor(y))
    with torch.no_grad():
        guided = classifier_guided(velocity, class_log_prob, weight, path)(x, t)
    assert close(guided, expected, 1e-8)
    assert not guided.requires_grad


def test_more_guidance_makes_the_class_surer(generator):
    model, y = known(), torch.tensor(2)
    surety = []
    for weight in (0.0, 1.0, 3.0):
        x = model.sample_guided(300, condition=y, weight=weight, generator=generator)
        surety.append(float(mixture().responsibilities(x)[:, 2].mean()))
    assert surety[0] == pytest.approx(0.2, abs=0.12)  # the class's weight in the mixture; 5 standard errors
    assert surety[0] + 0.5 < surety[1] < surety[2]


def test_guided_samples_of_weight_one_are_the_conditional_samples():
    model = GuidedFlowMatching(perturb(TimeMLP(2, [8], 2, num_classes=3)), (2,), 3)
    y = torch.tensor([0, 1, 2, 1])

    def seeded():
        return torch.Generator(next(model.parameters()).device).manual_seed(1)

    plain = model.sample(4, condition=y, generator=seeded())
    assert close(model.sample_guided(4, condition=y, weight=1.0, generator=seeded()), plain, 1e-12)
    none = model.sample(4, generator=seeded())
    assert close(model.sample_guided(4, condition=y, weight=0.0, generator=seeded()), none, 1e-12)
    assert close(model.sample(4, condition=torch.tensor(3), generator=seeded()), none, 1e-12)


@pytest.mark.parametrize("drop", [0.0, 0.1, 1.0])
def test_labels_are_dropped_at_the_stated_rate_and_become_the_label_of_none(drop, generator):
    """A binomial count of 20 000, within five standard deviations; kept labels stay with their data."""
    n = 20000
    net = Known(lambda x, t, y: torch.zeros_like(x))
    y = torch.arange(n) % 3
    GuidedFlowMatching(net, (1,), 3, drop=drop).loss(torch.zeros(n, 1), y, generator=generator)
    seen = net.calls[0][2]
    assert abs(int((seen == 3).sum()) - n * drop) <= 5 * (n * drop * (1 - drop)) ** 0.5
    assert torch.equal(seen[seen != 3], y[seen != 3])


def test_the_loss_is_that_of_the_noise_and_times_given():
    net = perturb(TimeMLP(2, [8], 2, num_classes=3))
    x_0, x_1, t, y = torch.randn(4, 2), torch.randn(4, 2), torch.rand(4), torch.tensor([0, 1, 2, 2])
    plain = FlowMatching(net, (2,)).loss(x_1, y, x_0=x_0, t=t)
    assert close(GuidedFlowMatching(net, (2,), 3, drop=0.0).loss(x_1, y, x_0=x_0, t=t), plain, 1e-12)


def test_at_real_size_the_network_knows_ten_classes_and_none():
    with torch.device("meta"):
        model = GuidedFlowMatching.cifar10()
    assert (model.num_classes, model.velocity.num_classes) == (10, 10)
    assert model.event_shape == (3, 32, 32)


def test_without_labels_all_are_none():
    net = Known(lambda x, t, y: torch.zeros_like(x))
    GuidedFlowMatching(net, (1,), 3, drop=0.0).loss(torch.zeros(5, 1))
    assert net.calls[0][2].tolist() == [3] * 5


@pytest.mark.parametrize("batch", [(), (64,)], ids=str)
def test_batch_shapes_and_single_precision(batch):
    model = GuidedFlowMatching(TimeMLP(2, [8], 2, num_classes=3).float(), (2,), 3)
    x, y = torch.randn(*batch, 2, dtype=torch.float32), torch.ones(batch, dtype=torch.long)
    assert model.loss(x, y).dtype == torch.float32
    assert model.guided(y, 2.0)(x, torch.tensor(0.5)).shape == (*batch, 2)


def test_bad_input_is_refused():
    model = known()
    with pytest.raises(ValueError, match=r"every label must lie in 0..3 .*, got values in \[0, 4\]"):
        model.loss(torch.zeros(2, 2), torch.tensor([0, 4]))
    with pytest.raises(ValueError, match=r"got values in \[-1, -1\]"):
        model.sample(2, condition=torch.tensor(-1))
    with pytest.raises(ValueError, match=r"drop must lie in \[0, 1\], got 1.5"):
        GuidedFlowMatching(TimeMLP(2, [8], 2, num_classes=3), (2,), 3, drop=1.5)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        GuidedFlowMatching(TimeMLP(2, [8], 2), (2,), 0)
    with pytest.raises(ValueError, match="needs every t above 0, got 0"):
        classifier_guided(lambda x, t: x, lambda x, t: x.sum(-1))(torch.zeros(2, 2), torch.tensor(0.0))
