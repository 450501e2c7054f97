"""How diffusion models of images are trained; flow matching trains the same way, with the learners of this file.

Pixels are moved from [0, 1] to [−1, 1]. Samples come from averaged weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from reference_models.data import DataSet
from reference_models.diffusion.ddim import DDIM, strided
from reference_models.diffusion.ddpm import DDPM, cifar10_ddpm
from reference_models.diffusion.dit import DiT
from reference_models.diffusion.latent_diffusion import KLAutoencoder, LatentDiffusion
from reference_models.diffusion.schedule import Schedule
from reference_models.diffusion.sr3 import SR3
from reference_models.evaluation.bits_per_dim import bits_per_dim
from reference_models.evaluation.held_out import digits_found
from reference_models.parts.descent import descend
from reference_models.parts.training import EMA, evaluating
from reference_models.parts.unet import UNet
from reference_models.recipes import OF_DIGITS, Figure, Goal, Images, Learner, Recipe, beside_data, cosine

PIXELS = ("drawn-16", "digits", "drawn", "mnist", "cifar10")
Draw = Callable[[Any, int, Generator], Tensor]


def signed(x: Tensor) -> Tensor:
    """Pixels from [0, 1] to [−1, 1]."""
    return 2 * x - 1


def pixels(x: Tensor) -> Tensor:
    """Back from [−1, 1], cut to [0, 1]."""
    return ((x + 1) / 2).clamp(0, 1)


class Averaged(Learner):
    """A model with `loss(x, generator=)` of pixels in [−1, 1], trained by Adam; `draw` samples the averaged one."""

    def __init__(self, model: Any, draw: Draw, *, decay: float = 0.995, lr: float = 2e-3) -> None:
        super().__init__()
        self.model, self.draw = model, draw
        self.average: EMA[Any] = EMA(model, decay)
        self.optimiser = torch.optim.Adam(model.parameters(), lr=lr)

    def trained(self) -> Any:
        return self.average.average

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        loss = self.model.loss(signed(x), generator=generator)
        descend(self.optimiser, loss, cosine(self.progress))
        self.average.update(self.model)
        return {"loss": loss.item()}

    def images(self, n: int, generator: Generator) -> Tensor:
        """n samples, (n, C, H, W) in [0, 1]."""
        return pixels(self.draw(self.average.average, n, generator))

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        return digits_found(self.images(1000, generator), data, generator) if data.event_shape[0] == 1 else {}

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return beside_data(self.images(64, generator), data)


class InLatentSpace(Averaged):
    """For a third of the time an autoencoder, then a model of its codes.

    model: has encode and decode, and a `loss` that trains `prior` on the codes of pixels in [−1, 1]
    prepare: called once in between, to scale the codes; draw: codes of the averaged prior
    """

    def __init__(
        self,
        model: Any,
        autoencoder: KLAutoencoder,
        prior: nn.Module,
        prepare: Callable[[], None],
        draw: Draw,
        *,
        decay: float = 0.995,
        lr: float = 2e-3,
        weight: float = 4e-3,
    ) -> None:
        super().__init__(prior, draw, decay=decay, lr=lr)
        self.model = model
        self.stages = (autoencoder, prior)  # in a tuple, so that a checkpoint holds them once, as parts of the model
        self.first = torch.optim.Adam(autoencoder.parameters(), lr=lr)
        self.prepare, self.weight, self.prepared = prepare, weight, False

    def trained(self) -> Any:
        """The whole model, with the averaged prior in the place of the prior."""
        _, prior = self.stages
        return copy.deepcopy(self.model, {id(prior): self.average.average})

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        autoencoder, prior = self.stages
        if self.progress < 1 / 3:
            loss = autoencoder.loss(signed(x), weight=self.weight, generator=generator)
            descend(self.first, loss, cosine(3 * self.progress))
            return {"autoencoder": loss.item()}
        if not self.prepared:
            self.prepare()
            self.prepared = True
        loss = self.model.loss(signed(x), generator=generator)
        descend(self.optimiser, loss, cosine(1.5 * self.progress - 0.5))
        self.average.update(prior)
        return {"codes": loss.item()}

    def images(self, n: int, generator: Generator) -> Tensor:
        with evaluating(self.model):
            return pixels(self.model.decode(self.draw(self.average.average, n, generator)))

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        with evaluating(self.model):
            again = pixels(self.model.decode(self.model.encode(signed(data.held_out))))
        error = float((again - data.held_out).square().mean())
        return {"reconstruction_mse": error, **super().metrics(data, generator=generator)}


class Bounded(Averaged):
    """DDPM on images, sampled by DDIM in fifty steps. The bound is measured on 128 held-out images."""

    def __init__(self, model: DDPM, *, decay: float = 0.995, lr: float = 2e-3) -> None:
        super().__init__(model, _fifty_steps, decay=decay, lr=lr)

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        x = signed(data.held_out[:128])
        with torch.no_grad():
            nats = -self.average.average.elbo(x, generator=generator).value.mean()
        found = {"nelbo_nats": float(nats), "bits_per_dim": float(bits_per_dim(nats, x[0].numel()))}
        return found | super().metrics(data, generator=generator)


def _fifty_steps(model: DDPM, n: int, generator: Generator) -> Tensor:
    return model.sample(n, sampler=DDIM(), times=strided(model.schedule.steps, 50), generator=generator)


def _unet(data: DataSet) -> Learner:
    if data.name == "cifar10":
        return Bounded(cifar10_ddpm(), decay=0.9999, lr=2e-4)  # Ho et al., appendix B
    if data.event_shape[-1] >= 28:
        network = UNet(1, 1, base=32, multipliers=(1, 2, 2), blocks=2, attention_at=(2,))
        return Bounded(
            DDPM(network, Schedule.cosine(1000), data.event_shape, levels=data.grades, clip=1.0), decay=0.999
        )
    network = UNet(1, 1, base=24, multipliers=(1, 2))
    return Bounded(DDPM(network, Schedule.cosine(200), data.event_shape, levels=data.grades, clip=1.0))


def _dit(data: DataSet) -> Learner:
    channels, side, _ = data.event_shape
    network = DiT(side, channels, patch=2, dim=64, depth=3, heads=4)
    return Bounded(DDPM(network, Schedule.cosine(200), data.event_shape, levels=data.grades, clip=1.0), decay=0.99)


class SuperResolution(Averaged):
    """SR3, to twice the height and width."""

    def __init__(self, data: DataSet) -> None:
        channels = data.event_shape[0]
        network = UNet(2 * channels, channels, base=24, multipliers=(1, 2), time_scale=1000.0)
        model = SR3(network, Schedule.scaled_linear(100), data.event_shape, 2, clip=1.0)
        low = model.reduce(signed(data.held_out))
        super().__init__(model, lambda m, n, generator: m.sample(n, condition=low[:n], generator=generator))

    def _enlarged(self, high: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        low = self.model.reduce(signed(high))
        return low, self.average.average.sample(len(low), condition=low, generator=generator)

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        low, x = self._enlarged(data.held_out, generator)
        off = (self.model.reduce(x) - low).abs().mean() / 2
        return {"consistency_l1": float(off), **digits_found(pixels(x), data, generator)}

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        low, x = self._enlarged(data.held_out[:24], generator)
        sheets = {"given": self.model.enlarge(low), "samples": x, "data": signed(data.held_out[:24])}
        return Images({name: pixels(sheet) for name, sheet in sheets.items()})


def compressing(data: DataSet) -> tuple[KLAutoencoder, tuple[int, int, int]]:
    """An autoencoder whose code is at least four times smaller than the picture, and the shape of the code."""
    channels, height, width = data.event_shape
    shape = (4 * channels, height // 4, width // 4)
    return KLAutoencoder(channels, shape[0], base=16, multipliers=(1, 2, 2)), shape


def _latent(data: DataSet) -> Learner:
    """It predicts v: codes have no bounds to clip to, and a guess of ε says nothing of x_0 where ᾱ is nearly 0."""
    autoencoder, shape = compressing(data)
    network = UNet(shape[0], shape[0], base=24, multipliers=(1, 2), attention_at=())
    diffusion = DDPM(network, Schedule.cosine(200), shape, parametrisation="v")
    model = LatentDiffusion(autoencoder, diffusion)
    return InLatentSpace(
        model, autoencoder, diffusion, lambda: model.fit_scale(signed(data.train)), _fifty_steps, decay=0.99
    )


IMAGES: dict[str, Recipe] = {
    "sr3": Recipe(
        build=SuperResolution,
        data=PIXELS,
        goals=(*OF_DIGITS, Goal("consistency_l1", at_most=0.05)),
        minutes=2.5,
        batch_size=64,
    ),
    "latent-diffusion": Recipe(build=_latent, data=PIXELS, goals=OF_DIGITS, minutes=8.0, batch_size=64),
    "ddpm-unet": Recipe(
        build=_unet,
        data=PIXELS,
        goals=OF_DIGITS,
        minutes=10.0,
        batch_size=64,
    ),
    "dit": Recipe(
        build=_dit,
        data=PIXELS,
        goals=OF_DIGITS,
        minutes=10.0,
        batch_size=64,
    ),
}
