"""What of the foundations can be trained or run, and the number each reaches.

Metrics, all on mixtures whose density is known, four Gaussians in the plane unless said otherwise:

    forward_error    of the Gaussian fitted by forward KL: mean and covariance against the target's, relative, the worse
    reverse_within   of the one fitted by reverse KL: the share of its samples within 4 σ of a mode
    reverse_modes    and on how many modes they lie
    kl_gap_nats, js_gap_nats, hellinger_gap
                     the exact f-divergence from the target to the Gaussian of its moments, less the bound of a critic
    fisher_share     the Fisher divergence left after score matching, as a part of E |∇ log p|²
    dual_share       a trained critic's dual value over the exact W_1 of the same held-out samples
    within_4_sigma, modes_covered
                     of annealed Langevin chains
    nll_gap_nats     their mean −log p less the entropy of the target: 0 for exact chains
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor, nn

from reference_models.data import DataSet
from reference_models.evaluation.mode_coverage import mode_coverage
from reference_models.foundations.divergences import GaussianFit
from reference_models.foundations.f_divergences import get, optimal_critic, variational_bound
from reference_models.foundations.fisher_divergence import fisher_divergence, score_matching_terms
from reference_models.foundations.langevin import langevin_step
from reference_models.foundations.wasserstein import DistancePotential, dual_value, wasserstein_samples
from reference_models.parts.distributions import GaussianMixture, standard_normal
from reference_models.parts.networks import MLP
from reference_models.recipes import Curve, Figure, Goal, Learner, Minimise, Points, Recipe, cosine


def target_of(data: DataSet) -> GaussianMixture:
    """The exact density of the data. Raises ValueError for data whose density is no mixture."""
    if data.target is None:
        raise ValueError(f"this needs data of known density, and that of {data.name!r} is not")
    return data.target


def moment_match(target: GaussianMixture) -> GaussianMixture:
    """The Gaussian with the target's mean and covariance: what forward KL fits."""
    return GaussianMixture(torch.ones_like(target.weights[:1]), target.mean[None], target.covariance[None])


def spoke(target: GaussianMixture) -> Tensor:
    """200 points on a line from the middle through the first mode and as far again, shape (200, 2)."""
    steps = torch.linspace(0, 2, 200, dtype=target.means.dtype, device=target.means.device)
    return target.mean + steps[:, None] * (target.means[0] - target.mean)


class TwoFits(Learner):
    """One Gaussian fitted to data by forward KL, one to the density by reverse KL, started off centre."""

    def __init__(self, data: DataSet, lr: float = 0.02) -> None:
        super().__init__()
        self.target, self.lr = target_of(data), lr
        self.forward_fit = GaussianFit(2)
        self.reverse_fit = GaussianFit(2, mean=0.5 * self.target.means[0] + 0.1)
        self.optimiser = torch.optim.Adam(self.parameters(), lr=lr)

    def trained(self) -> Any:
        """The fit by forward KL and the one by reverse KL."""
        return nn.ModuleList([self.forward_fit, self.reverse_fit])

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * cosine(self.progress)
        forward = self.forward_fit.forward_kl_loss(x)
        reverse = self.reverse_fit.reverse_kl_loss(self.target, len(x), generator=generator)
        self.optimiser.zero_grad(set_to_none=True)
        (forward + reverse).backward()
        self.optimiser.step()
        return {"forward": forward.item(), "reverse": reverse.item()}

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        mean, covariance = self.target.mean, self.target.covariance
        off_mean = (self.forward_fit.mean - mean).norm() / covariance.trace().sqrt()
        off_covariance = (self.forward_fit.covariance - covariance).norm() / covariance.norm()
        modes = mode_coverage(self.reverse_fit.sample(2000, generator=generator), self.target)
        return {
            "forward_error": max(off_mean.item(), off_covariance.item()),
            "reverse_within": modes.within_4_sigma,
            "reverse_modes": float(modes.modes_covered),
        }

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        fits = (self.forward_fit, self.reverse_fit)
        return Points(torch.cat([fit.sample(500, generator=generator) for fit in fits]), data.held_out)


