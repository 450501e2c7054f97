"""Labels looked up and refused, and cross-attention written out pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from reference_models.parts.conditioning import SpatialCrossAttention, embed_labels, flatten_tokens
from tests.reference_models.helpers import close, perturb


def by_hand(block: SpatialCrossAttention, x: Tensor, context: Tensor) -> Tensor:
    """x + W_out Σ_l softmax_l(q·k_l/√d) v_l + b for each image, pixel and head: loops, and no attention of torch."""
    normal = (x - x.mean((1, 2, 3), keepdim=True)) / (x.var((1, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
    normal = normal * block.norm.weight[:, None, None] + block.norm.bias[:, None, None]
    out, d = x.clone(), x.shape[1] // block.heads
    for n in range(len(x)):
        keys, values = context[n] @ block.keys.weight.T, context[n] @ block.values.weight.T  # (L, C)
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                q, found = block.queries.weight @ normal[n, :, i, j], []
                for head in range(block.heads):
                    own = slice(head * d, (head + 1) * d)
                    weights = (keys[:, own] @ q[own] / d**0.5).exp()
                    found.append(weights / weights.sum() @ values[:, own])
                out[n, :, i, j] += block.out.weight @ torch.cat(found) + block.out.bias
    return out


@pytest.mark.parametrize("heads", [1, 3])
def test_cross_attention_by_hand(heads):
    block = perturb(SpatialCrossAttention(6, 5, heads=heads), 0.5)
    x, context = 2 * torch.randn(2, 6, 3, 2) + 1, torch.randn(2, 4, 5)
    assert close(block(x, context), by_hand(block, x, context), 1e-10)


def test_a_single_token_is_seen_alike_by_every_pixel():
    block = perturb(SpatialCrossAttention(4, 5), 0.5)
    added = block(x := torch.randn(2, 4, 3, 3), torch.randn(2, 1, 5)) - x
    assert close(added, added[:, :, :1, :1].expand(2, 4, 3, 3), 1e-10)


def test_pixels_are_normalised_in_groups():
    block = perturb(SpatialCrossAttention(4, 5, groups=2), 0.5)
    scaled = torch.randn(2, 4, 3, 3)
    context = torch.randn(2, 3, 5)
    stretched = torch.cat([100 * scaled[:, :2], scaled[:, 2:]], dim=1)  # of one group: only the shortcut notices
    assert close(block(stretched, context) - stretched, block(scaled, context) - scaled, 1e-3)


def test_labels_are_rows_and_none_is_the_last():
    table = nn.Embedding(4, 6)
    rows = embed_labels(table, torch.tensor([2, 0]), 2)
    assert close(rows, table.weight[[2, 0]], 0)
    assert close(embed_labels(table, None, 3), table.weight[[3, 3, 3]], 0)
    assert close(embed_labels(table, torch.tensor(1), 2), table.weight[[1, 1]], 0)
    assert embed_labels(None, None, 2) == 0.0


def test_tokens_of_one_image_or_many():
    tokens = torch.randn(64, 3, 5)
    assert close(flatten_tokens(tokens, torch.Size([64]), 5), tokens, 0)
    assert close(flatten_tokens(tokens[7], torch.Size([]), 5), tokens[7:8], 0)


def test_float32_stays_float32():
    block = perturb(SpatialCrossAttention(4, 5, heads=2)).float()
    out = block(torch.randn(64, 4, 2, 2, dtype=torch.float32), torch.randn(64, 3, 5, dtype=torch.float32))
    assert out.dtype == torch.float32
    assert out.shape == (64, 4, 2, 2)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="channels must be divisible by heads, got 6 and 4"):
        SpatialCrossAttention(6, 5, heads=4)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.3 \(3: no label\), got 0\.\.4"):
        embed_labels(nn.Embedding(4, 6), torch.tensor([0, 4]), 2)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.3 .*, got -1\.\.-1"):
        embed_labels(nn.Embedding(4, 6), torch.tensor(-1), 2)
    with pytest.raises(ValueError, match="built without num_classes"):
        embed_labels(None, torch.tensor([0, 1]), 2)
    with pytest.raises(ValueError, match=r"the context must have shape \(2, L, 5\), got \(2, 3, 4\)"):
        flatten_tokens(torch.zeros(2, 3, 4), torch.Size([2]), 5)
    with pytest.raises(ValueError, match=r"the context must have shape \(L, 5\), got \(5,\)"):
        flatten_tokens(torch.zeros(5), torch.Size([]), 5)
    with pytest.raises(ValueError, match=r"the context must have shape \(2, L, 5\), got None"):
        flatten_tokens(None, torch.Size([2]), 5)
