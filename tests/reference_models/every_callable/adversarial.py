"""How to call what stands in `reference_models/adversarial`."""

from __future__ import annotations

import torch
from torch import nn

from reference_models.adversarial import (
    CUT,
    DCGAN,
    GAN,
    LSGAN,
    SAGAN,
    SNGAN,
    WGAN,
    WGANGP,
    BigGAN,
    BigGANGenerator,
    ConditionalGAN,
    ConstrainedGAN,
    CovarianceConstraint,
    CycleGAN,
    DCGANDiscriminator,
    DCGANGenerator,
    DrawnDropout,
    GrowingGAN,
    History,
    LeastSquares,
    MappingNetwork,
    Minimax,
    PatchDiscriminator,
    Pix2Pix,
    ProgressiveDiscriminator,
    ProgressiveGAN,
    ProgressiveGenerator,
    SelfAttention,
    SpectralNorm,
    StyleGAN,
    SynthesisNetwork,
    TranslationNetwork,
    UNetGenerator,
    Variational,
    biggan,
    cut,
    gan,
    progressive_gan,
    stylegan,
    wgan_gp,
)
from reference_models.adversarial.spectral_norm import spectral_norm as normalised
from reference_models.parts.equalised import Stage, Widths, blur
from tests.reference_models.every_callable.rows import Row, With, built, fixed, gen

X, REAL = fixed(6, 2), torch.tanh(fixed(6, 1, 8, 8))
OTHER = torch.tanh(fixed(6, 1, 8, 8, seed=5))
Y = torch.tensor([0, 1, 2, 0, 1, 2])
Z = fixed(6, 2, seed=4)
WIDTHS = Widths(16, 8)


