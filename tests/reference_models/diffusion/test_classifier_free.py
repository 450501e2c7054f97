"""Classifier-free guidance: its convention, its dropped labels, and the tilted Gaussians it draws from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from reference_models.diffusion.classifier_free import ClassifierFree
from reference_models.diffusion.ddim import DDIM
from reference_models.diffusion.ddpm import DDPM
from reference_models.diffusion.parametrisation import KINDS
from reference_models.diffusion.schedule import Schedule
from reference_models.parts.networks import TimeMLP
from reference_models.parts.unet import UNet
from tests.reference_models.diffusion.oracles import Recorder
from tests.reference_models.helpers import close, perturb

K = 3


def betas() -> Tensor:
    return torch.linspace(0.01, 0.3, 20)


def small_model(kind: str = "epsilon") -> ClassifierFree:
    network = perturb(TimeMLP(2, [8], 2, time_scale=1.0, num_classes=K))
    return ClassifierFree(network, Schedule(betas()), (2,), K, parametrisation=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_weight_is_zero_without_the_label_and_one_with_it(kind):
    """ε̃ = (1 − w) ε(x) + w ε(x, y) for weights inside, at and beyond the ends, whatever the network outputs."""
    model = small_model(kind)
    x, t, y = torch.randn(5, 2), torch.tensor([0, 3, 9, 15, 19]), torch.tensor([0, 1, 2, 0, 2])
    plain = DDPM(model.network, model.schedule, (2,), parametrisation=kind)
    none = plain.predict(x, t, condition=torch.full((5,), K)).epsilon
    given = plain.predict(x, t, condition=y).epsilon
    for w in (-1.0, 0.0, 0.3, 1.0, 4.0):
        guess = model.predict(x, t, condition=y, weight=w)
        assert close(guess.epsilon, (1 - w) * none + w * given, 1e-10)
        assert close(guess.a * guess.x_0 + guess.sigma * guess.epsilon, x, 1e-10)
    assert close(model.predict(x, t).epsilon, none, 1e-12)
    assert close(model.predict(x, t, condition=y).epsilon, given, 1e-12)


def test_no_label_is_the_null_label():
    network = Recorder()
    model = ClassifierFree(network, Schedule(betas()), (2,), K)
    model.predict(torch.zeros(4, 2), torch.tensor(3))
    assert network.calls[-1][2].tolist() == [K] * 4
    model.loss(torch.zeros(4, 2))
    assert network.calls[-1][2].tolist() == [K] * 4


def test_guidance_calls_the_network_once():
    """With the batch doubled, or not even that where the weight is 0 or 1."""
    network = Recorder()
    model = ClassifierFree(network, Schedule(betas()), (2,), K)
    y = torch.tensor([0, 1, 2])
    for weight, rows in ((3.0, 6), (1.0, 3), (0.0, 3)):
        network.calls.clear()
        model.predict(torch.zeros(3, 2), torch.tensor([1, 2, 3]), condition=y, weight=weight)
        assert [len(call[0]) for call in network.calls] == [rows]


def test_labels_below_the_drop_rate_are_dropped():
    model = ClassifierFree(Recorder(), Schedule(betas()), (2,), K, drop=0.25)
    y = torch.tensor([0, 1, 2, 2])
    assert model.dropped(y, torch.tensor([0.0, 0.2499, 0.25, 0.9])).tolist() == [K, K, 2, 2]


def test_labels_are_dropped_at_the_stated_rate_and_apart(generator):
    """Binomial(20000, 0.1), within 5 standard deviations; fails by chance for 6e-7 of all seeds."""
    network = Recorder()
    model = ClassifierFree(network, Schedule(betas()), (1,), K, drop=0.1)
    y = torch.arange(20000) % K
    model.loss(torch.zeros(20000, 1), condition=y, generator=generator)
    shown = network.calls[0][2]
    dropped = shown == K
    assert abs(int(dropped.sum()) - 2000) < 5 * (20000 * 0.1 * 0.9) ** 0.5
    assert close(shown[~dropped], y[~dropped], 0)


def test_the_loss_is_that_of_the_labels_shown():
    model = small_model()
    x_0, noise, t = torch.randn(3, 2), torch.randn(3, 2), torch.tensor([0, 7, 19])
    y, u = torch.tensor([0, 1, 2]), torch.tensor([0.5, 0.01, 0.5])
    plain = DDPM(model.network, model.schedule, (2,))
    expected = plain.loss(x_0, t=t, noise=noise, condition=torch.tensor([0, K, 2]))
    assert close(model.loss(x_0, t=t, noise=noise, condition=y, u=u), expected, 1e-12)


def test_guided_scores_are_those_of_the_tilted_law():
    """p(x) = N(0, v), p(x|y) = N(μ_y, c): p^{1−w} p(·|y)^w is normal with precision (1−w)/v + w/c, at every t."""

    class Exact(nn.Module):
        def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
            bar = (1 - betas()).cumprod(0)[t].unsqueeze(1)
            mean = torch.tensor([-1.0, 0.5, 2.0, 0.0])[y].unsqueeze(1)
            data_variance = torch.tensor([0.2, 0.2, 0.2, 2.0])[y].unsqueeze(1)
            variance = bar * data_variance + 1 - bar
            return (1 - bar).sqrt() * (x - bar.sqrt() * mean) / variance

    model = ClassifierFree(Exact(), Schedule(betas()), (1,), K)
    t, y, x, w = torch.arange(20), torch.arange(20) % K, torch.randn(20, 1), 2.5
    bar = (1 - betas()).cumprod(0).unsqueeze(1)
    free, given = bar * 2.0 + 1 - bar, bar * 0.2 + 1 - bar
    precision = (1 - w) / free + w / given
    mean = w * bar.sqrt() * torch.tensor([-1.0, 0.5, 2.0])[y].unsqueeze(1) / given / precision
    assert close(model.predict(x, t, condition=y, weight=w).score, -precision * (x - mean), 1e-10)


def test_the_weight_acts_in_sampling():
    model = small_model()
    noise, y = torch.randn(4, 2), torch.tensor([0, 1, 2, 0])

    def draw(**options) -> Tensor:
        return model.sample(4, sampler=DDIM(), noise=noise, **options)

    assert close(draw(condition=y, weight=0.0), draw(), 1e-12)
    assert close(draw(condition=y, weight=1.0), draw(condition=y), 1e-12)
    assert not close(draw(condition=y, weight=3.0), draw(condition=y), 1e-3)


def test_batches_are_treated_example_by_example(generator):
    model = small_model()
    x, t, y = torch.randn(64, 2), torch.arange(64) % 20, torch.arange(64) % K
    guess = model.predict(x, t, condition=y, weight=2.0).epsilon
    assert close(model.predict(x[7], t[7], condition=y[7], weight=2.0).epsilon, guess[7], 1e-10)
    assert model.elbo(x, condition=y, generator=generator).value.shape == (64,)


def test_images_in_float32_work(generator):
    network = UNet(1, 1, 8, (1, 2), num_classes=K)
    model = ClassifierFree(network, Schedule(betas()), (1, 4, 4), K).float()
    y = torch.tensor([0, 2])
    x = model.sample(2, condition=y, weight=2.0, times=[0, 9, 19], generator=generator)
    assert x.dtype == torch.float32
    assert model.loss(x, condition=y).dtype == torch.float32


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"drop must lie in \[0, 1\], got 1.2"):
        ClassifierFree(Recorder(), Schedule(betas()), (1,), K, drop=1.2)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        ClassifierFree(Recorder(), Schedule(betas()), (1,), 0)
    with pytest.raises(ValueError, match=r"every label must lie in 0\.\.2, got values in \[1, 3\]"):
        small_model().loss(torch.zeros(2, 2), condition=torch.tensor([1, 3]))
