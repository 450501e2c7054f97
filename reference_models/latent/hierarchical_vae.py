"""A hierarchy of latents read bottom-up and generated top-down, its posteriors written relative to its priors.

    p(z, x) = p(z_1) Π_l p(z_l | z_<l) p(x | z),    q(z | x) = Π_l q(z_l | z_<l, x)

Both run down the same path: a state s carries z_<l; the prior of group l reads s, the posterior reads s and the
bottom-up features of x at the same resolution, and says how far it moves away from the prior (`residual_group.py`).

    L(x) = E_q [ log p(x | z) − Σ_l KL(q(z_l | z_<l, x) ‖ p(z_l | z_<l)) ]                   NVAE eq. 1

Each KL is in closed form given the groups above it, which are drawn. Sharing the top-down path is the idea of Ladder
Variational Autoencoders (Sønderby et al., 2016), https://arxiv.org/abs/1602.02282; groups, residual normals and cells
are those of NVAE: A Deep Hierarchical Variational Autoencoder (Vahdat, Kautz, 2020), section 3,
https://arxiv.org/abs/2007.03898

NOTE: left out are the paper's spectral regularisation, its optional flows, its balancing of the groups' KLs early in
training, and the extra cells before the first and after the last group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from reference_models.latent.bounds import as_elbo, examples
from reference_models.latent.residual_group import Group, residual_normal_kl
from reference_models.parts.distributions import normal_log_prob, standard_normal
from reference_models.parts.likelihoods import Binomial, DiscretisedLogisticMixture, Likelihood
from reference_models.parts.networks import ResidualConvBlock
from reference_models.parts.require import at_least, positive
from reference_models.parts.residual_cells import NVAEDecoderCell, NVAEEncoderCell
from reference_models.parts.shapes import sum_event
from reference_models.parts.training import evaluating
from reference_models.protocols import Elbo


@dataclass(frozen=True)
class Scale:
    """`groups` groups of latents of `channels` channels each, on feature maps `resolution` pixels high and wide."""

    resolution: int
    groups: int
    channels: int


@dataclass(frozen=True)
class Descent:
    """One way down: `z`, L tensors (N, c, r, r); `log_p`, `log_q` of each group, (L, N), nats; `kl`, closed form given
    the groups above, (L, N); `h`, what the likelihood wants."""

    z: list[Tensor]
    log_p: Tensor
    log_q: Tensor
    kl: Tensor
    h: Tensor


class HierarchicalVAE(nn.Module):
    """Latents on feature maps of one or several resolutions; a vector x of D numbers is an image of one pixel.

    event_shape: (C, H, W) with H = W, or (D,). scales: from the top, each resolution H divided by a power of two, or
    1 for vectors. width: channels at full resolution, doubled at each halving. outputs: channels of the likelihood's h
    for each channel of x. nvae_cells: cells with batch normalisation and squeeze-and-excitation, for real images.
    """

    def __init__(
        self,
        event_shape: Sequence[int] = (1, 8, 8),
        scales: Sequence[Scale] = (Scale(2, 1, 4), Scale(4, 2, 2)),
        *,
        width: int = 16,
        likelihood: Likelihood | None = None,
        outputs: int = 1,
        cells_per_group: int = 1,
        nvae_cells: bool = False,
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self._image = self.event_shape if len(self.event_shape) == 3 else (*self.event_shape, 1, 1)
        C = self._image[0]
        halvings = _halvings(self._image, scales)
        self.likelihood = Binomial() if likelihood is None else likelihood
        self._kernel = 1 if self._image[1] == 1 else 3
        self._nvae, self._cells = nvae_cells, cells_per_group
        widths = [width * 2**k for k in range(halvings[0] + 1)]  # by number of halvings
        pad = self._kernel // 2
        self.stem = nn.Conv2d(C, width, self._kernel, padding=pad)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in pairwise(widths))
        groups: list[nn.Module] = []
        reads: list[nn.Module] = []
        self.halvings: list[int] = []  # of each group
        for scale, k in zip(scales, halvings, strict=True):
            for _ in range(scale.groups):
                cell = self._cell(NVAEDecoderCell, widths[k])
                groups.append(Group(widths[k], scale.channels, cell, self._kernel, first=not groups))
                reads.append(self._cell(NVAEEncoderCell, widths[k]))
                self.halvings.append(k)
        self.groups, self.reads = nn.ModuleList(groups), nn.ModuleList(reads)
        self.start = nn.Parameter(torch.randn(widths[-1], scales[0].resolution, scales[0].resolution))
        self.head = nn.Sequential(
            self._cell(NVAEDecoderCell, width), nn.SiLU(), nn.Conv2d(width, outputs * C, self._kernel, padding=pad)
        )

    @classmethod
    def nvae_cifar10(cls) -> HierarchicalVAE:
        """The model of 32×32 images (NVAE, table 6): 30 groups of 20 channels at 16×16, two cells each, width 128."""
        likelihood = DiscretisedLogisticMixture(256, components=10)
        scales = [Scale(16, 30, 20)]
        return cls(
            (3, 32, 32), scales, width=128, likelihood=likelihood, outputs=30, cells_per_group=2, nvae_cells=True
        )

    def _cell(self, kind: type[NVAEDecoderCell] | type[NVAEEncoderCell], width: int) -> nn.Module:
        """`cells_per_group` cells of that kind, or plain residual blocks instead: (N, width, r, r), shape kept."""
        if self._nvae:
            return nn.Sequential(*(kind(width) for _ in range(self._cells)))
        return nn.Sequential(*(ResidualConvBlock(width, kernel_size=self._kernel) for _ in range(self._cells)))

    def _features(self, x: Tensor) -> list[Tensor]:
        """What each group's posterior sees of x, from the top: the tower upwards, one cell deeper for each group."""
        h: Tensor = self.stem(x.reshape(-1, *self._image))
        features: list[Tensor] = []
        k = 0
        for read, halvings in zip(reversed(self.reads), reversed(self.halvings), strict=True):
            while k < halvings:
                h = self.down[k](h)
                k += 1
            h = read(h)
            features.append(h)
        return features[::-1]

    def descend(
        self,
        n: int,
        *,
        x: Tensor | None = None,
        z: Sequence[Tensor] | None = None,
        temperature: float = 1.0,
        generator: Generator | None = None,
        noise: Sequence[Tensor] | None = None,
    ) -> Descent:
        """Draws z from the top for n examples: from q(z | x) where x (n, *event) is given, else from the prior.

        z: latents to follow, L tensors (n, c, r, r), in place of drawing any. temperature: multiplies the priors' σ in
        sampling without x. noise: ε of each group, L tensors (n, c, r, r).
        """
        features = None if x is None else self._features(x)
        s = self.start.expand(n, *self.start.shape)
        k = self.halvings[0]
        latents: list[Tensor] = []
        log_p: list[Tensor] = []
        log_q: list[Tensor] = []
        kl: list[Tensor] = []
        for i, (group, halvings) in enumerate(zip(self.groups, self.halvings, strict=True)):
            assert isinstance(group, Group)
            s, k = self._rise(s, k, halvings), halvings
            prior_mean, prior_log_std = group.prior_parameters(s)
            mean, log_std = prior_mean, prior_log_std + math.log(temperature)
            delta_mean = delta_log_std = torch.zeros_like(mean)
            if features is not None:
                delta_mean, delta_log_std = group.difference(s, features[i])
                mean, log_std = prior_mean + delta_mean, prior_log_std + delta_log_std
            eps = standard_normal(mean.shape, mean, generator) if noise is None else noise[i]
            z_l = mean + log_std.exp() * eps if z is None else z[i]
            latents.append(z_l)
            log_p.append(sum_event(normal_log_prob(z_l, prior_mean, prior_log_std), 3))
            log_q.append(sum_event(normal_log_prob(z_l, mean, log_std), 3))
            kl.append(sum_event(residual_normal_kl(delta_mean, delta_log_std, prior_log_std), 3))
            s = group(s, z_l)
        h: Tensor = self.head(self._rise(s, k, 0))
        if len(self.event_shape) == 1:
            h = h.flatten(1)
        return Descent(latents, torch.stack(log_p), torch.stack(log_q), torch.stack(kl), h)

    def _rise(self, s: Tensor, k: int, target: int) -> Tensor:
        """The state at `target` halvings, from k: doubled in size and halved in channels each time."""
        for level in range(k - 1, target - 1, -1):
            s = self.up[level](nn.functional.interpolate(s, scale_factor=2.0, mode="nearest"))
        return s

    def elbo(self, x: Tensor, *, generator: Generator | None = None, noise: Sequence[Tensor] | None = None) -> Elbo:
        """The bound from one draw of z, with its parts: (*B, *event) to (*B,), nats; a group's kl is closed-form."""
        flat, batch_shape = examples(x, self.event_shape)
        down = self.descend(len(flat), x=flat, generator=generator, noise=noise)
        return as_elbo(self.likelihood.log_prob(flat, down.h), down.kl.sum(dim=0), batch_shape)

    def rates(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """KL of each group from the top, from one draw of those above it: (*B, *event) to (L, *B), nats."""
        flat, batch_shape = examples(x, self.event_shape)
        return self.descend(len(flat), x=flat, generator=generator).kl.reshape(-1, *batch_shape)

    def log_weights(self, x: Tensor, samples: int, *, generator: Generator | None = None) -> Tensor:
        """log p(x, z) − log q(z | x) of `samples` draws from q: (*B, *event) to (samples, *B), nats."""
        at_least("samples", samples, 1)
        flat, batch_shape = examples(x, self.event_shape)
        repeated = flat.expand(samples, *flat.shape).flatten(0, 1)  # (samples * N, *event)
        down = self.descend(len(repeated), x=repeated, generator=generator)
        log_w = self.likelihood.log_prob(repeated, down.h) + (down.log_p - down.log_q).sum(dim=0)
        return log_w.reshape(samples, *batch_shape)

    def sample(self, n: int, *, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """n draws of p(x), shape (n, *event_shape); a temperature below 1 narrows every prior (NVAE section 4)."""
        positive("temperature", temperature)
        with evaluating(self):
            h = self.descend(n, temperature=temperature, generator=generator).h
            return self.likelihood.sample(h, generator=generator)


def _halvings(image: Sequence[int], scales: Sequence[Scale]) -> list[int]:
    """How often each scale's resolution halves the image's. Raises ValueError where it does not."""
    _, height, width = image
    if height != width:
        raise ValueError(f"images must be square, got {height} × {width}")
    at_least("the number of scales", len(scales), 1)
    halvings = []
    for scale in scales:
        at_least("groups", scale.groups, 1)
        at_least("channels", scale.channels, 1)
        k = round(math.log2(height / scale.resolution)) if scale.resolution > 0 else -1
        if k < 0 or scale.resolution * 2**k != height:
            raise ValueError(f"every resolution must be {height} divided by a power of two, got {scale.resolution}")
        halvings.append(k)
    if any(a <= b for a, b in pairwise(halvings)):
        raise ValueError(f"resolutions must grow from the top, got {[scale.resolution for scale in scales]}")
    return halvings
