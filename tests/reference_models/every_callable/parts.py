"""How to call what stands in `reference_models/parts`."""

from __future__ import annotations

import torch
from torch import nn

from reference_models.adversarial.spectral_norm import spectral_norm
from reference_models.parts import (
    attention,
    conditioning,
    descent,
    distributions,
    enumeration,
    equalised,
    likelihoods,
    masked,
    networks,
    ode,
    pixel_mixture,
    raster,
    require,
    residual,
    residual_cells,
    residual_gan,
    roots,
    sampling,
    truncation,
    unet,
)
from reference_models.parts.autodiff import divergence
from tests.reference_models.every_callable.foundations import MIXTURE
from tests.reference_models.every_callable.rows import Row, With, bits, built, fixed, gen

X, T = fixed(6, 3), torch.linspace(0, 1, 6, dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 0, 1, 2])
MAPS = fixed(2, 4, 4, 4)
SEQUENCE = fixed(2, 3, 4)
TOKENS = fixed(2, 3, 5)


def stepped(**k):
    weight = nn.Parameter(torch.ones(2))
    descent.descend(torch.optim.SGD([weight], lr=1.0), (weight**2).sum(), **k)
    return weight


def said(ask) -> str:
    """What a refusal says, nothing where there is none."""
    try:
        ask()
    except ValueError as error:
        return str(error)
    return ""


class Raster(raster.RasterModel):
    """The least there is: a masked convolution."""

    def __init__(self) -> None:
        super().__init__((1, 2, 2), 2)
        self.net = raster.RasterConv2d("A", 1, 2, 3, 1)

    def logits(self, x):
        return self.net(x)[:, :, None]


LEAF, SQUARE = fixed(4, 2).requires_grad_(), fixed(2, 2)
KNOWN = torch.zeros(4, 1, 2, 2, dtype=torch.bool)
KNOWN[:, :, 0] = True
NET = {"base": 8, "multipliers": (1,), "attention_at": ()}
IMAGES = fixed(6, 1, 4, 4)
ROTATION = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)


def rotate(x, t):
    return x @ ROTATION.T * (1 + t)


def generator(**k):
    return built(residual_gan.ResNetGenerator, 3, (4, 4), (1, 8, 8), **{"start": 4} | k)


def critic(**k):
    return built(residual_gan.ResNetCritic, (1, 8, 8), (4, 4), downsample=(True, False), **k)


