"""The two learners of adversarial recipes: players of a game, and translators between two kinds of images.

Learning rates fall to zero along a cosine over the time of a run. Metrics beside those of `reference_models.recipes`:

    min_share         share of samples on the rarest mode
    narrowest_mode    the least standard deviation of the samples on a mode, in any direction, in units of the mode's
    covariance_error  Frobenius distance of the samples' covariance from the data's, over the norm of the data's
    right_class       share of samples that the digit classifier gives the label asked for
    translation_l1    mean absolute error of translated held-out images, pixels in [0, 1]; `source_l1` that of leaving
                      them as they are

`digits_found` compares 1000 samples with the held-out digits, as it does for the trivial models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.adversarial.constrained_gan import covariance
from reference_models.adversarial.gan import GAN
from reference_models.adversarial.stylegan import r1_penalty
from reference_models.data import DataSet
from reference_models.evaluation.features import digit_logits
from reference_models.evaluation.held_out import copying_found, digits_found
from reference_models.evaluation.mode_coverage import mode_coverage, narrowest_mode
from reference_models.parts.descent import descend
from reference_models.parts.require import at_least, one_of
from reference_models.parts.residual_gan import double
from reference_models.parts.training import EMA, evaluating
from reference_models.recipes import Figure, Images, Learner, beside_data, cosine, shadow

Optimiser = Callable[[list[nn.Parameter], float], torch.optim.Optimizer]


def adam(beta_1: float, beta_2: float) -> Optimiser:
    """Adam with these betas; fused, as these networks are so small that a loop over their parameters would cost."""
    return lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, betas=(beta_1, beta_2), fused=True)


def rmsprop(parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """RMSProp, which has no momentum, as the paper on WGAN asks."""
    return torch.optim.RMSprop(parameters, lr=lr, foreach=True)


class Adversarial(Learner):
    """Two players and an optimiser for each; the critic moves at every step, the generator at every `critic_steps`-th.

    gan: any `GAN`. Images are brought from [0, 1] to its [-1, 1] when `images` is "signed", flattened to vectors when
    "flat"; None for points of the plane.
    lr: learning rates of generator and critic; both fall to zero along a cosine.
    labels: whether the players are told the labels.
    r1: weight gamma of gamma/2 E |∇D(x)|² over data, added to the critic's loss, for families that do not have it.
    average: decay of the average of weights that samples come from.

    Raises:
        ValueError: fewer than 1 critic step, a negative r1, another word for images, a decay outside (0, 1).
    """

    def __init__(
        self,
        gan: GAN,
        data: DataSet,
        *,
        lr: tuple[float, float] = (1e-3, 1e-3),
        optimiser: Optimiser = adam(0.5, 0.9),  # noqa: B008 - a function
        critic_steps: int = 1,
        images: str | None = None,
        labels: bool = False,
        r1: float = 0.0,
        average: float = 0.995,
    ) -> None:
        super().__init__()
        at_least("critic_steps", critic_steps, 1)
        at_least("r1", r1, 0)
        one_of("images", images, (None, "signed", "flat"))
        self.gan, self.average = gan, EMA(gan, average)
        self.shape, self.images, self.labels = data.event_shape, images, labels
        self.critic_steps, self.r1 = critic_steps, r1
        self.of_generator = optimiser(list(gan.generator.parameters()), lr[0])
        self.of_critic = optimiser(list(gan.discriminator.parameters()), lr[1])
        self.moves = 0

    def trained(self) -> Any:
        return self.average.average

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        condition = y if self.labels else None
        real = self._from_pixels(x)
        critic = self.gan.discriminator_loss(real, condition=condition, generator=generator)
        if self.r1:
            critic = critic + 0.5 * self.r1 * r1_penalty(lambda x: self.gan.score(x, condition=condition), real)
        descend(self.of_critic, critic, cosine(self.progress))
        self.gan.after_discriminator_step(len(x))
        losses = {"critic": critic.item()}
        self.moves += 1
        if self.moves % self.critic_steps == 0:
            loss = self.gan.generator_loss(len(x), condition=condition, generator=generator)
            descend(self.of_generator, loss, cosine(self.progress))
            self.average.update(self.gan)
            losses["generator"] = loss.item()
        return losses

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        if data.target is not None:
            samples = self.average.average.sample(4000, generator=generator)
            coverage = mode_coverage(samples, data.target)
            gap = covariance(samples) - covariance(data.held_out)
            return {
                "within_4_sigma": coverage.within_4_sigma,
                "modes_covered": float(coverage.modes_covered),
                "min_share": coverage.min_share,
                "narrowest_mode": narrowest_mode(samples, data.target),
                "covariance_error": float(gap.norm() / covariance(data.held_out).norm()),
                **copying_found(samples, data),
            }
        pixels, asked = self._draw(1000, data, generator)
        found = digits_found(pixels, data, generator)
        if asked is not None:
            found["right_class"] = float((digit_logits(pixels).argmax(dim=1) == asked).double().mean())
        return found

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        if self.images is None:
            samples = self.average.average.sample(2000, generator=generator)
            return shadow(samples, data)
        return beside_data(self._draw(100, data, generator)[0], data)

    def _draw(self, n: int, data: DataSet, generator: Generator) -> tuple[Tensor, Tensor | None]:
        """n images in [0, 1], and the labels asked for, each class equally often."""
        asked = torch.arange(n, device=data.train.device) % 10 if self.labels else None
        drawn = self.average.average.sample(n, condition=asked, generator=generator)
        pixels = drawn.reshape(n, *self.shape) if self.images == "flat" else (drawn + 1) / 2
        while pixels.shape[-1] < self.shape[-1]:  # networks that have not grown to full size
            pixels = double(pixels)
        return pixels.clamp(0, 1), asked

    def _from_pixels(self, x: Tensor) -> Tensor:
        if self.images is None:
            return x
        return x.flatten(1) if self.images == "flat" else 2 * x - 1


class Translator(Protocol):
    """A model that translates images of [-1, 1], x to y; its losses' results have a `total` or are one."""

    def __call__(self, x: Tensor, *, generator: Generator | None = None) -> Tensor: ...
    def discriminator_loss(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Tensor: ...
    def generator_loss(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Total: ...


class Total(Protocol):
    """A loss with its parts."""

    @property
    def total(self) -> Tensor: ...


class Translation(Learner):
    """A translator between two kinds of images made from digits, so that the right answer is known.

    model: a `Translator`.
    task: from digits to source and target, pixels in [0, 1].
    paired: whether source and target of a step are the same digits, or those of the two halves of the batch.
    judges: the modules that one optimiser moves; the other moves the rest.
    """

    def __init__(
        self,
        model: nn.Module,
        judges: Sequence[nn.Module],
        task: Callable[[Tensor], tuple[Tensor, Tensor]],
        paired: bool,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        self.model, self.task, self.paired = model, task, paired
        judging = [p for judge in judges for p in judge.parameters()]
        known = {id(p) for p in judging}
        rest = [p for p in model.parameters() if id(p) not in known]
        self.of_judges, self.of_rest = adam(0.5, 0.999)(judging, lr), adam(0.5, 0.999)(rest, lr)

    @property
    def translator(self) -> Translator:
        """The model, by what it can do."""
        return cast(Translator, self.model)

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        first, second = (x, x) if self.paired else x[: 2 * (len(x) // 2)].chunk(2)
        source, target = 2 * self.task(first)[0] - 1, 2 * self.task(second)[1] - 1
        judged = self.translator.discriminator_loss(source, target, generator=generator)
        descend(self.of_judges, judged, cosine(self.progress))
        loss = self.translator.generator_loss(source, target, generator=generator).total
        descend(self.of_rest, loss, cosine(self.progress))
        return {"critic": judged.item(), "generator": loss.item()}

    def _translate(self, source: Tensor, generator: Generator) -> Tensor:
        with evaluating(self.model):
            return ((self.translator(2 * source - 1, generator=generator) + 1) / 2).clamp(0, 1)

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        source, target = self.task(data.held_out)
        error = (self._translate(source, generator) - target).abs().mean()
        return {"translation_l1": float(error), "source_l1": float((source - target).abs().mean())}

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        source, target = self.task(data.held_out[:24])
        return Images({"source": source, "translated": self._translate(source, generator), "target": target})


def sharpen(digits: Tensor) -> tuple[Tensor, Tensor]:
    """From digits at half the resolution to digits."""
    return double(F.avg_pool2d(digits, 2)), digits


def invert(digits: Tensor) -> tuple[Tensor, Tensor]:
    """From white on black to black on white."""
    return digits, 1 - digits
