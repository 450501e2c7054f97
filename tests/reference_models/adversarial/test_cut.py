"""The contrastive loss by loops, in closed form and against a mutual information that is known."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.adversarial.cut import CUT, patch_nce
from reference_models.adversarial.cyclegan import TranslationNetwork
from tests.reference_models.adversarial.games import count, gradients, snapshot, unchanged
from tests.reference_models.helpers import close, perturb


def unit(*shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


def test_the_loss_is_eq_2_query_by_query() -> None:
    q, k, tau = unit(3, 4, 5), unit(3, 4, 5), 0.3
    total = 0.0
    for image in range(3):
        for s in range(4):
            right = torch.exp(q[image, s] @ k[image, s] / tau)
            wrong = sum(torch.exp(q[image, s] @ k[image, n] / tau) for n in range(4) if n != s)
            total += float(-torch.log(right / (right + wrong)))
    assert close(patch_nce(q, k, tau), total / 12, 1e-12)


def test_equal_places_cannot_be_told_apart_and_right_angles_can() -> None:
    same = unit(1, 1, 5).expand(2, 6, 5)
    assert close(patch_nce(same, same), math.log(6), 1e-12)
    apart = torch.eye(6).expand(2, 6, 6)
    assert close(patch_nce(apart, apart, 0.5), math.log(1 + 5 * math.exp(-2)), 1e-12)
    assert close(patch_nce(apart, apart), math.log1p(5 * math.exp(-1 / 0.07)), 1e-12)


def test_keys_carry_no_gradient_and_queries_do() -> None:
    q, k = unit(2, 4, 5).requires_grad_(), unit(2, 4, 5).requires_grad_()
    patch_nce(q, k).backward()
    assert q.grad.abs().max() > 1e-3
    assert k.grad is None


def test_log_s_minus_the_loss_bounds_the_mutual_information_from_below() -> None:
    """Query and key are the same one of 4 codes at right angles, uniformly: I = log 4. Eight places, 2000 images."""
    codes = torch.eye(4)[torch.randint(4, (2000, 8))]
    bound = math.log(8) - float(patch_nce(codes, codes, 0.02))
    assert 0.7 * math.log(4) < bound < math.log(4)


class Known(TranslationNetwork):
    """Translates by adding a number; its only features are the pixels and twice the pixels."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.shift = nn.Parameter(torch.tensor(0.25))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift

    def features(self, x: Tensor, at: tuple[int, ...]) -> list[Tensor]:
        return [x, 2 * x][: len(at)]


class Recording(nn.Module):
    """Remembers the features it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, f: Tensor) -> Tensor:
        self.seen.append(f)
        return f


def test_queries_and_keys_come_from_the_same_places_of_output_and_input(generator: torch.Generator) -> None:
    model = CUT(Known(), nn.Identity(), (0, 1), (3, 3), patches=5, temperature=0.3)
    model.heads = nn.ModuleList([Recording(), Recording()])
    x = torch.randn(2, 3, 4, 4)
    loss = model.contrast(x, x + 100, generator=generator)
    expected = []
    for head, scale in zip(model.heads, (1, 2), strict=True):
        query, key = head.seen
        assert query.shape == key.shape == (2, 5, 3)
        assert close(query - key, torch.full((2, 5, 3), 100.0 * scale), 1e-9)
        pixels = {tuple(p) for p in (scale * x[0]).flatten(1).mT.tolist()}
        places = [tuple(p) for p in key[0].tolist()]
        assert set(places) <= pixels
        assert len(set(places)) == 5
        expected.append(patch_nce(F.normalize(query, dim=-1), F.normalize(key, dim=-1), 0.3))
    assert close(loss, (expected[0] + expected[1]) / 2, 1e-12)


def test_the_losses_are_eq_5_and_half_least_squares(generator: torch.Generator) -> None:
    model = CUT(Known(), nn.Identity(), (0,), (1,), head=4, patches=6, weight_x=2.0, weight_y=3.0)
    x, y = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    state = generator.get_state()
    loss = model.generator_loss(x, y, generator=generator)
    generator.set_state(state)
    nce_x = model.contrast(x, x + 0.25, generator=generator)
    nce_y = model.contrast(y, y + 0.25, generator=generator)
    assert close(loss.adversarial, (x + 0.25 - 1).square().mean(), 1e-12)
    assert close(loss.total, loss.adversarial + 2 * nce_x + 3 * nce_y, 1e-12)
    expected = 0.5 * ((y - 1).square().mean() + (x + 0.25).square().mean())
    assert close(model.discriminator_loss(x, y), expected, 1e-12)


def test_the_players_gradients_do_not_mix(generator: torch.Generator) -> None:
    model, (x, y) = perturb(CUT.images(width=4, blocks=1)), torch.randn(2, 3, 1, 8, 8)
    model.discriminator_loss(x, y).backward()
    assert gradients(model.judge)
    assert not gradients(model.translator)
    model.zero_grad()
    before = snapshot(model.judge)
    model.generator_loss(x, y, generator=generator).total.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert gradients(model.translator)
    assert gradients(model.heads)
    assert unchanged(model.judge, before)


def test_the_paper_s_features_come_from_the_layers_of_section_4() -> None:
    with torch.device("meta"):
        model = CUT.paper()
        features = model.translator.features(torch.zeros(1, 3, 256, 256), model.layers)
    assert (model.patches, model.temperature, model.weight_x, model.weight_y) == (256, 0.07, 1, 1)
    shapes = [tuple(f.shape[1:]) for f in features]
    assert shapes == [(3, 256, 256), (128, 128, 128), (256, 64, 64), (256, 64, 64), (256, 64, 64)]
    assert count(model.heads) == sum((c + 1) * 256 + 257 * 256 for c in (3, 128, 256, 256, 256))


def test_single_precision_stays_single(generator: torch.Generator) -> None:
    model, x = CUT.images(width=4, blocks=1).float(), torch.randn(2, 1, 8, 8).float()
    assert model(x).dtype == torch.float32
    assert model.generator_loss(x, x, generator=generator).total.dtype == torch.float32


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one shape \(N, S, C\), got \(2, 3, 4\) and \(2, 3, 5\)"):
        patch_nce(torch.zeros(2, 3, 4), torch.zeros(2, 3, 5))
    with pytest.raises(ValueError, match="places must be at least 2, got 1"):
        patch_nce(torch.zeros(2, 1, 4), torch.zeros(2, 1, 4))
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        patch_nce(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), 0.0)
    with pytest.raises(ValueError, match="needs its channels"):
        CUT(Known(), nn.Identity(), (0, 1), (3,))
    with pytest.raises(ValueError, match="patches must be at least 2, got 1"):
        CUT(Known(), nn.Identity(), (0,), (3,), patches=1)


def test_patches_are_drawn_anew_and_anywhere(generator: torch.Generator) -> None:
    """Over many draws every place of the feature map is compared."""
    places: list[Tensor] = []

    class Place(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            places.append(rows.detach())
            return rows

    cut = CUT.images(width=4, blocks=1)
    cut.patches = 3
    numbered = torch.arange(64.0).reshape(1, 1, 8, 8)
    cut.translator.features = lambda image, layers: [image]  # type: ignore[method-assign]
    cut.heads = nn.ModuleList([Place()])
    for _ in range(200):
        cut.contrast(numbered, numbered, generator=generator)
    seen = torch.cat([rows.flatten() for rows in places]).unique()
    assert len(seen) == 64
    assert all(rows.unique().numel() == 3 for rows in places)
