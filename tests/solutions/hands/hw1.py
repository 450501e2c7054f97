"""Homework 1 beside the reference models: each answer of the solution notebook, and who says the same."""

from __future__ import annotations

import math
from types import SimpleNamespace as Notebook

import torch
from torch import Generator, Tensor
from torch.testing import assert_close

from reference_models.autoregressive.image_gpt import ImageGPT
from reference_models.autoregressive.made import MADE
from reference_models.autoregressive.pixelcnn import PixelCNN
from reference_models.autoregressive.wavenet import WaveNet
from reference_models.evaluation.bits_per_dim import bits_per_dim
from reference_models.exact import bars_log_prob, departs_from_law, every_state
from reference_models.parts.attention import CausalSelfAttention, KeyValueCache, TransformerBlock
from reference_models.parts.distributions import bernoulli_log_prob
from reference_models.parts.masked import MaskedLinear
from reference_models.parts.raster import RasterConv2d, causal_mask

UNPAIRED = {
    "make_bars_model": "a choice of sizes for `PixelCNN`",
    "make_digits_model": "a choice of sizes for `PixelCNN`",
    "fit": "a loop of `nll_loss` and an optimiser of PyTorch",
}


def lively(model: torch.nn.Module) -> torch.nn.Module:
    """The model with weights far from their start, where mistakes of sign and mask show."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return model.eval()


def pixels(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.5).to(torch.get_default_dtype())


def raster(side: int) -> tuple[PixelCNN, object]:
    """A reference PixelCNN of binary images, and the logits of white that the homework asks of a network."""
    model = lively(PixelCNN((1, side, side), 2, features=4, blocks=1, head=8))

    def logits(x: Tensor) -> Tensor:
        both = model.logits(x.to(torch.get_default_dtype()))
        return (both[:, 1] - both[:, 0]).to(x.dtype)

    return model, logits


def made(n: int, hidden: tuple[int, ...] = (7, 5)) -> MADE:
    model = MADE(n, hidden)
    lively(model)
    return model


# --- part 1


def check_bars_log_prob(notebook: Notebook) -> None:
    for side, flip in ((2, 0.3), (3, 0.05), (4, 0.6)):
        x = pixels(20, 1, side, side)
        assert_close(notebook.bars_log_prob(x, flip), bars_log_prob(x, flip))


def check_bars_entropy(notebook: Notebook) -> None:
    for side, flip in ((2, 0.3), (3, 0.05)):
        log_p = bars_log_prob(every_state((1, side, side)), flip)
        nats, bits = (torch.tensor(value) for value in notebook.bars_entropy(side, flip))
        expected = -(log_p.exp() * log_p).sum()
        assert_close(nats, expected)
        assert_close(bits, bits_per_dim(expected, side * side))


def check_wavenet_receptive_field(notebook: Notebook) -> None:
    """A reference WaveNet has one undilated convolution before its stack."""
    for kernel, stack in ((2, [1, 2, 4, 8]), (2, [1, 2, 1, 2]), (3, [1, 3])):
        model = WaveNet(4, dilations=stack, kernel=kernel, length=8)
        assert notebook.wavenet_receptive_field(kernel, [1, *stack]) == model.receptive_field


def seen(model: PixelCNN, side: int, row: int, column: int) -> Tensor:
    """The pixels on which a conditional of the reference depends, bool (side, side), by autograd."""
    x = torch.rand(16, 1, side, side, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.logits(x)[:, :, 0, row, column].sum(), x)
    return (gradient != 0).any(0)[0]


def check_pixelcnn_field_size(notebook: Notebook) -> None:
    for blocks in (0, 1, 2):
        model = lively(PixelCNN((1, 11, 11), 2, features=6, blocks=blocks, first_kernel=3))
        assert notebook.pixelcnn_field_size(1 + blocks) == int(seen(model, 11, 8, 5).sum())


# --- part 2


def check_made_masks(notebook: Notebook) -> None:
    """Hidden degrees are a matter of taste: which outputs see which inputs is not."""
    for n, hidden in ((4, (9, 8)), (6, (5,)), (3, (4, 4, 4))):
        ours, theirs = notebook.made_masks(n, hidden), MADE(n, hidden).masks()
        assert [mask.shape for mask in ours] == [mask.shape for mask in theirs]
        paths = [torch.linalg.multi_dot([m.double() for m in masks[::-1]]) > 0 for masks in (ours, theirs)]
        assert torch.equal(*paths)


def check_masked_linear(notebook: Notebook) -> None:
    mask = pixels(5, 4)
    ours, theirs = notebook.MaskedLinear(mask), MaskedLinear(4, 5, mask)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 4)
    assert_close(ours(x), theirs(x))


def check_log_prob(notebook: Notebook) -> None:
    model, x = made(6), every_state((6,))
    assert_close(notebook.log_prob(model.logits, x), model.log_prob(x))
    images, logits = raster(3)
    x = every_state((1, 3, 3))
    assert_close(notebook.log_prob(logits, x), images.log_prob(x))


def check_made_sample(notebook: Notebook) -> None:
    model = made(5)
    log_p = model.log_prob(every_state((5,)))
    drawn = notebook.made_sample(lambda x: model.logits(x.double()), 20_000, 5)
    assert not departs_from_law(drawn, log_p)
    assert not departs_from_law(model.sample(20_000), log_p)


# --- part 3


def check_conv_mask(notebook: Notebook) -> None:
    one = torch.zeros(1, dtype=torch.long)
    for kind in ("A", "B"):
        for size in (1, 3, 5):
            theirs = causal_mask(kind, one, one, (size, size))[0, 0]
            assert_close(notebook.conv_mask(kind, size), theirs, check_dtype=False)


def check_masked_conv2d(notebook: Notebook) -> None:
    for kind in ("A", "B"):
        ours, theirs = notebook.MaskedConv2d(kind, 2, 3, 5), RasterConv2d(kind, 2, 3, 5, channels=1)
        theirs.load_state_dict({"weight": ours.weight, "bias": ours.bias})
        x = torch.randn(2, 2, 6, 6)
        assert_close(ours(x), theirs(x))


def check_pixelcnn(notebook: Notebook) -> None:
    """Blocks differ, what is seen does not: a first layer of mask A, then layers of mask B, kernels of 3 × 3."""
    ours = lively(notebook.PixelCNN(channels=8, n_layers=2, kernel_size=3).to(torch.get_default_dtype()))
    theirs = lively(PixelCNN((1, 7, 7), 2, features=6, blocks=1, first_kernel=3))
    for row, column in ((5, 3), (6, 6), (0, 2)):
        assert torch.equal(notebook.receptive_field(ours, 7, 7, row, column), seen(theirs, 7, row, column))


def check_nll_loss(notebook: Notebook) -> None:
    model, logits = raster(4)
    x = pixels(9, 1, 4, 4)
    assert_close(notebook.nll_loss(logits, x), -model.log_prob(x).mean())
    assert_close(notebook.nll_loss(logits, x, unit="bits"), bits_per_dim(-model.log_prob(x), 16).mean())


def check_sample_images(notebook: Notebook) -> None:
    model, logits = raster(2)
    log_p = model.log_prob(every_state((1, 2, 2)))
    assert not departs_from_law(notebook.sample_images(logits, 20_000, 2, 2), log_p)
    assert not departs_from_law(model.sample(20_000), log_p)


def check_complete_images(notebook: Notebook) -> None:
    """What is known may stand anywhere: both draw each other pixel given what comes before it."""
    model, logits = raster(2)
    known = torch.tensor([[False, True], [False, False]]).expand(20_000, 1, 2, 2)
    x = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).expand(20_000, 1, 2, 2)
    states = every_state((1, 2, 2))
    terms = bernoulli_log_prob(states, logits(states)).flatten(1)
    log_p = torch.where(states[:, 0, 0, 1] == 1, terms[:, [0, 2, 3]].sum(1), -math.inf)
    for completed in (notebook.complete_images(logits, x, known), model.complete(x, known)):
        assert not departs_from_law(completed, log_p)


def check_receptive_field(notebook: Notebook) -> None:
    model, logits = raster(6)
    assert torch.equal(notebook.receptive_field(logits, 6, 6, 3, 2), seen(model, 6, 3, 2))


# --- part 4


def lone_attention() -> CausalSelfAttention:
    """The reference's attention, whose projections change nothing: q, k and v stand side by side in its input."""
    module = CausalSelfAttention(12, 1)
    module.qkv, module.out = torch.nn.Identity(), torch.nn.Identity()
    return module