class Critics(Learner):
    """A critic for each of three f-divergences from the target to the Gaussian with its moments."""

    NAMES = ("kl", "js", "squared-hellinger")

    def __init__(self, data: DataSet, lr: float = 2e-3) -> None:
        super().__init__()
        self.target, self.lr = target_of(data), lr
        self.other = moment_match(self.target)
        self.critics = nn.ModuleList([MLP(2, (64, 64), 1) for _ in self.NAMES])
        self.optimiser = torch.optim.Adam(self.parameters(), lr=lr)

    def trained(self) -> Any:
        return self.critics

    def _bounds(self, x: Tensor, generator: Generator) -> list[Tensor]:
        y = self.other.sample(len(x), generator=generator)
        bounds = []
        for name, critic in zip(self.NAMES, self.critics, strict=True):
            on_p, on_q = (get(name).activation(critic(at)[..., 0]) for at in (x, y))
            bounds.append(variational_bound(name, on_p, on_q))
        return bounds

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * cosine(self.progress)
        bounds = self._bounds(x, generator)
        self.optimiser.zero_grad(set_to_none=True)
        (-torch.stack(bounds).sum()).backward()
        self.optimiser.step()
        return {name: bound.item() for name, bound in zip(self.NAMES, bounds, strict=True)}

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        x = self.target.sample(100_000, generator=generator)
        at_q = self.other.sample(len(x), generator=generator)
        # in float64: between the modes p/q leaves the range of float32
        p, q = (law.to(dtype=torch.float64) for law in (self.target, self.other))
        said = {}
        with torch.no_grad():
            for name, critic, label in zip(
                self.NAMES, self.critics, ("kl_gap_nats", "js_gap_nats", "hellinger_gap"), strict=True
            ):
                best = [optimal_critic(name, p.log_prob(at.double()) - q.log_prob(at.double())) for at in (x, at_q)]
                ours = [get(name).activation(critic(at)[..., 0]) for at in (x, at_q)]
                # on the same draws, so that their noise cancels
                said[label] = (variational_bound(name, *best) - variational_bound(name, *ours)).item()
        return said

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        at = spoke(self.target)
        best = optimal_critic("js", self.target.log_prob(at) - self.other.log_prob(at))
        with torch.no_grad():
            ours = get("js").activation(self.critics[1](at)[..., 0])
        return Curve((at - self.target.mean).norm(dim=1), {"T of the critic, js": ours, "f'(p/q)": best})


def score_matching(data: DataSet) -> Learner:
    """A network for the score, trained without ever seeing a score."""
    target = target_of(data)

    def metrics(model: nn.Module, data: DataSet, generator: Generator) -> dict[str, float]:
        with torch.no_grad():
            left = fisher_divergence(data.held_out, target.score, model)
            return {"fisher_share": (left / (target.score(data.held_out) ** 2).sum(-1).mean()).item()}

    def figure(model: nn.Module, data: DataSet, generator: Generator) -> Figure:
        at = spoke(target)
        direction = nn.functional.normalize(at[-1] - at[0], dim=0)
        with torch.no_grad():
            ours: Tensor = model(at) @ direction
        exact = target.score(at) @ direction
        return Curve((at - target.mean).norm(dim=1), {"score of the network": ours, "∇ log p": exact})

    def loss(model: nn.Module, x: Tensor, y: Tensor | None, generator: Generator) -> Tensor:
        return score_matching_terms(x, model)

    return Minimise(MLP(2, (128, 128), 2), loss=loss, metrics=metrics, figure=figure, lr=2e-3, clip=10.0, decay=True)


