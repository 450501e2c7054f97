"""The variational game against exact divergences on twelve states and numerical conjugates."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize_scalar
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from torch import Tensor

from reference_models.adversarial.f_gan import CONJUGATE_OF_ACTIVATION, FGAN, Variational
from reference_models.adversarial.gan import Minimax, mlp_gan
from reference_models.foundations.f_divergences import F_DIVERGENCES
from tests.reference_models.adversarial.games import COUNTS_P, COUNTS_Q, at_states, count, laws, linear
from tests.reference_models.helpers import close, numpy, perturb

# f and f', written again by hand: u -> f(u), f'(u)
BY_HAND: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "kl": (lambda u: u * np.log(u), lambda u: np.log(u) + 1),
    "reverse-kl": (lambda u: -np.log(u), lambda u: -1 / u),
    "pearson": (lambda u: (u - 1) ** 2, lambda u: 2 * (u - 1)),
    "neyman": (lambda u: (1 - u) ** 2 / u, lambda u: 1 - u**-2.0),
    "squared-hellinger": (lambda u: (np.sqrt(u) - 1) ** 2, lambda u: 1 - u**-0.5),
    "js": (lambda u: u * np.log(u) - (u + 1) * np.log((u + 1) / 2), lambda u: np.log(2 * u / (u + 1))),
    "gan": (lambda u: u * np.log(u) - (u + 1) * np.log(u + 1), lambda u: np.log(u / (u + 1))),
}


def divergences() -> dict[str, float]:
    """Of the two laws, by SciPy where it has them, else by their definitions."""
    p, q = (numpy(law) for law in laws())
    js = jensenshannon(p, q) ** 2
    return {
        "kl": entropy(p, q),
        "reverse-kl": entropy(q, p),
        "pearson": ((p - q) ** 2 / q).sum(),
        "neyman": ((p - q) ** 2 / p).sum(),
        "squared-hellinger": ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(),
        "js": 2 * js,
        "gan": 2 * js - np.log(4),
        "tv": 0.5 * np.abs(p - q).sum(),
    }


def best_outputs(name: str) -> Tensor:
    """v with g_f(v) = f'(p/q), found by bisection; for total variation the limit."""
    p, q = laws()
    if name == "tv":
        return 40 * torch.sign(p - q)
    objective, slope = Variational(name), BY_HAND[name][1]

    def root(u: float) -> float:
        target = float(slope(u))
        return float(brentq(lambda v: float(objective.activation(torch.tensor(v))) - target, -60.0, 60.0, xtol=1e-14))

    return torch.tensor([root(u) for u in numpy(p / q)])


def bound(name: str, v: Tensor) -> Tensor:
    return -Variational(name).discriminator_loss(at_states(v, COUNTS_P), at_states(v, COUNTS_Q))


def test_every_divergence_of_the_foundations_can_be_played() -> None:
    assert set(CONJUGATE_OF_ACTIVATION) == set(F_DIVERGENCES) == set(divergences())


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_the_best_discriminator_s_loss_is_minus_the_divergence(name: str) -> None:
    v = best_outputs(name).requires_grad_()
    reached = bound(name, v)
    assert close(reached, float(divergences()[name]), 1e-9)
    (slope,) = torch.autograd.grad(reached, v)
    assert close(slope, torch.zeros(12), 1e-9)


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_any_other_discriminator_stays_below_the_divergence(name: str) -> None:
    best = best_outputs(name).clamp(-3, 3)
    for _ in range(10):
        assert float(bound(name, best + 0.5 * torch.randn(12))) < float(divergences()[name])


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_the_conjugate_of_the_activation_is_the_supremum_it_stands_for(name: str) -> None:
    """sup over u > 0 of u g_f(v) - f(u), by a numerical search over log u."""
    f = BY_HAND[name][0]
    v = torch.linspace(-1.5, 1.5, 7)
    objective = Variational(name)
    for t, claimed in zip(numpy(objective.activation(v)), numpy(objective.conjugate(v)), strict=True):
        found = minimize_scalar(lambda s, t=t: f(np.exp(s)) - t * np.exp(s), bounds=(-12, 12), options={"xatol": 1e-10})
        assert abs(-found.fun - claimed) < 1e-7


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_outputs_above_the_threshold_are_those_of_states_likelier_as_data(name: str) -> None:
    """g_f(threshold) = f'(1), by a central difference, which is 0 at the kink of total variation."""
    f = BY_HAND[name][0] if name in BY_HAND else lambda u: 0.5 * abs(u - 1)
    slope = (f(1 + 1e-5) - f(1 - 1e-5)) / 2e-5
    objective, (p, q) = Variational(name), laws()
    assert close(objective.activation(torch.tensor(objective.threshold)), float(slope), 1e-8)
    assert torch.equal(best_outputs(name) > objective.threshold, p > q)


