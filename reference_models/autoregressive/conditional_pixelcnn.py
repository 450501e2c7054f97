"""Conditional PixelCNN: p(x | h) for a class, a vector or a map h.

A gated PixelCNN whose every gate is biased by the condition, so that it reaches all pixels and all layers:

    p(x | h) = Π_i p(x_i | x_<i, h)                                          (eq. 3)
    y = tanh(W_f ∗ x + V_fᵀ h) ⊙ σ(W_g ∗ x + V_gᵀ h)                         (eq. 4, h a vector; a class is its one-hot)
    y = tanh(W_f ∗ x + V_f ∗ s) ⊙ σ(W_g ∗ x + V_g ∗ s)                       (eq. 5, s a map that says what is where)

With a uniform prior over classes Bayes' rule makes it a classifier: p(h | x) ∝ p(x | h).

Reference: "Conditional Image Generation with PixelCNN Decoders" (van den Oord et al., 2016), section 2.3,
https://arxiv.org/abs/1606.05328.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.autoregressive.gated_pixelcnn import GatedPixelCNN
from reference_models.parts.raster import checked_completion, complete_image, image_log_prob
from reference_models.parts.require import at_least, has_event_shape
from reference_models.parts.shapes import restore_batch
from reference_models.parts.training import evaluating


class ConditionalPixelCNN(nn.Module):
    """A density on images of K levels for each condition.

    condition_features: E, the number of classes or the size of the vector (of the map, per pixel).
    image_shape, levels, features, layers, head, first_kernel, kernel: as for `GatedPixelCNN`.

    A condition is a batch of classes, long (N,), of vectors, (N, E), or of maps, (N, E, H, W); for one image x of shape
    (C, H, W) it comes without N.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 8, 8),
        levels: int = 2,
        condition_features: int = 10,
        *,
        features: int = 24,
        layers: int = 4,
        head: int = 32,
        first_kernel: int = 7,
        kernel: int = 3,
    ) -> None:
        super().__init__()
        at_least("condition_features", condition_features, 1)
        self.net = GatedPixelCNN(
            image_shape,
            levels,
            features=features,
            layers=layers,
            head=head,
            first_kernel=first_kernel,
            kernel=kernel,
            condition_features=condition_features,
        )
        self.image_shape, self.levels, self.condition_features = self.net.image_shape, levels, condition_features

    @classmethod
    def paper(cls) -> ConditionalPixelCNN:
        """ImageNet at 32×32 with its 1000 classes: 20 layers of 384 maps, filters of 5×5 (section 3.2)."""
        return cls((3, 32, 32), 256, 1000, features=384, layers=20, head=1024, first_kernel=5, kernel=5)

    def logits(self, x: Tensor, s: Tensor) -> Tensor:
        """Unnormalised log-conditionals, (N, C, h, W) floats k/(K−1) to (N, K, C, h, W); s: (N, E, H or 1, W or 1)."""
        return self.net.logits(x, s[:, :, : x.shape[2]])

    def log_prob(self, x: Tensor, *, condition: Tensor) -> Tensor:
        """log p(x | condition) in nats, summed over pixels and channels: (*B, C, H, W) to (*B,).

        Raises ValueError when a shape does not fit, a value is not one of the K levels or a class not one of the E.
        """
        has_event_shape("x", x, self.image_shape)
        s = self._as_map(condition, x.shape[: x.ndim - 3])
        return image_log_prob(lambda y: self.logits(y, s), x, self.image_shape, self.levels, self._like.dtype)

    def class_log_prob(self, x: Tensor) -> Tensor:
        """log p(class | x) in nats under a uniform prior, E passes: (*B, C, H, W) to (*B, E)."""
        has_event_shape("x", x, self.image_shape)
        batch = x.shape[: x.ndim - 3]
        classes = [torch.full(batch, c, device=x.device) for c in range(self.condition_features)]
        return torch.log_softmax(torch.stack([self.log_prob(x, condition=c) for c in classes], dim=-1), dim=-1)

    def sample(self, n: int, *, condition: Tensor, generator: Generator | None = None) -> Tensor:
        """n images, floats k/(K−1), shape (n, C, H, W).

        condition: one for all, a class (), a vector (E,) or a map (E, H, W), or one each, with n in front.
        """
        one_for_all = condition.ndim == (0 if not condition.is_floating_point() else 1 if condition.ndim < 3 else 3)
        each = condition.expand(n, *condition.shape) if one_for_all else condition
        blank = self._like.new_zeros(n, *self.image_shape)
        known = torch.zeros_like(blank, dtype=torch.bool)
        return self.complete(blank, known, condition=each, generator=generator)

    def complete(self, x: Tensor, known: Tensor, *, condition: Tensor, generator: Generator | None = None) -> Tensor:
        """Images that agree with x where `known`, drawn in raster order elsewhere; shapes as for `RasterModel`."""
        has_event_shape("x", x, self.image_shape)
        s = self._as_map(condition, x.shape[: x.ndim - 3])
        flat, mask, batch = checked_completion(x, known, self.image_shape, self.levels, self._like.dtype)
        with evaluating(self):
            drawn = complete_image(lambda y: self.logits(y, s), flat, mask, self.levels, generator)
        return restore_batch(drawn, batch)

    def _as_map(self, condition: Tensor, batch: torch.Size) -> Tensor:
        """A condition with batch shape () or (N,) as a map, (N, E, 1, 1) or (N, E, H, W)."""
        E = self.condition_features
        if not condition.is_floating_point():
            if condition.shape != batch or bool(((condition < 0) | (condition >= E)).any()):
                wanted = f"classes 0..{E - 1} of shape {tuple(batch)}"
                found = condition.tolist() if condition.numel() < 8 else tuple(condition.shape)
                raise ValueError(f"the condition must be {wanted}, got {found}")
            condition = F.one_hot(condition.long(), E).to(self._like.dtype)  # (*B, E)
        _, height, width = self.image_shape
        if condition.shape not in ((*batch, E), (*batch, E, height, width)):
            expected = f"{(*batch, E)} or {(*batch, E, height, width)}"
            raise ValueError(f"the condition must have shape {expected}, got {tuple(condition.shape)}")
        return condition.reshape(-1, E, *(condition.shape[len(batch) + 1 :] or (1, 1))).to(self._like.dtype)

    @property
    def _like(self) -> Tensor:
        return next(self.parameters())
