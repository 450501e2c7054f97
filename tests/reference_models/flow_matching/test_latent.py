"""Latent flow matching with a linear autoencoder, whose latents are known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reference_models.diffusion.latent_diffusion import Code, KLAutoencoder
from reference_models.flow_matching.conditional import FlowMatching
from reference_models.flow_matching.latent import LatentFlowMatching
from reference_models.parts.networks import TimeMLP
from reference_models.parts.unet import UNet
from tests.reference_models.flow_matching.fields import Known
from tests.reference_models.helpers import close, numpy, perturb


class Linear(KLAutoencoder):
    """z = A x and x = A⁻¹ z on vectors, its codes broad; it has a dropout layer, to see in which mode it runs."""

    def __init__(self) -> None:
        super().__init__(1, 2, base=2, multipliers=(1,))
        self.A = nn.Parameter(torch.tensor([[2.0, 1.0], [0.5, 3.0]]))
        self.dropout = nn.Dropout(0.5)

    def encode(self, x):
        mean = self.dropout(x @ self.A.T)
        return Code(mean, torch.ones_like(mean))

    def decode(self, z):
        return self.dropout(z) @ torch.linalg.inv(self.A).T


def model(velocity: nn.Module | None = None) -> LatentFlowMatching:
    velocity = perturb(TimeMLP(2, [8], 2)) if velocity is None else velocity
    made = LatentFlowMatching(Linear(), FlowMatching(velocity, (2,)))
    made.calibrate(DATA)
    return made


DATA = 4 + 3 * torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _data_on_the_device(device, monkeypatch):
    monkeypatch.setattr(f"{__name__}.DATA", DATA.to(device))


def test_latents_have_mean_zero_and_one_scale_for_all_dimensions():
    made = model()
    latents = numpy(DATA @ made.autoencoder.A.T)
    assert float(made.shift) == pytest.approx(latents.mean(), abs=1e-12)
    assert float(made.scale) == pytest.approx(latents.std(), abs=1e-12)
    z = numpy(made.encode(DATA))
    assert z == pytest.approx((latents - latents.mean()) / latents.std(), abs=1e-12)


def test_decoding_undoes_the_scale_before_the_decoder():
    made = model()
    assert close(made.decode(made.encode(DATA)), DATA, 1e-10)


def test_samples_are_decoded_once_from_the_flow(device):
    """With the constant velocity c the flow adds c: a sample is A⁻¹(s(x_0 + c) + m)."""
    made = model(Known(lambda x, t: torch.full_like(x, 0.7)))
    x_0 = torch.randn(5, 2, generator=torch.Generator(device).manual_seed(2))
    z = made.scale * (x_0 + 0.7) + made.shift
    sample = made.sample(5, steps=3, generator=torch.Generator(device).manual_seed(2))
    assert close(sample, z @ torch.linalg.inv(made.autoencoder.A).T, 1e-10)


def test_the_loss_is_the_flows_on_scaled_latents_and_spares_the_autoencoder():
    made = model()
    x_0, t = torch.randn(200, 2), torch.rand(200)
    latents = DATA @ made.autoencoder.A.detach().T
    unit = (latents - latents.mean()) / latents.std(correction=0)
    loss = made.loss(DATA, x_0=x_0, t=t)
    assert close(loss, made.flow.loss(unit, x_0=x_0, t=t), 1e-10)
    loss.backward()
    assert made.autoencoder.A.grad is None
    assert all(p.grad is not None for p in made.flow.parameters())


def test_the_autoencoder_runs_in_evaluation_mode_and_is_left_as_it_was():
    made = model().train()
    assert close(made.encode(DATA), made.encode(DATA), 0.0)
    assert made.autoencoder.dropout.training
    made.sample(3, steps=2)
    assert made.autoencoder.dropout.training


def test_labels_reach_the_flow():
    net = Known(lambda x, t, y: torch.zeros_like(x))
    made = LatentFlowMatching(Linear(), FlowMatching(net, (2,)))
    y = torch.arange(200) % 4
    made.loss(DATA, y)
    assert torch.equal(net.calls[0][2], y)
    made.sample(4, condition=y[:4], steps=1)
    assert torch.equal(net.calls[1][2], y[:4])


def test_the_library_s_autoencoder_is_trained_on_scaled_means_of_its_codes():
    autoencoder, x = perturb(KLAutoencoder(1, 2, base=8, multipliers=(1, 2)), 0.1), torch.randn(16, 1, 4, 4)
    network = perturb(UNet(2, 2, base=8, multipliers=(1,), attention_at=()))
    made = LatentFlowMatching(autoencoder, FlowMatching(network, (2, 2, 2)))
    made.calibrate(x)
    mean = autoencoder.encode(x).mean.detach()
    unit = (mean - mean.mean()) / mean.std(correction=0)
    assert close(made.encode(x), unit, 1e-10)
    x_0, t = torch.randn(16, 2, 2, 2), torch.rand(16)
    assert close(made.loss(x, x_0=x_0, t=t), made.flow.loss(unit, x_0=x_0, t=t), 1e-10)
    assert close(made.decode(unit), autoencoder.decode(mean), 1e-10)
    assert made.sample(3, steps=2).shape == (3, 1, 4, 4)


def test_the_scale_is_saved_and_single_precision_works():
    made = model()
    fresh = LatentFlowMatching(Linear(), FlowMatching(TimeMLP(2, [8], 2), (2,)))
    fresh.load_state_dict(made.state_dict())
    assert close(fresh.scale, made.scale, 0.0)
    assert made.float().sample(3, steps=2).dtype == torch.float32


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="the latents must vary to have a scale, got standard deviation 0"):
        model().calibrate(torch.zeros(4, 2))
    with pytest.raises(ValueError, match="the autoencoder must be a KLAutoencoder, got Dropout"):
        LatentFlowMatching(nn.Dropout(), FlowMatching(TimeMLP(2, [8], 2), (2,)))
    with pytest.raises(ValueError, match="the flow must have 2 channels as the codes, got 3"):
        LatentFlowMatching(Linear(), FlowMatching(TimeMLP(3, [8], 3), (3,)))
