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

from reference_models.adversarial.biggan import BigGAN
from reference_models.adversarial.conditional_gan import ConditionalGAN
from reference_models.adversarial.constrained_gan import ConstrainedGAN, CovarianceConstraint
from reference_models.adversarial.cut import CUT
from reference_models.adversarial.cyclegan import CycleGAN
from reference_models.adversarial.dcgan import DCGAN
from reference_models.adversarial.f_gan import FGAN, Variational
from reference_models.adversarial.gan import GAN
from reference_models.adversarial.lsgan import LSGAN
from reference_models.adversarial.pix2pix import Pix2Pix
from reference_models.adversarial.progressive_gan import ProgressiveGAN
from reference_models.adversarial.recipes_learners import Adversarial, Translation, adam, fade, invert, rmsprop, sharpen
from reference_models.adversarial.sagan import SAGAN
from reference_models.adversarial.spectral_norm import SNGAN
from reference_models.adversarial.stylegan import StyleGAN
from reference_models.adversarial.wgan import CRITIC_STEPS, WGAN
from reference_models.adversarial.wgan_gp import WGANGP
from reference_models.data import DataSet
from reference_models.parts.growing import Widths
from reference_models.recipes import Goal, Learner, Recipe

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
