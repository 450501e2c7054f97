"""Cycles of maps that are known: mutual inverses, the identity, shifts."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.adversarial.cyclegan import CycleGAN, History, TranslationNetwork, residual_block
from tests.reference_models.adversarial.games import conv, count, gradients, snapshot, unchanged
from tests.reference_models.helpers import close, perturb


class Affine(nn.Module):
    """x to a x + b."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))

    def forward(self, x: Tensor) -> Tensor:
        return self.a * x + self.b


def known(to_y: Affine, to_x: Affine, **kwargs: float) -> CycleGAN:
    return CycleGAN(to_y, to_x, Affine(1.0, 0.5), Affine(2.0, -1.0), **kwargs)


def test_mutual_inverses_have_no_cycle_loss_and_the_identity_no_identity_loss() -> None:
    x, y = torch.randn(2, 4, 1, 3, 3)
    loss = known(Affine(2.0, 1.0), Affine(0.5, -0.5), identity_share=1.0).generator_loss(x, y)
    assert close(loss.cycle, 0.0, 1e-12)
    expected = (2 * y + 1 - y).abs().mean() + (0.5 * x - 0.5 - x).abs().mean()  # G is asked about y, F about x
    assert close(loss.identity, expected, 1e-12)
    loss = known(Affine(1.0, 0.0), Affine(1.0, 0.0), identity_share=1.0).generator_loss(x, y)
    assert close(loss.identity, 0.0, 1e-12)


def test_losses_of_shifts_are_known() -> None:
    """G adds 3, F subtracts 1: there and back adds 2 either way; D_X(x) = x + 1/2, D_Y(y) = 2y - 1."""
    x, y = torch.randn(2, 4, 1, 3, 3)
    model = known(Affine(1.0, 3.0), Affine(1.0, -1.0), identity_share=0.5)
    loss = model.generator_loss(x, y)
    assert close(loss.cycle, 2.0 + 2.0, 1e-12)
    assert close(loss.identity, 3.0 + 1.0, 1e-12)
    expected = (2 * (x + 3) - 2).square().mean() + ((y - 1) + 0.5 - 1).square().mean()
    assert close(loss.adversarial, expected, 1e-12)
    assert close(loss.total, loss.adversarial + 10 * (4 + 0.5 * 4), 1e-12)
    d_loss = model.discriminator_loss(x, y)
    at_y = (2 * y - 2).square().mean() + (2 * (x + 3) - 1).square().mean()
    at_x = (x + 0.5 - 1).square().mean() + (y - 1 + 0.5).square().mean()
    assert close(d_loss, 0.5 * (at_x + at_y), 1e-12)


def test_without_a_share_the_identity_is_not_asked_for() -> None:
    x, y = torch.randn(2, 4, 1, 3, 3)
    loss = known(Affine(1.0, 3.0), Affine(1.0, -1.0)).generator_loss(x, y)
    assert close(loss.total, loss.adversarial + 10 * loss.cycle, 1e-12)


def test_exchanging_the_domains_changes_nothing() -> None:
    model, (x, y) = perturb(CycleGAN.images(identity_share=0.5)), torch.randn(2, 3, 1, 8, 8)
    turned = CycleGAN(model.to_x, model.to_y, model.judge_y, model.judge_x, identity_share=0.5)
    one, other = model.generator_loss(x, y), turned.generator_loss(y, x)
    for part in ("total", "adversarial", "cycle", "identity"):
        assert close(getattr(one, part), getattr(other, part), 1e-10)
    assert close(model.discriminator_loss(x, y), turned.discriminator_loss(y, x), 1e-10)


def test_both_cycles_reach_both_translators() -> None:
    """The cycle loss of shifts g and f is 2 |g + f|: slope 2 in each, 1 if a cycle taught only the way back."""
    x, y = torch.randn(2, 4, 1, 3, 3)
    model = known(Affine(1.0, 3.0), Affine(1.0, -1.0))
    model.generator_loss(x, y).cycle.backward()
    assert close(model.to_y.b.grad, 2.0, 1e-12)
    assert close(model.to_x.b.grad, 2.0, 1e-12)


