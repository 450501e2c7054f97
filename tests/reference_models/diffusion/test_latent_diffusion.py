"""Latent diffusion: a linear autoencoder by hand, torch.distributions, and the size of the paper's first stage."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from reference_models.diffusion.ddim import DDIM
from reference_models.diffusion.ddpm import DDPM
from reference_models.diffusion.latent_diffusion import Code, KLAutoencoder, LatentDiffusion
from reference_models.diffusion.schedule import Schedule
from reference_models.exact import BestNoise, best_guess
from reference_models.parts.unet import UNet
from tests.reference_models.diffusion.oracles import Recorder
from tests.reference_models.helpers import close, perturb


def betas() -> Tensor:
    return torch.linspace(0.01, 0.3, 20)


class Linear(KLAutoencoder):
    """m(x) = 5 x + 2 on images of one pixel, with D its inverse."""

    def __init__(self) -> None:
        super().__init__(1, 1, base=4, multipliers=(1,))

    def encode(self, x: Tensor) -> Code:
        return Code(5 * x + 2, torch.full_like(x, -30.0))

    def decode(self, z: Tensor) -> Tensor:
        return (z - 2) / 5


def small() -> KLAutoencoder:
    return perturb(KLAutoencoder(1, 2, base=8, multipliers=(1, 2)), 0.1)


def test_the_first_stage_has_the_size_of_the_paper():
    """Encoder and decoder of f = 8 with 4 latent channels: 83 653 863 parameters, counted by hand below.

    The paper states none for it; the released model of this configuration has this number.
    """

    def block(c_in: int, c_out: int) -> int:
        convs = 9 * c_in * c_out + c_out + 9 * c_out * c_out + c_out
        return 2 * c_in + 2 * c_out + convs + (c_in * c_out + c_out if c_in != c_out else 0)

    def middle(c: int) -> int:
        return 2 * block(c, c) + 2 * c + 4 * (c * c + c)

    def resample(c: int) -> int:
        return 9 * c * c + c

    down = block(128, 128) * 2 + block(128, 256) + block(256, 256) + block(256, 512) + block(512, 512) * 3
    encoder = (9 * 3 * 128 + 128) + down + sum(map(resample, (128, 256, 512))) + middle(512) + 1024 + (9 * 512 * 8 + 8)
    up = block(512, 512) * 6 + block(512, 256) + block(256, 256) * 2 + block(256, 128) + block(128, 128) * 2
    decoder = (9 * 4 * 512 + 512) + middle(512) + up + sum(map(resample, (512, 512, 256))) + 256 + (9 * 128 * 3 + 3)
    codes = (8 * 8 + 8) + (4 * 4 + 4)
    with torch.device("meta"):
        model = KLAutoencoder.kl_f8()
    assert sum(p.numel() for p in model.parameters()) == encoder + decoder + codes == 83_653_863
    assert model.factor == 8


def test_images_become_small_codes_and_come_back_in_size():
    model = KLAutoencoder(3, 4, base=4, multipliers=(1, 2, 2))
    code = model.encode(torch.randn(2, 3, 8, 12))
    assert code.mean.shape == code.log_std.shape == (2, 4, 2, 3)
    assert model.decode(code.mean).shape == (2, 3, 8, 12)
    assert model.encode(torch.randn(3, 8, 8)).mean.shape == (4, 2, 2)


def test_codes_are_treated_example_by_example():
    model, x = small(), torch.randn(64, 1, 4, 4)
    code = model.encode(x)
    assert close(model.encode(x[7]).mean, code.mean[7], 1e-10)
    assert close(model.decode(code.mean[7]), model.decode(code.mean)[7], 1e-10)


def test_codes_have_a_mean_and_the_log_of_a_variance():
    """The encoder's first channels are m, the others log s², of which s is the exponential of a half."""
    model, x = small(), torch.randn(3, 1, 4, 4)
    output = model.to_code(model.encoder(x))
    code = model.encode(x)
    assert close(code.mean, output[:, :2], 1e-12)
    assert close(code.log_std.exp().square(), output[:, 2:].exp(), 1e-10)


def test_the_first_stage_loss_by_hand():
    """Squared error of D(m + s ε) plus weight times the divergence that torch.distributions finds."""
    model, x, noise = small(), torch.randn(3, 1, 4, 4), torch.randn(3, 2, 2, 2)
    code = model.encode(x)
    q = Normal(code.mean, code.log_std.exp())
    kl = kl_divergence(q, Normal(torch.zeros(()), torch.ones(()))).sum((1, 2, 3))
    error = (x - model.decode(code.mean + code.log_std.exp() * noise)).square().sum((1, 2, 3))
    for weight in (0.0, 0.3):
        assert close(model.loss(x, weight=weight, noise=noise), (error + weight * kl).mean(), 1e-10)


def test_the_first_stage_trains_encoder_and_decoder():
    model = small()
    model.loss(torch.randn(3, 1, 4, 4), weight=0.1).backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in model.parameters())