def check_causal_mask(notebook: Notebook) -> None:
    """The mask is read off the reference: with equal scores a query averages the values it may see."""
    for queries, keys in ((4, 4), (1, 5), (3, 7)):
        q, k, v = torch.zeros(1, queries, 7), torch.zeros(1, keys, 7), torch.eye(7)[None, :keys]
        module, cache = CausalSelfAttention(21, 1), KeyValueCache()
        module.qkv, module.out = torch.nn.Identity(), torch.nn.Identity()
        if keys > queries:
            cache.append(k[:, None, : keys - queries], v[:, None, : keys - queries])
        new = slice(keys - queries, keys)
        weights = module(torch.cat([q, k[:, new], v[:, new]], -1), cache)[0, :, :keys]
        assert torch.equal(notebook.causal_mask(queries, keys), weights > 0)


def check_attention(notebook: Notebook) -> None:
    q, k, v = torch.randn(3, 2, 6, 4).unbind()
    theirs = lone_attention()(torch.cat([q, k, v], -1))
    assert_close(notebook.attention(q[:, None], k[:, None], v[:, None])[:, 0], theirs)


def twin(ours: torch.nn.Module, n: int) -> ImageGPT:
    """A reference transformer with the weights of the notebook's, whose one logit is that of white over black."""
    first = ours.blocks[0]
    width, heads = first.norm1.normalized_shape[0], first.n_heads
    theirs = ImageGPT((1, 1, n), 2, dim=width, heads=heads, depth=len(ours.blocks))
    with torch.no_grad():
        theirs.token.weight.copy_(ours.token.weight[:2])
        theirs.start.weight.copy_(ours.token.weight[2:])
        theirs.position.copy_(ours.position.weight)
        theirs.norm.load_state_dict(ours.norm.state_dict())
        theirs.head.weight.copy_(torch.cat([torch.zeros_like(ours.head.weight), ours.head.weight]))
    names = {"norm_attention": "norm1", "norm_mlp": "norm2", "attention.qkv": "to_qkv", "attention.out": "project"}
    for block, other in zip(theirs.blocks, ours.blocks, strict=True):
        assert isinstance(block, TransformerBlock)
        for name, same in {**names, "mlp": "mlp"}.items():
            block.get_submodule(name).load_state_dict(other.get_submodule(same).state_dict())
    return theirs.eval()


