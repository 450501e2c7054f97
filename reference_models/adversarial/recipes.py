"""How the adversarial families are trained here, and how good they get.

Families that change the game learn four or eight Gaussians in the plane, where every mode can be counted; families
that change the networks learn digits, judged by the Fréchet distance on features of the digit classifier. Two samples
of true digits (training and held-out) are 0.78 apart, digits with noise of deviation 0.2 are 8, uniform noise 76.
Samples come from an average of the generator's weights.

Recorded runs count steps; their minutes are processor time. Goals on digits were set after one run of each recipe,
with slack for other machines: they catch a recipe that breaks, they are no claim of quality. At half a minute DCGAN and
SAGAN come near real digits, the growing and the perceptron models do not. The conditional perceptron stops early:
it gets worse, after 4000 steps instead of 1500, 31 instead of 24 from the digits. CUT fades digits instead of inverting
them: at this size its contrast holds on to brightness (translation error 0.31 to 0.35 where CycleGAN reaches 0.04).

Metrics beside those of `reference_models.recipes`: `min_share` (of samples on the rarest mode), `right_class` (share of
samples that the digit classifier gives the label asked for), `covariance_error` (Frobenius distance of covariances over
the norm of the data's), `translation_l1` (mean absolute error of translated held-out images, pixels in [0, 1]).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.adversarial.biggan import BigGAN
from reference_models.adversarial.conditional_gan import ConditionalGAN
from reference_models.adversarial.constrained_gan import ConstrainedGAN, CovarianceConstraint, covariance
from reference_models.adversarial.cut import CUT
from reference_models.adversarial.cyclegan import CycleGAN
from reference_models.adversarial.dcgan import DCGAN
from reference_models.adversarial.f_gan import FGAN, Variational
from reference_models.adversarial.gan import GAN
from reference_models.adversarial.lsgan import LSGAN
from reference_models.adversarial.pix2pix import Pix2Pix
from reference_models.adversarial.progressive_gan import ProgressiveGAN
from reference_models.adversarial.sagan import SAGAN
from reference_models.adversarial.spectral_norm import SNGAN
from reference_models.adversarial.stylegan import StyleGAN
from reference_models.adversarial.wgan import CRITIC_STEPS, WGAN
from reference_models.adversarial.wgan_gp import WGANGP
from reference_models.data import DataSet
from reference_models.evaluation.features import digit_features, digit_logits
from reference_models.evaluation.frechet import frechet_interval
from reference_models.evaluation.mode_coverage import mode_coverage
from reference_models.parts.growing import Widths
from reference_models.parts.residual_gan import double
from reference_models.parts.training import EMA, evaluating
from reference_models.recipes import Figure, Goal, Images, Learner, Points, Recipe, cosine

Optimiser = Callable[[list[nn.Parameter], float], torch.optim.Optimizer]


def adam(beta_1: float, beta_2: float) -> Optimiser:
    """Adam with these betas."""
    return lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, betas=(beta_1, beta_2))


def rmsprop(parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """RMSProp, which has no momentum, as the paper on WGAN asks."""
    return torch.optim.RMSprop(parameters, lr=lr)


class Adversarial(Learner):
    """Two players and an optimiser for each; the critic moves at every step, the generator at every `critic_steps`-th.

    gan: any `GAN`. Images are brought from [0, 1] to its [-1, 1] when `images` is "signed", flattened to vectors when
    "flat"; None for points of the plane.
    lr: learning rates of generator and critic; both fall to zero along a cosine.
    labels: whether the players are told the labels.
    average: decay of the average of weights that samples come from.
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
        average: float = 0.995,
    ) -> None:
        super().__init__()
        self.gan, self.average = gan, EMA(gan, average)
        self.shape, self.images, self.labels = data.event_shape, images, labels
        self.critic_steps, self.lr = critic_steps, lr
        self.of_generator = optimiser(list(gan.generator.parameters()), lr[0])
        self.of_critic = optimiser(list(gan.discriminator.parameters()), lr[1])
        self.moves = 0

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        condition = y if self.labels else None
        for optimiser, lr in zip((self.of_generator, self.of_critic), self.lr, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = lr * cosine(self.progress)
        critic = self.gan.discriminator_loss(self._from_pixels(x), condition=condition, generator=generator)
        _descend(self.of_critic, critic)
        self.gan.after_discriminator_step(len(x))
        losses = {"critic": critic.item()}
        self.moves += 1
        if self.moves % self.critic_steps == 0:
            loss = self.gan.generator_loss(len(x), condition=condition, generator=generator)
            _descend(self.of_generator, loss)
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
                "covariance_error": float(gap.norm() / covariance(data.held_out).norm()),
            }
        pixels, asked = self._draw(2000, data, generator)
        found = frechet(pixels, data, generator)
        if asked is not None:
            found["right_class"] = float((digit_logits(pixels).argmax(dim=1) == asked).double().mean())
        return found

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        if self.images is None:
            samples = self.average.average.sample(2000, generator=generator)
            return Points(samples, data.held_out[:2000])
        return Images(self._draw(100, data, generator)[0])

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
        self.model, self.task, self.paired, self.lr = model, task, paired, lr
        judging = [p for judge in judges for p in judge.parameters()]
        known = {id(p) for p in judging}
        rest = [p for p in model.parameters() if id(p) not in known]
        self.of_judges, self.of_rest = adam(0.5, 0.999)(judging, lr), adam(0.5, 0.999)(rest, lr)

    @property
    def translator(self) -> Translator:
        """The model, by what it can do."""
        return cast(Translator, self.model)

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        for optimiser in (self.of_judges, self.of_rest):
            for group in optimiser.param_groups:
                group["lr"] = self.lr * cosine(self.progress)
        first, second = (x, x) if self.paired else x[: 2 * (len(x) // 2)].chunk(2)
        source, target = 2 * self.task(first)[0] - 1, 2 * self.task(second)[1] - 1
        judged = self.translator.discriminator_loss(source, target, generator=generator)
        _descend(self.of_judges, judged)
        loss = self.translator.generator_loss(source, target, generator=generator).total
        _descend(self.of_rest, loss)
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
        rows = torch.stack([source, self._translate(source, generator), target], dim=1)  # (24, 3, C, H, W)
        return Images(rows.flatten(0, 1))


def frechet(pixels: Tensor, data: DataSet, generator: Generator) -> dict[str, float]:
    """The Fréchet distance of images from held-out digits, with the ends of its 95 % interval."""
    real, fake = digit_features(data.held_out), digit_features(pixels)
    found = frechet_interval(fake, real, generator=generator)
    return {"frechet_digits": found.value, "frechet_digits_low": found.low, "frechet_digits_high": found.high}


def sharpen(digits: Tensor) -> tuple[Tensor, Tensor]:
    """From digits at half the resolution to digits."""
    return double(F.avg_pool2d(digits, 2)), digits


def invert(digits: Tensor) -> tuple[Tensor, Tensor]:
    """From white on black to black on white."""
    return digits, 1 - digits


def fade(digits: Tensor) -> tuple[Tensor, Tensor]:
    """From white on black to light grey on dark grey."""
    return digits, 0.25 + 0.5 * digits


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


# --- in the plane

HIDDEN = (128, 128)


def _gan(data: DataSet) -> Learner:
    return Adversarial(GAN.mlp(hidden=HIDDEN), data)


def _lsgan(data: DataSet) -> Learner:
    return Adversarial(LSGAN.mlp(hidden=HIDDEN), data)


def _f_gan(data: DataSet) -> Learner:
    return Adversarial(FGAN.mlp(hidden=HIDDEN, objective=Variational("js")), data)


def _wgan(data: DataSet) -> Learner:
    gan = WGAN.mlp(hidden=HIDDEN)
    return Adversarial(gan, data, lr=(1e-3, 1e-3), optimiser=rmsprop, critic_steps=CRITIC_STEPS)


def _wgan_gp(data: DataSet) -> Learner:
    gan = WGANGP.mlp(hidden=HIDDEN)
    gan.penalty = 1.0  # the plane is small: 10 is for images
    return Adversarial(gan, data, lr=(1e-3, 2e-3), critic_steps=2)


def _constrained_gan(data: DataSet) -> Learner:
    gan = ConstrainedGAN.mlp(hidden=HIDDEN)
    gan.constraint = CovarianceConstraint.of(data.train)
    return Adversarial(gan, data)


# --- digits


def _dcgan(data: DataSet) -> Learner:
    return Adversarial(DCGAN(data.event_shape, channels=64), data, lr=(1e-3, 5e-4), images="signed")


def _conditional_gan(data: DataSet) -> Learner:
    gan = ConditionalGAN(features=64, width=0.25)
    return Adversarial(gan, data, images="flat", labels=True)


def _sngan(data: DataSet) -> Learner:
    gan = SNGAN.images(data.event_shape, channels=32)
    return Adversarial(gan, data, lr=(1e-3, 1e-3), optimiser=adam(0.0, 0.9), images="signed")


def _sagan(data: DataSet) -> Learner:
    gan = SAGAN(data.event_shape, widths=(32, 32, 32), critic_widths=(32, 32, 32))
    return Adversarial(gan, data, lr=(5e-4, 2e-3), optimiser=adam(0.0, 0.9), images="signed", labels=True)


def _biggan(data: DataSet) -> Learner:
    gan = BigGAN(data.event_shape, channels=32, multipliers=(1, 1, 1))
    return Adversarial(
        gan, data, lr=(5e-4, 1e-3), optimiser=adam(0.0, 0.999), critic_steps=2, images="signed", labels=True
    )


def _progressive_gan(data: DataSet) -> Learner:
    gan = ProgressiveGAN.images(data.event_shape, widths=Widths(128, 32), images_per_phase=10_000)
    return Adversarial(gan, data, lr=(2e-3, 2e-3), optimiser=adam(0.0, 0.99), images="signed")


def _stylegan(data: DataSet) -> Learner:
    gan = StyleGAN.images(data.event_shape, widths=Widths(128, 32), style_dim=32, gamma=1.0)
    return Adversarial(gan, data, lr=(2e-3, 2e-3), optimiser=adam(0.0, 0.99), images="signed")


# --- translation


def _pix2pix(data: DataSet) -> Learner:
    model = Pix2Pix(data.event_shape, data.event_shape, widths=(32, 64, 64))
    return Translation(model, [model.discriminator], sharpen, paired=True)


def _cyclegan(data: DataSet) -> Learner:
    model = CycleGAN.images(data.event_shape[0], width=12, blocks=1)
    return Translation(model, [model.judge_x, model.judge_y], invert, paired=False)


def _cut(data: DataSet) -> Learner:
    # the paper's faster variant leaves out the identity term as well
    model = CUT.images(data.event_shape[0], width=12, blocks=1, weight_y=0.0)
    return Translation(model, [model.judge], fade, paired=False)


PLANE = ("mixture", "eight-gaussians")
IMAGES = ("digits",)
FOUR = (Goal("within_4_sigma", at_least=0.95), Goal("modes_covered", at_least=4))


def _digits(distance: float, right: float | None = None) -> tuple[Goal, ...]:
    of_class = () if right is None else (Goal("right_class", at_least=right),)
    return (Goal("frechet_digits", at_most=distance), *of_class)


RECIPES: dict[str, Recipe] = {
    "gan": Recipe(_gan, PLANE, FOUR, batch_size=256),
    "lsgan": Recipe(_lsgan, PLANE, FOUR, batch_size=256),
    "f-gan": Recipe(_f_gan, PLANE, FOUR, batch_size=256),
    "wgan": Recipe(_wgan, PLANE, (Goal("within_4_sigma", at_least=0.9), FOUR[1]), batch_size=256),
    "wgan-gp": Recipe(
        _wgan_gp,
        ("eight-gaussians", "mixture"),
        (Goal("within_4_sigma", at_least=0.85), Goal("modes_covered", at_least=8), Goal("min_share", at_least=0.05)),
        batch_size=256,
    ),
    "constrained-gan": Recipe(_constrained_gan, PLANE, (*FOUR, Goal("covariance_error", at_most=0.1)), batch_size=256),
    "dcgan": Recipe(_dcgan, IMAGES, _digits(12.0), batch_size=64),
    "conditional-gan": Recipe(_conditional_gan, IMAGES, _digits(40.0, 0.6), minutes=0.2, batch_size=64),
    "spectral-norm": Recipe(_sngan, IMAGES, _digits(25.0), batch_size=64),
    "sagan": Recipe(_sagan, IMAGES, _digits(15.0, 0.7), minutes=0.75, batch_size=64),
    "biggan": Recipe(_biggan, IMAGES, _digits(30.0, 0.5), minutes=0.75, batch_size=64),
    "progressive-gan": Recipe(_progressive_gan, IMAGES, _digits(45.0), minutes=0.75, batch_size=64),
    "stylegan": Recipe(_stylegan, IMAGES, _digits(40.0), minutes=1.0, batch_size=64),
    "pix2pix": Recipe(_pix2pix, IMAGES, (Goal("translation_l1", at_most=0.08),), batch_size=64),
    "cyclegan": Recipe(_cyclegan, IMAGES, (Goal("translation_l1", at_most=0.1),), batch_size=64),
    "cut": Recipe(_cut, IMAGES, (Goal("translation_l1", at_most=0.1),), batch_size=64),
}
