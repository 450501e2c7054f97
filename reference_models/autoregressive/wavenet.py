"""WaveNet: raw audio, sample by sample, from a stack of dilated causal convolutions.

Each layer looks k samples back at a distance that doubles from layer to layer, so that ten layers see 1024 samples. Its
gated output goes two ways, residually to the next layer and by a skip connection to the softmax over K levels:

    z = tanh(W_f ∗ x + V_f h) ⊙ σ(W_g ∗ x + V_g h)                    (eq. 2; h a condition, eq. 3)
    x ← x + W_res z,    logits = W_2 ReLU(W_1 ReLU(Σ_layers W_skip z))   (figure 4)
    f(a) = sign(a) ln(1 + μ|a|) / ln(1 + μ),   μ = 255                (μ-law: 16 bits in 256 levels, section 2.2)

Sampling keeps, for each layer, a queue of the inputs it still has to see: a step then costs one column of each layer
instead of the whole receptive field.

References: "WaveNet: A Generative Model for Raw Audio" (van den Oord et al., 2016), https://arxiv.org/abs/1609.03499;
queues: "Fast Wavenet Generation Algorithm" (Paine et al., 2016), https://arxiv.org/abs/1611.09482.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.parts.masked import CausalConv1d
from reference_models.parts.raster import to_levels
from reference_models.parts.require import at_least
from reference_models.parts.sampling import draw_categorical
from reference_models.parts.shapes import flatten_batch, restore_batch
from reference_models.parts.training import evaluating


def mu_law_encode(audio: Tensor, levels: int = 256) -> Tensor:
    """Amplitudes in [−1, 1] as levels 0..K−1, long, same shape, μ = K − 1. Raises ValueError outside of [−1, 1]."""
    at_least("levels", levels, 2)
    if not bool((audio.abs() <= 1).all()):
        raise ValueError(f"audio must lie in [-1, 1], got values in [{float(audio.min())}, {float(audio.max())}]")
    mu = levels - 1
    compressed = audio.sign() * torch.log1p(mu * audio.abs()) / math.log1p(mu)
    return ((compressed + 1) / 2 * mu).round().long()


def mu_law_decode(k: Tensor, levels: int = 256, dtype: torch.dtype = torch.float32) -> Tensor:
    """Levels 0..K−1 as amplitudes in [−1, 1]: the inverse of the companding, up to the rounding."""
    at_least("levels", levels, 2)
    mu = levels - 1
    compressed = 2 * to_levels(k, levels).to(dtype) / mu - 1
    return compressed.sign() * torch.expm1(compressed.abs() * math.log1p(mu)) / mu


class Layer(nn.Module):
    """A gated dilated convolution with its two 1×1 ways out. The last layer has no way on, only the skip."""

    def __init__(
        self, residual: int, gates: int, skip: int, kernel: int, dilation: int, condition_features: int, last: bool
    ) -> None:
        super().__init__()
        self.dilated = CausalConv1d(residual, 2 * gates, kernel, dilation)
        self.V = nn.Conv1d(condition_features, 2 * gates, 1, bias=False) if condition_features else None
        self.skip = nn.Conv1d(gates, skip, 1)
        self.residual = None if last else nn.Conv1d(gates, residual, 1)

    def ways_out(self, x: Tensor, dilated: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        """The next layer's input and the skip, (N, R, T) and (N, S, T), from this layer's input and its convolution."""
        if self.V is not None:
            dilated = dilated + self.V(h)
        f, g = dilated.chunk(2, dim=1)
        z = torch.tanh(f) * torch.sigmoid(g)  # (N, gates, T)
        return (x if self.residual is None else x + self.residual(z)), self.skip(z)


class WaveNet(nn.Module):
    """A density on sequences of K levels, of any length.

    levels: K. dilations: one a layer; kernel: k, taps of every causal convolution. residual, gates, skip: maps of the
    residual way, of each half of a gate, of the skips and the two last layers. length: of samples, unless told.
    condition_features: E, 0 for none. A condition is global, (*B, E), or a series, (*B, E, T).
    """

    def __init__(
        self,
        levels: int = 16,
        *,
        dilations: Sequence[int] = (1, 2, 4, 8),
        kernel: int = 2,
        residual: int = 24,
        gates: int = 24,
        skip: int = 32,
        length: int = 32,
        condition_features: int = 0,
    ) -> None:
        super().__init__()
        at_least("levels", levels, 2)
        at_least("kernel", kernel, 2)
        if not dilations or min(dilations) < 1:
            raise ValueError(f"dilations must be positive and at least one, got {tuple(dilations)}")
        self.levels, self.length, self.condition_features = levels, length, condition_features
        self.first = CausalConv1d(levels, residual, kernel)
        last = len(dilations) - 1
        self.layers = nn.ModuleList(
            Layer(residual, gates, skip, kernel, d, condition_features, last=i == last) for i, d in enumerate(dilations)
        )
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(skip, skip, 1), nn.ReLU(), nn.Conv1d(skip, levels, 1))

    @classmethod
    def paper(cls) -> WaveNet:
        """256 μ-law levels, dilations 1, 2, ..., 512 three times (section 2.1), one second at 16 kHz.

        The paper does not state its widths; these are those of the teacher in "Parallel WaveNet" (van den Oord et al.,
        2017), https://arxiv.org/abs/1711.10433: 512 residual maps, gates of two times 256, skips of 256. That teacher's
        filters have three taps; the two of figures 2 and 3 stand here.
        """
        stack = [2**i for i in range(10)]
        return cls(256, dilations=3 * stack, residual=512, gates=256, skip=256, length=16_000)

    @property
    def receptive_field(self) -> int:
        """How many samples before x_t the conditional of x_t can see: 1 + (k − 1)(1 + Σ dilations)."""
        return 1 + self.first.memory + sum(layer.dilated.memory for layer in self._stack)

    def logits(self, one_hot: Tensor, condition: Tensor | None = None) -> Tensor:
        """Unnormalised log p(x_t = k | x_<t) at every t: (N, K, T) to (N, K, T).

        one_hot: the sequence with each level as a unit vector (or any relaxation of it).
        """
        h = self._as_series(condition, one_hot.shape[2])
        x: Tensor = self.first(F.pad(one_hot, (1, 0))[..., :-1])  # input t is x_{t−1}
        skips = []
        for layer in self._stack:
            x, skip = layer.ways_out(x, layer.dilated(x), h)
            skips.append(skip)
        return self.head(torch.stack(skips).sum(0))

    def log_prob(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """log p(x) in nats, summed over time: (*B, T) to (*B,).

        x: levels 0..K−1 as integers (or floats k/(K−1)). Raises ValueError for any other value or number of dimensions.
        """
        if x.ndim not in (1, 2) or x.shape[-1] == 0:
            raise ValueError(f"x must have shape (T,) or (N, T) with T > 0, got {tuple(x.shape)}")
        k, batch = flatten_batch(to_levels(x, self.levels), 1)
        if condition is not None and not batch:
            condition = condition.unsqueeze(0)
        one_hot = F.one_hot(k, self.levels).to(self._like.dtype).transpose(1, 2)  # (N, K, T)
        log_p = torch.log_softmax(self.logits(one_hot, condition), dim=1)
        return restore_batch(log_p.gather(1, k.unsqueeze(1)).sum(dim=(1, 2)), batch)

    def sample(
        self,
        n: int,
        *,
        length: int | None = None,
        condition: Tensor | None = None,
        generator: Generator | None = None,
        cached: bool = True,
    ) -> Tensor:
        """n sequences of levels, long, shape (n, T).

        length: T. condition: one each, (n, E) or (n, E, T).
        cached: with queues, or by the whole network for each sample (slow, the same draws).
        """
        T = self.length if length is None else length
        at_least("length", T, 1)
        h = self._as_series(condition, T)
        with evaluating(self):
            queues = self._queues(n)
            one_hot = self._like.new_zeros(n, self.levels, T)
            newest = one_hot.new_zeros(n, self.levels)
            for t in range(T):
                h_t = None if h is None else h[..., t : t + 1]
                if cached:
                    logits = self._step(newest, queues, h_t)
                else:
                    logits = self.logits(one_hot[..., : t + 1], None if h is None else h[..., : t + 1])[..., t]
                newest = F.one_hot(draw_categorical(logits, generator), self.levels).to(one_hot.dtype)
                one_hot[..., t] = newest
        return one_hot.argmax(1)

    def _queues(self, n: int) -> list[Tensor]:
        return [self.first.queue(n), *(layer.dilated.queue(n) for layer in self._stack)]

    def _step(self, newest: Tensor, queues: list[Tensor], h_t: Tensor | None) -> Tensor:
        """Logits of the next sample, (n, K), given the newest as a unit vector, (n, K); moves the queues on by one."""
        x, queues[0] = self.first.step(newest, queues[0])
        skips = []
        for i, layer in enumerate(self._stack, start=1):
            dilated, queues[i] = layer.dilated.step(x, queues[i])
            on, skip = layer.ways_out(x.unsqueeze(-1), dilated.unsqueeze(-1), h_t)
            x = on.squeeze(-1)
            skips.append(skip)
        out: Tensor = self.head(torch.stack(skips).sum(0))
        return out.squeeze(-1)

    def _as_series(self, condition: Tensor | None, T: int) -> Tensor | None:
        """A global condition (N, E) repeated over time; a series (N, E, T) as it is."""
        if condition is None and self.condition_features == 0:
            return None
        E = self.condition_features
        if condition is None or condition.shape[1:] not in ((E,), (E, T)):
            got = "none" if condition is None else f"shape {tuple(condition.shape)}"
            raise ValueError(f"the condition must have shape (N, {E}) or (N, {E}, {T}), got {got}")
        return condition if condition.ndim == 3 else condition.unsqueeze(-1).expand(-1, -1, T)

    @property
    def _stack(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    @property
    def _like(self) -> Tensor:
        return next(self.parameters())
