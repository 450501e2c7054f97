"""Two levels of codes: the bound against a sum over all pairs of grids, priors by enumeration, the paper's sizes."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli

from reference_models.latent.code_prior import CodePrior
from reference_models.latent.vqvae2 import VQVAE2, Codes, ConditionalPrior
from tests.reference_models.helpers import close, perturb, standard_errors


def tiny(**options: object) -> VQVAE2:
    """4×4 images, one top code and 2×2 bottom codes of two values each: 2 · 16 codes."""
    return perturb(VQVAE2((1, 4, 4), 2, 3, hidden=4, inner=4, **options), 0.4)  # type: ignore[arg-type]


def all_codes() -> Codes:
    bottom = torch.tensor(list(itertools.product(range(2), repeat=4))).reshape(16, 2, 2)
    return Codes(torch.tensor([0, 1]).repeat_interleave(16).reshape(32, 1, 1), bottom.repeat(2, 1, 1))


def images(n: int = 6) -> Tensor:
    return (torch.rand(n, 1, 4, 4) < 0.5).double()


def logits(model: VQVAE2, codes: Codes) -> Tensor:
    """The decoder's logits of codes, (n, 1, 4, 4), put together from its parts."""
    e_top = model.quantise_top.codebook[codes.top].movedim(-1, 1)
    e_bottom = model.quantise_bottom.codebook[codes.bottom].movedim(-1, 1)
    return model.decoder(torch.cat([model.raise_top(e_top), e_bottom], 1))


def test_priors_of_both_levels_sum_to_one() -> None:
    """Σ p(top) p(bottom | top) = 1 over all 32 pairs, and Σ p(bottom | top) = 1 for each top, which matters."""
    model, codes = tiny(), all_codes()
    assert close(model.log_prior(codes).exp().sum(), 1.0)
    conditional = model.bottom_prior.log_prob(codes.bottom, condition=codes.top).exp().reshape(2, 16)
    assert close(conditional.sum(1), torch.ones(2))
    assert float((conditional[0] - conditional[1]).abs().max().detach()) > 1e-3


def test_bound_is_the_term_of_the_chosen_pair_below_the_sum_over_all() -> None:
    """log p(x|codes) + log p(codes) at the codes of x, by torch.distributions, and log Σ over all 32 pairs above it."""
    model, x, codes = tiny(), images(), all_codes()
    table = Bernoulli(logits=logits(model, codes)).log_prob(x[:, None]).sum((-3, -2, -1)) + model.log_prior(codes)
    mine = model.encode(x)
    index = mine.top.flatten() * 16 + (mine.bottom.flatten(1) * torch.tensor([8, 4, 2, 1])).sum(1)
    bound = model.elbo(x)
    assert close(bound.value, table[torch.arange(6), index])
    assert close(bound.kl, -model.log_prior(codes)[index])
    assert bool((bound.value < torch.logsumexp(table, 1)).all())


def test_codes_follow_the_two_level_encoder() -> None:
    """Top codes from top features; bottom codes from bottom features and the decoded top codes, by brute force."""
    model, x = tiny(), images()
    h = model.encode_bottom(x)
    top = torch.cdist(model.encode_top(h).flatten(1), model.quantise_top.codebook).argmin(1)
    e_top = model.quantise_top.codebook[top][:, :, None, None]
    z = model.merge(torch.cat([h, model.decode_top(e_top)], 1)).movedim(1, -1).reshape(-1, 3)
    bottom = torch.cdist(z, model.quantise_bottom.codebook).argmin(1)
    codes = model.encode(x)
    assert torch.equal(codes.top.flatten(), top)
    assert torch.equal(codes.bottom.flatten(), bottom)
    assert len(bottom.unique()) == 2
    assert close(model.quantise(x).z_bottom.movedim(1, -1).reshape(-1, 3), z)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_loss_sums_both_levels(ema_decay: float | None) -> None:
    """NLL per dimension by torch.distributions; both levels' mean squares, with 1.25 by gradient and 0.25 under EMA."""
    model, x = tiny(ema_decay=ema_decay), images()
    codes, levels = model.encode(x), model.quantise(x)
    distance = sum(
        ((z - q.codebook[c].movedim(-1, 1)) ** 2).mean()
        for z, q, c in (
            (levels.z_top, model.quantise_top, codes.top),
            (levels.z_bottom, model.quantise_bottom, codes.bottom),
        )
    )
    nll = -Bernoulli(logits=logits(model, codes)).log_prob(x).mean()
    loss = model.loss(x)
    assert close(loss.nll, nll)
    assert close(loss.commitment, distance)
    assert close(loss.value, nll + (1.25 if ema_decay is None else 0.25) * distance)
    loss.value.backward()
    learning = (model.encode_bottom, model.encode_top, model.decode_top, model.merge, model.raise_top, model.decoder)
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for part in learning for p in part.parameters())
    assert all(p.grad is None for prior in (model.top_prior, model.bottom_prior) for p in prior.parameters())


