"""CUT: one-sided unpaired translation; what ties output to input is that their patches tell on each other.

One generator G and one discriminator, no way back. The first half of G is also an encoder; a small network H_l maps its
features at layer l to unit vectors. A patch of the output (query v) must be recognised as coming from the same place of
the input (key v+), among other places of the same image (keys v-):

    l(v, v+, v-) = -log  exp(v.v+ / tau) / (exp(v.v+ / tau) + sum_n exp(v.v-_n / tau)),   tau = 0.07      (eq. 2)
    L_PatchNCE(X) = E_x sum_l sum_s l(z_hat_l^s, z_l^s, z_l^{S \\ s})                                      (eq. 3)
    L = L_GAN + λ_X L_PatchNCE(X) + λ_Y L_PatchNCE(Y),   λ_X = λ_Y = 1                                    (eq. 5)

where the last term, for y in the target domain, asks G to leave y alone. Were the S places independent, log S - E l
would bound the mutual information of query and key from below.

Why CUT among one-sided methods: DistanceGAN keeps distances between images and GcGAN keeps a symmetry, both strong
assumptions about the map; CUT assumes only locality, is the method of reference since, and its loss is a plain
cross-entropy with known values.

NOTE: places and layers are averaged, not summed, and keys carry no gradient, as in the authors' code.

Contrastive Learning for Unpaired Image-to-Image Translation (Park et al., 2020), https://arxiv.org/abs/2007.15651
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.adversarial.cyclegan import TranslationNetwork, initialise
from reference_models.adversarial.pix2pix import PatchDiscriminator
from reference_models.parts.networks import MLP
from reference_models.parts.require import at_least, positive
from reference_models.parts.training import freeze

TEMPERATURE = 0.07  # section 3
PATCHES = 256  # section 4
HEAD = 256  # section 4: two layers of 256 units


def patch_nce(queries: Tensor, keys: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Eq. 2 averaged over images and places, nats, a scalar.

    queries, keys: unit vectors of S places of N images, (N, S, C); place s of one belongs to place s of the other, and
    the other places of the same image are the negatives. Keys carry no gradient.

    Raises:
        ValueError: shapes differ, fewer than 2 places, a temperature that is not positive.
    """
    positive("temperature", temperature)
    if queries.shape != keys.shape or queries.ndim != 3:
        shapes = f"{tuple(queries.shape)} and {tuple(keys.shape)}"
        raise ValueError(f"queries and keys must have one shape (N, S, C), got {shapes}")
    at_least("the number of places", queries.shape[1], 2)
    logits = queries @ keys.detach().mT / temperature  # (N, S, S): row s, a query; column s, its key
    here = torch.arange(queries.shape[1], device=queries.device).expand(len(queries), -1)
    return F.cross_entropy(logits.flatten(0, 1), here.flatten())


@dataclass(frozen=True)
class CutLoss:
    """The generator's loss and its parts, scalars: total = adversarial + λ_X nce_x + λ_Y nce_y."""

    total: Tensor
    adversarial: Tensor
    nce_x: Tensor
    nce_y: Tensor


class CUT(nn.Module):
    """Translation from X to Y.

    translator: G, whose `features` give the encoder's layers.
    judge: D, a network to scores.
    layers: where features are taken, 0 being the pixels; each gets its own head H_l.
    channels: number of features at each of those layers.
    patches: places drawn in each image, at most as many as there are.
    weight_x, weight_y: λ_X and λ_Y.

    Raises:
        ValueError: layers and channels differ in number, fewer than 2 patches, a negative weight.
    """

    def __init__(
        self,
        translator: TranslationNetwork,
        judge: nn.Module,
        layers: Sequence[int],
        channels: Sequence[int],
        *,
        head: int = HEAD,
        patches: int = PATCHES,
        weight_x: float = 1.0,
        weight_y: float = 1.0,
        temperature: float = TEMPERATURE,
    ) -> None:
        super().__init__()
        if len(layers) != len(channels) or list(layers) != sorted(set(layers)):
            raise ValueError(f"every layer, in ascending order, needs its channels, got {layers} and {channels}")
        at_least("patches", patches, 2)
        at_least("weight_x", weight_x, 0)
        at_least("weight_y", weight_y, 0)
        positive("temperature", temperature)
        self.translator, self.judge, self.layers = translator, judge, tuple(layers)
        self.heads = nn.ModuleList(MLP(count, [head], head, activation=nn.ReLU) for count in channels)
        self.patches, self.weight_x, self.weight_y, self.temperature = patches, weight_x, weight_y, temperature

    @classmethod
    def images(
        cls, channels: int = 1, width: int = 16, blocks: int = 2, weight_x: float = 1.0, weight_y: float = 1.0
    ) -> Self:
        """Small networks for 8×8 images: features are the pixels, the first layer, the halved one and one block."""
        translator = TranslationNetwork(channels, channels, width, blocks, halvings=1, kernel=3)
        judge = PatchDiscriminator(channels, (width, 2 * width))
        translator.apply(initialise)
        judge.apply(initialise)
        layers = (channels, width, 2 * width, 2 * width)
        weights = {"weight_x": weight_x, "weight_y": weight_y}
        return cls(translator, judge, (0, 1, 2, 3), layers, head=32, patches=16, **weights)

    @classmethod
    def paper(cls) -> Self:
        """CycleGAN's 256×256 networks; features: pixels, both halvings, residual blocks 1 and 5 (section 4)."""
        return cls(TranslationNetwork(3, 3), PatchDiscriminator(3), (0, 2, 3, 4, 8), (3, 128, 256, 256, 256))

    def forward(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """G(x), shaped as x; nothing is drawn."""
        return self.translator(x)

    def contrast(self, x: Tensor, translated: Tensor, *, generator: Generator | None = None) -> Tensor:
        """L_PatchNCE of images x and their translations, the mean over layers of `patch_nce`; a scalar, nats."""
        queries, keys = (self.translator.features(image, self.layers) for image in (translated, x))
        losses = []
        for head, query, key in zip(self.heads, queries, keys, strict=True):
            places = query.shape[-2] * query.shape[-1]
            chosen = torch.randperm(places, generator=generator, device=x.device)[: self.patches]
            v, v_key = (_unit(head(f.flatten(2).mT[:, chosen])) for f in (query, key))  # (N, S, C)
            losses.append(patch_nce(v, v_key, self.temperature))
        return torch.stack(losses).mean()

    def discriminator_loss(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Tensor:
        """1/2 (E (D(y) - 1)² + E D(G(x))²), over images and patches; no gradient to G, and nothing is drawn."""
        with torch.no_grad():
            fake = self(x)
        return 0.5 * ((self.judge(y) - 1).square().mean() + self.judge(fake).square().mean())

    def generator_loss(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> CutLoss:
        """Eq. 5 for G and the heads, with least squares; D's parameters get no gradient."""
        fake = self(x)
        with freeze(self.judge):
            adversarial = (self.judge(fake) - 1).square().mean()
        nce_x = self.contrast(x, fake, generator=generator)
        nce_y = self.contrast(y, self(y), generator=generator) if self.weight_y else torch.zeros_like(nce_x)
        total = adversarial + self.weight_x * nce_x + self.weight_y * nce_y
        return CutLoss(total, adversarial, nce_x, nce_y)


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features, dim=-1)