def test_scaled_codes_have_standard_deviation_one():
    model = LatentDiffusion(small(), DDPM(Recorder(), Schedule(betas()), (2, 2, 2)))
    x = torch.randn(64, 1, 4, 4)
    model.fit_scale(x)
    assert close(model.encode(x).std(), 1.0, 1e-10)
    assert close(model.decode(model.encode(x)), model.autoencoder.decode(model.autoencoder.encode(x).mean), 1e-10)
    assert "scale" in model.state_dict()


def test_the_second_stage_learns_from_scaled_codes_and_leaves_the_first_alone():
    network = Recorder(0.5)
    model = LatentDiffusion(Linear(), DDPM(network, Schedule(betas()), (1, 1, 1)))
    x = torch.tensor([0.0, 1.0, 3.0]).reshape(3, 1, 1, 1)
    model.fit_scale(x)
    codes = torch.tensor([2.0, 7.0, 17.0])
    assert close(model.scale, 1 / codes.std(), 1e-12)
    t, noise = torch.tensor([0, 7, 19]), torch.randn(3, 1, 1, 1)
    loss = model.loss(x, t=t, noise=noise)
    bar = (1 - betas()).cumprod(0)[t].reshape(3, 1, 1, 1)
    x_t = bar.sqrt() * (codes / codes.std()).reshape(3, 1, 1, 1) + (1 - bar).sqrt() * noise
    assert close(network.calls[0][0], x_t, 1e-12)
    assert close(loss, (0.5 * x_t - noise).square().mean(), 1e-12)
    real = LatentDiffusion(small(), DDPM(Recorder(0.5), Schedule(betas()), (2, 2, 2)))
    real.loss(torch.randn(3, 1, 4, 4)).backward()
    assert all(p.grad is None for p in real.autoencoder.parameters())
    assert real.diffusion.network.weight.grad is not None


def test_samples_are_decoded_from_unscaled_codes():
    """With a linear autoencoder and the exact network of codes N(m, s²), x = (z/scale − 2)/5, z affine in the noise."""
    mean, std = 0.8, 0.5
    diffusion = DDPM(BestNoise(betas(), mean, std), Schedule(betas()), (1, 1, 1))
    model = LatentDiffusion(Linear(), diffusion)
    model.scale.fill_(0.25)
    noise = torch.randn(6, 1, 1, 1)
    z, bars = noise, (1 - betas()).cumprod(0).tolist()
    for t in reversed(range(20)):
        slope, offset = best_guess(bars[t], mean, std)
        x_0 = slope * z + offset
        epsilon = (z - bars[t] ** 0.5 * x_0) / (1 - bars[t]) ** 0.5
        before = bars[t - 1] if t else 1.0
        z = before**0.5 * x_0 + (1 - before) ** 0.5 * epsilon
    expected = (z / 0.25 - 2) / 5
    assert close(model.sample(6, sampler=DDIM(), noise=noise), expected, 1e-9)


def test_tokens_condition_both_training_and_sampling(generator):
    """The loss is that of the network with these tokens, and samples of one image depend on its own tokens alone."""
    network = perturb(UNet(2, 2, 8, (1,), attention_at=(0,), context_features=3))
    model = LatentDiffusion(small(), DDPM(network, Schedule(betas()), (2, 2, 2)))
    x, tokens = torch.randn(2, 1, 4, 4), torch.randn(2, 5, 3)
    t, noise = torch.tensor([3, 11]), torch.randn(2, 2, 2, 2)
    bar = (1 - betas()).cumprod(0)[t].reshape(2, 1, 1, 1)
    x_t = bar.sqrt() * model.encode(x) + (1 - bar).sqrt() * noise
    loss = model.loss(x, condition=tokens, t=t, noise=noise)
    assert close(loss, (network(x_t, t, tokens) - noise).square().mean(), 1e-10)
    other = torch.stack([tokens[0], -tokens[1]])
    first, second = (model.sample(2, sampler=DDIM(), noise=noise, condition=c) for c in (tokens, other))
    assert close(first[0], second[0], 1e-9)
    assert not close(first[1], second[1], 1e-6)


def test_training_mode_and_float32_survive_sampling(generator):
    model = LatentDiffusion(small(), DDPM(UNet(2, 2, 8, (1,), attention_at=()), Schedule(betas()), (2, 2, 2))).float()
    model.train()
    x = model.sample(2, times=[0, 19], generator=generator)
    assert x.dtype == torch.float32
    assert x.shape == (2, 1, 4, 4)
    assert model.training
    assert not x.requires_grad
    assert model.loss(torch.randn(3, 1, 4, 4, dtype=torch.float32), generator=generator).dtype == torch.float32


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="the diffusion must have 2 channels as the codes, got 3"):
        LatentDiffusion(small(), DDPM(nn.Identity(), Schedule(betas()), (3, 2, 2)))
    with pytest.raises(ValueError, match="sides divisible by 2"):
        small().encode(torch.zeros(1, 1, 3, 4))
    with pytest.raises(ValueError, match="latent must be at least 1, got 0"):
        KLAutoencoder(1, 0)
    with pytest.raises(ValueError, match="codes must vary"):
        LatentDiffusion(Linear(), DDPM(nn.Identity(), Schedule(betas()), (1, 1, 1))).fit_scale(torch.zeros(4, 1, 1, 1))
