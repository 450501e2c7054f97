"""The game of eq. 1 against its exact value on twelve states, and what every GAN shares."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import jensenshannon
from torch import Generator, Tensor, nn

from reference_models.adversarial.dcgan import DCGAN
from reference_models.adversarial.gan import (
    GAN,
    Maxout,
    Minimax,
    NonSaturating,
    draw_noise,
    mlp_gan,
    optimal_logit,
    paper_gan,
    value,
)
from tests.reference_models.adversarial.games import (
    COUNTS_P,
    COUNTS_Q,
    at_states,
    count,
    gradients,
    laws,
    linear,
    snapshot,
    unchanged,
)
from tests.reference_models.helpers import close, numpy, perturb


def test_at_the_optimal_discriminator_the_value_is_twice_the_jensen_shannon_divergence_less_log_4() -> None:
    p, q = laws()
    logit = optimal_logit(p.log(), q.log()).requires_grad_()
    v = value(at_states(logit, COUNTS_P), at_states(logit, COUNTS_Q))
    assert close(v, 2 * jensenshannon(numpy(p), numpy(q)) ** 2 - math.log(4), 1e-12)
    (slope,) = torch.autograd.grad(v, logit)
    assert close(slope, torch.zeros(12), 1e-12)


def test_every_other_discriminator_reaches_less_and_its_loss_is_minus_the_value() -> None:
    p, q = laws()
    best = optimal_logit(p.log(), q.log())
    for _ in range(20):
        logit = best + 0.3 * torch.randn(12)
        real, fake = at_states(logit, COUNTS_P), at_states(logit, COUNTS_Q)
        highest = value(at_states(best, COUNTS_P), at_states(best, COUNTS_Q))
        assert value(real, fake) < highest
        for objective in (Minimax(), NonSaturating()):
            assert close(objective.discriminator_loss(real, fake), -value(real, fake), 1e-12)


def test_losses_are_cross_entropies_of_the_logits() -> None:
    real, fake = 3 * torch.randn(7), 3 * torch.randn(5)
    ones, zeros = torch.ones(7), torch.zeros(5)
    entropy = F.binary_cross_entropy_with_logits
    expected = entropy(real, ones) + entropy(fake, zeros)
    assert close(NonSaturating().discriminator_loss(real, fake), expected, 1e-12)
    assert close(NonSaturating().generator_loss(fake), entropy(fake, torch.ones(5)), 1e-12)
    assert close(Minimax().generator_loss(fake), -entropy(fake, zeros), 1e-12)


def test_losses_are_finite_for_any_logit() -> None:
    extreme = torch.tensor([-800.0, 800.0])
    for objective in (Minimax(), NonSaturating()):
        assert torch.isfinite(objective.discriminator_loss(extreme, extreme))
        assert torch.isfinite(objective.generator_loss(extreme))


@pytest.mark.parametrize(("objective", "limit"), [(Minimax(), 0.0), (NonSaturating(), -1.0)])
def test_where_the_discriminator_wins_minimax_stands_still_and_the_other_loss_pulls(
    objective: Minimax, limit: float
) -> None:
    fake = torch.tensor([-40.0, -3.0, 0.5, 40.0], requires_grad=True)
    (slope,) = torch.autograd.grad(4 * objective.generator_loss(fake), fake)
    assert close(slope[0], limit, 1e-12)
    d = fake.detach().sigmoid()
    assert close(slope, -d if limit == 0.0 else d - 1, 1e-12)


def test_the_players_gradients_do_not_mix(generator: torch.Generator) -> None:
    gan = perturb(mlp_gan(GAN, hidden=(8,)))
    gan.discriminator_loss(torch.randn(16, 2), generator=generator).backward()
    assert gradients(gan.discriminator)
    assert not gradients(gan.generator)
    gan.zero_grad()
    before = snapshot(gan.discriminator)
    gan.generator_loss(16, generator=generator).backward()
    torch.optim.SGD(gan.parameters(), lr=1.0).step()
    assert gradients(gan.generator)
    assert not gradients(gan.discriminator)
    assert unchanged(gan.discriminator, before)
    assert all(p.requires_grad for p in gan.parameters())


def test_losses_are_those_of_the_objective_on_scores_of_data_and_samples(generator: torch.Generator) -> None:
    gan, x = perturb(mlp_gan(GAN, hidden=(8,))), torch.randn(16, 2)
    state = generator.get_state()
    loss = gan.discriminator_loss(x, generator=generator)
    generator.set_state(state)
    fake = gan.generator(gan.noise(16, generator=generator))
    assert close(loss, F.softplus(-gan.discriminator(x)).mean() + F.softplus(gan.discriminator(fake)).mean(), 1e-12)
    generator.set_state(state)
    expected = F.softplus(-gan.discriminator(fake)).mean()
    assert close(gan.generator_loss(16, generator=generator), expected, 1e-12)


class Told(nn.Module):
    """A network that adds its condition to each row."""

    def __init__(self, score: bool) -> None:
        super().__init__()
        self.score = score
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        out = self.weight * x + condition[:, None]
        return out.sum(dim=1) if self.score else out


def test_a_condition_reaches_both_players() -> None:
    gan = GAN(Told(False), Told(True), latent_dim=2, event_shape=(2,))
    z, y = torch.randn(3, 2), torch.tensor([1.0, 2.0, 3.0])
    assert close(gan(z, condition=y), z + y[:, None], 1e-12)
    assert close(gan.score(z, condition=y), z.sum(1) + 2 * y, 1e-12)
    drawn = gan.sample(3, condition=y, generator=torch.Generator(y.device).manual_seed(1))
    assert close(drawn, gan.noise(3, generator=torch.Generator(y.device).manual_seed(1)) + y[:, None], 1e-12)
    fake_loss = gan.discriminator_loss(z, condition=1e6 * y)
    assert float(fake_loss.detach()) > 1e5  # 2e6 and more for samples, which saw the condition twice


def test_sampling_freezes_statistics_restores_training_and_repeats(generator: torch.Generator) -> None:
    network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    gan = GAN(network, nn.Linear(2, 1), latent_dim=2, event_shape=(2,)).train()
    network[1].eval()
    state, mean = generator.get_state(), network[1].running_mean.clone()
    first = gan.sample(5, generator=generator)
    generator.set_state(state)
    assert torch.equal(first, gan.sample(5, generator=generator))
    assert first.shape == (5, 2)
    assert not first.requires_grad
    assert torch.equal(network[1].running_mean, mean)
    assert gan.training
    assert not network[1].training


@pytest.mark.parametrize(
    ("prior", "low", "mean", "variance"),
    [("normal", -9.0, 0.0, 1.0), ("uniform", -1.0, 0.0, 1 / 3), ("unit", 0.0, 0.5, 1 / 12)],
)
def test_noise_has_the_law_it_is_named_for(
    prior: str, low: float, mean: float, variance: float, generator: torch.Generator
) -> None:
    """Moments of 40000 numbers within 5 standard errors: false failures 6e-7 a moment."""
    z = draw_noise(20_000, 2, prior, nn.Linear(1, 1), generator).flatten()
    assert z.min() >= low
    assert abs(float(z.mean()) - mean) < 5 * (variance / len(z)) ** 0.5
    fourth = {"normal": 3.0, "uniform": 1 / 5, "unit": 1 / 80}[prior]
    assert abs(float(((z - mean) ** 2).mean()) - variance) < 5 * ((fourth - variance**2) / len(z)) ** 0.5


def test_one_example_and_many_give_the_same_scores() -> None:
    gan, x = perturb(mlp_gan(GAN, hidden=(8,))), torch.randn(64, 2)
    assert gan.score(x).shape == (64,)
    assert gan.score(x[0]).shape == ()
    assert close(torch.stack([gan.score(one) for one in x]), gan.score(x), 1e-12)


def test_maxout_takes_the_largest_of_its_pieces() -> None:
    layer, x = perturb(Maxout(3, 4, 5)), torch.randn(6, 3)
    h = numpy(layer.linear(x))
    expected = np.array([[max(row[5 * unit + k] for k in range(5)) for unit in range(4)] for row in h])
    assert close(layer(x), torch.as_tensor(expected), 1e-12)


def test_the_paper_s_networks_have_the_sizes_of_its_configuration() -> None:
    with torch.device("meta"):
        gan = paper_gan()
    assert count(gan.generator) == linear(100, 1200) + linear(1200, 1200) + linear(1200, 784)
    assert count(gan.discriminator) == linear(784, 5 * 240) + linear(240, 5 * 240) + linear(240, 1)
    assert gan.prior == "normal"


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    gan = mlp_gan(GAN, hidden=(8,)).float()
    assert gan.sample(3, generator=generator).dtype == torch.float32
    assert gan.discriminator_loss(torch.randn(4, 2).float(), generator=generator).dtype == torch.float32


def test_wrong_sizes_are_refused() -> None:
    gan = mlp_gan(GAN)
    with pytest.raises(ValueError, match=r"x must have shape \(2\).*got \(5, 3\)"):
        gan.score(torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"z must have shape .* got \(5, 3\)"):
        gan(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        gan.sample(0)
    with pytest.raises(ValueError, match="latent_dim must be at least 1, got 0"):
        GAN(nn.Identity(), nn.Identity(), latent_dim=0, event_shape=(2,))
    with pytest.raises(ValueError, match=r"prior must be one of .*'cauchy'"):
        GAN(nn.Identity(), nn.Identity(), latent_dim=1, event_shape=(2,), prior="cauchy")
    with pytest.raises(ValueError, match="pieces must be at least 1, got 0"):
        Maxout(2, 2, 0)


@pytest.mark.parametrize("training", [True, False])
def test_sampling_changes_nothing_of_a_model_in_whatever_mode_it_finds_it(training: bool) -> None:
    """Batch normalisation keeps its running statistics; each module its mode."""
    gan = DCGAN((1, 8, 8), latent_dim=3, channels=4)
    gan.train(training)
    gan.generator.eval()
    before, modes = snapshot(gan), [module.training for module in gan.modules()]
    gan.sample(5)
    assert unchanged(gan, before)
    assert [module.training for module in gan.modules()] == modes
    gan.train(training)
    before = {name: value.clone() for name, value in gan.state_dict().items()}
    gan.sample(5)
    assert all(torch.equal(value, before[name]) for name, value in gan.state_dict().items())


class Drawing(GAN):
    """A GAN whose generator draws noise inside, as StyleGAN's does."""

    def forward(self, z: Tensor, *, condition: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        return super().forward(z, condition=condition) + torch.rand(z.shape, generator=generator)


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, source: model.sample(4, generator=source),
        lambda model, source: model.generator_loss(4, generator=source),
        lambda model, source: model.discriminator_loss(torch.zeros(4, 2), generator=source),
    ],
    ids=["sample", "generator_loss", "discriminator_loss"],
)
def test_a_network_that_draws_inside_draws_from_the_generator(ask, device: torch.device) -> None:
    model = mlp_gan(Drawing)
    one, again, other = (ask(model, torch.Generator(device).manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not close(one, other, 1e-6)