CLASSES = {"norm": residual_gan.class_batch_norm(3)}
PIXELS = fixed(2, 12, 2, 2)
ROWS = [
    Row(
        "parts.attention.CausalSelfAttention",
        lambda **k: built(attention.CausalSelfAttention, 4, 2, **k)(SEQUENCE),
        causal=False,
    ),
    Row(
        "parts.attention.CausalSelfAttention.forward",
        lambda **k: built(attention.CausalSelfAttention, 4, 2)(SEQUENCE, **k),
        cache=attention.KeyValueCache(fixed(2, 2, 1, 2), fixed(2, 2, 1, 2)),
    ),
    Row(
        "parts.attention.TransformerBlock",
        lambda **k: built(attention.TransformerBlock, 4, 2, **k)(SEQUENCE),
        causal=False,
        mlp_ratio=2,
        dropout=0.5,
    ),
    Row(
        "parts.attention.TransformerBlock.forward",
        lambda **k: built(attention.TransformerBlock, 4, 2)(SEQUENCE, **k),
        cache=attention.KeyValueCache(fixed(2, 2, 1, 2), fixed(2, 2, 1, 2)),
    ),
    Row("parts.attention.KeyValueCache", lambda **k: vars(attention.KeyValueCache(**k)), keys=X, values=X),
    Row(
        "parts.attention.SpatialSelfAttention",
        lambda **k: built(attention.SpatialSelfAttention, 4, **k)(MAPS),
        heads=2,
        groups=2,
    ),
    Row(
        "parts.conditioning.SpatialCrossAttention",
        lambda **k: built(conditioning.SpatialCrossAttention, 4, 5, **k)(MAPS, TOKENS),
        heads=2,
        groups=2,
    ),
    Row("parts.descent.descend", stepped, decay=0.5),
    Row(
        "parts.distributions.normal_kl", lambda **k: distributions.normal_kl(X, 0.1 * X, **k), mean_p=0.5, log_std_p=0.5
    ),
    Row("parts.distributions.standard_normal", lambda **k: distributions.standard_normal((3,), X, **k)),
    Row(
        "parts.distributions.DiagonalNormal.sample", lambda **k: distributions.DiagonalNormal(X[0], X[1]).sample(4, **k)
    ),
    Row("parts.distributions.GaussianMixture.sample_with_labels", lambda **k: MIXTURE.sample_with_labels(4, **k)),
    Row("parts.distributions.GaussianMixture.sample", lambda **k: MIXTURE.sample(4, **k)),
    Row("parts.distributions.GaussianMixture.to", lambda **k: MIXTURE.to(**k), dtype=torch.float32),
    Row(
        "parts.enumeration.binary_states_in_chunks",
        lambda **k: list(enumeration.binary_states_in_chunks(3, X, **k)),
        chunk=2,
    ),
    Row(
        "parts.equalised.Widths",
        lambda **k: [equalised.Widths(**k)(level) for level in (1, 8)],
        base=4096,
        most=256,
    ),
    Row(
        "parts.equalised.Stage",
        lambda **k: equalised.real_at(fixed(1, 1, 8, 8), equalised.Stage(1, **k), 2),
        alpha=0.5,
    ),
    Row(
        "parts.equalised.EqualisedLinear",
        lambda **k: built(equalised.EqualisedLinear, 3, 2, **k)(X),
        gain=1.0,
        lr_multiplier=0.5,
    ),
    Row(
        "parts.equalised.EqualisedConv2d", lambda **k: built(equalised.EqualisedConv2d, 4, 2, **k), kernel=1, bias=False
    ),
    Row("parts.equalised.EqualisedConv2d", lambda **k: built(equalised.EqualisedConv2d, 4, 2, **k)(MAPS), gain=1.0),
    Row("parts.likelihoods.Binomial", lambda **k: likelihoods.Binomial(**k).log_prob(bits(6, 3), X), trials=3),
    Row("parts.likelihoods.Binomial.sample", lambda **k: likelihoods.Binomial(3).sample(X, **k)),
    Row("parts.likelihoods.Gaussian", lambda **k: built(likelihoods.Gaussian, **k).log_prob(X, X + 1), std=0.5),
    Row(
        "parts.likelihoods.Gaussian",
        lambda **k: [p.requires_grad for p in likelihoods.Gaussian(**k).parameters()],
        learned=False,
    ),
    Row("parts.likelihoods.Gaussian.sample", lambda **k: likelihoods.Gaussian(0.5).sample(X, **k)),
    Row(
        "parts.likelihoods.DiscretisedLogisticMixture",
        lambda **k: likelihoods.DiscretisedLogisticMixture(**{"levels": 5, "components": 4} | k).sample(
            PIXELS, generator=gen()
        ),
        levels=7,
    ),
    Row(
        "parts.likelihoods.DiscretisedLogisticMixture",
        lambda components=4: likelihoods.DiscretisedLogisticMixture(5, components).sample(
            fixed(2, 3 * components, 2, 2), generator=gen()
        ),
        components=2,
    ),
    Row(
        "parts.likelihoods.DiscretisedLogisticMixture.sample",
        lambda **k: likelihoods.DiscretisedLogisticMixture(5, 4).sample(PIXELS, **k),
    ),
    Row("parts.masked.MaskedLinear", lambda **k: built(masked.MaskedLinear, 3, 2, bits(2, 3), **k), bias=False),
    Row("parts.masked.made_degrees", lambda **k: masked.made_degrees(4, (5,), **k), order=[3, 1, 2, 0], lowest=0),
    Row(
        "parts.masked.MaskedMLP",
        lambda **k: built(masked.MaskedMLP, 3, (4,), 2, **k),
        order=[2, 0, 1],
        condition_dim=2,
        activation=nn.Tanh,
    ),
    Row(
        "parts.masked.MaskedMLP.forward",
        lambda **k: built(masked.MaskedMLP, 3, (4,), 2, condition_dim=3)(X, **{"condition": X} | k),
        condition=-X,
    ),
    Row(
        "parts.masked.CausalConv1d",
        lambda **k: built(masked.CausalConv1d, 3, 2, 2, **k)(SEQUENCE),
        dilation=2,
        bias=False,
    ),
    Row("parts.networks.MLP", lambda **k: built(networks.MLP, 3, (4,), 2, **k), activation=nn.Tanh),
    Row("parts.networks.sinusoidal_embedding", lambda **k: networks.sinusoidal_embedding(T, 8, **k), max_period=100.0),
    Row("parts.networks.time_embedding", lambda **k: networks.time_embedding(T, 8, X, **k), scale=10.0),
    Row(
        "parts.networks.TimeMLP",
        lambda **k: built(networks.TimeMLP, 3, (4,), 2, **k),
        embedding=16,
        num_classes=3,
        activation=nn.Tanh,
    ),
    Row("parts.networks.TimeMLP", lambda **k: built(networks.TimeMLP, 3, (4,), 2, **k)(X, T), time_scale=1.0),
    Row(
        "parts.networks.TimeMLP.forward",
        lambda **k: built(networks.TimeMLP, 3, (4,), 2, num_classes=3)(X, T, **{"y": Y} | k),
        y=Y.flip(0),
    ),
    Row("parts.networks.ConvEncoder", lambda **k: built(networks.ConvEncoder, (1, 8, 8), 2, **k), base=4),
    Row("parts.networks.ConvDecoder", lambda **k: built(networks.ConvDecoder, 2, (1, 8, 8), **k), base=4),
    Row(
        "parts.networks.ResidualConvBlock",
        lambda **k: built(networks.ResidualConvBlock, 4, **k),
        out_channels=2,
        kernel_size=1,
    ),
    Row(
        "parts.ode.odeint_states",
        lambda **k: ode.odeint_states(lambda s, t: (rotate(s[0], t),), (X[:, :2],), T[:3], **k),
        method="euler",
        tolerance=With(1e-12, method="dopri5"),
    ),
    Row(
        "parts.ode.odeint",
        lambda **k: ode.odeint(rotate, X[:, :2], T[:3], **k),
        method="euler",
        tolerance=With(1e-12, method="dopri5"),
    ),
    Row(
        "parts.pixel_mixture.PixelMixture.sample",
        lambda **k: pixel_mixture.PixelMixture(PIXELS.movedim(1, -1), 1, 5).sample(**k),
    ),
    Row(
        "parts.raster.complete_image",
        lambda **k: raster.complete_image(built(Raster).logits, bits(4, 1, 2, 2), KNOWN, 2, **k),
    ),
    Row("parts.raster.RasterModel.sample", lambda **k: built(Raster).sample(9, **k)),
    Row("parts.raster.RasterModel.complete", lambda **k: built(Raster).complete(bits(4, 1, 2, 2), KNOWN, **k)),
    Row("parts.raster.RasterConv2d", lambda **k: built(raster.RasterConv2d, "A", 2, 4, 3, 2, **k).mask, gates=2),
    Row(
        "parts.residual.Residual",
        lambda **k: built(residual.Residual, nn.Linear(3, 3), **k)(X),
        shortcut=nn.ReLU(),
        scale=0.5,
    ),
    Row("parts.require.within", lambda **k: said(lambda: require.within("x", 1, 0, 1, **k)), ends="[)"),
    Row("parts.residual_cells.SqueezeExcite", lambda **k: built(residual_cells.SqueezeExcite, 32, **k), reduction=4),
    Row("parts.residual_cells.NVAEDecoderCell", lambda **k: built(residual_cells.NVAEDecoderCell, 4, **k), expansion=2),
    Row(
        "parts.residual_gan.UpBlock", lambda **k: built(residual_gan.UpBlock, 4, 2, **k), wrap=spectral_norm, **CLASSES
    ),
    Row(
        "parts.residual_gan.UpBlock.forward",
        lambda **k: built(residual_gan.UpBlock, 4, 2, **CLASSES)(MAPS, **{"condition": Y[:2]} | k),
        condition=Y[1:3],
    ),
    Row(
        "parts.residual_gan.DownBlock",
        lambda **k: built(residual_gan.DownBlock, 4, 2, **k)(MAPS),
        downsample=False,
        first=True,
    ),
    Row("parts.residual_gan.DownBlock", lambda **k: built(residual_gan.DownBlock, 4, 2, **k), wrap=spectral_norm),
    Row(
        "parts.residual_gan.ResNetGenerator",
        generator,
        wrap=spectral_norm,
        attention={8: lambda c: nn.Conv2d(c, c, 1)},
        **CLASSES,
    ),
    Row(
        "parts.residual_gan.ResNetGenerator.forward",
        lambda **k: generator(**CLASSES)(X[:3, :3], **{"condition": Y[:3]} | k),
        condition=Y[1:4],
    ),
    Row(
        "parts.residual_gan.ResNetCritic",
        critic,
        num_classes=3,
        wrap=spectral_norm,
        attention={4: lambda c: nn.Conv2d(c, c, 1)},
    ),
    Row("parts.residual_gan.ResNetCritic", lambda **k: critic(**k)(fixed(3, 1, 8, 8)), pool="mean"),
    Row(
        "parts.residual_gan.ResNetCritic.forward",
        lambda **k: critic(num_classes=3)(fixed(3, 1, 8, 8), **{"condition": Y[:3]} | k),
        condition=Y[1:4],
    ),
    Row(
        "parts.roots.increasing_root",
        lambda **k: roots.increasing_root(lambda v: (v**3 + v - 0.3, 3 * v**2 + 1), -X.abs() - 1, X.abs() + 1, **k),
        halvings=3,
    ),
    Row("parts.sampling.draw_bernoulli", lambda **k: sampling.draw_bernoulli(X, **k)),
    Row("parts.sampling.draw_categorical", lambda **k: sampling.draw_categorical(X, **k)),
    Row(
        "parts.truncation.truncated_normal",
        lambda **k: truncation.truncated_normal((5,), 1.0, **k),
        dtype=torch.float32,
    ),
    Row(
        "parts.autodiff.divergence",
        lambda **k: divergence((LEAF**3) @ SQUARE, LEAF, **k).requires_grad,
        create_graph=True,
    ),
    Row("parts.unet.ResidualBlock", lambda **k: built(unet.ResidualBlock, 4, 4, **k), embedding_features=3),
    Row("parts.unet.ResidualBlock", lambda **k: built(unet.ResidualBlock, 4, 4, **k)(MAPS), dropout=0.5),
    Row(
        "parts.unet.ResidualBlock.forward",
        lambda **k: built(unet.ResidualBlock, 4, 4, 3)(MAPS, **{"embedding": fixed(2, 3)} | k),
        embedding=-fixed(2, 3),
    ),
    Row(
        "parts.unet.UNet",
        lambda **k: built(unet.UNet, 1, 1, **NET | k),
        base=16,
        multipliers=(1, 2),
        blocks=2,
        attention_at=(0,),
        num_classes=3,
        context_features=2,
    ),
    Row("parts.unet.UNet", lambda **k: built(unet.UNet, 1, 1, **NET | k)(IMAGES, T), dropout=0.5, time_scale=10.0),
    Row(
        "parts.unet.UNet.forward",
        lambda **k: built(unet.UNet, 1, 1, num_classes=3, **NET)(IMAGES, T, **{"y": Y} | k),
        y=Y.flip(0),
    ),
]
APART = {
    "parts.truncation.truncated_normal.device": (
        "evaluation/test_truncation.py",
        "test_the_law_is_scipys_truncated_normal",
    ),
    "parts.distributions.GaussianMixture.to.device": (
        "parts/test_distributions.py",
        "test_the_mixture_agrees_with_scipy",
    ),
    "parts.ode.Tableau.b_hat": (
        "parts/test_ode.py",
        "test_the_two_rows_of_the_adaptive_method_have_orders_five_and_four",
    ),
    "parts.residual_gan.ResNetGenerator.start": (
        "parts/test_residual_gan.py",
        "test_extra_layers_stand_where_the_side_is_asked_for",
    ),
    "parts.unet.UNet.ddpm_cifar10.num_classes": (
        "diffusion/test_unet.py",
        "test_the_network_for_cifar10_has_the_size_of_the_paper",
    ),
}