def test_total_variation_s_conjugate_is_the_identity_on_its_domain() -> None:
    v = torch.linspace(-3, 3, 7)
    objective = Variational("tv")
    assert close(objective.conjugate(v), objective.activation(v), 1e-15)
    assert objective.activation(100 * v).abs().max() <= 0.5


def test_goodfellow_s_game_is_one_of_them_and_finite_at_any_output() -> None:
    real, fake = 3 * torch.randn(7), 3 * torch.randn(5)
    game = Variational("gan")
    assert close(game.discriminator_loss(real, fake), Minimax().discriminator_loss(real, fake), 1e-12)
    assert close(game.generator_loss(fake), Minimax().generator_loss(fake), 1e-12)
    extreme = torch.tensor([-800.0, 800.0])
    for name in ("gan", "js", "tv"):
        assert torch.isfinite(Variational(name).discriminator_loss(extreme, extreme))


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_the_generator_descends_what_the_discriminator_climbs(name: str) -> None:
    real, fake = torch.randn(6), torch.randn(6).requires_grad_()
    game = Variational(name)
    (climbed,) = torch.autograd.grad(-game.discriminator_loss(real, fake), fake)
    (descended,) = torch.autograd.grad(game.generator_loss(fake), fake)
    assert close(descended, climbed, 1e-14)


def test_without_saturation_the_generator_climbs_the_activation() -> None:
    fake = torch.tensor([-30.0, 0.0, 1.0], requires_grad=True)
    loss = Variational("gan", saturating=False).generator_loss(fake)
    (slope,) = torch.autograd.grad(3 * loss, fake)
    assert close(slope, fake.detach().sigmoid() - 1, 1e-12)


def test_the_family_plays_kl_unless_told(generator: torch.Generator) -> None:
    gan, x = perturb(mlp_gan(FGAN, hidden=(8,))).float(), torch.randn(16, 2).float()
    state = generator.get_state()
    loss = gan.discriminator_loss(x, generator=generator)
    generator.set_state(state)
    fake = gan(gan.noise(16, generator=generator))
    assert loss.dtype == torch.float32
    assert close(loss, (gan.score(fake) - 1).exp().mean() - gan.score(x).mean(), 1e-5)


def test_the_paper_s_networks_have_the_parameters_counted_by_hand() -> None:
    """100-1200-1200-784 with batch normalisation, 784-240-240-1 without; pixels in [0, 1] from z on [-1, 1]."""
    gan = FGAN.paper().float()
    hidden = linear(100, 1200) + linear(1200, 1200) + 2 * 2 * 1200
    assert count(gan.generator) == hidden + linear(1200, 784)
    assert count(gan.discriminator) == linear(784, 240) + linear(240, 240) + linear(240, 1)
    assert [type(part).__name__ for part in gan.discriminator.modules()].count("ELU") == 2
    x = gan.sample(3)
    assert x.shape == (3, 784)
    assert 0 <= float(x.min()) < 0.5 < float(x.max()) <= 1
    assert gan.score(x).shape == (3,)
    assert gan.prior == "uniform"


def test_an_unknown_divergence_is_refused() -> None:
    with pytest.raises(ValueError, match=r"divergence must be one of .*got 'hellinger'"):
        Variational("hellinger")
