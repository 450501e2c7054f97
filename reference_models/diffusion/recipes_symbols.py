"""How diffusion of symbols is trained, on binary images and on the seventeen grey levels of digits.

On "bars" the best network would still leave 0.12 nats above the entropy in absorbing diffusion of 32 steps, because
symbols unmasked in the same step are drawn independently, and 0.19 in uniform diffusion, cosine schedule (worked
out by enumeration; 0.06 and 0.09 in 64 steps). Uniform diffusion is the harder one to learn: no symbol tells whether it
is still true.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.diffusion.d3pm import D3PM, Transitions
from reference_models.diffusion.schedule import Schedule
from reference_models.diffusion.tokens import TokenTransformer
from reference_models.evaluation.bits_per_dim import bits_per_dim
from reference_models.parts.training import evaluating
from reference_models.recipes import Goal, Learner, Minimise, Recipe, beside_data

PICTURES = ("crossed-bars", "bars", "glass", "drawn-binary", "digits-binary", "digits")
STEPS = 32


def spread_times(n: int, steps: int, generator: Generator, device: torch.device) -> Tensor:
    """n indices, each uniform on 0..steps − 1, spread evenly over them together: long, (n,).

    The bound's terms differ much from t to t; with independent times a batch's mix of them would be most of its noise.
    """
    shift = torch.rand((), generator=generator, device=device)
    return ((torch.arange(n, device=device) + shift) * (steps / n)).long().clamp(max=steps - 1)


def _d3pm(data: DataSet, absorbing: bool) -> Learner:
    classes = data.grades
    if absorbing:
        transitions = Transitions.absorbing(STEPS, classes)
    else:
        transitions = Transitions.uniform(Schedule.cosine(STEPS).betas, classes)
    network = TokenTransformer(data.event_shape, transitions.states, classes, dim=64, heads=4, depth=2)

    def integers(x: Tensor) -> Tensor:
        return (x * (classes - 1)).round().long()

    def loss(model: D3PM, x: Tensor, y: Tensor | None, generator: Generator) -> Tensor:
        return model.loss(integers(x), t=spread_times(len(x), STEPS, generator, x.device), generator=generator)

    def metrics(model: D3PM, data: DataSet, generator: Generator) -> dict[str, float]:
        with evaluating(model):
            x = integers(data.held_out[:1000])
            nats = -float(model.elbo(x, generator=generator).value.mean())
        excess = {} if data.entropy is None else {"excess_nats": nats - data.entropy}
        return {"nelbo_nats": nats, "bits_per_dim": float(bits_per_dim(torch.tensor(nats), x[0].numel())), **excess}

    return Minimise(
        D3PM(network, transitions, data.event_shape, classes),
        loss=loss,
        metrics=metrics,
        figure=lambda model, data, generator: beside_data(
            model.sample(64, generator=generator).to(data.held_out.dtype) / (classes - 1), data
        ),
        lr=2e-3,
        decay=True,
        clip=5.0,
    )


SYMBOLS: dict[str, Recipe] = {
    "d3pm-uniform": Recipe(
        build=lambda data: _d3pm(data, absorbing=False),
        data=PICTURES,
        goals=(Goal("excess_nats", at_most=9.0),),
        minutes=3.0,
    ),
    "d3pm-absorbing": Recipe(
        build=lambda data: _d3pm(data, absorbing=True),
        data=PICTURES,
        goals=(Goal("excess_nats", at_most=8.0),),
        minutes=3.0,
    ),
}
