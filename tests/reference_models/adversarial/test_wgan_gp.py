"""The gradient penalty against critics whose slope is known everywhere."""

import pytest
import torch
from torch import Tensor, nn

from reference_models.adversarial.gan import mlp_gan
from reference_models.adversarial.wgan_gp import WGANGP, gradient_penalty
from tests.reference_models.adversarial.games import conv, count, gradients, linear
from tests.reference_models.helpers import close, perturb


def unit(dim: int) -> Tensor:
    w = torch.randn(dim)
    return w / w.norm()


@pytest.mark.parametrize(("length", "penalty"), [(1.0, 0.0), (2.0, 1.0), (0.5, 0.25), (0.0, 1.0)])
def test_a_linear_critic_pays_the_square_of_its_length_less_one(length: float, penalty: float) -> None:
    w = length * unit(3)
    assert close(gradient_penalty(lambda x: x @ w, torch.randn(6, 3), torch.randn(6, 3)), penalty, 1e-9)


def test_the_length_is_taken_over_the_whole_image_of_one_example() -> None:
    w = 1.7 * unit(12).reshape(1, 3, 4)
    real, fake = torch.randn(2, 5, 1, 3, 4)
    assert close(gradient_penalty(lambda x: (x * w).sum((1, 2, 3)), real, fake), 0.49, 1e-9)


def test_the_penalty_moves_the_critic() -> None:
    """d/dA of (A - 1)^2 at A = 1.7 is 1.4: a penalty without second derivatives has none."""
    a, w = torch.tensor(1.7, requires_grad=True), unit(3)
    gradient_penalty(lambda x: a * (x @ w), torch.randn(6, 3), torch.randn(6, 3)).backward()
    assert close(a.grad, 1.4, 1e-9)


def test_a_quadratic_critic_pays_the_integral_over_the_segment(generator: torch.Generator) -> None:
    """f = |x|^2 / 2 has slope |x|. On the segment from a e to b e, t uniform, E (|x| - 1)^2 is
    (a^2 + ab + b^2)/3 - (a + b) + 1; mean of 20000 within 5 standard errors, false failures 6e-7.
    """
    a, b, e = 0.5, 3.0, unit(4)
    real, fake = (b * e).expand(20_000, 4), (a * e).expand(20_000, 4)
    found = gradient_penalty(lambda x: 0.5 * x.square().sum(1), real, fake, generator=generator)
    expected = (a * a + a * b + b * b) / 3 - (a + b) + 1
    grid = torch.linspace(a, b, 10_001)
    deviation = ((grid - 1) ** 2).std() / 20_000**0.5
    assert abs(found - expected) < 5 * deviation
    t = torch.linspace(0, 1, 7)
    mean = ((b * t + a * (1 - t) - 1) ** 2).mean()
    assert close(gradient_penalty(lambda x: 0.5 * x.square().sum(1), real[:7], fake[:7], t=t), mean, 1e-12)


def test_points_lie_on_the_segments_with_one_share_for_each_pair(generator: torch.Generator) -> None:
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    real, fake = torch.randn(2, 64, 1, 4, 4)
    gradient_penalty(critic, real, fake, generator=generator)
    t = ((seen[0] - fake) / (real - fake)).flatten(1)
    assert (t.amax(1) - t.amin(1)).max() < 1e-9
    assert bool(((t >= -1e-9) & (t <= 1 + 1e-9)).all())
    assert t[:, 0].std() > 0.2
    gradient_penalty(critic, real, fake, t=torch.ones(64))
    assert close(seen[1], real, 1e-12)


def test_no_gradient_reaches_data_or_samples() -> None:
    real, fake = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    a = torch.tensor(1.5, requires_grad=True)
    gradient_penalty(lambda x: a * x.square().sum(1), real, fake).backward()
    assert real.grad is None
    assert fake.grad is None
    assert a.grad is not None


def test_the_loss_is_eq_3_on_scores_and_penalty(generator: torch.Generator) -> None:
    gan, x = perturb(mlp_gan(WGANGP, hidden=(8,))), torch.randn(16, 2)
    gan.penalty = 7.0
    state = generator.get_state()
    loss = gan.discriminator_loss(x, generator=generator)
    generator.set_state(state)
    fake = gan(gan.noise(16, generator=generator)).detach()
    penalty = gradient_penalty(gan.discriminator, x, fake, generator=generator)
    assert close(loss, gan.score(fake).mean() - gan.score(x).mean() + 7 * penalty, 1e-12)
    loss.backward()
    assert not gradients(gan.generator)
    gan.zero_grad()
    gan.generator_loss(4, generator=generator).backward()
    assert not gradients(gan.discriminator)
    assert gradients(gan.generator)


