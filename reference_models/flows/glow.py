"""Glow: per step a per-channel affine map set by the data, a learned mixing of channels, an affine coupling.

A step of flow (figure 2, table 1), K of them a level, L levels with squeeze before and factoring-out after:

    ActNorm          z = s ⊙ x + b; the first batch sets s, b to leave with mean 0, variance 1 a channel   (section 3.1)
    invertible 1×1   z_ij = W x_ij (linear.py)                                                      (section 3.2)
    affine coupling  (log s, t) = NN(x_b), z_a = s ⊙ x_a + t, z_b = x_b; NN ends in zeros           (section 3.3)

The variables that leave a level are Gaussian given those that stay: z = (x - μ(h)) / σ(h).

"Glow: Generative Flow with Invertible 1×1 Convolutions" (Kingma, Dhariwal, 2018), https://arxiv.org/abs/1807.03039.

NOTE: the paper writes s = exp(log s); here, as in its authors' code, s = sigmoid(raw + 2), which cannot overflow. That
code also scales the networks' convolutions by learned factors; plain convolutions stand here.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from reference_models.flows.change_of_variables import Composed, FlowDensity, Mapped, Transform
from reference_models.flows.linear import InvertibleLinear
from reference_models.flows.multi_scale import Flatten, MultiScale, Squeeze, remaining_shape
from reference_models.parts import require


class ActNorm(Transform):
    """z = exp(log s) ⊙ x + b, one s and b a channel (or feature).

    The first call of `forward` in training mode sets s and b from its batch; `initialised` remembers it and travels in
    the state_dict. Before that the map is the identity.

    Args:
        event_shape: (D,) or (C, H, W).
    """

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape)
        self.log_s = nn.Parameter(torch.zeros(event_shape[0]))
        self.b = nn.Parameter(torch.zeros(event_shape[0]))
        self.initialised: Tensor
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))
        self.pixels = math.prod(self.event_shape[1:])

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set s and b so that x, (N, *event_shape), would leave with mean 0 and variance 1 a channel."""
        values = x.transpose(0, 1).flatten(1)  # (channels, N·H·W)
        std = values.std(1, unbiased=False)
        if not bool((std > 0).all()):
            raise ValueError(f"ActNorm needs a first batch that varies in every channel, got deviations {std.tolist()}")
        self.log_s.copy_(-std.log())
        self.b.copy_(-values.mean(1) / std)
        self.initialised.fill_(True)

    def _per_channel(self, values: Tensor) -> Tensor:
        return values.reshape(-1, *(1,) * (len(self.event_shape) - 1))

    def _logdet(self, rows: int) -> Tensor:
        return (self.pixels * self.log_s.sum()).expand(rows)

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        if self.training and not bool(self.initialised):
            self.initialise(x)
        return self._per_channel(self.log_s.exp()) * x + self._per_channel(self.b), self._logdet(len(x))

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        x = (z - self._per_channel(self.b)) * self._per_channel((-self.log_s).exp())
        return x, -self._logdet(len(z))


def zero_convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    """A 3×3 convolution that starts as the zero map."""
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1)
    nn.init.zeros_(convolution.weight)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution


class GlowCoupling(Transform):
    """z_a = s ⊙ x_a + t for the first half of the channels, s and t from the second half.

    Args:
        event_shape: (C, H, W), C even.
        hidden: feature maps of the two hidden convolutions, 3×3 and 1×1.
        net: any network from x_b (N, C/2, H, W) to raw s and t (N, C, H, W), in place of these convolutions.
        gated: s = sigmoid(raw + 2); s = exp(raw) as in the paper's table 1 otherwise.
    """

    def __init__(
        self, event_shape: Sequence[int], hidden: int = 32, *, net: nn.Module | None = None, gated: bool = True
    ) -> None:
        super().__init__(event_shape)
        half = remaining_shape(self.event_shape)[0]
        self.gated = gated
        self.net = net or nn.Sequential(
            nn.Conv2d(half, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(),
            zero_convolution(hidden, 2 * half),
        )

    def log_s_and_t(self, x_b: Tensor) -> tuple[Tensor, Tensor]:
        """Each (N, C/2, H, W)."""
        out: Tensor = self.net(x_b)
        raw, t = out.chunk(2, dim=1)
        return logsigmoid(raw + 2) if self.gated else raw, t

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        x_a, x_b = x.chunk(2, dim=1)
        log_s, t = self.log_s_and_t(x_b)
        return torch.cat([log_s.exp() * x_a + t, x_b], dim=1), log_s.flatten(1).sum(1)

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        z_a, z_b = z.chunk(2, dim=1)
        log_s, t = self.log_s_and_t(z_b)
        return torch.cat([(z_a - t) * (-log_s).exp(), z_b], dim=1), -log_s.flatten(1).sum(1)


class ConditionalGaussian(Transform):
    """The learned prior of the variables that leave: z = (x - μ(h)) exp(-log σ(h)), μ and σ a convolution of h.

    Args:
        event_shape: (C, H, W) of the leaving half; the condition h, the staying half, has the same.
    """

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape, condition_shape=event_shape)
        self.net = zero_convolution(event_shape[0], 2 * event_shape[0])

    def mean_log_std(self, h: Tensor | None) -> tuple[Tensor, Tensor]:
        """μ and log σ, each (N, C, H, W)."""
        out: Tensor = self.net(h)
        mean, log_std = out.chunk(2, dim=1)
        return mean, log_std

    def _forward(self, x: Tensor, condition: Tensor | None) -> Mapped:
        mean, log_std = self.mean_log_std(condition)
        return (x - mean) * (-log_std).exp(), -log_std.flatten(1).sum(1)

    def _inverse(self, z: Tensor, condition: Tensor | None) -> Mapped:
        mean, log_std = self.mean_log_std(condition)
        return z * log_std.exp() + mean, log_std.flatten(1).sum(1)


class Glow(FlowDensity):
    """L levels of K steps over a standard normal.

    Args:
        event_shape: (C, H, W), H and W divisible by 2^levels.
        levels: L ≥ 1.
        steps: K ≥ 1.
        hidden: feature maps of the coupling networks.
        form: how W is parametrised, "dense" or "lu".
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        levels: int = 2,
        steps: int = 4,
        hidden: int = 32,
        form: Literal["dense", "lu"] = "lu",
    ) -> None:
        require.at_least("levels", levels, 1)
        require.at_least("steps", steps, 1)
        stack: list[Transform] = []
        shape = tuple(event_shape)
        for level in range(levels):
            squeeze = Squeeze(shape)
            shape = squeeze.latent_shape
            parts: list[Transform] = [squeeze]
            for _ in range(steps):
                parts += [ActNorm(shape), InvertibleLinear(shape, form), GlowCoupling(shape, hidden)]
            if level == levels - 1 and levels == 1:
                parts.append(Flatten(shape))
            stack.append(Composed(parts))
            shape = remaining_shape(shape)
        super().__init__(MultiScale(event_shape, stack, finish=ConditionalGaussian) if levels > 1 else stack[0])

    @classmethod
    def cifar10(cls) -> "Glow":
        """The 32×32 model of the quantitative experiments: K = 32, L = 3, 512 feature maps, affine couplings."""
        return cls((3, 32, 32), levels=3, steps=32, hidden=512, form="dense")
