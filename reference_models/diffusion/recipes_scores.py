"""How score networks are trained in the plane, where the true score is known: score matching, NCSN and the SDEs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from reference_models.data import DataSet
from reference_models.diffusion import score_matching
from reference_models.diffusion.ncsn import NCSN, geometric_sigmas
from reference_models.diffusion.predictor_corrector import LangevinCorrector, ReverseDiffusion
from reference_models.diffusion.probability_flow import ProbabilityFlow
from reference_models.diffusion.recipes_plane import EXCESS, HIDDEN, ON_MODES, PLANE, Level, excess_loss, plane
from reference_models.diffusion.score_sde import ScoreSDE
from reference_models.diffusion.sde import SDE, VE, VP, SubVP
from reference_models.parts.distributions import standard_normal
from reference_models.parts.networks import MLP, TimeMLP
from reference_models.parts.training import evaluating
from reference_models.recipes import Goal, Learner, Minimise, Recipe, shadow

NOISE = 0.2  # of denoising score matching
LEVELS = 50  # at which the networks of an SDE are compared with the true score


# --- score matching


def _score_matching(data: DataSet, loss: Callable[[Any, Tensor, Generator], Tensor], std: float = 0.0) -> Learner:
    """A score network s(x) of the data noised by `std`."""

    def metrics(model: Any, data: DataSet, generator: Generator) -> dict[str, float]:
        assert data.target is not None
        x = data.held_out + std * standard_normal(data.held_out.shape, data.held_out, generator)
        best = data.target.noised(1.0, std).score(x)
        with torch.no_grad():
            return {"score_error": float((model(x) - best).square().mean() / best.square().mean())}

    return Minimise(
        MLP(data.event_shape[0], HIDDEN, data.event_shape[0]),
        loss=lambda model, x, y, generator: loss(model, x, generator),
        metrics=metrics,
        figure=lambda model, data, generator: shadow(_langevin(model, 2000, generator, data.held_out), data),
        lr=2e-3,
        decay=True,
    )


@torch.no_grad()
def _langevin(score: Callable[[Tensor], Tensor], n: int, generator: Generator, like: Tensor) -> Tensor:
    """A thousand unadjusted steps from N(0, 4 I)."""
    x = 2.0 * standard_normal((n, *like.shape[1:]), like, generator)
    for _ in range(1000):
        x = x + 0.005 * score(x) + 0.1 * standard_normal(x.shape, like, generator)
    return x


# --- many levels of noise


def _annealed(model: NCSN, n: int, generator: Generator) -> Tensor:
    return model.sample(n, step=2e-3, steps_per_level=60, generator=generator, denoise=True)


def _ncsn_excess(model: NCSN, data: DataSet, generator: Generator) -> dict[str, float]:
    def level(i: int) -> Level:
        sigma = model.sigmas[i]
        return Level(1.0, sigma, lambda x: -sigma * model.score(x, torch.full((len(x),), i, device=x.device)))

    return excess_loss([level(i) for i in range(len(model.sigmas))], data, generator)


# --- continuous time


def _network(data: DataSet, time_scale: float = 20.0) -> TimeMLP:
    return TimeMLP(data.event_shape[0], HIDDEN, data.event_shape[0], time_scale=time_scale)


def _sde(data: DataSet, sde: SDE, sampling: dict[str, Any]) -> Learner:
    model = ScoreSDE(_network(data), sde, data.event_shape)
    return plane(model, lambda m, n, generator: m.sample(n, generator=generator, **sampling), _sde_excess)


def _sde_excess(model: ScoreSDE, data: DataSet, generator: Generator) -> dict[str, float]:
    x = data.held_out

    def level(i: int) -> Level:
        t = torch.tensor(model.t_min + (1 - model.t_min) * (i + 0.5) / LEVELS, device=x.device, dtype=x.dtype)
        return Level(model.sde.a(t), model.sde.sigma(t), lambda x: model.epsilon(x, t))

    return excess_loss([level(i) for i in range(LEVELS)], data, generator)


def _flow(model: ScoreSDE) -> ProbabilityFlow:
    return ProbabilityFlow(model.score, model.sde, model.event_shape, steps=60, t_min=model.t_min, like=model)


def _flow_samples(model: ScoreSDE, n: int, generator: Generator) -> Tensor:
    noise = model.sde.prior_std * standard_normal((n, *model.event_shape), model, generator)
    with evaluating(model):
        return _flow(model).sample(n, noise=noise)


def _flow_likelihood(model: ScoreSDE, data: DataSet, generator: Generator) -> dict[str, float]:
    assert data.entropy is not None
    with evaluating(model):
        nll = -float(_flow(model).log_prob(data.held_out[:2000]).mean())
    return {"nll_nats": nll, "excess_nats": nll - data.entropy}


SCORES: dict[str, Recipe] = {
    "implicit-score-matching": Recipe(
        build=lambda data: _score_matching(data, lambda s, x, g: score_matching.implicit_loss(s, x)),
        data=PLANE,
        goals=(Goal("score_error", at_most=0.1),),
        minutes=0.5,
        batch_size=256,
    ),
    "sliced-score-matching": Recipe(
        build=lambda data: _score_matching(data, lambda s, x, g: score_matching.sliced_loss(s, x, generator=g)),
        data=PLANE,
        goals=(Goal("score_error", at_most=0.1),),
        minutes=0.5,
        batch_size=256,
    ),
    "denoising-score-matching": Recipe(
        build=lambda data: _score_matching(
            data, lambda s, x, g: score_matching.denoising_loss(s, x, NOISE, generator=g), NOISE
        ),
        data=PLANE,
        goals=(Goal("score_error", at_most=0.05),),
        minutes=0.5,
        batch_size=256,
    ),
    "ncsn": Recipe(
        build=lambda data: plane(
            NCSN(_network(data, 1.0), geometric_sigmas(4.0, 0.1, 10), data.event_shape), _annealed, _ncsn_excess
        ),
        data=PLANE,
        goals=(EXCESS, ON_MODES),
        minutes=0.5,
        batch_size=256,
    ),
    "vp-sde": Recipe(
        build=lambda data: _sde(data, VP(), {"steps": 500}),
        data=PLANE,
        goals=(EXCESS, ON_MODES),
        minutes=0.5,
        batch_size=256,
    ),
    "ve-sde": Recipe(
        build=lambda data: _sde(data, VE(0.01, 10.0), {"steps": 500}),
        data=PLANE,
        goals=(EXCESS, ON_MODES),
        minutes=0.5,
        batch_size=256,
    ),
    "subvp-sde": Recipe(
        build=lambda data: _sde(data, SubVP(), {"steps": 500}),
        data=PLANE,
        goals=(EXCESS, ON_MODES),
        minutes=0.5,
        batch_size=256,
    ),
    "predictor-corrector": Recipe(
        build=lambda data: _sde(
            data, VP(), {"steps": 100, "predictor": ReverseDiffusion(), "corrector": LangevinCorrector(0.05)}
        ),
        data=PLANE,
        goals=(EXCESS, ON_MODES),
        minutes=0.5,
        batch_size=256,
    ),
    "probability-flow": Recipe(
        build=lambda data: plane(ScoreSDE(_network(data), VP(), data.event_shape), _flow_samples, _flow_likelihood),
        data=PLANE,
        goals=(Goal("excess_nats", at_most=1.2), ON_MODES),
        minutes=0.5,
        batch_size=256,
    ),
}
