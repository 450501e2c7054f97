"""Change of variables: a density made of an invertible map and a base distribution.

If z = f(x) is invertible and differentiable and z has density p_Z, then

    log p(x) = log p_Z(f(x)) + log|det ∂f/∂x|,          x = f⁻¹(z), z ~ p_Z, is a sample,

log-determinants add up under composition, and that of f⁻¹ at z = f(x) is minus that of f at x. Every flow of this
folder is a `Transform` (the map) inside a `FlowDensity` (map and base): log_prob and sample live here and nowhere else.

"Normalizing Flows for Probabilistic Modeling and Inference" (Papamakarios et al., 2021), eq. 1-6,
https://arxiv.org/abs/1912.02762.

Direction, for every flow here: `forward` maps data x to latent z, `inverse` maps z to x, and the log-determinant that
comes back is that of the map just applied.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from reference_models.flows.bases import Base, StandardNormal
from reference_models.parts import require
from reference_models.parts.shapes import flatten_batch, restore_batch

Mapped = tuple[Tensor, Tensor]
Mathematics = Callable[[Tensor, Tensor | None], Mapped]


class Transform(nn.Module, ABC):
    """An invertible map with its log-determinant.

    A family writes `_forward` and `_inverse` for one batch dimension; shapes are checked, and the batch shapes () and
    (N,) are made one, here.

    Args:
        event_shape: shape of one x, (D,) or (C, H, W).
        latent_shape: shape of one z, of as many numbers; `event_shape` unless given.
        condition_shape: shape of one condition, () when the map takes none.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        latent_shape: Sequence[int] | None = None,
        condition_shape: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.latent_shape = self.event_shape if latent_shape is None else tuple(latent_shape)
        self.condition_shape = tuple(condition_shape)
        for size in (*self.event_shape, *self.condition_shape):
            require.at_least("every size of a shape", size, 1)
        if math.prod(self.event_shape) != math.prod(self.latent_shape):
            raise ValueError(
                f"a flow keeps the number of dimensions, got {self.event_shape} for x and {self.latent_shape} for z"
            )

    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> Mapped:
        """z = f(x).

        Args:
            x: data, shape (*B, *event_shape).
            condition: shape (*B, *condition_shape), or without batch dimension when all share it.

        Returns:
            z, shape (*B, *latent_shape), and log|det ∂z/∂x|, shape (*B,), in nats.
        """
        return self._checked(self._forward, "x", x, self.event_shape, condition)

    def inverse(self, z: Tensor, *, condition: Tensor | None = None) -> Mapped:
        """x = f⁻¹(z).

        Args:
            z: latent, shape (*B, *latent_shape).
            condition: as for `forward`.

        Returns:
            x, shape (*B, *event_shape), and log|det ∂x/∂z|, shape (*B,), in nats.
        """
        return self._checked(self._inverse, "z", z, self.latent_shape, condition)

    @abstractmethod
    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        """x: (N, *event_shape) to z: (N, *latent_shape) and logdet: (N,)."""

    @abstractmethod
    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        """z: (N, *latent_shape) to x: (N, *event_shape) and logdet of the inverse: (N,)."""

    def _checked(
        self, mathematics: Mathematics, name: str, value: Tensor, shape: tuple[int, ...], condition: Tensor | None
    ) -> Mapped:
        require.has_event_shape(name, value, shape)
        flat, batch = flatten_batch(value, len(shape))
        mapped, logdet = mathematics(flat, self._condition_rows(condition, len(flat)))
        return restore_batch(mapped, batch), restore_batch(logdet, batch)

    def _condition_rows(self, condition: Tensor | None, rows: int) -> Tensor | None:
        """The condition, one row an example: (N, *condition_shape)."""
        if condition is None:
            if self.condition_shape:
                raise ValueError(f"{type(self).__name__} needs a condition of shape (*B, *{self.condition_shape})")
            return None
        if not self.condition_shape:
            raise ValueError(f"{type(self).__name__} takes no condition, got one of shape {tuple(condition.shape)}")
        require.has_event_shape("condition", condition, self.condition_shape)
        flat, _ = flatten_batch(condition, len(self.condition_shape))
        if len(flat) not in (1, rows):
            raise ValueError(f"condition must have {rows} rows, one an example, got {len(flat)}")
        return flat.expand(rows, *self.condition_shape)


