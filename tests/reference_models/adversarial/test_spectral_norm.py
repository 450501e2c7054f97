"""Spectral normalisation against singular values, torch's own, and the paper's gradient."""

import copy
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reference_models.adversarial.spectral_norm import SNGAN, Hinge, SpectralNorm, spectral_norm
from tests.reference_models.adversarial.games import conv, count, gradients, linear
from tests.reference_models.helpers import close, jacobian, perturb


def settled(layer: nn.Module, steps: int = 200) -> nn.Module:
    """After so many forward passes, power iteration has converged; in evaluation, so that it stays."""
    layer.train()
    for _ in range(steps):
        _ = layer.weight
    return layer.eval()


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Linear(5, 7),
        lambda: nn.Conv2d(3, 4, 3),
        lambda: nn.ConvTranspose2d(3, 4, 3),
        lambda: nn.Embedding(6, 3),
        lambda: nn.Conv1d(2, 5, 4),
    ],
)
def test_the_largest_singular_value_of_the_matrix_out_times_the_rest_becomes_one(
    build: Callable[[], nn.Module],
) -> None:
    layer = settled(spectral_norm(perturb(build(), 1.0)))
    weight = layer.weight.detach()
    if isinstance(layer, nn.ConvTranspose2d):
        assert weight.shape == (3, 4, 3, 3)
        weight = weight.transpose(0, 1)
    matrix = weight.reshape(len(weight), -1)
    assert close(torch.linalg.svdvals(matrix)[0], 1.0, 1e-6)


def test_one_step_a_call_converges_over_calls_because_u_is_kept() -> None:
    layer = spectral_norm(perturb(nn.Linear(6, 6), 1.0))
    weight = layer.parametrizations.weight.original.detach()
    exact = torch.linalg.svdvals(weight)[0]
    normalise = layer.parametrizations.weight[0]
    errors = []
    for _ in range(60):
        layer(torch.randn(2, 6))
        errors.append(float(exact - normalise.sigma(weight)))
    assert errors[0] > 1e-3
    assert abs(errors[-1]) < 1e-3 * float(exact)
    assert all(error > -1e-12 for error in errors)  # an estimate from below
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(errors))


def test_a_step_moves_v_first_and_then_u() -> None:
    weight = torch.randn(5, 4)
    normalise = SpectralNorm(weight)
    v = F.normalize(weight.mT @ normalise.u, dim=0)
    u = F.normalize(weight @ v, dim=0)
    assert close(normalise(weight), weight / (u @ weight @ v), 1e-12)
    assert close(normalise.u, u, 1e-12)
    assert close(normalise.v, v, 1e-12)


def test_a_convolution_s_norm_as_a_map_of_images_exceeds_sigma_by_up_to_the_root_of_its_kernel() -> None:
    layer = nn.Conv2d(2, 3, 3, padding=1, bias=False)
    norm = torch.linalg.svdvals(jacobian(lambda x: layer(x[None]), torch.randn(2, 6, 6)))[0]
    sigma = torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]
    assert 1.01 * sigma < norm <= 3 * sigma


def test_more_steps_a_call_are_so_many_single_ones() -> None:
    torch.manual_seed(1)
    weight = torch.randn(5, 4)
    torch.manual_seed(2)
    fast = SpectralNorm(weight, steps=6)
    torch.manual_seed(2)
    slow = SpectralNorm(weight)
    for _ in range(5):
        slow(weight)
    assert close(fast(weight), slow(weight), 1e-14)


def test_evaluation_leaves_u_alone_and_training_moves_it() -> None:
    layer = spectral_norm(perturb(nn.Linear(6, 6), 1.0))
    normalise = layer.parametrizations.weight[0]
    layer.eval()
    before = normalise.u.clone()
    first, second = layer.weight, layer.weight
    assert torch.equal(normalise.u, before)
    assert torch.equal(first, second)
    layer.train()
    _ = layer.weight
    assert not torch.equal(normalise.u, before)
    assert set(layer.state_dict()) == {"bias", *(f"parametrizations.weight.{n}" for n in ("original", "0.u", "0.v"))}


def test_torch_s_own_normalisation_agrees() -> None:
    weight = torch.randn(4, 3, 3, 3)
    ours, theirs = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    for layer in (ours, theirs):
        layer.weight.data.copy_(weight)
    settled(spectral_norm(ours))
    torch.nn.utils.parametrizations.spectral_norm(theirs, n_power_iterations=200).eval()
    assert close(ours.weight, theirs.weight, 1e-8)


