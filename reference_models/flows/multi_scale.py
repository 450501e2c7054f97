"""Squeeze and factor-out: how a flow of images trades space for channels and finishes variables early.

Squeezing turns every 2×2 block of pixels into four channels, a permutation of the numbers: (C, H, W) → (4C, H/2, W/2),
log-determinant 0. After the steps of a level half of the channels leave for the base, the rest go on (eq. 14-16):

    (z^{(1)}, h^{(1)}) = f^{(1)}(x),   (z^{(2)}, h^{(2)}) = f^{(2)}(h^{(1)}),   …,   z = (z^{(1)}, …, z^{(L)}).

z comes back as one vector, (C·H·W,), the first level's variables first.

"Density Estimation Using Real NVP" (Dinh, Sohl-Dickstein, Bengio, 2017), section 3.6, https://arxiv.org/abs/1605.08803.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from reference_models.flows.change_of_variables import Mapped, Transform
from reference_models.parts import require

Shape = tuple[int, ...]


class Squeeze(Transform):
    """(C, H, W) → (4C, H/2, W/2): channel 4c + 2i + j holds the pixels of rows i and columns j modulo 2.

    Args:
        event_shape: (C, H, W), H and W even.
    """

    def __init__(self, event_shape: Sequence[int]) -> None:
        if len(event_shape) != 3 or event_shape[1] % 2 or event_shape[2] % 2:
            raise ValueError(f"squeeze needs (C, H, W) with even H and W, got {tuple(event_shape)}")
        C, H, W = event_shape
        super().__init__((C, H, W), latent_shape=(4 * C, H // 2, W // 2))

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        C, H, W = self.event_shape
        blocks = x.reshape(-1, C, H // 2, 2, W // 2, 2).permute(0, 1, 3, 5, 2, 4)  # (N, C, 2, 2, H/2, W/2)
        return blocks.reshape(-1, *self.latent_shape), x.new_zeros(len(x))

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        C, H, W = self.event_shape
        blocks = z.reshape(-1, C, 2, 2, H // 2, W // 2).permute(0, 1, 4, 2, 5, 3)  # (N, C, H/2, 2, W/2, 2)
        return blocks.reshape(-1, *self.event_shape), z.new_zeros(len(z))


class Flatten(Transform):
    """(C, H, W) → (C·H·W,): the same numbers as a vector."""

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape, latent_shape=(math.prod(event_shape),))

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        return x.reshape(len(x), -1), x.new_zeros(len(x))

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        return z.reshape(-1, *self.event_shape), z.new_zeros(len(z))


class MultiScale(Transform):
    """The levels of an image flow with half of the channels factored out between them.

    Args:
        event_shape: (C, H, W).
        levels: f^{(1)}, …, f^{(L)}; all but the last end with an even number of channels, and each takes what its
            predecessor leaves: `remaining_shape` of its output.
        finish: for each level but the last, a map of the leaving half given the staying one as condition (Glow's
            learned prior); none unless given.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        levels: Sequence[Transform],
        finish: Callable[[Shape], Transform] | None = None,
    ) -> None:
        super().__init__(event_shape, latent_shape=(math.prod(event_shape),))
        require.at_least("the number of levels", len(levels), 1)
        expected = self.event_shape
        for level in levels:
            if level.event_shape != expected:
                raise ValueError(f"a level takes {level.event_shape}, the one before it leaves {expected}")
            expected = remaining_shape(level.latent_shape) if level is not levels[-1] else level.latent_shape
        self.levels = nn.ModuleList(levels)
        halves = [remaining_shape(level.latent_shape) for level in levels[:-1]]
        self.sizes = [math.prod(half) for half in halves] + [math.prod(levels[-1].latent_shape)]
        self.finish = nn.ModuleList([finish(half) for half in halves]) if finish else None

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        logdet = x.new_zeros(len(x))
        h, done = x, []
        for i, level in enumerate(self.levels):
            h, term = level(h)
            logdet = logdet + term
            if i < len(self.levels) - 1:
                h, leaving = h.chunk(2, dim=1)
                if self.finish is not None:
                    leaving, term = self.finish[i](leaving, condition=h)
                    logdet = logdet + term
                done.append(leaving.flatten(1))
        return torch.cat([*done, h.flatten(1)], dim=1), logdet

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        pieces = torch.split(z, self.sizes, dim=1)
        last = self.levels[-1]
        assert isinstance(last, Transform)
        h, logdet = last.inverse(pieces[-1].reshape(-1, *last.latent_shape))
        for i in reversed(range(len(self.levels) - 1)):
            level = self.levels[i]
            assert isinstance(level, Transform)
            leaving = pieces[i].reshape(-1, *remaining_shape(level.latent_shape))
            if self.finish is not None:
                finish = self.finish[i]
                assert isinstance(finish, Transform)
                leaving, term = finish.inverse(leaving, condition=h)
                logdet = logdet + term
            h, term = level.inverse(torch.cat([h, leaving], dim=1))
            logdet = logdet + term
        return h, logdet


def remaining_shape(shape: Sequence[int]) -> Shape:
    """What goes on after half of the channels left: (C/2, H, W). Raises ValueError when C is odd."""
    if shape[0] % 2:
        raise ValueError(f"half of the channels cannot leave when their number is odd, got {tuple(shape)}")
    return (shape[0] // 2, *shape[1:])
