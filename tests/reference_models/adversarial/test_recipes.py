"""The loops that train two players: who moves when, on what, and what samples come from."""

import pytest
import torch
from torch import Tensor, nn

from reference_models.adversarial.gan import GAN, mlp_gan
from reference_models.adversarial.recipes_learners import Adversarial, Translation, invert, sharpen
from reference_models.data import DataSet, load
from reference_models.recipes import Images
from tests.reference_models.adversarial.games import snapshot, unchanged
from tests.reference_models.helpers import close


def plane(critic_steps: int = 1, average: float = 0.9) -> Adversarial:
    data = load("mixture", size=64, dtype=torch.float64, device=torch.get_default_device())
    return Adversarial(mlp_gan(GAN, hidden=(4,)), data, lr=(1e-2, 1e-2), critic_steps=critic_steps, average=average)


def test_the_critic_moves_at_every_step_and_the_generator_at_every_third(generator: torch.Generator) -> None:
    learner, moved = plane(critic_steps=3), []
    for _ in range(6):
        g, d = snapshot(learner.gan.generator), snapshot(learner.gan.discriminator)
        losses = learner.step(torch.randn(8, 2), None, generator=generator)
        assert not unchanged(learner.gan.discriminator, d)
        moved.append(not unchanged(learner.gan.generator, g))
        assert set(losses) == ({"critic", "generator"} if moved[-1] else {"critic"})
    assert moved == [False, False, True, False, False, True]


def test_samples_come_from_an_average_of_the_weights(generator: torch.Generator) -> None:
    learner = plane()
    first = next(learner.gan.generator.parameters()).detach().clone()
    learner.step(torch.randn(8, 2), None, generator=generator)
    now = next(learner.gan.generator.parameters())
    assert close(next(learner.average.average.generator.parameters()), 0.9 * first + 0.1 * now, 1e-12)


def test_r1_charges_half_its_weight_times_the_squared_slope_at_the_data() -> None:
    """A linear critic has the slope w everywhere."""
    data = load("mixture", size=64, dtype=torch.float64, device=torch.get_default_device())
    w, losses = torch.tensor([[3.0, 4.0]]), []
    for r1 in (0.0, 0.2):
        critic = nn.Linear(2, 1)
        critic.weight.data, critic.bias.data = w.clone(), torch.zeros(1)
        gan = GAN(nn.Linear(2, 2), nn.Sequential(critic, nn.Flatten(0)), latent_dim=2, event_shape=(2,))
        for p in gan.generator.parameters():
            nn.init.zeros_(p)
        draws = torch.Generator(w.device).manual_seed(0)
        losses.append(Adversarial(gan, data, r1=r1).step(data.train[:8], None, generator=draws)["critic"])
    assert abs(losses[1] - losses[0] - 0.5 * 0.2 * 25) < 1e-9


@pytest.mark.parametrize("settings", [{"r1": -1.0}, {"critic_steps": 0}, {"images": "unsigned"}, {"average": 1.0}])
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float | str]) -> None:
    data = load("mixture", size=64, dtype=torch.float64, device=torch.get_default_device())
    with pytest.raises(ValueError, match=r"must (be at least|be one of|lie in)"):
        Adversarial(mlp_gan(GAN, hidden=(4,)), data, **settings)


class Reciter(nn.Module):
    """A generator that shows training digits of the label asked for, or of the next one."""

    def __init__(self, data: DataSet, images: str, shift: int = 0) -> None:
        super().__init__()
        self.digits = torch.stack([data.train[data.train_labels == label][:100] for label in range(10)])
        self.images, self.shift, self.unused = images, shift, nn.Parameter(torch.zeros(1))

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        x = self.digits[(condition + self.shift) % 10, torch.arange(len(z)) // 10 % 100]
        return x.flatten(1) if self.images == "flat" else 2 * x - 1


@pytest.mark.parametrize(("images", "shift"), [("flat", 0), ("signed", 1)])
def test_samples_are_measured_as_pixels_and_as_the_digit_that_was_asked_for(
    images: str, shift: int, generator: torch.Generator
) -> None:
    data = load("digits", dtype=torch.float64, device=torch.get_default_device())
    shape = (64,) if images == "flat" else data.event_shape
    critic = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))
    gan = GAN(Reciter(data, images, shift), critic, latent_dim=2, event_shape=shape)
    learner = Adversarial(gan, data, images=images, labels=True)
    found = learner.metrics(data, generator=generator)
    assert found["frechet_digits"] < 2
    assert found["right_class"] < 0.02 if shift else found["right_class"] > 0.98
    figure = learner.figure(data, generator=generator)
    assert isinstance(figure, Images)
    assert figure.sheets["samples"].shape == (100, 1, 8, 8)
    assert (float(figure.sheets["samples"].min()), float(figure.sheets["samples"].max())) == (0, 1)


def test_points_are_counted_on_modes_and_their_covariance_compared(generator: torch.Generator) -> None:
    """Noise of covariance I around nothing: the error is |I - C| / |C|, to a tenth of it with 4000 samples."""
    data = load("mixture", dtype=torch.float64, device=torch.get_default_device())
    gan = GAN(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)), latent_dim=2, event_shape=(2,))
    gan.generator.weight.data, gan.generator.bias.data = torch.eye(2), torch.zeros(2)
    found = Adversarial(gan, data).metrics(data, generator=generator)
    expected = torch.cov(data.held_out.mT)
    error = float((torch.eye(2) - expected).norm() / expected.norm())
    assert abs(found["covariance_error"] - error) < 0.1 * error
    assert set(found) == {
        "within_4_sigma",
        "modes_covered",
        "min_share",
        "narrowest_mode",
        "covariance_error",
        "copying",
    }
    assert found["within_4_sigma"] < 0.9


class Watched(nn.Module):
    """A translator that remembers its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.judge, self.weight, self.seen = nn.Linear(1, 1), nn.Parameter(torch.tensor(0.5)), []

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return -x

    def discriminator_loss(self, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        self.seen.append((x, y))
        return self.judge(x.mean().reshape(1)).sum()

    def generator_loss(self, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None) -> "Watched":
        self.total = self.weight * x.mean()
        return self


def test_unpaired_translation_sees_different_digits_in_each_domain_and_paired_the_same(
    generator: torch.Generator,
) -> None:
    x = torch.rand(6, 1, 8, 8)
    for paired in (False, True):
        model = Watched()
        Translation(model, [model.judge], invert, paired).step(x, None, generator=generator)
        source, target = model.seen[0]
        assert close(source, 2 * (x if paired else x[:3]) - 1, 1e-12)
        assert close(target, 2 * (1 - (x if paired else x[3:])) - 1, 1e-12)


def test_the_error_of_a_translation_is_measured_in_pixels_from_0_to_1(generator: torch.Generator) -> None:
    """-x on [-1, 1] is 1 - x on [0, 1]: no error; as an answer to `sharpen` its error is known."""
    data = load("digits", dtype=torch.float64, device=torch.get_default_device())
    model = Watched()
    found = Translation(model, [model.judge], invert, False).metrics(data, generator=generator)
    assert abs(found["translation_l1"]) < 1e-12
    source, target = sharpen(data.held_out)
    found = Translation(model, [model.judge], sharpen, True).metrics(data, generator=generator)
    assert abs(found["translation_l1"] - float((1 - source - target).abs().mean())) < 1e-12
    assert abs(found["source_l1"] - float((source - target).abs().mean())) < 1e-12
