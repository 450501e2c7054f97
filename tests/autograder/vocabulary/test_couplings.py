"""Flows made of couplings pass however they are written; what looks like one and is none does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autograder.checks import assert_bijection, assert_coupling_flow
from autograder.errors import AuthorError
from autograder.worker.probes import AffineFlow, AffinePair, Bend, Rotate, Scale
from tests.autograder.vocabulary.students import fails

F64 = torch.float64
D = 4
MASK = torch.tensor([1.0, 1, 0, 0])


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=F64)


class Coupling(nn.Module):
    """An affine coupling; `wrong` plants what is none."""

    def __init__(self, mask: Tensor, seed: int, wrong: str = "") -> None:
        super().__init__()
        self.mask, self.wrong = mask, wrong
        A, B = drawn(seed, 2, D, D) / 2
        self.net = AffinePair(A, B, 0.3, 0.2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(1)
        seen = flat if self.wrong == "sees all" else self.mask * flat
        log_s, t = (part * (1 - self.mask) for part in self.net(seen))
        z = flat * log_s.exp() + t
        if self.wrong == "bends":
            z = torch.where(self.mask == 1, z, z + 0.3 * z.tanh())
        if self.wrong == "mixes":
            z = torch.cat([z[:, :2], z[:, 2:] + 0.3 * (z[:, :1] * z[:, 2:]).flip(1)], 1)
        if self.wrong == "changes what passes":
            z = z * (1 + self.mask)
        return z.reshape(x.shape), log_s.sum(1)


class Flow(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for layer in self.layers:
            x, logdet = layer(x)
            total = total + logdet
        return x, total


class Reshaped(nn.Module):
    """A permutation that changes the shape of a sample too, as a squeeze does."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1).flip(1).reshape(len(x), 2, 2), x.new_zeros(len(x))


def couplings(n: int, **wrong: str) -> list[nn.Module]:
    return [Coupling(MASK if i % 2 else 1 - MASK, i, **wrong) for i in range(n)]


@pytest.mark.parametrize("seed", range(20))
def test_couplings_with_any_affine_maps_between_pass(seed: int) -> None:
    between = [AffineFlow(drawn(seed, D, D) + 2 * torch.eye(D)), Rotate(0.7), Scale(2.0, 1.0), Reshaped()]
    layers = [layer for pair in zip(couplings(4), between, strict=True) for layer in pair]
    assert_coupling_flow(Flow(*layers), drawn(seed + 100, 6, D), at_least=4)
    assert_coupling_flow(Flow(*couplings(3)).double(), drawn(seed, 4, D), at_least=3)


def test_single_precision_and_a_first_layer_of_single_entries_pass() -> None:
    assert_coupling_flow(Flow(*couplings(4)), drawn(1, 5, D).float(), at_least=4)
    assert_coupling_flow(Flow(Bend(0.5), *couplings(2)), drawn(1, 5, D), at_least=2, elementwise_first=True)


@pytest.mark.parametrize("wrong", ["sees all", "bends", "mixes", "changes what passes"])
def test_what_is_no_coupling_fails(wrong: str) -> None:
    for seed in range(10):
        flow = Flow(*couplings(3), Coupling(MASK, seed, wrong))
        fails(
            lambda flow=flow, seed=seed: assert_coupling_flow(flow, drawn(seed, 6, D)),
            says="layer 3 of the flow is neither an affine map nor an affine coupling",
        )


FLOWS: list[tuple[str, Callable[[], Any], str]] = [
    ("too few", lambda: Flow(*couplings(2), Rotate(0.3)), "at least 3 affine couplings"),
    ("affine maps only", lambda: Flow(Rotate(0.3), AffineFlow(drawn(1, D, D)), Scale(2.0)), "it has 0"),
    ("nothing", lambda: Flow(), "it has 0"),
    ("single entries", lambda: Flow(*couplings(3), Bend(0.5)), "(it acts on single entries)"),
    ("single entries at first", lambda: Flow(Bend(0.5), *couplings(3)), "(it acts on single entries)"),
]