def test_update_moves_each_codebook_by_its_own_vectors() -> None:
    model, x = tiny(ema_decay=0.5), images()
    levels = model.quantise(x)
    expected = []
    for q, z, result in (
        (model.quantise_top, levels.z_top, levels.top),
        (model.quantise_bottom, levels.z_bottom, levels.bottom),
    ):
        with torch.no_grad():
            q.sums.copy_(q.codebook)
        vectors = z.movedim(1, -1).reshape(-1, 3).detach()
        chosen = result.codes.flatten()
        expected.append(
            torch.stack([(q.codebook[k] + vectors[chosen == k].sum(0)) / (1 + (chosen == k).sum()) for k in range(2)])
        )
    model.update_codebooks(x)
    assert close(model.quantise_top.codebook, expected[0].detach())
    assert close(model.quantise_bottom.codebook, expected[1].detach())


def test_priors_are_trained_alone() -> None:
    model, x = tiny(), images()
    loss = model.prior_loss(x)
    assert close(loss, -model.log_prior(model.encode(x)).mean())
    loss.backward()
    own = {id(p) for prior in (model.top_prior, model.bottom_prior) for p in prior.parameters()}
    assert all(p.grad is None for p in model.parameters() if id(p) not in own)
    assert sum(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in model.bottom_prior.parameters()) > 5


def test_samples_have_the_mean_of_the_sum_over_codes(generator: torch.Generator) -> None:
    """Over 4000 images, every pixel and a pair of them: Σ p(codes) of the product of σ(logits), within 5 errors."""
    model = perturb(tiny(), 0.3)
    codes = all_codes()
    p, means = model.log_prior(codes).exp().detach(), logits(model, codes).sigmoid().flatten(1).detach()
    x = model.sample(4000, generator=generator).flatten(1)
    assert standard_errors(x, p @ means) < 5
    pair = x[:, 0] * x[:, 15]
    assert standard_errors(pair, p @ (means[:, 0] * means[:, 15])) < 5


def test_bottom_codes_are_drawn_given_their_own_top_codes(generator: torch.Generator) -> None:
    """1500 grids for each top code in turn against the 16 conditionals: χ²(15) < 65 but for 3e-8 of seeds."""
    model = perturb(tiny(), 0.5)
    codes = all_codes()
    p = model.bottom_prior.log_prob(codes.bottom, condition=codes.top).exp().detach().reshape(2, 16)
    assert float((p[0] - p[1]).abs().sum()) > 0.2
    top = torch.tensor([0, 1]).repeat_interleave(1500).reshape(3000, 1, 1)
    bottom = model.bottom_prior.sample(3000, condition=top, generator=generator)
    index = (bottom.flatten(1) * torch.tensor([8, 4, 2, 1])).sum(1).reshape(2, 1500)
    for k in range(2):
        counts = torch.bincount(index[k], minlength=16)
        assert float(((counts - 1500 * p[k]) ** 2 / (1500 * p[k])).sum()) < 65