class Told(nn.Module):
    """z + y for a generator; y |x|^2 / 2 for a critic, whose slope is y |x|."""

    def __init__(self, critic: bool) -> None:
        super().__init__()
        self.critic, self.unused = critic, nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * y * x.square().sum(1) if self.critic else x + y[:, None]


def test_the_slope_of_a_pair_is_taken_beside_its_label(generator: torch.Generator) -> None:
    gan = WGANGP(Told(False), Told(True), latent_dim=2, event_shape=(2,), penalty=3.0)
    x, y = torch.randn(4, 2), torch.tensor([0.5, 1.0, 2.0, 4.0])
    state = generator.get_state()
    loss = gan.discriminator_loss(x, condition=y, generator=generator)
    generator.set_state(state)
    fake = gan.noise(4, generator=generator) + y[:, None]
    t = torch.rand(4, generator=generator, device=x.device)[:, None]
    slopes = y * (t * x + (1 - t) * fake).norm(dim=1)
    scores = [0.5 * y * points.square().sum(1) for points in (fake, x)]
    assert close(loss, scores[0].mean() - scores[1].mean() + 3 * (slopes - 1).square().mean(), 1e-12)


def test_training_a_critic_between_two_points_finds_the_kantorovich_slope(generator: torch.Generator) -> None:
    """Data at 0, samples at 2 on a line, f(x) = w x: eq. 3 is 2w + 10 (|w| - 1)^2, least for w < 0 at -1.1."""
    w = torch.tensor(-0.5, requires_grad=True)
    optimiser = torch.optim.SGD([w], lr=0.02)
    real, fake = torch.zeros(8, 1), torch.full((8, 1), 2.0)
    for _ in range(400):
        optimiser.zero_grad()
        loss = w * 2.0 + 10 * gradient_penalty(lambda x: w * x[:, 0], real, fake, generator=generator)
        loss.backward()
        optimiser.step()
    assert close(w.detach(), -1.1, 1e-6)


def test_examples_are_judged_on_their_own(generator: torch.Generator) -> None:
    gan = perturb(WGANGP.images(channels=4))
    x = torch.randn(5, 1, 8, 8)
    assert close(torch.stack([gan.score(one) for one in x]), gan.score(x), 1e-10)
    assert gan.sample(3, generator=generator).shape == (3, 1, 8, 8)
    small = gan.float()
    assert small.discriminator_loss(x.float(), generator=generator).dtype == torch.float32


def test_the_paper_s_networks_have_the_sizes_of_its_appendix() -> None:
    with torch.device("meta"):
        gan = WGANGP.paper()
    assert gan.penalty == 10
    block = 2 * conv(128, 128, 3)
    up = block + conv(128, 128, 1) + 2 * 2 * 128
    assert count(gan.generator) == linear(128, 128 * 16) + 3 * up + 2 * 128 + conv(128, 3, 3)
    first = conv(3, 128, 3) + conv(128, 128, 3) + conv(3, 128, 1)
    assert count(gan.discriminator) == first + (block + conv(128, 128, 1)) + 2 * block + linear(128, 1)


def test_what_cannot_be_penalised_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(4, 2\) and \(3, 2\)"):
        gradient_penalty(lambda x: x.sum(1), torch.zeros(4, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"t must have shape \(4,\), got \(4, 2\)"):
        gradient_penalty(lambda x: x.sum(1), torch.zeros(4, 2), torch.zeros(4, 2), t=torch.zeros(4, 2))
    critic = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with pytest.raises(ValueError, match="batch normalisation, got one at '1'"):
        WGANGP(nn.Linear(2, 2), critic, latent_dim=2, event_shape=(2,))
    with pytest.raises(ValueError, match="penalty must be at least 0, got -1"):
        WGANGP(nn.Linear(2, 2), nn.Linear(2, 1), latent_dim=2, event_shape=(2,), penalty=-1.0)