def test_the_players_gradients_do_not_mix() -> None:
    model, (x, y) = perturb(CycleGAN.images()), torch.randn(2, 3, 1, 8, 8)
    model.discriminator_loss(x, y).backward()
    judges, translators = nn.ModuleList([model.judge_x, model.judge_y]), nn.ModuleList([model.to_x, model.to_y])
    assert gradients(model.judge_x)
    assert gradients(model.judge_y)
    assert not gradients(translators)
    model.zero_grad()
    before = snapshot(judges)
    model.generator_loss(x, y).total.backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert gradients(translators)
    assert unchanged(judges, before)


def test_history_shows_new_images_while_there_is_room_and_then_old_ones_half_the_time(
    generator: torch.Generator,
) -> None:
    """2000 coins within 5 standard errors: false failures 6e-7."""
    history = History(5)
    first = torch.arange(5.0).reshape(5, 1, 1, 1)
    assert close(history.show(first, generator=generator), first, 0)
    old = 0
    for step in range(2000):
        fresh = torch.full((1, 1, 1, 1), 10.0 + step)
        kept = {float(image) for image in history.images}
        shown = float(history.show(fresh, generator=generator))
        old += shown != 10.0 + step
        if shown != 10.0 + step:
            assert shown in kept
            assert {float(image) for image in history.images} == kept - {shown} | {10.0 + step}
        else:
            assert {float(image) for image in history.images} == kept
    assert abs(old / 2000 - 0.5) < 5 * 0.5 / 2000**0.5
    assert close(History(0).show(first), first, 0)


def test_the_paper_s_translator_has_the_layers_of_appendix_7_2() -> None:
    with torch.device("meta"):
        model = CycleGAN.paper()
        x = torch.zeros(1, 3, 256, 256)
        assert model.to_y(x).shape == x.shape
        assert model.judge_x(x).shape == (1, 30, 30)
    assert (model.cycle_weight, model.identity_share, model.history_x.size) == (10, 0, 50)
    down = conv(3, 64, 7) + conv(64, 128, 3) + conv(128, 256, 3)
    up = conv(256, 128, 3) + conv(128, 64, 3) + conv(64, 3, 7)
    assert count(model.to_x) == down + 9 * 2 * conv(256, 256, 3) + up


def test_a_residual_block_adds_two_normalised_convolutions_over_reflected_borders() -> None:
    block, x = perturb(residual_block(3)), torch.randn(2, 3, 4, 4)

    def conv(h: Tensor, layer: nn.Conv2d) -> Tensor:
        h = F.conv2d(F.pad(h, (1, 1, 1, 1), mode="reflect"), layer.weight, layer.bias)
        return F.instance_norm(h)

    first, second = (part for part in block.body if isinstance(part, nn.Conv2d))
    assert close(block(x), x + conv(conv(x, first).relu(), second), 1e-10)


def test_features_are_what_passes_between_the_stages() -> None:
    net, x = perturb(TranslationNetwork(1, 1, 4, 2, halvings=1, kernel=3)), torch.randn(2, 1, 8, 8)
    pixels, first, block = net.features(x, (0, 1, 3))
    assert close(pixels, x, 0)
    assert close(first, net.stages[0](x), 0)
    assert close(block, net.stages[2](net.stages[1](net.stages[0](x))), 0)


def test_single_precision_and_examples_on_their_own() -> None:
    net, x = perturb(TranslationNetwork(1, 1, 4, 1, halvings=1, kernel=3)).float(), torch.randn(3, 1, 8, 8).float()
    assert net(x).dtype == torch.float32
    assert close(torch.cat([net(one[None]) for one in x]), net(x), 1e-5)
    assert net(x).abs().max() <= 1


def test_batches_that_do_not_match_are_refused() -> None:
    model = CycleGAN.images()
    with pytest.raises(ValueError, match="batches of one size"):
        model.generator_loss(torch.zeros(2, 1, 8, 8), torch.zeros(3, 1, 8, 8))
    with pytest.raises(ValueError, match=r"\(N, C, H, W\), got \(1, 8, 8\)"):
        model.discriminator_loss(torch.zeros(1, 8, 8), torch.zeros(1, 8, 8))
    with pytest.raises(ValueError, match="cycle_weight must be at least 0, got -1"):
        known(Affine(1.0, 0.0), Affine(1.0, 0.0), cycle_weight=-1.0)
    with pytest.raises(ValueError, match="blocks must be at least 1, got 0"):
        TranslationNetwork(1, 1, blocks=0)
