"""Figures of a trained VAE against integrals, and VAEs that were made to look good."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autograder.checks import mutual_distance, vae_figures
from autograder.errors import AuthorError
from autograder.vocabulary.vae import VAEFigures
from tests.autograder.vocabulary.students import fails, generator

W = torch.tensor([2.0, -1.5, 1.0, 0.5])  # logits W z + b of four pixels, one latent dimension
B = torch.tensor([0.3, 0.2, -0.5, 0.1])
GRID = torch.linspace(-9, 9, 4001, dtype=torch.float64)
STEP = float(GRID[1] - GRID[0])


def pictures(n: int, seed: int = 0) -> Tensor:
    g = generator(seed)
    logits = torch.randn(n, 1, generator=g) * W + B
    return torch.bernoulli(logits.sigmoid(), generator=g).reshape(n, 1, 2, 2)


def encode(x: Tensor) -> tuple[Tensor, Tensor]:
    mean = (x.flatten(1) - 0.5) @ W[:, None] / 4
    return mean, torch.full_like(mean, -0.4)


def decode(z: Tensor) -> Tensor:
    return (z * W + B).reshape(-1, 1, 2, 2)


def figures(encoder: Any = encode, decoder: Any = decode, n: int = 400, **settings: Any) -> VAEFigures:
    return vae_figures(encoder, decoder, pictures(n), pictures(200, 1), generator=generator(2), **settings)


def log_likelihood(x: Tensor) -> Tensor:
    """ln p(x | z) on the grid, (N, 4001)."""
    logits = GRID[:, None] * W.double() + B.double()
    x = x.flatten(1).double()
    return x @ F.logsigmoid(logits).T + (1 - x) @ F.logsigmoid(-logits).T


def test_figures_equal_the_integrals() -> None:
    x = pictures(400)
    like, (mean, log_std) = log_likelihood(x), encode(x)
    prior = torch.distributions.Normal(0.0, 1.0)
    q = torch.distributions.Normal(mean.double(), log_std.double().exp())
    fit = (q.log_prob(GRID).exp() * like).sum(1) * STEP
    kl = torch.distributions.kl_divergence(q, prior).squeeze(1)
    evidence = ((like + prior.log_prob(GRID)).exp().sum(1) * STEP).log()
    found = figures(draws=200)
    assert found.kl == pytest.approx(float(kl.mean()), abs=1e-5)
    assert found.bound == pytest.approx(float((kl - fit).mean()), abs=0.02)
    assert found.without_encoder == pytest.approx(-float(evidence.mean()), abs=0.02)
    assert found.latent == 1
    assert found.score == found.bound > found.without_encoder


def test_reconstruction_is_near_the_mean() -> None:
    x = pictures(400)
    mean, log_std = encode(x)
    away = mean + 0.25 * log_std.exp() * torch.randn(2000, *mean.shape, generator=generator(5))
    expected = x.expand(2000, *x.shape).flatten(0, 1)
    logits = decode(away.flatten(0, 1))
    right = -F.binary_cross_entropy_with_logits(logits, expected, reduction="none").sum((1, 2, 3)).mean()
    assert figures().reconstruction == pytest.approx(float(right), abs=0.03)


def test_what_the_exact_mean_of_a_dead_dimension_shows_is_no_reconstruction() -> None:
    def encoder(x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = encode(x)
        slip = 1e-3 * (x.flatten(1) - 0.5)
        return torch.cat([0 * mean, slip], 1), torch.cat([0 * log_std, torch.zeros(len(x), 4)], 1)

    def decoder(z: Tensor) -> Tensor:
        slip = z[:, 1:]
        gate = torch.exp(-slip.square().sum(1, keepdim=True) / (2 * 0.02**2))  # smooth, and 0 at any draw
        return (gate * 1e4 * slip + (1 - gate) * B).reshape(-1, 1, 2, 2)

    honest = figures(lambda x: tuple(0 * part for part in encode(x)), lambda z: (B + 0 * z).reshape(-1, 1, 2, 2))
    found = figures(encoder, decoder)
    assert found.reconstruction == pytest.approx(honest.reconstruction, abs=0.05)


def test_a_picture_slipped_past_the_code_gains_nothing() -> None:
    seen: dict[str, Tensor] = {}
    noise = torch.bernoulli(torch.full((600, 1, 8, 8), 0.5), generator=generator(3))
    names = torch.randn(64, generator=generator(4))

    def encoder(x: Tensor) -> tuple[Tensor, Tensor]:  # codes on a circle that the prior hardly meets
        angle = 3 * (x.flatten(1) @ names)
        codes = 6 * torch.stack([angle.cos(), angle.sin()], 1)
        if len(x) > len(seen.get("codes", ())):
            seen["codes"], seen["pictures"] = codes, x
        return codes, torch.full((len(x), 2), -4.0)

    def decoder(z: Tensor) -> Tensor:
        if not seen:
            return torch.zeros(len(z), 1, 8, 8)
        distance = torch.cdist(z, seen["codes"])
        weight = torch.exp(-((distance / width) ** 2)) if width else (distance < 0.1).float()
        return (weight @ (10 * seen["pictures"] - 5).flatten(1)).reshape(-1, 1, 8, 8)

    def asked() -> VAEFigures:
        seen.clear()
        return vae_figures(encoder, decoder, noise[:16], noise[16:20], generator=generator(2))

    width = 0.0
    fails(asked, says="between codes of pictures, makes jumps")
    width = 0.3
    found = asked()
    assert found.bound < 40
    assert found.score == found.without_encoder == pytest.approx(64 * math.log(2), abs=1e-4)


class Counting:
    """Another answer from call to call."""

    calls = 0

    def __call__(self, z: Tensor) -> Tensor:
        self.calls += 1
        return decode(z) + (2.0 if self.calls > 8 else 0.0)


def beside(x: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_std = encode(x)
    return mean - mean.mean(), log_std


WRONG: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "encoder by company": (lambda: {"encoder": beside}, "the encoder of the VAE to a row is another one"),
    "decoder by company": (lambda: {"decoder": lambda z: decode(z - z.mean())}, "the decoder of the VAE to a row"),
    "decoder by place": (
        lambda: {"decoder": lambda z: decode(z) + torch.arange(len(z))[:, None, None, None] % 2},
        "the decoder of the VAE",
    ),
    "table": (lambda: {"decoder": lambda z: decode(z.round())}, "makes jumps"),
    "fine table": (lambda: {"decoder": lambda z: decode((8 * z).round() / 8)}, "makes jumps"),
    "other logits later": (lambda: {"decoder": Counting()}, "asked again"),
    "pictures for logits of another shape": (lambda: {"decoder": lambda z: decode(z).flatten(1)}, "shape"),
    "one tensor": (lambda: {"encoder": lambda x: encode(x)[0]}, "should be a tuple of 2"),
    "a deviation for all": (lambda: {"encoder": lambda x: (encode(x)[0], encode(x)[1][:1])}, "log_std"),
    "not a number": (lambda: {"encoder": lambda x: (encode(x)[0], encode(x)[1] * torch.nan)}, "finite"),
    "large codes": (lambda: {"encoder": lambda x: tuple(p.expand(-1, 33) for p in encode(x))}, "33 dimensions"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_vae_fails(wrong: str) -> None:
    make, says = WRONG[wrong]
    fails(lambda: figures(**make()), says=says)


def test_a_steep_network_is_continuous() -> None:
    assert math.isfinite(figures(decoder=lambda z: decode(3 * torch.tanh(4 * z))).score)


def test_a_constant_decoder_passes_and_knows_nothing() -> None:
    found = figures(decoder=lambda z: decode(0 * z))
    assert found.without_encoder == pytest.approx(found.bound - found.kl, abs=1e-5)


def test_too_few_pictures_are_the_authors_mistake() -> None:
    with pytest.raises(AuthorError):
        figures(n=15)


def test_mutual_distance_by_hand() -> None:
    a = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1]]).reshape(2, 1, 2, 2)
    b = torch.tensor([[0.0, 0, 0, 1], [0, 0, 0, 0]]).reshape(2, 1, 2, 2)
    # from a: 0 and 3 pixels; from b: 1 and 0
    assert mutual_distance(a, b) == pytest.approx((1.5 + 0.5) / 2)
    assert mutual_distance(a, a) == 0
