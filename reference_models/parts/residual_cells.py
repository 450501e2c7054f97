"""The residual cells of NVAE: what lets a hierarchy of thirty latent groups be trained.

    encoder   BN → Swish → conv 3×3 → BN → Swish → conv 3×3 → SE                                     figure 3b
    decoder   BN → conv 1×1 (6 C) → BN → Swish → depthwise conv 5×5 → BN → Swish → conv 1×1 → BN → SE     figure 3a

Both add their result, scaled by 0.1, to what came in. SE, squeeze-and-excitation, multiplies each channel by a number
in (0, 1) made from the means of all channels. NVAE: A Deep Hierarchical Variational Autoencoder (Vahdat, Kautz, 2020),
https://arxiv.org/abs/2007.03898; Squeeze-and-Excitation Networks (Hu et al., 2018), https://arxiv.org/abs/1709.01507

NOTE: the factor 0.1 and the momentum of batch normalisation are those of the authors' code.
"""

from __future__ import annotations

from torch import Tensor, nn

from reference_models.parts.residual import Residual

SCALE = 0.1  # of what a cell adds
MOMENTUM = 0.05  # of batch normalisation, half of torch's default: NVAE asks for running averages that move slowly


class SqueezeExcite(nn.Module):
    """x times σ(W₂ relu(W₁ mean over pixels of x)), channel by channel: (N, C, H, W), shape kept."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(channels // reduction, 4)
        self.gate = nn.Sequential(nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean(dim=(-2, -1)))[..., None, None]


class NVAEEncoderCell(Residual):
    """The cell of the bottom-up tower: (N, C, H, W), shape kept."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.BatchNorm2d(channels, momentum=MOMENTUM),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels, momentum=MOMENTUM),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            SqueezeExcite(channels),
            scale=SCALE,
        )


class NVAEDecoderCell(Residual):
    """The cell of the top-down path, wide and depthwise for a large receptive field: (N, C, H, W), shape kept."""

    def __init__(self, channels: int, expansion: int = 6) -> None:
        wide = expansion * channels
        super().__init__(
            nn.BatchNorm2d(channels, momentum=MOMENTUM),
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.BatchNorm2d(wide, momentum=MOMENTUM),
            nn.SiLU(),
            nn.Conv2d(wide, wide, 5, padding=2, groups=wide, bias=False),
            nn.BatchNorm2d(wide, momentum=MOMENTUM),
            nn.SiLU(),
            nn.Conv2d(wide, channels, 1, bias=False),
            nn.BatchNorm2d(channels, momentum=MOMENTUM),
            SqueezeExcite(channels),
            scale=SCALE,
        )
