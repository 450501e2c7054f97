"""A mixture of discretised logistics over the channels of a pixel, which depend on each other linearly.

    P(x | π, μ, s) = Σ_i π_i Π_c [σ((x_c + ½ − μ_{i,c})/s_{i,c}) − σ((x_c − ½ − μ_{i,c})/s_{i,c})]     (eq. 2)
    μ_{i,G} = μ_G + α r,    μ_{i,B} = μ_B + β r + γ g,    α, β, γ = tanh of what the network gives     (eq. 3)

The lowest level takes all mass below it, the highest all above. One component speaks for all channels of a pixel.

Reference: "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other Modifications"
(Salimans, Karpathy, Chen, Kingma, 2017), sections 2.1–2.2, https://arxiv.org/abs/1701.05517.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from reference_models.parts.distributions import discretised_logistic_mixture_log_prob
from reference_models.parts.raster import centred, from_levels
from reference_models.parts.sampling import draw_categorical

LOWEST_LOG_SCALE = -7.0  # the authors' bound: a component narrower than a ninth of a level gains nothing


class PixelMixture:
    """The law of a pixel with C channels: M components, each a chain of C discretised logistics.

    parameters: (*S, M·(1 + 2C + C(C−1)/2)): logits π, means μ, log-scales, then couplings before their tanh, in the
    order (1,0), (2,0), (2,1), ... of (channel, earlier channel). Values stand on [−1, 1], level k at 2k/(K−1) − 1.
    """

    def __init__(self, parameters: Tensor, channels: int, levels: int) -> None:
        C, pairs = channels, channels * (channels - 1) // 2
        split = parameters.unflatten(-1, (1 + 2 * C + pairs, -1))  # (*S, 1 + 2C + pairs, M)
        self.logits = split[..., 0, :]  # (*S, M)
        self.means = split[..., 1 : 1 + C, :]  # (*S, C, M)
        self.log_scales = split[..., 1 + C : 1 + 2 * C, :].clamp(min=LOWEST_LOG_SCALE)
        self.couplings = torch.tanh(split[..., 1 + 2 * C :, :])  # (*S, pairs, M)
        self.levels = levels

    @staticmethod
    def parameters_per_component(channels: int) -> int:
        """1 + 2C + C(C−1)/2: ten for RGB."""
        return 1 + 2 * channels + channels * (channels - 1) // 2

    def mean(self, c: int, before: Tensor) -> Tensor:
        """The means of channel c, (*S, M), given those before it (eq. 3): (*S, C) on [−1, 1], of which c are read."""
        first = c * (c - 1) // 2
        shift = self.couplings[..., first : first + c, :] * before[..., :c, None]  # (*S, c, M)
        return self.means[..., c, :] + shift.sum(-2)

    def log_prob(self, k: Tensor) -> Tensor:
        """log P(pixel) in nats: levels (*S, C), long, to (*S,). One component explains all channels of a pixel."""
        x = centred(from_levels(k, self.levels, self.means.dtype))
        total = torch.log_softmax(self.logits, dim=-1)  # (*S, M)
        for c in range(k.shape[-1]):
            mean = self.mean(c, x).unsqueeze(-1)  # (*S, M, 1): each component a mixture of one
            each = k[..., c, None].expand(mean.shape[:-1])
            log_scale = self.log_scales[..., c, :].unsqueeze(-1)
            total = total + discretised_logistic_mixture_log_prob(
                each, torch.zeros_like(mean), mean, log_scale, self.levels
            )
        return torch.logsumexp(total, dim=-1)

    def sample(self, generator: Generator | None = None) -> Tensor:
        """Levels, long, (*S, C): a component, then one logistic value a channel, rounded to the nearest level."""
        component = draw_categorical(self.logits, generator).unsqueeze(-1)  # (*S, 1)
        C = self.means.shape[-2]
        x = torch.zeros_like(self.means[..., 0])  # (*S, C)
        u = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype).clamp(1e-12, 1 - 1e-7)
        k = torch.zeros_like(x, dtype=torch.long)
        for c in range(C):
            mean = self.mean(c, x).gather(-1, component).squeeze(-1)
            log_scale = self.log_scales[..., c, :].gather(-1, component).squeeze(-1)
            value = mean + torch.exp(log_scale) * torch.logit(u[..., c])
            k[..., c] = ((value + 1) / 2 * (self.levels - 1)).round().clamp(0, self.levels - 1).long()
            x[..., c] = centred(from_levels(k[..., c], self.levels, x.dtype))
        return k
