"""RealNVP: affine couplings, invertible because half of the numbers stay as they are.

With a binary mask b, the numbers under b pass through and steer the others (eq. 9):

    z = b ⊙ x + (1 - b) ⊙ (x ⊙ exp(s(b ⊙ x)) + t(b ⊙ x)),      log|det ∂z/∂x| = Σ (1 - b) ⊙ s(b ⊙ x)     (eq. 6)

so the Jacobian is triangular and s, t may be any network. Masks alternate, otherwise half of x would never move:
checkerboards of pixels, then, after a squeeze, halves of the channels; after each level half of the variables are
done (multi_scale.py). Vectors alternate even and odd places.

"Density Estimation Using Real NVP" (Dinh, Sohl-Dickstein, Bengio, 2017), https://arxiv.org/abs/1605.08803.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.parametrizations import weight_norm

from reference_models.flows.change_of_variables import Composed, FlowDensity, Mapped, Transform
from reference_models.flows.multi_scale import Flatten, MultiScale, Squeeze, remaining_shape
from reference_models.parts import require
from reference_models.parts.networks import MLP


def alternating_mask(dim: int, parity: int) -> Tensor:
    """(D,): 1 at the places i with (i + parity) even, which pass through."""
    return (torch.arange(dim) + parity + 1) % 2


def checkerboard_mask(event_shape: Sequence[int], parity: int) -> Tensor:
    """(C, H, W): 1 at the pixels with (row + column + parity) odd, in every channel (figure 3, left)."""
    C, H, W = event_shape
    board = (torch.arange(H)[:, None] + torch.arange(W)[None, :] + parity) % 2
    return board.expand(C, H, W).clone()


def channel_mask(event_shape: Sequence[int], parity: int) -> Tensor:
    """(C, H, W): 1 in the first half of the channels for parity 0, in the second for 1 (figure 3, right)."""
    C, H, W = event_shape
    if C % 2:
        raise ValueError(f"a channel mask needs an even number of channels, got {C} in {tuple(event_shape)}")
    first = torch.arange(C) < C // 2
    return (first if parity == 0 else ~first).long()[:, None, None].expand(C, H, W).clone()


class ConvResNet(nn.Module):
    """The network of s and t on images: a convolution in, residual blocks with skips to the output, 1×1 out.

    NOTE: weight normalisation as in the paper, but no batch normalisation inside, so that the density of an image
    never depends on its neighbours in the batch.
    """

    def __init__(self, channels_in: int, width: int, blocks: int, channels_out: int) -> None:
        super().__init__()
        self.enter = weight_norm(nn.Conv2d(channels_in, width, 3, padding=1))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                weight_norm(nn.Conv2d(width, width, 3, padding=1)),
                nn.ReLU(),
                weight_norm(nn.Conv2d(width, width, 3, padding=1)),
            )
            for _ in range(blocks)
        )
        self.skips = nn.ModuleList(weight_norm(nn.Conv2d(width, width, 1)) for _ in range(blocks + 1))
        self.leave = weight_norm(nn.Conv2d(width, channels_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.enter(x)
        out: Tensor = self.skips[0](h)
        for block, skip in zip(self.blocks, list(self.skips)[1:], strict=True):
            h = h + block(h)
            out = out + skip(h)
        return self.leave(relu(out))


class AffineCoupling(Transform):
    """Eq. 6-9.

    Args:
        mask: b, ones pass through; shape of the event, (D,) or (C, H, W).
        hidden: widths of the MLP of a vector coupling.
        width, blocks: feature maps and residual blocks of an image coupling.
        condition_shape: (K,) for vectors; (K, H, W) for images.
        net: any network from b ⊙ x, with the condition behind it in dimension 1, to s and t, one after the other in
            dimension 1; an MLP or `ConvResNet` of these sizes unless given.
        bounded: s = a tanh(net), with one learned a, as in the paper's experiments; s is the network's otherwise.
    """

    def __init__(
        self,
        mask: Tensor,
        *,
        hidden: Sequence[int] = (64, 64),
        width: int = 16,
        blocks: int = 1,
        condition_shape: Sequence[int] = (),
        net: nn.Module | None = None,
        bounded: bool = False,
    ) -> None:
        super().__init__(tuple(mask.shape), condition_shape=condition_shape)
        if not mask.is_meta and bool((mask == mask.flatten()[0]).all()):
            raise ValueError(f"a coupling's mask must keep some and move some, got one of all {int(mask.flatten()[0])}")
        self.mask: Tensor
        self.register_buffer("mask", mask.bool())
        extra = condition_shape[0] if condition_shape else 0
        size = mask.shape[0]
        if net is None and mask.ndim == 1:
            net = MLP(size + extra, hidden, 2 * size)
        self.net = ConvResNet(size + extra, width, blocks, 2 * size) if net is None else net
        self.a = nn.Parameter(torch.ones(())) if bounded else None

    def s_and_t(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """s and t at b ⊙ x, each (N, *event_shape), zero under the mask."""
        seen = x.masked_fill(~self.mask, 0.0)
        out: Tensor = self.net(seen if condition is None else torch.cat([seen, condition], dim=1))
        s, t = out.chunk(2, dim=1)
        s = s if self.a is None else self.a * torch.tanh(s)
        return s.masked_fill(self.mask, 0.0), t.masked_fill(self.mask, 0.0)

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        s, t = self.s_and_t(x, condition)
        return x * torch.exp(s) + t, s.flatten(1).sum(1)

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        s, t = self.s_and_t(z, condition)
        return (z - t) * torch.exp(-s), -s.flatten(1).sum(1)


class InvertibleBatchNorm(Transform):
    """Batch normalisation as a layer of the flow: z = (x - μ̃) / √(σ̃² + ε), log|det| = -½ Σ log(σ̃² + ε), eq. 17-18.

    In training mode `forward` normalises with the statistics of its batch and moves the running ones towards them;
    otherwise, and in `inverse` always, the running statistics rule. One mean and variance a channel (or feature).

    Args:
        event_shape: (D,) or (C, H, W).
        momentum: share of the new batch in the running statistics.
        eps: ε.

    NOTE: the paper's variant (appendix E) normalises by the running statistics in training too, with gradients through
    the newest batch's share of them, for the sake of small batches; here, as in MAF, training batches stand alone.
    """

    def __init__(self, event_shape: Sequence[int], momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__(event_shape)
        require.within("momentum", momentum, 0, 1, "()")
        self.momentum, self.eps = momentum, eps
        self.mean: Tensor
        self.var: Tensor
        self.register_buffer("mean", torch.zeros(event_shape[0]))
        self.register_buffer("var", torch.ones(event_shape[0]))

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return self.mean, self.var
        values = x.transpose(0, 1).flatten(1)  # (channels, N·H·W)
        if values.shape[1] < 2:
            raise ValueError("batch normalisation in training mode needs two values a channel, got 1")
        mean, var = values.mean(1), values.var(1, unbiased=False)
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.var.lerp_(var, self.momentum)
        return mean, var

    def _logdet(self, var: Tensor, rows: int) -> Tensor:
        """-½ Σ log(σ̃² + ε), each channel counted once a pixel."""
        return (-0.5 * torch.log(var + self.eps).sum() * math.prod(self.event_shape[1:])).expand(rows)

    def _per_channel(self, values: Tensor) -> Tensor:
        return values.reshape(-1, *(1,) * (len(self.event_shape) - 1))

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        mean, var = self._statistics(x)
        z = (x - self._per_channel(mean)) / torch.sqrt(self._per_channel(var) + self.eps)
        return z, self._logdet(var, len(x))

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        x = z * torch.sqrt(self._per_channel(self.var) + self.eps) + self._per_channel(self.mean)
        return x, -self._logdet(self.var, len(z))


class RealNVP(FlowDensity):
    """Vectors: alternating couplings. Images: per level three checkerboard couplings, squeeze, three channel couplings,
    half of the channels out; a last level of four checkerboard couplings (section 3.6).

    Args:
        event_shape: (D,) with D ≥ 2, or (C, H, W) with H and W divisible by 2^(scales - 1).
        couplings: their number, vectors only.
        hidden: widths of the MLPs, vectors only.
        scales: levels of an image flow, at least 1.
        width, blocks: feature maps at the first level (doubled at each squeeze) and residual blocks, images only.
        batch_norm: invertible batch normalisation after every coupling.
    """

    def __init__(
        self,
        event_shape: Sequence[int] = (2,),
        *,
        couplings: int = 8,
        hidden: Sequence[int] = (64, 64),
        scales: int = 2,
        width: int = 16,
        blocks: int = 1,
        batch_norm: bool = False,
        condition_dim: int = 0,
    ) -> None:
        shape = tuple(event_shape)

        def after(mask: Tensor, **options: Any) -> list[Transform]:
            norm: list[Transform] = [InvertibleBatchNorm(tuple(mask.shape))] if batch_norm else []
            return [AffineCoupling(mask, bounded=True, **options), *norm]

        if len(shape) == 1:
            require.at_least("the dimension of a coupling flow", shape[0], 2)
            require.at_least("couplings", couplings, 1)
            condition = (condition_dim,) if condition_dim else ()
            steps: list[Transform] = []
            for k in range(couplings):
                steps += after(alternating_mask(shape[0], k), hidden=hidden, condition_shape=condition)
            super().__init__(Composed(steps))
            return
        if len(shape) != 3:
            raise ValueError(f"event_shape must be (D,) or (C, H, W), got {shape}")
        if condition_dim:
            raise ValueError(f"conditions are for vectors, got condition_dim={condition_dim} and images {shape}")
        require.at_least("scales", scales, 1)
        levels: list[Transform] = []
        for level in range(scales - 1):
            features = width * 2**level
            steps = []
            for k in range(3):
                steps += after(checkerboard_mask(shape, k), width=features, blocks=blocks)
            steps.append(Squeeze(shape))
            shape = steps[-1].latent_shape
            for k in range(3):
                steps += after(channel_mask(shape, k % 2), width=2 * features, blocks=blocks)
            levels.append(Composed(steps))
            shape = remaining_shape(shape)
        steps = []
        for k in range(4):
            steps += after(checkerboard_mask(shape, k), width=width * 2 ** (scales - 1), blocks=blocks)
        levels.append(Composed(steps))
        super().__init__(MultiScale(event_shape, levels) if scales > 1 else Composed([levels[0], Flatten(event_shape)]))

    @classmethod
    def cifar10(cls) -> "RealNVP":
        """Section 4.1: 32×32 colour images, one downscaling, 8 residual blocks, 64 feature maps at the first level."""
        return cls((3, 32, 32), scales=2, width=64, blocks=8, batch_norm=True)
