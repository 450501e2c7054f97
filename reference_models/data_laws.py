"""Data sets drawn from laws that are known: bars, a spin glass, mixtures, curves, sequences with a long memory."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Generator, Tensor

from reference_models.dataset import DataSet, Source, drawn_set, uniform
from reference_models.exact.bars import bars_log_prob, crossed_bars_log_prob
from reference_models.exact.states import every_state, state_number
from reference_models.parts.distributions import GaussianMixture

FLIP = 0.05  # of bars of both kinds
SIDE, WHITE = 8, 0.25  # of "crossed-bars"
SYMBOLS, LENGTH = 16, 64  # of "waves"
LAG, FAITH = 16, 0.85  # how far back a wave looks, and how often it does what stood there
BLOCKS = 4  # planes of which "corners" is made


def bars(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    """4×4 parallel bars, the orientation as label."""

    def draw(n: int) -> tuple[Tensor, Tensor]:
        white = uniform(n, 1, 4, 1, generator=generator) < 0.5  # one colour a row
        upright = uniform(n, 1, 1, 1, generator=generator) < 0.5
        rows = white.expand(n, 1, 4, 4)
        x = torch.where(upright, rows.mT, rows) ^ (uniform(n, 1, 4, 4, generator=generator) < FLIP)
        return x.double(), upright.long().reshape(n)

    return drawn_set("bars", draw, size or 8000, entropy=_bars_entropy(), levels=2, law=_bars_law)


def _bars_law(x: Tensor) -> Tensor:
    return bars_log_prob(x, FLIP)


@cache
def _bars_entropy() -> float:
    """−Σ p log p over all 2¹⁶ images."""
    log_p = _bars_law(_binary_images())
    return -float((log_p.exp() * log_p).sum())


def _binary_images() -> Tensor:
    """All 2¹⁶ images of 4×4, float64."""
    return every_state((1, 4, 4), like=torch.empty(0, device="cpu", dtype=torch.float64))


def crossed_bars(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    """8×8: every row and every column white with chance 1/4, a pixel white where a bar of its is; 65,536 patterns."""

    def draw(n: int) -> tuple[Tensor, None]:
        rows = uniform(n, 1, SIDE, 1, generator=generator) < WHITE
        columns = uniform(n, 1, 1, SIDE, generator=generator) < WHITE
        x = (rows | columns) ^ (uniform(n, 1, SIDE, SIDE, generator=generator) < FLIP)
        return x.double(), None

    def law(x: Tensor) -> Tensor:
        return torch.cat([crossed_bars_log_prob(part, WHITE, FLIP) for part in x.split(1000)])

    return drawn_set("crossed-bars", draw, size or 8000, held_out=1000, levels=2, law=law)


@cache
def _glass_log_prob() -> Tensor:
    """log p of every 4×4 picture, (2¹⁶,): spins ±1 on a grid, neighbours joined by normal couplings of deviation 1."""
    couplings = torch.Generator("cpu").manual_seed(0)
    across = torch.randn(4, 3, generator=couplings, device="cpu", dtype=torch.float64)
    down = torch.randn(3, 4, generator=couplings, device="cpu", dtype=torch.float64)
    spins = 2 * _binary_images()[:, 0] - 1  # (65536, 4, 4)
    energy = (across * spins[:, :, 1:] * spins[:, :, :-1]).sum((1, 2))
    energy = energy + (down * spins[:, 1:] * spins[:, :-1]).sum((1, 2))
    return torch.log_softmax(energy, 0)


def glass(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    """4×4 pictures of a spin glass: neighbours that like to agree, or to differ, each pair with its own strength."""
    log_p = _glass_log_prob()

    def draw(n: int) -> tuple[Tensor, None]:
        chosen = torch.multinomial(log_p.exp(), n, replacement=True, generator=generator)
        return _binary_images()[chosen], None

    entropy = -float((log_p.exp() * log_p).sum())
    law = lambda x: _glass_log_prob().to(x.device)[state_number(x)]  # noqa: E731
    return drawn_set("glass", draw, size or 8000, entropy=entropy, levels=2, law=law)


def _ring(modes: int, std: float) -> GaussianMixture:
    angle = torch.arange(modes, device="cpu", dtype=torch.float64) * (2 * math.pi / modes)
    means = 2 * torch.stack([angle.cos(), angle.sin()], dim=1)
    covariances = std**2 * torch.eye(2, device="cpu", dtype=torch.float64).repeat(modes, 1, 1)
    return GaussianMixture(torch.full((modes,), 1 / modes, device="cpu", dtype=torch.float64), means, covariances)


@cache
def _plane_entropy(modes: int, std: float) -> float:
    """−∫ p log p by the trapezoidal rule, whose error for Gaussians falls as e^{−2π²std²/h²}: none at h = std/4."""
    axis = torch.arange(-2 - 9 * std, 2 + 9 * std, std / 4, device="cpu", dtype=torch.float64)
    log_p = _ring(modes, std).log_prob(torch.cartesian_prod(axis, axis))
    return float(-(log_p.exp() * log_p).sum()) * (std / 4) ** 2


def mixture(name: str, modes: int, std: float) -> Source:
    """Gaussians on a circle of radius 2, the mode as label."""

    def source(path: Path | None, size: int | None, generator: Generator) -> DataSet:
        target = _ring(modes, std)
        data = drawn_set(
            name,
            lambda n: target.sample_with_labels(n, generator=generator),
            size or 8000,
            entropy=_plane_entropy(modes, std),
        )
        return replace(data, target=target)

    return source


@cache
def _corners() -> GaussianMixture:
    one = _ring(4, 0.3)
    index = torch.cartesian_prod(*[torch.arange(4, device="cpu")] * BLOCKS)  # (256, 4)
    means = one.means[index].flatten(1)  # (256, 8)
    eye = torch.eye(2 * BLOCKS, device="cpu", dtype=torch.float64)
    weights = torch.full((len(means),), 1 / len(means), device="cpu", dtype=torch.float64)
    return GaussianMixture(weights, means, 0.3**2 * eye.repeat(len(means), 1, 1))


def corners(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    """Four planes with four Gaussians each, side by side: 256 modes in eight dimensions; the first's mode as label."""
    target = _corners()

    def draw(n: int) -> tuple[Tensor, Tensor]:
        x, mode = target.sample_with_labels(n, generator=generator)
        return x, mode // 4 ** (BLOCKS - 1)

    data = drawn_set("corners", draw, size or 8000, entropy=BLOCKS * _plane_entropy(4, 0.3))
    return replace(data, target=target)