def wasserstein_critic(data: DataSet) -> Learner:
    """A 1-Lipschitz critic between the data and the Gaussian with their moments."""
    other = moment_match(target_of(data))

    def loss(model: DistancePotential, x: Tensor, y: Tensor | None, generator: Generator) -> Tensor:
        return -dual_value(model, x, other.sample(len(x), generator=generator))

    def metrics(model: DistancePotential, data: DataSet, generator: Generator) -> dict[str, float]:
        x = data.held_out[:1000]
        y = other.sample(len(x), generator=generator)
        with torch.no_grad():
            return {"dual_share": (dual_value(model, x, y) / wasserstein_samples(x, y)).item()}

    def figure(model: DistancePotential, data: DataSet, generator: Generator) -> Figure:
        at = spoke(target_of(data))
        with torch.no_grad():
            return Curve((at - other.mean).norm(dim=1), {"critic": model(at)})

    # seeded by the law q itself, wherever the critic may be needed
    anchors = other.sample(256, generator=torch.Generator(other.means.device).manual_seed(0))
    return Minimise(DistancePotential(anchors), loss=loss, metrics=metrics, figure=figure, lr=1e-2, decay=True)


class AnnealedChains(Learner):
    """Nothing is learnt: 1000 Langevin chains on the exact score of the noised target, a step at a time."""

    chains: Tensor

    def __init__(self, data: DataSet, largest: float = 5.0, smallest: float = 0.02) -> None:
        super().__init__()
        self.target, self.largest, self.smallest = target_of(data), largest, smallest
        start = torch.Generator(data.train.device).manual_seed(0)
        self.register_buffer("chains", largest * standard_normal((1000, 2), data.train, start))

    def trained(self) -> Any:
        """Itself, for the chains are all there is."""
        return self

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        sigma = self.largest * (self.smallest / self.largest) ** self.progress
        law = self.target.noised(1.0, sigma)
        # a fifth of the least variance: the chain's is then 1/(1 − 0.05) of it, which costs 0.053 nats in the plane
        step_size = 0.2 * float(torch.linalg.eigvalsh(law.covariances).min())
        noise = standard_normal(self.chains.shape, self.chains, generator)
        self.chains = langevin_step(self.chains, law.score(self.chains), step_size, noise)
        return {"sigma": sigma, "-log p": -self.target.log_prob(self.chains).mean().item()}

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        found = mode_coverage(self.chains, self.target)
        gap = -self.target.log_prob(self.chains).mean().item() - (data.entropy or math.nan)
        return {
            "within_4_sigma": found.within_4_sigma,
            "modes_covered": float(found.modes_covered),
            "nll_gap_nats": gap,
        }

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return Points(self.chains, data.held_out)


KNOWN = ("mixture", "eight-gaussians")  # data whose density is known
RECIPES: dict[str, Recipe] = {
    "divergences": Recipe(
        TwoFits,
        KNOWN,
        (
            Goal("forward_error", at_most=0.05),
            Goal("reverse_within", at_least=0.95),
            Goal("reverse_modes", at_most=1, at_least=1),
        ),
        minutes=0.25,
        batch_size=512,
        apart="its answers are moments of the target, known exactly",
    ),
    "f-divergences": Recipe(
        Critics,
        KNOWN,
        (
            Goal("kl_gap_nats", at_most=0.05, at_least=0),
            Goal("js_gap_nats", at_most=0.02, at_least=0),
            Goal("hellinger_gap", at_most=0.02, at_least=0),
        ),
        minutes=0.15,  # after 0.75 the critics know the training points by heart: hellinger_gap 0.027
        batch_size=512,
        apart="the exact divergences are its goal",
    ),
    "fisher-divergence": Recipe(
        score_matching,
        KNOWN,
        (Goal("fisher_share", at_most=0.1),),
        minutes=0.75,
        batch_size=512,
        apart="the exact score is its goal",
    ),
    "wasserstein": Recipe(
        wasserstein_critic,
        KNOWN,
        (Goal("dual_share", at_least=0.85, at_most=1),),
        minutes=0.5,
        batch_size=512,
        apart="the exact distance is its goal",
    ),
    "langevin": Recipe(
        AnnealedChains,
        KNOWN,
        (
            Goal("within_4_sigma", at_least=0.97),
            Goal("modes_covered", at_least=4),
            Goal("nll_gap_nats", at_most=0.12, at_least=-0.1),
        ),
        minutes=0.1,
        apart="the law is given, nothing is learnt",
    ),
}
