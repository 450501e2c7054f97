"""Data sets by name: small ones whose law is known, digits old and new, MNIST and CIFAR-10 from their files.

    digits          8×8 handwritten digits of scikit-learn, floats k/16 in [0, 1], 17 levels, with labels
    digits-binary   the same, 1 where a pixel exceeds one half
    drawn           28×28 digits drawn anew from those (`drawn_digits`), 17 levels, with labels: 12,000, and 2,000 of
                    other writers to measure with
    drawn-16        the same at 16×16
    drawn-binary    the same at 8×8, black and white
    bars            4×4 binary: vertical or horizontal bars, each white or black, every pixel flipped with chance 0.05
    crossed-bars    8×8 binary: every row and every column white with chance 1/4, a pixel white where one of its two
                    bars is, then flips with chance 0.05: 65,536 patterns, too many to list
    glass           4×4 binary: a spin glass, each pair of neighbours with its own liking to agree or to differ
    mixture         four Gaussians in the plane on a circle of radius 2, std 0.3
    eight-gaussians eight of them on a circle of radius 2, std 0.1, with labels
    corners         four planes, each with the four Gaussians of "mixture": 256 modes in eight dimensions
    moons           two half circles with noise 0.05, standardised by fixed constants
    checkerboard    uniform on the dark squares of a 4×4 board over [−4, 4]²
    waves           64 symbols of an alphabet of 16: sixteen from a Markov chain that mostly climbs, then with chance
                    0.85 the successor of the symbol sixteen places earlier, anything else otherwise
    mnist, cifar10  from the standard files in a folder, given as `path`; pixels k/255, labels

Where the law is known, `entropy` is, in nats per example, and an average −log p of a model on held-out data that lies
below it by more than sampling error is a leak. `target` is the density itself where it is a mixture.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from reference_models import data_laws as laws
from reference_models import drawn_digits, image_files
from reference_models.dataset import DataSet, Source, finite_set
from reference_models.drawn_digits import old_digits
from reference_models.parts.require import at_least, one_of

__all__ = ["DataSet", "load", "names"]


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


# --- digits


def _digits(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    images, labels = old_digits()
    order = torch.as_tensor(np.random.default_rng(0).permutation(len(images)), device="cpu")  # held out: always these
    x, y = images[order].double() / 16, labels[order]
    held_out = 360
    return finite_set("digits", x[held_out:], x[:held_out], y[held_out:], y[:held_out], size, levels=17)


def _digits_binary(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    data = _digits(path, size, generator)
    binary = [(x > 0.5).to(x.dtype) for x in (data.train, data.held_out)]
    return replace(data, name="digits-binary", train=binary[0], held_out=binary[1], levels=2)


# --- files


def _mnist(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    return finite_set("mnist", *image_files.mnist(_folder("mnist", path)), size, levels=256)


def _cifar10(path: Path | None, size: int | None, generator: Generator) -> DataSet:
    return finite_set("cifar10", *image_files.cifar10(_folder("cifar10", path)), size, levels=256)


def _folder(name: str, path: Path | None) -> Path:
    if path is None:
        raise ValueError(f"{name} is read from its standard files: give the folder that holds them as path")
    if not path.is_dir():
        raise ValueError(f"the path of {name} must be a folder, got {path}")
    return path


_SOURCES: dict[str, Source] = {
    "digits": _digits,
    "digits-binary": _digits_binary,
    "drawn": drawn_digits.source("drawn", side=28),
    "drawn-16": drawn_digits.source("drawn-16", side=16),
    "drawn-binary": drawn_digits.source("drawn-binary", side=8, levels=2),
    "bars": laws.bars,
    "crossed-bars": laws.crossed_bars,
    "glass": laws.glass,
    "mixture": laws.mixture("mixture", 4, 0.3),
    "eight-gaussians": laws.mixture("eight-gaussians", 8, 0.1),
    "corners": laws.corners,
    "moons": laws.moons,
    "checkerboard": laws.checkerboard,
    "waves": laws.waves,
    "mnist": _mnist,
    "cifar10": _cifar10,
}
