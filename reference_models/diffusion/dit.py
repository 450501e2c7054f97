"""DiT: a transformer over patches in place of the U-Net, told time and label by adaptive normalisation.

The image is cut into p×p patches, each a token; positions are fixed sines and cosines. In every block the sum c of time
and label embedding gives six vectors, by which normalised tokens are scaled and shifted and results gated (adaLN-Zero,
figure 3 and section 3.2):

    γ_1, β_1, α_1, γ_2, β_2, α_2 = W swish(c)
    h <- h + α_1 ⊙ Attention((1 + γ_1) ⊙ LN(h) + β_1),      h <- h + α_2 ⊙ MLP((1 + γ_2) ⊙ LN(h) + β_2)

W starts at zero, so every block starts as the identity, and the last layer at zero.

"Scalable Diffusion Models with Transformers" (Peebles, Xie, 2023), https://arxiv.org/abs/2212.09748
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reference_models.parts.attention import CausalSelfAttention
from reference_models.parts.conditioning import embed_labels
from reference_models.parts.networks import sinusoidal_embedding, time_embedding
from reference_models.parts.require import at_least, has_event_shape
from reference_models.parts.shapes import flatten_batch, restore_batch
from reference_models.parts.unet import zeroed

FREQUENCIES = 256  # width of the sinusoidal embedding of t, as in the paper's code


class DiTBlock(nn.Module):
    """Attention and a perceptron with adaLN-Zero: tokens (N, L, dim), conditioning (N, dim) -> (N, L, dim)."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.attention = CausalSelfAttention(dim, heads, causal=False)
        self.norm_mlp = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_ratio * dim), nn.GELU(approximate="tanh"), nn.Linear(mlp_ratio * dim, dim)
        )
        self.modulation = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(dim, 6 * dim)))

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """The block with the six vectors that c gives."""
        gamma_1, beta_1, alpha_1, gamma_2, beta_2, alpha_2 = self.modulation(c).unsqueeze(1).chunk(6, dim=-1)
        h = h + alpha_1 * self.attention((1.0 + gamma_1) * self.norm_attention(h) + beta_1)
        return h + alpha_2 * self.mlp((1.0 + gamma_2) * self.norm_mlp(h) + beta_2)


class DiT(nn.Module):
    """f(x, t) or f(x, t, y): images (*B, C, S, S) -> (*B, channels_out, S, S).

    size: S, a multiple of `patch`; channels_out: C unless given (2C where a variance is learnt too)
    dim, depth, heads: width, number of blocks, attention heads; dim a multiple of 4 and of heads
    num_classes: K if labels are given; label K, and no label at all, mean "no label"
    time_scale: t is multiplied by it before its embedding: 1 for steps 0..T−1, 1000 for t in [0, 1]
    """

    positions: Tensor

    def __init__(
        self,
        size: int,
        channels: int,
        *,
        patch: int = 2,
        dim: int = 64,
        depth: int = 2,
        heads: int = 4,
        channels_out: int | None = None,
        num_classes: int | None = None,
        time_scale: float = 1.0,
    ) -> None:
        super().__init__()
        at_least("depth", depth, 1)
        if patch < 1 or size % patch:
            raise ValueError(f"size must be a multiple of the patch, got {size} and {patch}")
        if dim % 4:
            raise ValueError(f"dim must be a multiple of 4 (sines and cosines of two coordinates), got {dim}")
        self.event_shape = (channels, size, size)
        self.patch, self.grid = patch, size // patch
        self.channels_out = channels if channels_out is None else channels_out
        self.time_scale = time_scale
        self.embed = nn.Conv2d(channels, dim, patch, stride=patch)
        self.time = nn.Sequential(nn.Linear(FREQUENCIES, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.labels = None if num_classes is None else nn.Embedding(num_classes + 1, dim)
        self.blocks = nn.ModuleList(DiTBlock(dim, heads) for _ in range(depth))
        self.norm_out = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.modulation_out = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(dim, 2 * dim)))
        self.head = zeroed(nn.Linear(dim, patch * patch * self.channels_out))
        self.register_buffer("positions", position_grid(self.grid, dim), persistent=False)

    @classmethod
    def xl_2(cls) -> DiT:
        """DiT-XL/2 of table 1 on 32×32×4 latents of ImageNet at 256×256, with a learnt variance: 675 million."""
        return cls(32, 4, patch=2, dim=1152, depth=28, heads=16, channels_out=8, num_classes=1000)

    def unpatchify(self, tokens: Tensor) -> Tensor:
        """(N, L, p·p·C_out) to (N, C_out, S, S)."""
        x = tokens.reshape(-1, self.grid, self.grid, self.patch, self.patch, self.channels_out)
        return x.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)  # (N, C_out, grid·p, grid·p)

    def conditioning(self, t: Tensor | float, y: Tensor | None, batch: int) -> Tensor:
        """The sum of time and label embedding, (N, dim); t and y are (N,) or scalars."""
        times = time_embedding(t, FREQUENCIES, self.embed.weight, self.time_scale).expand(batch, -1)
        c: Tensor = self.time(times)
        return c + embed_labels(self.labels, y, batch)

    def forward(self, x: Tensor, t: Tensor | float, y: Tensor | None = None) -> Tensor:
        """x (*B, C, S, S), t (*B,) or a scalar, y (*B,) or None.

        Raises ValueError for another shape of x, for labels out of range, or given without num_classes.
        """
        has_event_shape("x", x, self.event_shape)
        x, batch = flatten_batch(x, 3)
        c = self.conditioning(t, y, len(x))
        h: Tensor = self.embed(x).flatten(2).transpose(1, 2) + self.positions  # (N, L, dim)
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.modulation_out(c).unsqueeze(1).chunk(2, dim=-1)
        h = self.head((1.0 + scale) * self.norm_out(h) + shift)  # (N, L, p·p·C_out)
        return restore_batch(self.unpatchify(h), batch)


def position_grid(grid: int, dim: int) -> Tensor:
    """Sines and cosines of the row, then of the column, of each patch in raster order, (grid², dim)."""
    index = torch.arange(grid, dtype=torch.get_default_dtype())
    row, column = torch.meshgrid(index, index, indexing="ij")
    return torch.cat([sinusoidal_embedding(axis.reshape(-1), dim // 2) for axis in (row, column)], dim=-1)