@pytest.mark.parametrize(("name", "make", "says"), FLOWS, ids=[row[0] for row in FLOWS])
def test_a_flow_without_enough_couplings_fails(name: str, make: Callable[[], Any], says: str) -> None:
    fails(lambda: assert_coupling_flow(make(), drawn(2, 6, D), at_least=3), says=says)


def test_a_second_elementwise_layer_is_none_that_comes_first() -> None:
    flow = Flow(Bend(0.5), *couplings(2), Bend(0.5))
    fails(
        lambda: assert_coupling_flow(flow, drawn(2, 6, D), elementwise_first=True),
        says="layer 3 of the flow is neither",
    )


def test_two_layers_of_single_entries_at_first_are_one_too_many() -> None:
    flow = Flow(Bend(0.5), Rotate(0.3), Bend(0.5), *couplings(2))
    fails(
        lambda: assert_coupling_flow(flow, drawn(2, 6, D), elementwise_first=True),
        says="layer 2 of the flow is neither",
    )


def test_a_forward_that_takes_other_layers_fails() -> None:
    class Other(Flow):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return Bend(0.5)(super().forward(x)[0])

    fails(
        lambda: assert_coupling_flow(Other(*couplings(3)), drawn(2, 6, D)),
        says="beside its layers one after another",
    )


def test_three_points_are_the_authors_mistake() -> None:
    with pytest.raises(AuthorError):
        assert_coupling_flow(Flow(*couplings(3)), drawn(2, 3, D))


# --- a bijection


class Trained(nn.Module):
    """Couplings, there and back; `wrong` plants what a trained flow may hide."""

    def __init__(self, wrong: str = "") -> None:
        super().__init__()
        self.halves = [Coupling(MASK if i % 2 else 1 - MASK, i) for i in range(4)]
        self.wrong = wrong

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.wrong == "another to many" and len(x) > 5:
            return x.flip(1), x.new_zeros(len(x))
        if self.wrong == "folds":
            x = x.abs()
        for half in self.halves:
            x = half(x)[0]
        return x, x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        given = z
        if self.wrong == "another to many" and len(z) > 5:
            return z.flip(1), z.new_zeros(len(z))
        for half in self.halves[::-1]:
            log_s, t = (part * (1 - half.mask) for part in half.net(half.mask * z))
            z = (z - t) * (-log_s).exp()
        if self.wrong == "keeps company":
            z = z + 3e-5 * len(z)
        if self.wrong == "hides a digit":
            z = z + 0.02 * ((given * 1e5).round() % 2)
        return z, z.new_zeros(len(z))


@pytest.mark.parametrize("seed", range(20))
def test_couplings_are_a_bijection(seed: int) -> None:
    assert_bijection(Trained(), drawn(seed, 9, D), drawn(seed + 50, 9, D), generator=generator(seed))


class Saturated(nn.Module):
    """A logit; of noise far out its inverse makes 1 in every digit, and nothing brings that back."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.logit() / 12, x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return (12 * z).sigmoid(), z.new_zeros(len(z))


def test_a_little_noise_may_be_lost_where_a_flow_is_saturated() -> None:
    flow, lost = Saturated(), 0
    for seed in range(20):
        x, z = drawn(seed, 40, D).sigmoid(), drawn(seed + 50, 40, D)
        assert_bijection(flow, x, z, generator=generator(seed))
        lost += int(((flow(flow.inverse(z)[0])[0] - z).abs().amax(1) > 1e-4).sum())
        fails(lambda x=x, z=z: assert_bijection(flow, x, 40 * z, generator=generator(0)), says="the flow")
    assert lost > 5


@pytest.mark.parametrize(
    ("wrong", "atol", "says"),
    [
        ("folds", 1e-4, "`inverse` after the flow"),
        ("keeps company", 1e-2, "is another one"),
        ("another to many", 1e-4, "in a batch of 4"),
        ("hides a digit", 1.0, "`inverse` jumps: when z moves by 1e-06"),
    ],
)
def test_what_is_no_bijection_fails(wrong: str, atol: float, says: str) -> None:
    for seed in range(10):
        x, z = drawn(seed, 20, D), drawn(seed + 50, 20, D)
        fails(lambda x=x, z=z: assert_bijection(Trained(wrong), x, z, generator=generator(1), atol=atol), says=says)
