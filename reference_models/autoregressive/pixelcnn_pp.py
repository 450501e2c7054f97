"""PixelCNN++: a PixelCNN with a mixture of logistics per pixel, whole pixels at a time, and two lower resolutions.

A colour value is a logistic variable rounded to the nearest level, so that close levels have close probabilities and
ten components replace a 256-way softmax. Within a component R, G and B depend on each other linearly:

    P(x | π, μ, s) = Σ_i π_i [σ((x + ½ − μ_i)/s_i) − σ((x − ½ − μ_i)/s_i)]      (eq. 2; the edge levels take the tails)
    μ_G(r) = μ_G + α r,   μ_B(r, g) = μ_B + β r + γ g                          (eq. 3)

The network is a U: two streams, u (rows above) and ul (above and left), go down through residual blocks and strided
convolutions and up again, with short-cuts across (figure 2). Causality comes from shifting the image, not from masks.

Reference: "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other Modifications"
(Salimans, Karpathy, Chen, Kingma, 2017), https://arxiv.org/abs/1701.05517.

NOTE: the authors initialise their weight-normalised layers from a first batch; here they start as PyTorch starts them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from reference_models.parts.pixel_mixture import PixelMixture
from reference_models.parts.raster import centred, from_levels, to_levels
from reference_models.parts.require import at_least, has_event_shape
from reference_models.parts.shapes import flatten_batch, restore_batch
from reference_models.parts.training import evaluating


def concat_elu(x: Tensor) -> Tensor:
    """elu(x) and elu(−x), side by side: twice the maps."""
    return F.elu(torch.cat([x, -x], dim=1))


def shifted(x: Tensor, down: int = 0, right: int = 0) -> Tensor:
    """Moves a map down and to the right, zeros come in: (N, F, H, W), shape kept."""
    return F.pad(x, (right, -right, down, -down))


class Above(nn.Module):
    """A k_h × k_w convolution over the rows i−k_h+1..i, centred in width (the u stream)."""

    def __init__(self, in_features: int, out_features: int, kernel: tuple[int, int] = (2, 3), stride: int = 1) -> None:
        super().__init__()
        self.pad = (kernel[1] // 2, kernel[1] // 2, kernel[0] - 1, 0)
        self.conv = weight_norm(nn.Conv2d(in_features, out_features, kernel, stride))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, self.pad))


class AboveLeft(Above):
    """A convolution over the rows i−k_h+1..i and the columns j−k_w+1..j (the ul stream)."""

    def __init__(self, in_features: int, out_features: int, kernel: tuple[int, int] = (2, 2), stride: int = 1) -> None:
        super().__init__(in_features, out_features, kernel, stride)
        self.pad = (kernel[1] - 1, 0, kernel[0] - 1, 0)


def upsampler(features: int, stream: type[Above]) -> nn.Module:
    """Twice the side, causally: low pixel (r, c) reaches rows 2r, 2r+1 and, in ul, columns 2c, 2c+1."""
    if stream is Above:
        up = nn.ConvTranspose2d(features, features, (2, 3), stride=2, padding=(0, 1), output_padding=(0, 1))
    else:
        up = nn.ConvTranspose2d(features, features, (2, 2), stride=2)
    return weight_norm(up, dim=1)


class GatedResidual(nn.Module):
    """x + a σ(b), where a and b come from two convolutions of x and, through a 1×1, of a short-cut."""

    def __init__(self, stream: type[Above], features: int, shortcut: int, dropout: float) -> None:
        super().__init__()
        self.first = stream(2 * features, features)
        self.shortcut = weight_norm(nn.Conv2d(2 * shortcut, features, 1)) if shortcut else None
        self.dropout = nn.Dropout(dropout)
        self.second = stream(2 * features, 2 * features)

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        h: Tensor = self.first(concat_elu(x))
        if self.shortcut is not None and shortcut is not None:
            h = h + self.shortcut(concat_elu(shortcut))
        a, b = self.second(self.dropout(concat_elu(h))).chunk(2, dim=1)
        return x + a * torch.sigmoid(b)


class PixelCNNPlusPlus(nn.Module):
    """A density on images of K levels.

    image_shape: (C, H, W), H and W divisible by 2^(resolutions−1); levels: K. features: maps of each stream; blocks:
    residual blocks a resolution; resolutions: 1 or more; mixtures: M; dropout: in training, within the blocks.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 8, 8),
        levels: int = 17,
        *,
        features: int = 16,
        blocks: int = 1,
        resolutions: int = 2,
        mixtures: int = 5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("levels", levels, 2),
            ("features", features, 1),
            ("blocks", blocks, 1),
            ("resolutions", resolutions, 1),
            ("mixtures", mixtures, 1),
        ):
            at_least(name, value, least)
        self.stride = 2 ** (resolutions - 1)
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise ValueError(f"image_shape must be (C, H, W) with positive entries, got {tuple(image_shape)}")
        C, H, W = image_shape
        if H % self.stride or W % self.stride:
            raise ValueError(f"H and W must be divisible by 2^(resolutions - 1) = {self.stride}, got {H} × {W}")
        self.image_shape, self.levels, self.mixtures = (C, H, W), levels, mixtures
        f = features

        def block(stream: type[Above], shortcut: int) -> GatedResidual:
            return GatedResidual(stream, f, shortcut, dropout)

        self.u_in = Above(C + 1, f)
        self.ul_in_above = Above(C + 1, f, (1, 3))
        self.ul_in_left = AboveLeft(C + 1, f, (2, 1))
        # down the U: `blocks` at each resolution, a strided convolution between resolutions
        self.u_down = nn.ModuleList(block(Above, 0) for _ in range(resolutions * blocks))
        self.ul_down = nn.ModuleList(block(AboveLeft, f) for _ in range(resolutions * blocks))
        self.u_shrink = nn.ModuleList(Above(f, f, stride=2) for _ in range(resolutions - 1))
        self.ul_shrink = nn.ModuleList(AboveLeft(f, f, stride=2) for _ in range(resolutions - 1))
        # and up: one more block for each map to take over, so blocks, then blocks + 1 at every higher resolution
        total = resolutions * blocks + resolutions - 1
        self.u_up = nn.ModuleList(block(Above, f) for _ in range(total))
        self.ul_up = nn.ModuleList(block(AboveLeft, 2 * f) for _ in range(total))
        self.u_grow = nn.ModuleList(upsampler(f, Above) for _ in range(resolutions - 1))
        self.ul_grow = nn.ModuleList(upsampler(f, AboveLeft) for _ in range(resolutions - 1))
        self.blocks, self.resolutions = blocks, resolutions
        self.out = weight_norm(nn.Conv2d(f, mixtures * PixelMixture.parameters_per_component(C), 1))

    @classmethod
    def paper(cls) -> PixelCNNPlusPlus:
        """CIFAR-10: 160 maps, 5 blocks at 32, 16 and 8 pixels, 10 components, dropout ½; 53.7 million parameters.

        The sizes are the defaults of the authors' code, https://github.com/openai/pixel-cnn; the paper counts nothing.
        """
        return cls((3, 32, 32), 256, features=160, blocks=5, resolutions=3, mixtures=10, dropout=0.5)

    def pixel_parameters(self, x: Tensor) -> Tensor:
        """What a `PixelMixture` takes, for every pixel given the pixels before it: (N, C, h, W) to (N, h, W, M·(...)).

        x: floats k/(K−1), the first h rows of an image, h divisible by 2^(resolutions−1).
        """
        x = F.pad(centred(x), (0, 0, 0, 0, 0, 1), value=1.0)  # a map of ones tells the image from its padding
        u = shifted(self.u_in(x), down=1)
        ul = shifted(self.ul_in_above(x), down=1) + shifted(self.ul_in_left(x), right=1)
        us, uls = [u], [ul]
        for r in range(self.resolutions):
            if r > 0:
                u, ul = self.u_shrink[r - 1](u), self.ul_shrink[r - 1](ul)
                us, uls = [*us, u], [*uls, ul]
            for i in range(r * self.blocks, (r + 1) * self.blocks):
                u = self.u_down[i](u)
                ul = self.ul_down[i](ul, u)
                us, uls = [*us, u], [*uls, ul]
        u, ul = us.pop(), uls.pop()
        up = zip(self.u_up, self.ul_up, strict=True)
        for r in range(self.resolutions):
            if r > 0:
                u, ul = self.u_grow[r - 1](u), self.ul_grow[r - 1](ul)
            for _ in range(self.blocks + (r > 0)):
                u_block, ul_block = next(up)
                u = u_block(u, us.pop())
                ul = ul_block(ul, torch.cat([u, uls.pop()], dim=1))
        return self.out(F.elu(ul)).movedim(1, -1)  # (N, h, W, M·(1 + 2C + C(C−1)/2))

    def log_prob(self, x: Tensor) -> Tensor:
        """log P(x) in nats, summed over pixels: (*B, C, H, W), floats k/(K−1) or integers k, to (*B,).

        Raises ValueError when the shape does not fit or a value is not one of the K levels.
        """
        has_event_shape("x", x, self.image_shape)
        k, batch = flatten_batch(to_levels(x, self.levels), 3)
        parameters = self.pixel_parameters(from_levels(k, self.levels, self._like.dtype))
        law = PixelMixture(parameters, self.image_shape[0], self.levels)
        return restore_batch(law.log_prob(k.movedim(1, -1)).sum(dim=(1, 2)), batch)

    def sample(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """n images, floats k/(K−1), shape (n, C, H, W); one pass a pixel, over the rows up to it."""
        C, H, W = self.image_shape
        with evaluating(self):
            x = self._like.new_zeros(n, C, H, W)
            for i in range(H):
                rows = (i // self.stride + 1) * self.stride
                for j in range(W):
                    law = PixelMixture(self.pixel_parameters(x[:, :, :rows])[:, i, j], C, self.levels)
                    x[:, :, i, j] = from_levels(law.sample(generator), self.levels, x.dtype)
        return x

    @property
    def _like(self) -> Tensor:
        return next(self.parameters())