@pytest.mark.parametrize("batch", [(), (64,)])
def test_batch_shapes_and_single_precision(batch: tuple[int, ...]) -> None:
    model = perturb(VQVAE2((1, 8, 8), 5, 3, hidden=4, inner=4))
    x = (torch.rand(*batch, 1, 8, 8) < 0.5).double()
    bound, codes = model.elbo(x), model.encode(x)
    assert bound.value.shape == bound.kl.shape == batch
    assert codes.top.shape == (*batch, 2, 2)
    assert codes.bottom.shape == (*batch, 4, 4)
    assert model.sample(2).shape == (2, 1, 8, 8)
    if batch:
        assert close(model.elbo(x[5]).value, bound.value[5])
    assert close(model.float().elbo(x.float()).value.double(), bound.value, 1e-3)


def conv(i: int, o: int, k: int) -> int:
    return k * k * i * o + o


def blocks(hidden: int, inner: int, n: int) -> int:
    return n * (conv(hidden, inner, 3) + conv(inner, hidden, 1))


def prior_size(K: int, grid: int, hidden: int, inner: int, layers: int, condition: int) -> int:
    """Embedding, places, first masked convolution, gated blocks (a condition's 1×1 each), head; kernel 5."""
    block = conv(hidden, inner, 1) + conv(inner, 2 * inner, 5) + conv(inner, hidden, 1)
    block += conv(condition, 2 * inner, 1) if condition else 0
    return K * hidden + hidden * grid * grid + conv(hidden, hidden, 5) + layers * block + conv(hidden, K, 1)


def test_paper_size() -> None:
    """The appendix's tables, counted by hand as the paper states no totals: 256×256 to grids 32×32 and 64×64, networks
    of 128 hidden and 64 residual units; priors of 20 layers, 512 hidden units, 2048 and 1024 residual, 4 attentions."""
    with torch.device("meta"):
        model = VQVAE2.paper()
        levels = model.quantise(torch.zeros(1, 3, 256, 256))
        x = model.decode(levels.top.z_q, levels.bottom.z_q)
        bottom = model.bottom_prior.condition(levels.top.codes)
    assert levels.top.codes.shape == (1, 32, 32)
    assert levels.bottom.codes.shape == (1, 64, 64)
    assert x.shape == (1, 3, 256, 256)
    assert bottom.shape == (1, 512, 64, 64)
    h, D = 128, 64
    size = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert size["encode_bottom"] == conv(3, h, 4) + conv(h, h, 4) + blocks(h, 64, 2) + conv(h, h, 1)
    assert size["encode_top"] == conv(h, h, 4) + blocks(h, 64, 2) + conv(h, D, 1)
    assert size["decode_top"] == conv(D, h, 1) + blocks(h, 64, 2) + conv(h, D, 4)
    assert size["decoder"] == conv(2 * D, h, 1) + blocks(h, 64, 2) + conv(h, h, 4) + conv(h, 3, 4)
    assert size["merge"] == conv(h + D, D, 1)
    assert size["raise_top"] == conv(D, D, 4)
    assert size["quantise_top"] == size["quantise_bottom"] == 512 * 64
    attention = 4 * (2 * 512 + 512 * 1536 + 1536 + 512 * 512 + 512)
    outputs = 20 * conv(512, 512, 1)
    assert size["top_prior"] == prior_size(512, 32, 512, 2048, 20, 0) + attention + outputs
    stack = 512 * 512 + blocks(512, 1024, 20) + conv(512, 512, 4)
    assert size["bottom_prior"] == prior_size(512, 64, 512, 1024, 20, 512) + conv(512, 512, 1) + stack


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="divisible by 4, got 6 × 8"):
        VQVAE2((1, 6, 8))
    with pytest.raises(ValueError, match="beta must be at least 0, got -1"):
        tiny(beta=-1.0)
    with pytest.raises(ValueError, match=r"x must have shape \(1, 4, 4\)"):
        tiny().elbo(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match="condition_channels must be at least 1, got 0"):
        ConditionalPrior(2, CodePrior(2, (2, 2)), blocks=1, inner=2)
