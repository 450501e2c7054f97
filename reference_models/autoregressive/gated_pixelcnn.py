"""Gated PixelCNN: a PixelCNN without blind spot, with gates in place of ReLUs.

Two stacks of convolutions run side by side. The vertical one sees all rows above and needs no mask; the horizontal one
sees its own row to the left and takes from the vertical one what is above. Together they see every earlier pixel. Each
layer ends in a gate; the horizontal stack alone is residual (figure 2):

    y = tanh(W_f ∗ x) ⊙ σ(W_g ∗ x)                                  (eq. 2)
    y = tanh(W_f ∗ x + V_f s) ⊙ σ(W_g ∗ x + V_g s)                  (eq. 4: s a vector; eq. 5: s a map)

Reference: "Conditional Image Generation with PixelCNN Decoders" (van den Oord et al., 2016), sections 2.1–2.3,
https://arxiv.org/abs/1606.05328.

NOTE: the paper shifts the vertical features down by one row on their way to the horizontal stack; here the image is
shifted once, at the entry of the vertical stack: the same network, but for constants above the first row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.parts.raster import (
    RasterConv2d,
    RasterHead,
    RasterModel,
    causal_mask,
    centred,
    colour_groups,
    to_conditionals,
)
from reference_models.parts.require import at_least


def gate(x: Tensor) -> Tensor:
    """tanh of the first half of the feature maps times σ of the second: (N, 2p, H, W) to (N, p, H, W)."""
    f, g = x.chunk(2, dim=1)
    return torch.tanh(f) * torch.sigmoid(g)


def shift_down(x: Tensor) -> Tensor:
    """Row i becomes row i + 1, zeros come in at the top, the last row falls out: (N, C, H, W), shape kept."""
    return F.pad(x, (0, 0, 1, 0))[:, :, :-1]


class VerticalConv2d(nn.Conv2d):
    """A convolution over the rows i−r..i, all columns within r: k = 2r + 1. Keeps H and W."""

    def __init__(self, in_features: int, out_features: int, kernel: int) -> None:
        super().__init__(in_features, out_features, (kernel // 2 + 1, kernel))

    def forward(self, x: Tensor) -> Tensor:
        r = self.kernel_size[0] - 1
        return super().forward(F.pad(x, (r, r, r, 0)))


class HorizontalConv2d(nn.Conv2d):
    """A convolution over the columns j−r..j of one row, the last under mask A or B. Keeps H and W; two gate stacks."""

    mask: Tensor

    def __init__(self, kind: str, in_features: int, out_features: int, kernel: int, channels: int) -> None:
        super().__init__(in_features, out_features, (1, kernel // 2 + 1))
        out_groups = colour_groups(out_features // 2, channels).repeat(2)
        mask = causal_mask(kind, out_groups, colour_groups(in_features, channels), (1, kernel))
        self.register_buffer("mask", mask[..., : kernel // 2 + 1].to(self.weight), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (self.kernel_size[1] - 1, 0))
        return self._conv_forward(padded, self.weight * self.mask, self.bias)


class GatedLayer(nn.Module):
    """One layer of both stacks (figure 2). kind "A" makes the first, which reads the image and is not residual."""

    def __init__(
        self, kind: str, in_features: int, features: int, kernel: int, channels: int, condition_features: int
    ) -> None:
        super().__init__()
        self.residual = kind == "B"
        self.vertical = VerticalConv2d(in_features, 2 * features, kernel)
        self.link = nn.Conv2d(2 * features, 2 * features, 1)
        self.horizontal = HorizontalConv2d(kind, in_features, 2 * features, kernel, channels)
        self.out = RasterConv2d("B", features, features, 1, channels)
        self.V = nn.Conv2d(condition_features, 4 * features, 1, bias=False) if condition_features else None

    def forward(self, v: Tensor, h: Tensor, s: Tensor | None) -> tuple[Tensor, Tensor]:
        """v, h: (N, in, H, W), the two stacks; s: the condition as a map, (N, E, H or 1, W or 1). Both stacks again."""
        above: Tensor = self.vertical(v)  # (N, 2p, H, W)
        left: Tensor = self.horizontal(h) + self.link(above)
        if self.V is not None:
            for_v, for_h = self.V(s).chunk(2, dim=1)
            above, left = above + for_v, left + for_h
        out: Tensor = self.out(gate(left))
        return gate(above), h + out if self.residual else out


class GatedPixelCNN(RasterModel):
    """A density on images of K levels.

    image_shape: (C, H, W); levels: K. features: p, maps of either stack; layers: how many, the first included;
    head: maps of the two last layers; first_kernel, kernel: odd. condition_features: E, size of a condition, 0 for none
    (`conditional_pixelcnn` makes a conditional density of it).
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 8, 8),
        levels: int = 2,
        *,
        features: int = 24,
        layers: int = 4,
        head: int = 32,
        first_kernel: int = 7,
        kernel: int = 3,
        condition_features: int = 0,
    ) -> None:
        super().__init__(image_shape, levels)
        at_least("features", features, 1)
        at_least("layers", layers, 1)
        at_least("condition_features", condition_features, 0)
        channels = self.image_shape[0]
        first = GatedLayer("A", channels, features, first_kernel, channels, condition_features)
        rest = [GatedLayer("B", features, features, kernel, channels, condition_features) for _ in range(layers - 1)]
        self.condition_features = condition_features
        self.layers = nn.ModuleList([first, *rest])
        self.head = RasterHead(features, head, channels, levels)

    @classmethod
    def paper(cls) -> GatedPixelCNN:
        """ImageNet at 32×32: 20 layers of 384 maps, filters of 5×5 (section 3.1)."""
        return cls((3, 32, 32), 256, features=384, layers=20, head=1024, first_kernel=5, kernel=5)

    def logits(self, x: Tensor, s: Tensor | None = None) -> Tensor:
        """Unnormalised log-conditionals, (N, C, h, W) floats k/(K−1) to (N, K, C, h, W).

        s: the condition as a map, (N, E, h or 1, W or 1), where the network was built for one.
        """
        if (0 if s is None else s.shape[1]) != self.condition_features:
            got = "none" if s is None else f"shape {tuple(s.shape)}"
            raise ValueError(f"the network takes a condition of {self.condition_features} features, got {got}")
        h = centred(x)
        v = shift_down(h)
        for layer in self.layers:
            v, h = layer(v, h, s)
        features: Tensor = self.head(h)
        return to_conditionals(features, self.image_shape[0], self.levels)
