"""Patches measured by autograd, skips, dropout and the loss of eq. 4."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reference_models.adversarial.pix2pix import DrawnDropout, PatchDiscriminator, Pix2Pix, UNetGenerator
from tests.reference_models.adversarial.games import conv, count, gradients, snapshot, unchanged
from tests.reference_models.helpers import close, perturb


@pytest.mark.parametrize(
    ("widths", "kernel", "pixels"),
    [((2, 2), 1, 1), ((2, 2), 4, 16), ((2, 2, 2, 2), 4, 70), ((2, 2, 2, 2, 2, 2), 4, 286)],
)
def test_a_logit_sees_a_patch_of_the_size_the_paper_states(widths: tuple[int, ...], kernel: int, pixels: int) -> None:
    """Section 6.1.2; the patch is where the gradient of one logit, far from the borders, is not zero.

    Normalisation over the image would let a logit see all of it, so it is taken out, which leaves the convolutions.
    """
    net = PatchDiscriminator(1, widths, kernel)
    layers = [part for part in net.net if not isinstance(part, nn.InstanceNorm2d)]
    for part in layers:
        if isinstance(part, nn.Conv2d):
            nn.init.uniform_(part.weight, 0.1, 1.0)  # all positive: nothing cancels
    side = pixels * 2 + 66
    x = torch.ones(1, 1, side, side, requires_grad=True)
    logits = nn.Sequential(*layers)(x)[0, 0]
    middle = logits[len(logits) // 2, len(logits) // 2]
    (slope,) = torch.autograd.grad(middle, x)
    rows = slope[0, 0].abs().sum(1).nonzero().squeeze(1)
    columns = slope[0, 0].abs().sum(0).nonzero().squeeze(1)
    assert int(rows.max() - rows.min()) + 1 == pixels
    assert int(columns.max() - columns.min()) + 1 == pixels


def test_the_paper_s_networks_have_the_layers_of_section_6_1() -> None:
    """Norms add two numbers a channel, and layers that have one need no bias."""
    with torch.device("meta"):
        model = Pix2Pix.paper()
        x = torch.zeros(1, 3, 256, 256)
        assert model(x).shape == x.shape
        assert model.score(x, x).shape == (1, 30, 30)
    e = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    down = sum(conv(i, o, 4, bias=k in (0, 7)) for k, (i, o) in enumerate(pairwise(e)))
    d = [(512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64), (128, 3)]
    up = sum(conv(i, o, 4, bias=k == 7) for k, (i, o) in enumerate(d))
    norms = 2 * (128 + 256 + 4 * 512) + 2 * (4 * 512 + 256 + 128 + 64)
    assert count(model.generator) == down + up + norms
    assert [drop.p for drop in model.generator.drop] == [0.5, 0.5, 0.5, 0, 0, 0, 0, 0]
    assert model.l1_weight == 100
    judge = conv(6, 64, 4) + conv(64, 128, 4, False) + conv(128, 256, 4, False) + conv(256, 512, 4, False)
    assert count(model.discriminator) == judge + 2 * (128 + 256 + 512) + conv(512, 1, 4)


def test_skips_carry_every_encoder_layer_to_the_decoder_layer_of_its_size() -> None:
    net = perturb(UNetGenerator(1, 1, (4, 6, 8), dropped=0))
    seen: dict[str, torch.Tensor] = {}
    for index, part in enumerate(net.down):
        part.register_forward_hook(lambda _, __, out, index=index: seen.__setitem__(f"down{index}", out))
    for index, part in enumerate(net.up):
        part.register_forward_hook(lambda _, inputs, __, index=index: seen.__setitem__(f"up{index}", inputs[0]))
    net(torch.randn(2, 1, 8, 8))
    assert close(seen["up0"], seen["down2"], 0)
    assert close(seen["up1"][:, 6:], seen["down1"], 0)
    assert close(seen["up2"][:, 4:], seen["down0"], 0)


def test_the_generator_computes_the_u_net_of_section_6_1_layer_by_layer() -> None:
    net, x = perturb(UNetGenerator(1, 2, (4, 6, 8), dropped=0)), torch.randn(2, 1, 8, 8)

    def norm(h: torch.Tensor, layer: nn.InstanceNorm2d) -> torch.Tensor:
        mean, variance = h.mean((2, 3), keepdim=True), h.var((2, 3), unbiased=False, keepdim=True)
        h = (h - mean) / (variance + 1e-5).sqrt()
        return layer.weight[:, None, None] * h + layer.bias[:, None, None]

    first = net.down[0][0](x)
    second = norm(net.down[1][1](F.leaky_relu(first, 0.2)), net.down[1][2])
    bottom = net.down[2][1](F.leaky_relu(second, 0.2))
    h = norm(net.up[0][1](bottom.relu()), net.up[0][2])
    h = norm(net.up[1][1](torch.cat([h, second], dim=1).relu()), net.up[1][2])
    h = net.up[2][1](torch.cat([h, first], dim=1).relu())
    assert close(net(x), h.tanh(), 1e-10)


def test_dropout_is_the_only_noise_and_lives_in_evaluation_too(generator: torch.Generator) -> None:
    model, x = perturb(Pix2Pix()).eval(), torch.randn(2, 1, 8, 8)
    state = generator.get_state()
    first = model(x, generator=generator)
    assert (first - model(x, generator=generator)).abs().max() > 1e-3
    generator.set_state(state)
    assert close(first, model(x, generator=generator), 1e-9)  # a GPU may add up in another order
    certain = perturb(Pix2Pix(dropped=0)).eval()
    assert close(certain(x), certain(x), 1e-9)


def test_dropout_keeps_the_mean(generator: torch.Generator) -> None:
    """40000 numbers, a share 3/4 kept: mean 1 and variance p/(1-p) within 5 standard errors, false failures 6e-7."""
    h = DrawnDropout(0.25)(torch.ones(200, 200), generator)
    assert set(h.unique().tolist()) == {0.0, 1 / 0.75}
    assert abs(h.mean() - 1) < 5 * (0.25 / 0.75 / h.numel()) ** 0.5


def test_the_loss_is_half_cross_entropy_for_one_and_eq_4_for_the_other(generator: torch.Generator) -> None:
    model = perturb(Pix2Pix(l1_weight=7.0))
    x, y = torch.randn(3, 1, 8, 8), torch.rand(3, 1, 8, 8) - 0.5
    state = generator.get_state()
    d_loss = model.discriminator_loss(x, y, generator=generator)
    generator.set_state(state)
    loss = model.generator_loss(x, y, generator=generator)
    generator.set_state(state)
    fake = model(x, generator=generator)
    true, false = (model.discriminator(torch.cat([x, other], dim=1)) for other in (y, fake))
    bce = F.binary_cross_entropy_with_logits
    expected = 0.5 * (bce(true, torch.ones_like(true)) + bce(false, torch.zeros_like(false)))
    assert close(d_loss, expected, 1e-12)
    assert close(loss.adversarial, bce(false, torch.ones_like(false)), 1e-12)
    assert close(loss.l1, F.l1_loss(fake, y), 1e-12)
    assert close(loss.total, loss.adversarial + 7 * loss.l1, 1e-12)


def test_the_judge_compares_pairs() -> None:
    model = perturb(Pix2Pix())
    x, other, y = torch.randn(3, 1, 1, 8, 8)
    assert (model.score(x, y) - model.score(other, y)).abs().max() > 1e-3
    assert (model.score(x, y) - model.score(x, other)).abs().max() > 1e-3


def test_the_players_gradients_do_not_mix(generator: torch.Generator) -> None:
    model, x, y = perturb(Pix2Pix()), torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    model.discriminator_loss(x, y, generator=generator).backward()
    assert gradients(model.discriminator)
    assert not gradients(model.generator)
    model.zero_grad()
    before = snapshot(model.discriminator)
    model.generator_loss(x, y, generator=generator).total.backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert gradients(model.generator)
    assert unchanged(model.discriminator, before)


def test_an_image_is_translated_the_same_alone_and_in_a_batch() -> None:
    model, x = perturb(Pix2Pix(dropped=0)).float(), torch.randn(4, 1, 8, 8).float()
    assert close(torch.cat([model(one[None]) for one in x]), model(x), 1e-5)
    assert close(torch.stack([model(one) for one in x]), model(x), 1e-5)
    assert close(torch.stack([model.score(one, -one) for one in x]), model.score(x, -x), 1e-4)
    assert model(x).dtype == torch.float32


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of 8, got \(12, 8\)"):
        UNetGenerator(1, 1, (4, 4, 4))(torch.zeros(1, 1, 12, 8))
    with pytest.raises(ValueError, match="equal sides"):
        Pix2Pix((1, 8, 8), (1, 16, 16))
    with pytest.raises(ValueError, match=r"x must have shape .* got \(2, 3, 8, 8\)"):
        Pix2Pix()(torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\), got 1"):
        DrawnDropout(1.0)
    with pytest.raises(ValueError, match="kernel must be one of 1, 4, got 3"):
        PatchDiscriminator(1, (4,), kernel=3)
    with pytest.raises(ValueError, match="l1_weight must be at least 0, got -1"):
        Pix2Pix(l1_weight=-1.0)
