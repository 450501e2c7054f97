"""Data sets by name: small ones whose law is known, the digits of scikit-learn, MNIST and CIFAR-10 from their files.

    digits          8×8 handwritten digits, floats k/16 in [0, 1], 17 levels, with labels
    digits-binary   the same, 1 where a pixel exceeds one half
    bars            4×4 binary: vertical or horizontal bars, each white or black, every pixel flipped with chance 0.05
    mixture         four Gaussians in the plane on a circle of radius 2, std 0.3
    eight-gaussians eight of them on a circle of radius 2, std 0.1, with labels
    moons           two half circles with noise 0.05, standardised by fixed constants
    checkerboard    uniform on the dark squares of a 4×4 board over [−4, 4]²
    waves           sequences of 32 symbols of an alphabet of 16, from a Markov chain that mostly climbs
    mnist, cifar10  from the standard files in a folder, given as `path`; pixels k/255, labels

Where the law is known, `entropy` is exact, in nats per example, and an average −log p of a model on held-out data
that lies below it by more than sampling error is a leak. `target` is the density itself where it is a mixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from reference_models import image_files
from reference_models.exact.bars import bars_log_prob
from reference_models.exact.states import every_state
from reference_models.parts.distributions import GaussianMixture
from reference_models.parts.validate import at_least, one_of

FLIP = 0.05  # of "bars"
LEVELS, LENGTH = 16, 32  # of "waves"


@dataclass(frozen=True)
class DataSet:
    """Examples of shape (N, *event_shape) to train on and to measure with.

    entropy: exact, nats per example, None where unknown; target: the exact density, None where it is not a mixture.
    """

    name: str
    train: Tensor
    held_out: Tensor
    train_labels: Tensor | None
    held_out_labels: Tensor | None
    event_shape: tuple[int, ...]
    entropy: float | None = None
    target: GaussianMixture | None = None


def load(
    name: str,
    *,
    path: Path | str | None = None,
    size: int | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> DataSet:
    """A data set by name; the same arguments give the same numbers.

    size: how many training examples to draw, or to keep of a set that is finite. seed: of what is drawn; which digits
    are held out does not depend on it. path: the folder with the files of MNIST or CIFAR-10.
    Raises ValueError for an unknown name, a size that the set cannot give, a missing path or file, a path for a set
    that is in no files, or a file that is not what its name says.
    """
    one_of("data", name, tuple(_SOURCES))
    if path is not None and name not in ("mnist", "cifar10"):
        raise ValueError(f"{name} is read from no files: leave out the path, got {path}")
    if size is not None:
        at_least("size", size, 1)
    data = _SOURCES[name](Path(path) if path is not None else None, size, torch.Generator().manual_seed(seed))

    def moved(x: Tensor | None) -> Tensor | None:
        if x is not None and x.dtype == torch.uint8:  # an image file's bytes, scaled only now to save memory
            return x.to(device=device, dtype=dtype) / 255
        return x if x is None else x.to(device=device, dtype=dtype if x.is_floating_point() else None)

    train, held_out = moved(data.train), moved(data.held_out)
    assert train is not None
    assert held_out is not None
    return replace(
        data,
        train=train,
        held_out=held_out,
        train_labels=moved(data.train_labels),
        held_out_labels=moved(data.held_out_labels),
        target=None if data.target is None else data.target.to(device=device, dtype=dtype),
    )


def names() -> tuple[str, ...]:
    """Every name that `load` takes."""
    return tuple(_SOURCES)


# --- images of scikit-learn


def _digits(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.images))  # fixed: the held-out digits never change
    x = torch.as_tensor(bunch.images[order] / 16.0, device="cpu").reshape(-1, 1, 8, 8)
    y = torch.as_tensor(bunch.target[order].astype(np.int64), device="cpu")
    held_out = 360
    return _finite("digits", x[held_out:], x[:held_out], y[held_out:], y[:held_out], size)


def _digits_binary(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    data = _digits(path, size, generator)
    binary = [(x > 0.5).to(x.dtype) for x in (data.train, data.held_out)]
    return replace(data, name="digits-binary", train=binary[0], held_out=binary[1])


# --- laws that are known


def _bars(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    def draw(n: int) -> tuple[Tensor, Tensor]:
        white = _uniform(n, 1, 4, 1, generator=generator) < 0.5  # one colour a row
        upright = _uniform(n, 1, 1, 1, generator=generator) < 0.5
        bars = white.expand(n, 1, 4, 4)
        x = torch.where(upright, bars.mT, bars) ^ (_uniform(n, 1, 4, 4, generator=generator) < FLIP)
        return x.double(), upright.long().reshape(n)

    return _drawn("bars", draw, size or 8000, entropy=_bars_entropy())


@cache
def _bars_entropy() -> float:
    """−Σ p log p over all 2¹⁶ images."""
    log_p = bars_log_prob(every_state((1, 4, 4), like=torch.empty(0, device="cpu", dtype=torch.float64)), FLIP)
    return -float((log_p.exp() * log_p).sum())


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


def _mixture(name: str, modes: int, std: float) -> Source:
    def source(path: Path | None, size: int | None, generator: Generator) -> DataSet:
        target = _ring(modes, std)
        data = _drawn(
            name,
            lambda n: target.sample_with_labels(n, generator=generator),
            size or 8000,
            entropy=_plane_entropy(modes, std),
        )
        return replace(data, target=target)

    return source


def _moons(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    def draw(n: int) -> tuple[Tensor, Tensor]:
        lower = _uniform(n, generator=generator) < 0.5
        angle = math.pi * _uniform(n, generator=generator)
        x = torch.where(lower, 1 - angle.cos(), angle.cos())
        y = torch.where(lower, 0.5 - angle.sin(), angle.sin())
        noise = 0.05 * torch.randn(n, 2, generator=generator, device="cpu", dtype=torch.float64)
        points = torch.stack([x, y], dim=1) + noise - torch.tensor([0.5, 0.25], device="cpu")
        return points / torch.tensor([0.87, 0.5], device="cpu"), lower.long()

    return _drawn("moons", draw, size or 8000)


def _checkerboard(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    def draw(n: int) -> tuple[Tensor, None]:
        column = (4 * _uniform(n, generator=generator)).floor()
        row = 2 * (2 * _uniform(n, generator=generator)).floor() + column % 2
        corner = torch.stack([column, row], dim=1)
        return 2 * (corner + _uniform(n, 2, generator=generator)) - 4, None

    return _drawn("checkerboard", draw, size or 8000, entropy=math.log(32))  # eight squares of area 4


def waves_chain() -> Tensor:
    """The transition matrix of "waves", (16, 16), rows sum to one: climb by 1, 2 or 0 round the circle, or jump."""
    eye = torch.eye(LEVELS, device="cpu", dtype=torch.float64)
    return 0.6 * eye.roll(1, 1) + 0.2 * eye.roll(2, 1) + 0.1 * eye + 0.1 / LEVELS


def _waves(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    chain = waves_chain()

    def draw(n: int) -> tuple[Tensor, None]:
        states = [torch.randint(LEVELS, (n,), generator=generator, device="cpu")]  # uniform is stationary
        for _ in range(LENGTH - 1):
            states.append(torch.multinomial(chain[states[-1]], 1, generator=generator).squeeze(1))
        return torch.stack(states, dim=1), None

    rate = float(-(chain[0] * chain[0].log()).sum())
    return _drawn("waves", draw, size or 4000, entropy=math.log(LEVELS) + (LENGTH - 1) * rate)


# --- files


def _mnist(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    return _finite("mnist", *image_files.mnist(_folder("mnist", path)), size)


def _cifar10(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    return _finite("cifar10", *image_files.cifar10(_folder("cifar10", path)), size)


def _folder(name: str, path: Path | None) -> Path:
    if path is None:
        raise ValueError(f"{name} is read from its standard files: give the folder that holds them as path")
    if not path.is_dir():
        raise ValueError(f"the path of {name} must be a folder, got {path}")
    return path


# --- what they share

Source = Callable[[Path | None, int | None, Generator], DataSet]
HELD_OUT = 4000  # examples drawn to measure with


def _uniform(*shape: int, generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device="cpu", dtype=torch.float64)


def _drawn(
    name: str, draw: Callable[[int], tuple[Tensor, Tensor | None]], size: int, entropy: float | None = None
) -> DataSet:
    (train, train_labels), (held_out, held_out_labels) = draw(size), draw(HELD_OUT)
    return DataSet(name, train, held_out, train_labels, held_out_labels, tuple(train.shape[1:]), entropy)


def _finite(name: str, train: Tensor, held_out: Tensor, y: Tensor, held_out_y: Tensor, size: int | None) -> DataSet:
    for part, images, labels in (("training", train, y), ("held-out", held_out, held_out_y)):
        if len(images) != len(labels):
            raise ValueError(
                f"{name} must have a label an image, got {len(images)} {part} images, {len(labels)} labels"
            )
    if size is not None and size > len(train):
        raise ValueError(f"{name} has {len(train)} training examples, asked for {size}")
    return DataSet(name, train[:size], held_out, y[:size], held_out_y, tuple(train.shape[1:]))


_SOURCES: dict[str, Source] = {
    "digits": _digits,
    "digits-binary": _digits_binary,
    "bars": _bars,
    "mixture": _mixture("mixture", 4, 0.3),
    "eight-gaussians": _mixture("eight-gaussians", 8, 0.1),
    "moons": _moons,
    "checkerboard": _checkerboard,
    "waves": _waves,
    "mnist": _mnist,
    "cifar10": _cifar10,
}