class Players(nn.Module):
    """A generator, or a critic, of points of the plane that is told a label."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.net, self.label = nn.Linear(2, out), nn.Embedding(3, out)

    def forward(self, x, condition=None):
        h = torch.tanh(self.net(x)) * 2
        return (h if condition is None else h + self.label(condition)).squeeze(-1)


def plane(family=GAN, **k):
    return built(lambda: family(Players(2), Players(1), latent_dim=2, event_shape=(2,), **k))


def losses(model, x=X, **k):
    return model.discriminator_loss(x, generator=gen(), **k), model.generator_loss(len(x), generator=gen(), **k)


def big(**k):
    return built(BigGAN, **{"image_shape": (1, 8, 8), "num_classes": 3, "channels": 8} | k)


def biggan_generator(**k):
    return built(BigGANGenerator, 12, (8, 8, 8), (1, 16, 16), 3, **{"shared": 4, "attention_at": 8} | k)


def conditional(**k):
    return built(ConditionalGAN, scale=1.0, **{"features": 4, "num_classes": 3, "latent_dim": 2} | k)


def cut_model(**k):
    return built(CUT.images, **{"width": 4, "blocks": 1} | k)


def cut_of(**k):
    def make():
        translator = TranslationNetwork(1, 1, channels=4, blocks=1)
        return CUT(translator, PatchDiscriminator(1, (4,)), (0, 3), (1, 16), **{"head": 3, "patches": 4} | k)

    return built(make)


def cycle(**k):
    return built(CycleGAN.images, **{"width": 4, "blocks": 1} | k)


def cycle_of(**k):
    ready = cycle()
    return CycleGAN(ready.to_y, ready.to_x, ready.judge_x, ready.judge_y, **k)


def shown(size=2, **k):
    history = History(size)
    return [history.show(fixed(2, 1, seed=i), **{"generator": gen(i)} | k) for i in range(4)]


def translated(**k):
    return built(Pix2Pix, **{"widths": (4, 4, 4), "critic_widths": (4,)} | k)


def grown(family=ProgressiveGAN, **k):
    model = built(family.images, **{"latent_dim": 4, "widths": WIDTHS, "images_per_phase": 100} | k)
    for _ in range(30):
        model.after_discriminator_step(12)
    return model


def progressive(**k):
    ready = grown()
    model = ProgressiveGAN(
        ready.generator, ready.discriminator, latent_dim=4, event_shape=(1, 8, 8), **{"images_per_phase": 100} | k
    )
    for _ in range(12):
        model.after_discriminator_step(12)
    return model


def styled(**k):
    return grown(StyleGAN, **{"style_dim": 4, "mapping_layers": 1} | k)


def style_of(side=8, **k):
    ready = styled(image_shape=(1, side, side))
    options = {"latent_dim": 4, "event_shape": (1, side, side), "images_per_phase": 100} | k
    model = StyleGAN(ready.generator, ready.discriminator, **options)
    for _ in range(12):
        model.after_discriminator_step(12)
    return model


class Growing(GrowingGAN):
    """The least there is: a critic that pays nothing."""

    def critic_pays(self, real, fake, real_score, *, generator=None):
        return real.new_zeros(())


def growing(**k):
    ready = grown()
    model = Growing(
        ready.generator, ready.discriminator, latent_dim=4, event_shape=(1, 8, 8), images_per_phase=100, **k
    )
    for _ in range(12):
        model.after_discriminator_step(12)
    return model


def sagan(**k):
    return built(SAGAN, **{"num_classes": 3, "latent_dim": 2, "widths": (8, 8, 8), "critic_widths": (8, 8, 8)} | k)


def clipped(**k):
    model = plane(WGAN, **k)
    model.after_discriminator_step(6)
    return model


def smoothed(layer, x):
    return layer.train()(x)


Z4 = fixed(6, 4, seed=4)
SMALL = {"latent_dim": 3, "channels": 4}
OBJECTIVE = {"objective": Minimax(), "prior": "uniform"}
ROWS = [
    Row("adversarial.biggan.orthogonal_penalty", lambda **k: biggan.orthogonal_penalty(fixed(3, 4), **k), beta=1.0),
    Row(
        "adversarial.biggan.orthogonal_regularisation",
        lambda **k: biggan.orthogonal_regularisation(big().generator, **k),
        beta=1.0,
    ),
    Row("adversarial.biggan.BigGANGenerator", biggan_generator, shared=5, skip_z=False, attention_at=16),
    Row(
        "adversarial.biggan.BigGAN",
        big,
        image_shape=(2, 8, 8),
        num_classes=4,
        latent_dim=21,
        channels=16,
        multipliers=(1, 1, 1),
        shared=5,
        skip_z=False,
    ),
    Row("adversarial.biggan.BigGAN", lambda **k: losses(big(**k), REAL, condition=Y), beta=1.0),
    Row(
        "adversarial.biggan.BigGAN.forward",
        lambda **k: big()(fixed(6, 18), **{"condition": Y} | k),
        condition=Y.flip(0),
        drawn=False,
    ),
    Row(
        "adversarial.biggan.BigGAN.sample_truncated",
        lambda **k: big().sample_truncated(6, threshold=0.5, condition=Y, **k),
    ),
    Row(
        "adversarial.biggan.BigGAN.generator_loss",
        lambda **k: big().generator_loss(6, **{"condition": Y} | k),
        condition=torch.zeros_like(Y),
    ),
    Row("adversarial.conditional_gan.ConditionalGAN", conditional, features=5, num_classes=4, latent_dim=3, width=0.2),
    Row(
        "adversarial.conditional_gan.ConditionalGAN.forward",
        lambda **k: conditional()(Z, **{"condition": Y} | k),
        condition=Y.flip(0),
        drawn=False,
    ),
    Row(
        "adversarial.constrained_gan.ConstrainedGAN",
        lambda **k: losses(plane(ConstrainedGAN, **k)),
        constraint=CovarianceConstraint.of(X),
        weight=With(3.0, constraint=CovarianceConstraint.of(X)),
        **OBJECTIVE,
    ),
    Row(
        "adversarial.constrained_gan.ConstrainedGAN.generator_loss",
        lambda **k: plane(ConstrainedGAN).generator_loss(6, **{"condition": Y} | k),
        condition=Y * 0,
    ),
    Row(
        "adversarial.cut.patch_nce",
        lambda **k: cut.patch_nce(fixed(2, 4, 3), fixed(2, 4, 3, seed=1), **k),
        temperature=1.0,
    ),
    Row("adversarial.cut.CUT", cut_of, head=5),
    Row(
        "adversarial.cut.CUT",
        lambda **k: cut_of(**k).generator_loss(REAL, OTHER, generator=gen()),
        patches=5,
        weight_x=3.0,
        weight_y=3.0,
        temperature=1.0,
    ),
    Row(
        "adversarial.cut.CUT.images",
        lambda **k: built(CUT.images, **{"width": 4, "blocks": 1} | k),
        channels=2,
        width=6,
        blocks=2,
    ),
    Row(
        "adversarial.cut.CUT.images",
        lambda **k: cut_model(**k).generator_loss(REAL, OTHER, generator=gen()),
        weight_x=3.0,
        weight_y=3.0,
    ),
    Row("adversarial.cut.CUT.forward", lambda **k: cut_model()(REAL, **k), drawn=False),
    Row("adversarial.cut.CUT.contrast", lambda **k: cut_model().contrast(REAL, OTHER, **k)),
    Row(
        "adversarial.cut.CUT.discriminator_loss",
        lambda **k: cut_model().discriminator_loss(REAL, OTHER, **k),
        drawn=False,
    ),
    Row("adversarial.cut.CUT.generator_loss", lambda **k: cut_model().generator_loss(REAL, OTHER, **k)),
    Row(
        "adversarial.cyclegan.TranslationNetwork",
        lambda **k: built(TranslationNetwork, 1, 1, **{"channels": 4, "blocks": 1} | k),
        channels=5,
        blocks=2,
        halvings=1,
        kernel=3,
    ),
    Row("adversarial.cyclegan.History", lambda **k: shown(**k), size=3),
    Row("adversarial.cyclegan.History.show", lambda **k: [shown(**k) for _ in range(3)]),
    Row(
        "adversarial.cyclegan.CycleGAN",
        lambda **k: cycle_of(**k).generator_loss(REAL, OTHER, generator=gen()),
        cycle_weight=3.0,
        identity_share=0.5,
    ),
    Row(
        "adversarial.cyclegan.CycleGAN",
        lambda **k: vars(cycle_of(**k).shown_x) if hasattr(cycle_of(), "shown_x") else k,
        history=9,
    ),
    Row(
        "adversarial.cyclegan.CycleGAN.images",
        lambda **k: built(CycleGAN.images, **{"width": 4, "blocks": 1} | k),
        channels=2,
        width=6,
        blocks=2,
    ),
    Row(
        "adversarial.cyclegan.CycleGAN.images",
        lambda **k: cycle(**k).generator_loss(REAL, OTHER, generator=gen()),
        identity_share=0.5,
    ),
    Row("adversarial.cyclegan.CycleGAN.forward", lambda **k: cycle()(REAL, **k), drawn=False),
    Row(
        "adversarial.cyclegan.CycleGAN.discriminator_loss",
        lambda **k: cycle().discriminator_loss(REAL, OTHER, **k),
        drawn=False,
    ),
    Row(
        "adversarial.cyclegan.CycleGAN.generator_loss",
        lambda **k: cycle().generator_loss(REAL, OTHER, **k),
        drawn=False,
    ),
    Row(
        "adversarial.dcgan.DCGANGenerator",
        lambda **k: built(DCGANGenerator, **{"image_shape": (1, 8, 8), "channels": 4} | k),
        latent_dim=3,
        image_shape=(2, 8, 8),
        channels=8,
        start=2,
    ),
    Row(
        "adversarial.dcgan.DCGANDiscriminator",
        lambda **k: built(DCGANDiscriminator, **{"image_shape": (1, 8, 8), "channels": 4} | k),
        image_shape=(2, 8, 8),
        channels=8,
        start=2,
    ),
    Row(
        "adversarial.dcgan.DCGAN",
        lambda **k: built(DCGAN, **{"channels": 4} | k),
        image_shape=(2, 8, 8),
        latent_dim=3,
        channels=8,
        start=4,
    ),
    Row("adversarial.dcgan.DCGAN", lambda **k: losses(built(DCGAN, channels=4, **k), REAL), objective=Minimax()),
    Row("adversarial.f_gan.Variational", lambda **k: losses(plane(objective=Variational(**k))), divergence="js"),
    Row(
        "adversarial.f_gan.Variational",
        lambda **k: losses(plane(objective=Variational(**{"divergence": "js"} | k))),
        saturating=False,
    ),
    Row("adversarial.gan.GAN", lambda **k: losses(plane(**k)), **OBJECTIVE),
    Row("adversarial.gan.GAN.noise", lambda **k: plane().noise(4, **k)),
    Row(
        "adversarial.gan.GAN.forward", lambda **k: plane()(Z, **{"condition": Y} | k), condition=Y.flip(0), drawn=False
    ),
    Row("adversarial.gan.GAN.score", lambda **k: plane().score(X, **{"condition": Y} | k), condition=Y.flip(0)),
    Row("adversarial.gan.GAN.sample", lambda **k: plane().sample(6, **{"condition": Y} | k), condition=Y.flip(0)),
    Row(
        "adversarial.gan.GAN.discriminator_loss",
        lambda **k: plane().discriminator_loss(X, **{"condition": Y} | k),
        condition=Y * 0,
    ),
    Row(
        "adversarial.gan.GAN.generator_loss",
        lambda **k: plane().generator_loss(6, **{"condition": Y} | k),
        condition=Y * 0,
    ),
    Row("adversarial.gan.draw_noise", lambda **k: gan.draw_noise(4, 2, "normal", plane(), **k)),
    Row("adversarial.gan.draw_noise", lambda **k: gan.draw_noise(4, 2, "uniform", plane(), **k)),
    Row("adversarial.gan.mlp_gan", lambda **k: built(gan.mlp_gan, GAN, **k), dim=3, latent_dim=3, hidden=(4,)),
    Row("adversarial.progressive_gan.stage_after", lambda **k: progressive_gan.stage_after(150, 100, 3, **k), first=1),
    Row("adversarial.progressive_gan.GrowingGAN", lambda **k: losses(growing(**k), REAL), **OBJECTIVE),
    Row("adversarial.progressive_gan.GrowingGAN.forward", lambda **k: growing()(Z4, **k), drawn=False),
    Row(
        "adversarial.progressive_gan.GrowingGAN.discriminator_loss", lambda **k: growing().discriminator_loss(REAL, **k)
    ),
    Row(
        "adversarial.lsgan.LSGAN.images",
        lambda **k: built(LSGAN.images, **{"channels": 4} | k),
        image_shape=(2, 8, 8),
        latent_dim=3,
        channels=8,
        start=4,
    ),
    Row(
        "adversarial.lsgan.LSGAN.images",
        lambda **k: losses(built(LSGAN.images, channels=4, **k), REAL),
        objective=LeastSquares(-1.0, 1.0, 0.0),
    ),
    Row("adversarial.lsgan.LeastSquares", lambda **k: losses(plane(objective=LeastSquares(**k))), a=-1.0, b=2.0, c=0.5),
    Row("adversarial.pix2pix.DrawnDropout.forward", lambda **k: DrawnDropout(0.5)(X, **k) if True else None),
    Row(
        "adversarial.pix2pix.UNetGenerator",
        lambda **k: built(UNetGenerator, 1, 1, (4, 4, 4), **k)(REAL, generator=gen()),
        dropped=0,
    ),
    Row("adversarial.pix2pix.UNetGenerator.forward", lambda **k: built(UNetGenerator, 1, 1, (4, 4, 4))(REAL, **k)),
    Row("adversarial.pix2pix.PatchDiscriminator", lambda **k: built(PatchDiscriminator, 2, **k), widths=(4,), kernel=1),
    Row(
        "adversarial.pix2pix.Pix2Pix",
        translated,
        source_shape=(2, 8, 8),
        target_shape=(2, 8, 8),
        widths=(4, 4),
        critic_widths=(4, 4),
    ),
    Row(
        "adversarial.pix2pix.Pix2Pix",
        lambda **k: translated(**k).generator_loss(REAL, OTHER, generator=gen()),
        l1_weight=1.0,
        dropped=0,
    ),
    Row("adversarial.pix2pix.Pix2Pix.forward", lambda **k: translated()(REAL, **k)),
    Row(
        "adversarial.pix2pix.Pix2Pix.discriminator_loss", lambda **k: translated().discriminator_loss(REAL, OTHER, **k)
    ),
    Row("adversarial.pix2pix.Pix2Pix.generator_loss", lambda **k: translated().generator_loss(REAL, OTHER, **k)),
    Row(
        "adversarial.progressive_gan.ProgressiveGenerator",
        lambda **k: built(ProgressiveGenerator, **{"resolution": 8, "latent_dim": 4, "widths": WIDTHS} | k),
        resolution=16,
        latent_dim=5,
        widths=Widths(8, 4),
        image_channels=1,
    ),
    Row(
        "adversarial.progressive_gan.ProgressiveDiscriminator",
        lambda **k: built(ProgressiveDiscriminator, **{"resolution": 8, "widths": WIDTHS} | k),
        resolution=16,
        widths=Widths(8, 4),
        image_channels=1,
    ),
    Row(
        "adversarial.progressive_gan.ProgressiveDiscriminator",
        lambda **k: built(ProgressiveDiscriminator, 8, WIDTHS, 1, **k)(REAL, Stage(1)),
        smooth=blur,
    ),
    Row(
        "adversarial.progressive_gan.ProgressiveGAN",
        lambda **k: losses(progressive(**k), REAL),
        images_per_phase=150,
        penalty=1.0,
        drift=1.0,
        **OBJECTIVE,
    ),
    Row(
        "adversarial.progressive_gan.ProgressiveGAN.images",
        lambda **k: built(ProgressiveGAN.images, **k),
        image_shape=(2, 8, 8),
        latent_dim=5,
        widths=Widths(8, 4),
    ),
    Row("adversarial.progressive_gan.ProgressiveGAN.images", lambda **k: grown(**k)(Z4), images_per_phase=300),
    Row(
        "adversarial.progressive_gan.ProgressiveGAN.critic_pays",
        lambda **k: progressive().critic_pays(REAL, OTHER, fixed(6), **k),
    ),
    Row(
        "adversarial.sagan.SelfAttention",
        lambda **k: built(SelfAttention, 8, **{"reduction": 4, "value_reduction": 4} | k)(fixed(2, 8, 4, 4)),
        reduction=2,
        value_reduction=2,
        pool=True,
    ),
    Row("adversarial.sagan.SelfAttention", lambda **k: built(SelfAttention, 8, **k), wrap=lambda layer: layer),
    Row(
        "adversarial.sagan.SAGAN",
        sagan,
        image_shape=(2, 8, 8),
        num_classes=4,
        latent_dim=3,
        widths=(8, 8, 16),
        critic_widths=(8, 8, 16),
    ),
    Row(
        "adversarial.sagan.SAGAN.forward",
        lambda **k: sagan()(Z, **{"condition": Y} | k),
        condition=Y.flip(0),
        drawn=False,
    ),
    Row(
        "adversarial.spectral_norm.SpectralNorm",
        lambda **k: built(SpectralNorm, fixed(3, 4), **k).train()(fixed(3, 4)),
        steps=5,
    ),
    Row("adversarial.spectral_norm.SpectralNorm", lambda **k: built(SpectralNorm, fixed(3, 4), **k), transposed=True),
    Row(
        "adversarial.spectral_norm.spectral_norm",
        lambda **k: smoothed(built(lambda: normalised(nn.Linear(2, 3), **k)), X),
        steps=5,
    ),
    Row(
        "adversarial.spectral_norm.SNGAN.images",
        lambda **k: built(SNGAN.images, **{"channels": 4} | k),
        image_shape=(2, 8, 8),
        latent_dim=3,
        channels=8,
    ),
    Row(
        "adversarial.stylegan.MappingNetwork",
        lambda **k: built(MappingNetwork, **{"latent_dim": 4, "style_dim": 4, "layers": 1} | k),
        latent_dim=5,
        style_dim=5,
        layers=2,
    ),
    Row(
        "adversarial.stylegan.SynthesisNetwork",
        lambda **k: built(SynthesisNetwork, **{"resolution": 8, "style_dim": 4, "widths": WIDTHS} | k),
        resolution=16,
        style_dim=5,
        widths=Widths(8, 4),
        image_channels=1,
    ),
    Row("adversarial.stylegan.truncate", lambda **k: stylegan.truncate(fixed(2, 3, 4), fixed(4), 0.5, **k), cutoff=1),
    Row(
        "adversarial.stylegan.StyleGAN",
        lambda **k: losses(style_of(**k), REAL),
        mixing=0.0,
        gamma=1.0,
        **OBJECTIVE,
    ),
    Row(
        "adversarial.stylegan.StyleGAN.images",
        lambda **k: built(StyleGAN.images, **k),
        image_shape=(2, 8, 8),
        latent_dim=5,
        widths=Widths(8, 4),
        style_dim=5,
        mapping_layers=2,
    ),
    Row(
        "adversarial.stylegan.StyleGAN.images",
        lambda **k: losses(styled(**k), REAL),
        mixing=0.0,
        gamma=1.0,
    ),
    Row(
        "adversarial.stylegan.StyleGAN.images",
        lambda **k: styled(image_shape=(1, 16, 16), **k).stage,
        images_per_phase=3000,
    ),
    Row("adversarial.stylegan.StyleGAN", lambda **k: style_of(16, **k).stage, images_per_phase=3000),
    Row("adversarial.wgan.WGAN", clipped, clip=0.5),
    Row("adversarial.stylegan.StyleGAN.noises", lambda **k: styled().noises(3, **k)),
    Row("adversarial.stylegan.StyleGAN.forward", lambda **k: styled()(Z4, **k)),
    Row("adversarial.stylegan.StyleGAN.sample", lambda **k: styled().sample(4, **k), psi=0.5, cutoff=With(1, psi=0.5)),
    Row(
        "adversarial.stylegan.StyleGAN.critic_pays",
        lambda **k: style_of().critic_pays(REAL, OTHER, fixed(6), **k),
        drawn=False,
    ),
    Row("adversarial.wgan.WGAN", lambda **k: losses(plane(WGAN, **k)), **OBJECTIVE),
    Row(
        "adversarial.wgan_gp.gradient_penalty",
        lambda **k: wgan_gp.gradient_penalty(lambda x: (x**3).sum(-1), X, Z, **k),
        t=torch.linspace(0, 1, 6, dtype=torch.float64),
    ),
    Row("adversarial.wgan_gp.WGANGP", lambda **k: losses(plane(WGANGP, **k)), penalty=1.0, **OBJECTIVE),
    Row(
        "adversarial.wgan_gp.WGANGP.images",
        lambda **k: built(WGANGP.images, **{"channels": 4} | k),
        image_shape=(2, 8, 8),
        latent_dim=3,
        channels=8,
    ),
    Row(
        "adversarial.wgan_gp.WGANGP.discriminator_loss",
        lambda **k: plane(WGANGP).discriminator_loss(X, **{"condition": Y} | k),
        condition=Y * 0,
    ),
]
PAPER = ("adversarial/test_biggan.py", "test_the_networks_have_the_parameters_of_table_1")
UNLABELLED = ("adversarial/test_stylegan.py", "test_impossible_settings_are_refused")
APART = {
    "adversarial.biggan.BigGAN.attention_at": (
        "adversarial/test_biggan.py",
        "test_the_paper_s_generator_makes_128_pixel_images_with_attention_at_64",
    ),
    "adversarial.sagan.SAGAN.attention_at": (
        "adversarial/test_sagan.py",
        "test_attention_stands_where_the_image_is_32_pixels_wide",
    ),
    "adversarial.biggan.BigGAN.paper.channels": PAPER,
    "adversarial.biggan.BigGAN.paper.shared": PAPER,
    "adversarial.biggan.BigGAN.paper.skip_z": PAPER,
    "adversarial.progressive_gan.GrowingGAN.forward.condition": UNLABELLED,
    "adversarial.progressive_gan.GrowingGAN.score.condition": UNLABELLED,
    "adversarial.progressive_gan.GrowingGAN.discriminator_loss.condition": UNLABELLED,
    "adversarial.stylegan.StyleGAN.forward.condition": UNLABELLED,
    "adversarial.stylegan.StyleGAN.sample.condition": UNLABELLED,
}
