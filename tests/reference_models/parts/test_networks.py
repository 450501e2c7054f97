"""Networks that know the time, masked networks, attention: what may depend on what, and caches against whole passes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from reference_models.parts.attention import (
    CausalSelfAttention,
    KeyValueCache,
    SpatialSelfAttention,
    TransformerBlock,
)
from reference_models.parts.masked import CausalConv1d, MaskedLinear, MaskedMLP, made_degrees
from reference_models.parts.networks import (
    MLP,
    ConvDecoder,
    ConvEncoder,
    ResidualConvBlock,
    TimeMLP,
    sinusoidal_embedding,
    time_embedding,
)
from tests.reference_models.helpers import close, jacobian, perturb


def test_the_embedding_of_time_by_hand():
    e = sinusoidal_embedding(torch.tensor([0.0, 3.0]), 4, max_period=100.0)
    assert close(e[0], torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert close(e[1], torch.tensor([math.cos(3), math.cos(0.3), math.sin(3), math.sin(0.3)]))
    assert sinusoidal_embedding(torch.tensor(5), 6).shape == (6,)
    with pytest.raises(ValueError, match="even and positive, got 5"):
        sinusoidal_embedding(torch.tensor(0.0), 5)


@pytest.mark.parametrize("batch", [(), (64,)], ids=str)
def test_shapes_of_the_plain_networks(batch):
    x = torch.randn(*batch, 3)
    assert MLP(3, [8, 8], 2)(x).shape == (*batch, 2)
    assert MLP(3, [], 2)(x).shape == (*batch, 2)
    image = ConvDecoder(3, (2, 8, 12), base=4)(x)
    assert image.shape == (*batch, 2, 8, 12)
    assert ConvEncoder((2, 8, 12), 5, base=4)(image).shape == (*batch, 5)
    assert ResidualConvBlock(2, 6)(image.reshape(-1, 2, 8, 12)).shape[1:] == (6, 8, 12)


def test_a_residual_block_adds_its_body_to_its_shortcut():
    for channels in (2, 6):
        block, x = ResidualConvBlock(2, channels), torch.randn(3, 2, 4, 4)
        assert close(block(x), block.shortcut(x) + block.body(x), 1e-12)
    assert close(ResidualConvBlock(2, 2).shortcut(x), x, 0.0)


def test_images_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="divisible by 4, got 8 × 6"):
        ConvEncoder((1, 8, 6), 2)
    with pytest.raises(ValueError, match="divisible by 4, got 6 × 8"):
        ConvDecoder(2, (1, 6, 8))
    with pytest.raises(ValueError, match="image must have shape"):
        ConvEncoder((1, 8, 8), 2)(torch.zeros(1, 2, 8, 8))
    with pytest.raises(ValueError, match="kernel_size must be odd"):
        ResidualConvBlock(2, kernel_size=4)


def test_each_example_is_told_its_own_time_and_label():
    net = perturb(TimeMLP(2, [8], 3, num_classes=4))
    x, t, y = torch.randn(6, 2), torch.rand(6), torch.arange(6) % 5
    together = net(x, t, y)
    for i in range(6):
        assert close(together[i], net(x[i], t[i], y[i]), 1e-12)
    assert not close(net(x, t, y), net(x, t.flip(0), y), 1e-3)
    assert close(net(x, torch.tensor(0.5)), net(x, torch.full((6,), 0.5), torch.full((6,), 4)), 1e-12)
    with pytest.raises(ValueError, match="takes no label"):
        TimeMLP(2, [8], 2)(x, t, y)


# --- masked perceptrons


@pytest.mark.parametrize("order", [None, (3, 0, 4, 1, 2)], ids=["raster", "permuted"])
@pytest.mark.parametrize("hidden", [[], [16], [16, 12], [2]], ids=str)
def test_an_output_depends_on_exactly_the_variables_before_it(order, hidden):
    """The Jacobian in the order of the variables is strictly lower triangular, and full there when units suffice."""
    net = perturb(MaskedMLP(5, hidden, 2, order))
    J = jacobian(lambda x: net(x).flatten(), torch.randn(5)).reshape(5, 2, 5)
    places = list(range(5)) if order is None else list(order)
    J = J[places][:, :, places]
    for k in range(2):
        assert close(torch.triu(J[:, k]), 0.0, 0.0)
        if hidden != [2]:
            assert bool((J[:, k].tril(-1).abs() > 1e-9).sum() == 10)


@pytest.mark.parametrize("hidden", [[], [9, 9]], ids=str)
def test_every_output_depends_on_the_condition(hidden):
    net = perturb(MaskedMLP(4, hidden, 1, condition_dim=2))
    x = torch.randn(4)
    J = jacobian(lambda c: net(x, c).flatten(), torch.randn(2))
    assert bool((J.abs() > 1e-9).all())
    J = jacobian(lambda x: net(x, torch.ones(2)).flatten(), x)
    assert close(torch.triu(J), 0.0, 0.0)
    assert bool((J.tril(-1).abs() > 1e-9).sum() == 6)


def test_degrees_cover_every_place():
    inputs, hidden = made_degrees(6, [10], order=(5, 4, 3, 2, 1, 0))
    assert inputs.tolist() == [6, 5, 4, 3, 2, 1]
    assert sorted(set(hidden.tolist())) == [1, 2, 3, 4, 5]
    assert sorted(set(made_degrees(6, [6], lowest=0)[1].tolist())) == [0, 1, 2, 3, 4, 5]
    assert close(perturb(MaskedMLP(1, [3], 2))(torch.randn(4, 1)).std(0), 0.0, 1e-12)  # one variable: no input counts


def test_masked_layers_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"permutation of 0..3, got \[0, 1, 1, 2\]"):
        made_degrees(4, [3], order=(0, 1, 1, 2))
    with pytest.raises(ValueError, match=r"mask must have shape \(3, 2\), got \(2, 3\)"):
        MaskedLinear(2, 3, torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"x must have shape \(\*B, 4\), got \(2, 5\)"):
        MaskedMLP(4, [3], 1)(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="condition must have 2 features, got shape None"):
        MaskedMLP(4, [3], 1, condition_dim=2)(torch.zeros(4))
    with pytest.raises(ValueError, match=r"condition must have 0 features, got shape \(2,\)"):
        MaskedMLP(4, [3], 1)(torch.zeros(4), torch.zeros(2))


# --- causal convolutions


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 4), (3, 2)])
def test_a_causal_convolution_looks_back_in_steps_of_its_dilation(kernel, dilation):
    conv = perturb(CausalConv1d(1, 1, kernel, dilation))
    x = torch.randn(1, 1, 12, requires_grad=True)
    conv(x)[0, 0, 10].backward()
    assert x.grad[0, 0].nonzero().flatten().tolist() == [10 - i * dilation for i in reversed(range(kernel))]


@pytest.mark.parametrize("bias", [True, False])
def test_step_by_step_gives_what_the_whole_sequence_gives(bias):
    conv, x = perturb(CausalConv1d(2, 3, 3, 2, bias=bias)), torch.randn(4, 2, 9)
    queue, outputs = conv.queue(4), []
    for t in range(9):
        y, queue = conv.step(x[:, :, t], queue)
        outputs.append(y)
    assert close(torch.stack(outputs, -1), conv(x), 1e-12)
    assert queue.shape == (4, 2, conv.memory)


# --- attention


def test_attention_by_hand():
    """softmax(Q Kᵀ/√d) V with explicit loops over heads and tokens."""
    attention, x = perturb(CausalSelfAttention(6, 2)), torch.randn(5, 6)
    q, k, v = attention.qkv(x).chunk(3, dim=-1)
    expected = torch.zeros(5, 6)
    for head in range(2):
        columns = slice(3 * head, 3 * head + 3)
        for i in range(5):
            weights = torch.softmax(q[i, columns] @ k[: i + 1, columns].T / 3**0.5, dim=0)
            expected[i, columns] = weights @ v[: i + 1, columns]
    assert close(attention(x), attention.out(expected), 1e-12)


@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
def test_no_token_sees_the_future(batch):
    block, x = perturb(TransformerBlock(8, 2)), torch.randn(*batch, 6, 8)
    changed = x.clone()
    changed[..., 4, :] += torch.randn(8)  # a constant shift would be normalised away
    difference = (block(changed) - block(x)).abs().amax(-1)
    assert close(difference[..., :4], 0.0, 0.0)
    assert bool((difference[..., 4:] > 1e-6).all())


def test_a_cache_gives_what_the_whole_sequence_gives():
    block, x = perturb(TransformerBlock(8, 2)), torch.randn(3, 6, 8)
    cache = KeyValueCache()
    parts = [block(new, cache) for new in x.split([2, 1, 3], dim=1)]
    assert close(torch.cat(parts, dim=1), block(x), 1e-12)


def test_spatial_attention_does_not_know_where_pixels_are():
    layer, x = perturb(SpatialSelfAttention(4, heads=2)), torch.randn(2, 4, 3, 3)
    order = torch.randperm(9)
    shuffled = x.flatten(2)[:, :, order].reshape(2, 4, 3, 3)
    assert close(layer(shuffled), layer(x).flatten(2)[:, :, order].reshape(2, 4, 3, 3), 1e-12)
    far = x.clone().requires_grad_()
    layer(far)[0, :, 0, 0].sum().backward()
    assert bool((far.grad[0].abs().sum(0) > 0).all())
    assert close(far.grad[1], 0.0, 0.0)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="divisible by heads, got 6 and 4"):
        CausalSelfAttention(6, 4)


def test_everything_works_in_single_precision():
    nets: list[tuple[nn.Module, tuple[torch.Tensor, ...]]] = [
        (TimeMLP(2, [4], 2), (torch.randn(3, 2), torch.rand(3))),
        (MaskedMLP(3, [4], 2), (torch.randn(3, 3),)),
        (CausalConv1d(1, 2, 3), (torch.randn(2, 1, 4),)),
        (TransformerBlock(4, 2), (torch.randn(2, 3, 4),)),
    ]
    for net, inputs in nets:
        assert net.float()(*(x.float() for x in inputs)).dtype == torch.float32


def test_times_keep_apart_in_half_precision():
    """bfloat16 has no 999 between 996 and 1000: the embedding is rounded, the time is not."""
    like = torch.zeros(1, dtype=torch.bfloat16)
    t = torch.tensor([996, 997, 998, 999, 1000])
    embedding = time_embedding(t, 32, like)
    assert embedding.dtype == torch.bfloat16
    exact = sinusoidal_embedding(t.double(), 32)
    assert close(embedding.double(), exact, 2**-8)
    assert float(torch.pdist(embedding.double()).min()) > 0.5
    assert close(time_embedding(0.25, 32, exact, 40.0), sinusoidal_embedding(torch.tensor(10.0), 32), 1e-12)