def transformers(notebook: Notebook, n: int) -> tuple[torch.nn.Module, ImageGPT]:
    ours = lively(notebook.ImageTransformer(n, width=12, n_heads=3, n_layers=2).to(torch.get_default_dtype()))
    ours.head.bias.data.zero_()  # the reference's head has none
    return ours, twin(ours, n)


def check_shift_right(notebook: Notebook) -> None:
    """The reference's tokens are the start and all pixels but the last: the same logits say so."""
    x = pixels(3, 5)
    tokens = notebook.shift_right(x)
    assert tokens[:, 0].unique().numel() == 1
    assert_close(tokens[:, 1:], x[:, :-1].long())


def check_block(notebook: Notebook) -> None:
    ours, theirs = transformers(notebook, 6)
    h = torch.randn(2, 6, 12)
    assert_close(ours.blocks[0](h)[0], theirs.blocks[0](h))


def check_image_transformer(notebook: Notebook) -> None:
    ours, theirs = transformers(notebook, 6)
    x = every_state((6,))
    logits = theirs.logits(x.reshape(-1, 1, 1, 6))
    assert_close(ours(x), (logits[:, 1] - logits[:, 0]).reshape(-1, 6))
    assert_close(notebook.log_prob(ours, x), theirs.log_prob(x.reshape(-1, 1, 1, 6)))


def check_transformer_step(notebook: Notebook) -> None:
    ours, theirs = transformers(notebook, 5)
    x = pixels(4, 5)
    logits = theirs.logits(x.reshape(4, 1, 1, 5))
    expected = (logits[:, 1] - logits[:, 0]).reshape(4, 5)
    past = None
    for i, token in enumerate(notebook.shift_right(x).T):
        logit, past = notebook.transformer_step(ours, token, past)
        assert_close(logit, expected[:, i])


def check_sample_cached(notebook: Notebook) -> None:
    ours, theirs = transformers(notebook, 4)
    log_p = theirs.log_prob(every_state((1, 1, 4)))
    drawn = notebook.sample_cached(ours, torch.rand(20_000, 4)).reshape(-1, 1, 1, 4)
    assert not departs_from_law(drawn, log_p)
    assert not departs_from_law(theirs.sample(20_000, generator=Generator().manual_seed(1)), log_p)


PAIRS = {
    "bars_log_prob": check_bars_log_prob,
    "bars_entropy": check_bars_entropy,
    "wavenet_receptive_field": check_wavenet_receptive_field,
    "pixelcnn_field_size": check_pixelcnn_field_size,
    "made_masks": check_made_masks,
    "MaskedLinear": check_masked_linear,
    "log_prob": check_log_prob,
    "made_sample": check_made_sample,
    "conv_mask": check_conv_mask,
    "MaskedConv2d": check_masked_conv2d,
    "PixelCNN": check_pixelcnn,
    "nll_loss": check_nll_loss,
    "sample_images": check_sample_images,
    "complete_images": check_complete_images,
    "receptive_field": check_receptive_field,
    "causal_mask": check_causal_mask,
    "attention": check_attention,
    "shift_right": check_shift_right,
    "Block": check_block,
    "ImageTransformer": check_image_transformer,
    "transformer_step": check_transformer_step,
    "sample_cached": check_sample_cached,
}
