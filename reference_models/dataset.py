"""What a data set is, and how one is made of draws or of a fixed number of examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from reference_models.parts.distributions import GaussianMixture

HELD_OUT = 4000  # examples drawn to measure with


@dataclass(frozen=True)
class DataSet:
    """Examples of shape (N, *event_shape) to train on and to measure with.

    entropy: nats per example, None where unknown. It is exact where it can be added up; where only the law can, it is
        what that law costs on these very held-out examples, so that a model's excess over it has no error of theirs.
    target: the exact density, None where it is not a mixture.
    levels: K where values are k/(K − 1), or symbols 0 … K − 1; None where they are any numbers.
    law: exact log p of examples (N, *event_shape), (N,) in nats, None where unknown or given as `target`.
    """

    name: str
    train: Tensor
    held_out: Tensor
    train_labels: Tensor | None
    held_out_labels: Tensor | None
    event_shape: tuple[int, ...]
    entropy: float | None = None
    target: GaussianMixture | None = None
    levels: int | None = None
    law: Callable[[Tensor], Tensor] | None = None

    @property
    def grades(self) -> int:
        """`levels`; ValueError where there are none."""
        if self.levels is None:
            raise ValueError(f"the values of {self.name} are not counted in levels")
        return self.levels


Source = Callable[[Path | None, int | None, Generator], DataSet]


def uniform(*shape: int, generator: Generator) -> Tensor:
    """Numbers in [0, 1), float64, on the CPU."""
    return torch.rand(shape, generator=generator, device="cpu", dtype=torch.float64)


def drawn_set(
    name: str,
    draw: Callable[[int], tuple[Tensor, Tensor | None]],
    size: int,
    *,
    held_out: int = HELD_OUT,
    entropy: float | None = None,
    levels: int | None = None,
    law: Callable[[Tensor], Tensor] | None = None,
) -> DataSet:
    """`size` examples to train on and as many others as said; without an entropy, a law says what they cost."""
    (train, train_labels), (rest, rest_labels) = draw(size), draw(held_out)
    if law is not None and entropy is None:
        entropy = -float(law(rest).mean())
    shape = tuple(train.shape[1:])
    return DataSet(name, train, rest, train_labels, rest_labels, shape, entropy, levels=levels, law=law)


def finite_set(
    name: str, train: Tensor, held_out: Tensor, y: Tensor, held_out_y: Tensor, size: int | None, levels: int
) -> DataSet:
    """The first `size` examples of a set that is what it is, all by default."""
    for part, images, labels in (("training", train, y), ("held-out", held_out, held_out_y)):
        if len(images) != len(labels):
            raise ValueError(
                f"{name} must have a label an image, got {len(images)} {part} images, {len(labels)} labels"
            )
    if size is not None and size > len(train):
        raise ValueError(f"{name} has {len(train)} training examples, asked for {size}")
    return DataSet(name, train[:size], held_out, y[:size], held_out_y, tuple(train.shape[1:]), levels=levels)