def moons(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    """Two half circles with noise 0.05, standardised by fixed constants; the half as label."""

    def draw(n: int) -> tuple[Tensor, Tensor]:
        lower = uniform(n, generator=generator) < 0.5
        angle = math.pi * uniform(n, generator=generator)
        x = torch.where(lower, 1 - angle.cos(), angle.cos())
        y = torch.where(lower, 0.5 - angle.sin(), angle.sin())
        noise = 0.05 * torch.randn(n, 2, generator=generator, device="cpu", dtype=torch.float64)
        points = torch.stack([x, y], dim=1) + noise - torch.tensor([0.5, 0.25], device="cpu")
        return points / torch.tensor([0.87, 0.5], device="cpu"), lower.long()

    return drawn_set("moons", draw, size or 8000)


def checkerboard(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    """Uniform on the dark squares of a 4×4 board over [−4, 4]²."""

    def draw(n: int) -> tuple[Tensor, None]:
        column = (4 * uniform(n, generator=generator)).floor()
        row = 2 * (2 * uniform(n, generator=generator)).floor() + column % 2
        corner = torch.stack([column, row], dim=1)
        return 2 * (corner + uniform(n, 2, generator=generator)) - 4, None

    return drawn_set("checkerboard", draw, size or 8000, entropy=math.log(32))  # eight squares of area 4


def waves_chain() -> Tensor:
    """How "waves" begin, (16, 16), rows sum to one: climb by 1, 2 or 0 round the circle, or jump."""
    eye = torch.eye(SYMBOLS, device="cpu", dtype=torch.float64)
    return 0.6 * eye.roll(1, 1) + 0.2 * eye.roll(2, 1) + 0.1 * eye + 0.1 / SYMBOLS


def waves(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    """64 of 16 symbols: sixteen from a chain that mostly climbs, then each one above that sixteen earlier, mostly."""
    chain = waves_chain()

    def draw(n: int) -> tuple[Tensor, None]:
        states = [torch.randint(SYMBOLS, (n,), generator=generator, device="cpu")]  # uniform is stationary
        for _ in range(LAG - 1):
            states.append(torch.multinomial(chain[states[-1]], 1, generator=generator).squeeze(1))
        for _ in range(LENGTH - LAG):
            faithful = uniform(n, generator=generator) < FAITH
            anything = torch.randint(SYMBOLS, (n,), generator=generator, device="cpu")
            states.append(torch.where(faithful, (states[-LAG] + 1) % SYMBOLS, anything))
        return torch.stack(states, dim=1), None

    climb = float(-(chain[0] * chain[0].log()).sum())
    right, wrong = FAITH + (1 - FAITH) / SYMBOLS, (1 - FAITH) / SYMBOLS
    echo = -right * math.log(right) - (SYMBOLS - 1) * wrong * math.log(wrong)
    entropy = math.log(SYMBOLS) + (LAG - 1) * climb + (LENGTH - LAG) * echo
    return drawn_set("waves", draw, size or 4000, entropy=entropy, levels=SYMBOLS)
