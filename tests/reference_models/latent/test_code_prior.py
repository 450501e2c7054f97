"""The prior over code grids against enumeration of all grids, flips of single codes, and the law of its samples."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from reference_models.latent.code_prior import CodePrior, GatedBlock
from tests.reference_models.helpers import close, perturb


def small(**options: object) -> CodePrior:
    """Three codes on 2×2 cells, weights away from their initialisation."""
    return perturb(CodePrior(3, (2, 2), hidden=4, **{"layers": 2, **options}), 0.5)  # type: ignore[arg-type]


def grids(K: int = 3, cells: int = 4) -> Tensor:
    """All K^cells grids, (81, 2, 2)."""
    return torch.tensor(list(itertools.product(range(K), repeat=cells))).reshape(-1, 2, 2)


KINDS = {"plain": {}, "attention": {"attention_layers": 1, "heads": 2}, "condition": {"condition_channels": 2}}


def condition_of(prior: CodePrior, n: int) -> Tensor | None:
    return torch.randn(1, 2, 2, 2).expand(n, 2, 2, 2) if prior.condition_channels else None


@pytest.mark.parametrize("kind", KINDS)
def test_all_grids_sum_to_one(kind: str) -> None:
    prior = small(**KINDS[kind])
    log_p = prior.log_prob(grids(), condition=condition_of(prior, 81))
    assert close(log_p.exp().sum(), 1.0)
    assert float(log_p.max() - log_p.min()) > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_moves_what_comes_after_it_and_nothing_before(kind: str) -> None:
    """Raster order on 3×3 cells: the conditional of a cell does not see itself or later cells, and sees the one to its
    left and the one above."""
    prior = perturb(CodePrior(3, (3, 3), hidden=4, layers=2, **KINDS[kind]), 0.5)  # type: ignore[arg-type]
    codes = torch.randint(0, 3, (2, 3, 3))
    condition = torch.randn(2, 2, 3, 3) if prior.condition_channels else None
    before = prior.logits(codes, condition)
    for j in range(9):
        other = codes.clone()
        other.view(2, 9)[:, j] = (other.view(2, 9)[:, j] + 1) % 3
        moved = (prior.logits(other, condition) - before).abs().amax((0, 1)).flatten() > 1e-9
        assert not bool(moved[: j + 1].any())
        if j % 3 < 2:
            assert bool(moved[j + 1])
        if j < 6:
            assert bool(moved[j + 3])


def test_attention_sees_into_the_blind_spot() -> None:
    """Stacked 3×3 masked convolutions never see two or three cells to the right in the row above; attention does."""
    for layers, sees, j in ((0, False, 2), (0, False, 3), (1, True, 2), (1, True, 3)):
        prior = perturb(CodePrior(3, (2, 4), hidden=4, layers=2, attention_layers=layers), 0.5)
        codes = torch.zeros(1, 2, 4, dtype=torch.long)
        other = codes.clone()
        other[0, 0, j] = 1
        change = (prior.logits(other) - prior.logits(codes))[0, :, 1, 0].abs().max()
        assert (float(change.detach()) > 1e-9) is sees


def test_a_block_adds_a_tanh_opened_by_a_sigmoid() -> None:
    block = GatedBlock(3, 4, 3, condition_channels=2, dropout=0.0)
    h, c = torch.randn(2, 3, 2, 2), torch.randn(2, 2, 2, 2)
    before = block.masked(block.squeeze[1](h.relu()).relu()) + block.condition(c)
    gated = torch.tanh(before[:, :4]) / (1 + torch.exp(-before[:, 4:]))
    assert close(block(h, c), h + block.out(gated), 1e-12)


def test_layers_at_the_end_add_to_what_they_see() -> None:
    prior, seen = small(output_layers=2), []
    prior.blocks[-1].register_forward_hook(lambda *said: seen.append(said[-1]))
    logits = prior.logits(grids()[:3])
    h = seen[0]
    for layer in prior.output:
        h = h + layer[1](h.relu())
    assert close(logits, prior.head(h), 1e-12)


def test_attentions_stand_evenly_among_the_blocks_each_once() -> None:
    prior, order = small(layers=5, attention_layers=2), []
    for name, module in [*prior.blocks.named_children(), *prior.attention.named_children()]:
        kind = "block" if isinstance(module, GatedBlock) else "attention"
        module.register_forward_hook(lambda *_, said=f"{kind} {name}": order.append(said))
    prior.logits(grids()[:1])
    assert order == ["block 0", "block 1", "block 2", "attention 0", "block 3", "block 4", "attention 1"]


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_enumerated_law(kind: str, generator: torch.Generator) -> None:
    """χ² of 5000 grids of 2×2 binary codes against all 16: χ²(15) < 65 but for 3e-8 of seeds."""
    prior = perturb(CodePrior(2, (2, 2), hidden=4, layers=2, **KINDS[kind]), 0.7)  # type: ignore[arg-type]
    states = grids(2)
    condition = condition_of(prior, 5000)
    p = prior.log_prob(states, condition=None if condition is None else condition[:16]).exp().detach()
    codes = prior.sample(5000, condition=condition, generator=generator)
    assert codes.dtype == torch.long
    weights = torch.tensor([8, 4, 2, 1])
    counts = torch.bincount((codes.flatten(1) * weights).sum(1), minlength=16)
    assert float(((counts - 5000 * p) ** 2 / (5000 * p)).sum()) < 65
    assert float((p - 1 / 16).abs().max()) > 0.02


def test_rows_from_above_suffice() -> None:
    """The conditionals of the first rows, computed without those below, are the same: what sampling relies on."""
    prior = small(attention_layers=1, condition_channels=2)
    codes, condition = grids()[:5], torch.randn(5, 2, 2, 2)
    assert close(prior.logits(codes[:, :1], condition), prior.logits(codes, condition)[:, :, :1])


def test_condition_matters_at_every_cell() -> None:
    prior = small(condition_channels=2)
    codes = grids()[:1]
    a, b = prior.logits(codes, torch.zeros(1, 2, 2, 2)), prior.logits(codes, torch.ones(1, 2, 2, 2))
    assert bool(((a - b).abs().amax((0, 1)) > 1e-6).all())


def test_sampling_without_dropout_and_in_single_precision(generator: torch.Generator) -> None:
    """Dropout is off while sampling and back on after it; float32 log-probabilities agree to 1e-4."""
    prior = small(dropout=0.9).train()
    first = prior.sample(6, generator=generator)
    assert prior.training
    assert torch.equal(first, prior.sample(6, generator=generator.manual_seed(0)))
    double = prior.eval().log_prob(grids())
    assert close(prior.float().log_prob(grids()).double(), double, 1e-4)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"codes must have shape \(N, 2, 2\), got \(1, 2, 3\)"):
        small().log_prob(torch.zeros(1, 2, 3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"long integers in 0\.\.2, got torch.int64"):
        small().log_prob(torch.full((1, 2, 2), 3))
    with pytest.raises(ValueError, match=r"condition must have shape \(1, 2, 2, 2\), got None"):
        small(condition_channels=2).log_prob(torch.zeros(1, 2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match=r"condition must have shape None, got \(1, 2, 2, 2\)"):
        small().log_prob(torch.zeros(1, 2, 2, dtype=torch.long), condition=torch.zeros(1, 2, 2, 2))
    with pytest.raises(ValueError, match="K must be at least 1, got 0"):
        CodePrior(0, (2, 2))
    with pytest.raises(ValueError, match=r"grid must be \(H, W\) with positive entries, got \(2, 0\)"):
        CodePrior(3, (2, 0))