class Composed(Transform):
    """f = f_K ∘ … ∘ f_1; log-determinants add up.

    Args:
        transforms: f_1 (next to the data) to f_K (next to the base). Those that take a condition share it.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        if not transforms:
            raise ValueError("a composed flow needs at least one transform, got none")
        for before, after in pairwise(transforms):
            if before.latent_shape != after.event_shape:
                raise ValueError(
                    f"{type(before).__name__} gives {before.latent_shape}, {type(after).__name__} after it takes "
                    f"{after.event_shape}"
                )
        conditions = {transform.condition_shape for transform in transforms} - {()}
        if len(conditions) > 1:
            raise ValueError(f"the transforms must share one condition, got the shapes {sorted(conditions)}")
        super().__init__(
            transforms[0].event_shape,
            latent_shape=transforms[-1].latent_shape,
            condition_shape=conditions.pop() if conditions else (),
        )
        self.transforms = nn.ModuleList(transforms)

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        logdet = x.new_zeros(len(x))
        for transform in self.transforms:
            x, term = transform(x, condition=condition if transform.condition_shape else None)
            logdet = logdet + term
        return x, logdet

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        logdet = z.new_zeros(len(z))
        for transform in reversed(self.transforms):
            assert isinstance(transform, Transform)
            z, term = transform.inverse(z, condition=condition if transform.condition_shape else None)
            logdet = logdet + term
        return z, logdet


class Inverse(Transform):
    """f⁻¹ as a transform: a map whose cheap direction is the other one."""

    def __init__(self, transform: Transform) -> None:
        super().__init__(
            transform.latent_shape, latent_shape=transform.event_shape, condition_shape=transform.condition_shape
        )
        self.transform = transform

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        return self.transform.inverse(x, condition=condition)

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        return self.transform.forward(z, condition=condition)


@dataclass(frozen=True)
class Drawn:
    """Samples with their own density: `x` (*B, *event_shape), `log_prob` (*B,) in nats."""

    x: Tensor
    log_prob: Tensor


class FlowDensity(nn.Module):
    """The density of x when f(x) follows the base.

    Args:
        transform: f, data to latent.
        base: p_Z over the transform's latent shape; a standard normal unless given.
    """

    def __init__(self, transform: Transform, base: Base | None = None) -> None:
        super().__init__()
        self.transform = transform
        self.base: Base = StandardNormal(transform.latent_shape) if base is None else base
        if self.base.event_shape != transform.latent_shape:
            raise ValueError(f"the flow gives z of shape {transform.latent_shape}, the base is {self.base.event_shape}")
        self.event_shape = transform.event_shape

    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> Mapped:
        """x -> z and log|det ∂z/∂x| (*B,), as `Transform.forward`."""
        return self.transform.forward(x, condition=condition)

    def inverse(self, z: Tensor, *, condition: Tensor | None = None) -> Mapped:
        """z -> x and log|det ∂x/∂z| (*B,), as `Transform.inverse`."""
        return self.transform.inverse(z, condition=condition)

    def log_prob(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """log p(x) = log p_Z(f(x)) + log|det ∂f/∂x|.

        Args:
            x: data, shape (*B, *event_shape).
            condition: shape (*B, *condition_shape) or (*condition_shape), for a conditional flow.

        Returns:
            Nats, summed over dimensions, shape (*B,).
        """
        z, logdet = self.transform.forward(x, condition=condition)
        return self.base.log_prob(z) + logdet

    @torch.no_grad()
    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """x = f⁻¹(z), z from the base: shape (n, *event_shape), without gradients.

        Args:
            n: how many, at least 1.
            condition: shape (n, *condition_shape), or (*condition_shape) for all.
            generator: where the base's noise comes from.
        """
        require.at_least("n", n, 1)
        x, _ = self.transform.inverse(self.base.sample(n, generator=generator), condition=condition)
        return x

    def draw(self, noise: Tensor, *, condition: Tensor | None = None) -> Drawn:
        """Push given base noise (*B, *latent_shape) to x, with log p(x) for one pass; differentiable.

        What variational inference needs of a flow: log p(x) = log p_Z(z) - log|det ∂x/∂z|.
        """
        x, logdet = self.transform.inverse(noise, condition=condition)
        return Drawn(x, self.base.log_prob(noise) - logdet)