def test_the_gradient_is_the_paper_s_with_both_vectors_held_fixed() -> None:
    layer = settled(spectral_norm(perturb(nn.Linear(4, 3), 1.0)))
    normalise, w = layer.parametrizations.weight[0], layer.parametrizations.weight.original
    g = torch.randn(3, 4)
    (layer.weight * g).sum().backward()
    left, values, right = torch.linalg.svd(w.detach())
    normalised = w.detach() / values[0]
    expected = (g - (g * normalised).sum() * torch.outer(left[:, 0], right[0])) / values[0]
    assert close(w.grad, expected, 1e-6)
    assert normalise.u.grad_fn is None


def test_a_normalised_critic_never_slopes_more_than_1() -> None:
    layers: list[nn.Module] = []
    for narrow, wide in ((3, 16), (16, 16), (16, 1)):
        layers += [settled(spectral_norm(perturb(nn.Linear(narrow, wide), 1.0))), nn.LeakyReLU(0.1)]
    critic = nn.Sequential(*layers[:-1])
    x, y = torch.randn(500, 3), torch.randn(500, 3)
    slopes = (critic(x) - critic(y)).abs().squeeze(1) / (x - y).norm(dim=1)
    assert slopes.max() <= 1 + 1e-4


def test_the_hinge_ignores_what_is_right_by_a_margin() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0], requires_grad=True), torch.tensor([-3.0, 0.0, 4.0], requires_grad=True)
    loss = Hinge().discriminator_loss(real, fake)
    assert close(loss, (0 + 0.5 + 2) / 3 + (0 + 1 + 5) / 3, 1e-12)
    slopes = torch.autograd.grad(loss, (real, fake))
    assert close(slopes[0], torch.tensor([0.0, -1 / 3, -1 / 3]), 1e-12)
    assert close(slopes[1], torch.tensor([0.0, 1 / 3, 1 / 3]), 1e-12)
    assert close(Hinge().generator_loss(fake), -1 / 3, 1e-12)


def test_every_layer_of_the_critic_is_normalised_and_none_of_the_generator() -> None:
    gan = SNGAN.images(channels=4)

    def has(part: nn.Module) -> bool:
        return hasattr(part, "parametrizations")

    kinds = (nn.Linear, nn.Conv2d)
    assert all(has(part) for part in gan.discriminator.modules() if isinstance(part, kinds))
    assert not any(has(part) for part in gan.generator.modules())


def test_the_players_gradients_do_not_mix(generator: torch.Generator) -> None:
    gan = perturb(SNGAN.images(channels=4))
    gan.discriminator_loss(torch.rand(4, 1, 8, 8), generator=generator).backward()
    assert gradients(gan.discriminator)
    assert not gradients(gan.generator)
    gan.zero_grad()
    gan.generator_loss(4, generator=generator).backward()
    assert gradients(gan.generator)
    assert not gradients(gan.discriminator)


def test_the_paper_s_networks_have_the_sizes_of_table_4() -> None:
    with torch.device("meta"):
        gan = SNGAN.paper()
    up = 2 * conv(256, 256, 3) + conv(256, 256, 1) + 4 * 256
    assert count(gan.generator) == linear(128, 256 * 16) + 3 * up + 2 * 256 + conv(256, 3, 3)
    block = 2 * conv(128, 128, 3)
    first = conv(3, 128, 3) + conv(128, 128, 3) + conv(3, 128, 1)
    assert count(gan.discriminator) == first + block + conv(128, 128, 1) + 2 * block + linear(128, 1)


def test_single_precision_and_copies(generator: torch.Generator) -> None:
    gan = SNGAN.images(channels=4).float()
    x = torch.rand(3, 1, 8, 8).float()
    assert gan.score(x).dtype == torch.float32
    twin = copy.deepcopy(gan).eval()
    assert close(twin.score(x), gan.eval().score(x), 0)
    other = SNGAN.images(channels=4).float().eval()
    other.load_state_dict(gan.state_dict())
    assert close(other.score(x), gan.score(x), 0)


def test_layers_without_a_matrix_are_refused() -> None:
    with pytest.raises(ValueError, match="a layer with a weight is needed, got ReLU"):
        spectral_norm(nn.ReLU())
    with pytest.raises(ValueError, match=r"at least 2 dimensions, got shape \(3,\)"):
        spectral_norm(nn.LayerNorm(3))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        spectral_norm(nn.Linear(2, 2), steps=0)


def test_normalising_costs_no_gradient_through_the_power_iteration() -> None:
    layer = spectral_norm(perturb(nn.Linear(3, 3), 1.0))
    y = layer(torch.randn(2, 3))
    assert F.mse_loss(y, y.detach() + 1).requires_grad
    assert not layer.parametrizations.weight[0].u.requires_grad
    assert not layer.parametrizations.weight[0].v.requires_grad
