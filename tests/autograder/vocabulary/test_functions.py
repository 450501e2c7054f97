"""Answers that depend on the question alone, and continuously; steps of optimisers in a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from autograder.checks import Linear, Step, assert_continuous, assert_displacement, assert_same_in_any_company
from autograder.errors import Wrong
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=generator(seed))


def net(n: int = 3, out: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(n, 16), nn.SiLU(), nn.Linear(16, out)).double().requires_grad_(False)


# company


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("shape", [(3,), (1, 3)])
def test_functions_of_a_row_pass_in_any_company(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    model = net().to(dtype)
    x, t = drawn(10, *shape).to(dtype), torch.rand(10, dtype=dtype, generator=generator(2))

    def f(x: Tensor, t: Tensor, scale: float = 1.0) -> Tensor:
        return scale * model(x) * t.reshape(-1, *[1] * (x.dim() - 1))

    assert_same_in_any_company(f, x, t, 2.0, generator=generator())
    assert_same_in_any_company(f, x, t, strangers=(drawn(7, *shape, seed=3), torch.rand(7)), generator=generator())
    assert_same_in_any_company(lambda x: model(x).flatten(1).sum(1), x)


class Memory:
    """Answers by the count of calls, from the second on."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x if self.calls < 3 else 2 * x


WRONG: dict[str, tuple[Callable[[], Callable[..., Any]], str]] = {
    "by place": (lambda: lambda x: x + torch.arange(len(x))[:, None], "in another order"),
    "by batch mean": (lambda: lambda x: x - x.mean(0), ""),
    "by batch size": (lambda: lambda x: x * len(x), "among 10 others"),
    "by the size of ours": (lambda: lambda x: x + (len(x) == 10), "among 10 others"),
    "by call": (Memory, "among 10 others"),
    "random": (lambda: torch.rand_like, "in another order"),
    "one row": (lambda: lambda x: x[:1], "one row for each of 10 rows"),
    "NaN": (lambda: lambda x: x * torch.nan, "finite"),
    "sorted": (lambda: lambda x: x.sort(0).values, "in another order"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_answers_that_depend_on_the_company_fail(kind: str) -> None:
    make, says = WRONG[kind]
    fails(lambda: assert_same_in_any_company(make(), drawn(10, 3), generator=generator()), says=says)


def test_company_needs_rows_of_one_number() -> None:
    for args in ((), (drawn(3, 2),), (drawn(4, 2), drawn(5, 2))):
        with pytest.raises(ValueError, match="at least 4"):
            assert_same_in_any_company(lambda *a: a[0], *args)


# continuity


def test_networks_make_no_jump_and_tables_do() -> None:
    a, b = drawn(64, 3), drawn(64, 3, seed=1)
    assert_continuous(net(), a, b)
    assert_continuous(net(), a.float().double(), b)
    steep = net()
    with torch.no_grad():
        for p in steep.parameters():
            p *= 5
    assert_continuous(steep, a, b)
    assert_continuous(lambda x: x.abs().sqrt(), a, b)  # a kink, and a slope without bound at one point, are no jumps
    table, keys = drawn(500, 2, seed=2), drawn(500, 3, seed=3)

    def nearest(x: Tensor) -> Tensor:
        return table[torch.cdist(x, keys).argmin(1)]

    fault = fails(
        lambda: assert_continuous(nearest, a, b, what="the generator"), says="the generator jumps: between 64 of"
    )
    assert "over 1/1048576 of the way" in fault.message
    centres = torch.tensor([[3.0, 0.0], [-3.0, 0.0]], dtype=F64)
    fails(lambda: assert_continuous(lambda x: centres[(x[:, 0] > 0).long()] + 0.1 * x[:, :2], a, b, share=0.9))
    assert_continuous(lambda x: centres[(x[:, 0] > 4).long()] + 0.1 * x[:, :2], a, b, share=0.9)


def test_answers_without_a_value_or_a_row_each_are_no_continuous_map() -> None:
    a, b = drawn(8, 3), drawn(8, 3, seed=1)
    fails(lambda: assert_continuous(lambda x: torch.where(x > 0, torch.nan, x), a, b), says="finite")
    fails(lambda: assert_continuous(lambda x: x[:1], a, b), says="one row for each of 8")
    fails(lambda: assert_continuous(lambda x: x.sum(), a, b), says="one row for each of 8")
    with pytest.raises(ValueError, match="row by row"):
        assert_continuous(lambda x: x, a, b[:3])


# steps in a row


RATE = 0.1


class Game:
    """A generator and a discriminator, affine, and an optimiser over exactly one of them each."""

    def __init__(self) -> None:
        self.networks = {"generator": self.fresh("generator"), "discriminator": self.fresh("discriminator")}
        self.copies = {name: self.fresh(name) for name in self.networks}
        self.optimisers = {name: torch.optim.SGD(n.parameters(), RATE) for name, n in self.networks.items()}
        self.real, self.noise = drawn(8, 3, seed=5), drawn(8, 2, seed=6)

    @staticmethod
    def fresh(name: str) -> nn.Module:
        return Linear(drawn(2, 3), drawn(3, seed=1)) if name == "generator" else Linear(drawn(3, seed=2), 0.5).double()

    def d_loss(self, nets: Any) -> Tensor:
        fake = nets["generator"](self.noise).detach()
        return -logsigmoid(nets["discriminator"](self.real)).mean() - logsigmoid(-nets["discriminator"](fake)).mean()

    def g_loss(self, nets: Any) -> Tensor:
        return -logsigmoid(nets["discriminator"](nets["generator"](self.noise))).mean()


def d_step(game: Game, style: str = "") -> Any:
    generator, discriminator = game.networks["generator"], game.networks["discriminator"]
    optimiser = game.optimisers["discriminator"]
    fake = generator(game.noise)
    if style != "leak":
        fake = fake.detach()
    if style != "stale":
        optimiser.zero_grad()
    loss = -logsigmoid(discriminator(game.real)).mean() - logsigmoid(-discriminator(fake)).mean()
    if style == "halved":
        loss = loss / 2
    if style == "uphill":
        loss = -loss
    if style == "nothing":
        return float(loss.detach())
    loss.backward()
    optimiser.step()
    if style == "two steps":
        optimiser.step()
    if style == "after":
        return float(game.d_loss(game.networks))
    if style == "no loss":
        return None
    return loss.detach() if style == "tensor" else float(loss.detach())


def g_step(game: Game, style: str = "") -> Any:
    generator, discriminator = game.networks["generator"], game.networks["discriminator"]
    optimiser = game.optimisers["generator"]
    if style != "stale":
        optimiser.zero_grad()
    fake = generator(game.noise)
    if style == "frozen for good":
        discriminator.requires_grad_(False)
    if style == "frozen for now":
        discriminator.requires_grad_(False)
    loss = -logsigmoid(discriminator(fake)).mean()
    if style == "minimax":
        loss = logsigmoid(-discriminator(fake)).mean()
    loss.backward()
    optimiser.step()
    if style == "frozen for now":
        discriminator.requires_grad_(True)
    if style == "both":
        game.optimisers["discriminator"].step()
    if style == "clips":
        with torch.no_grad():
            for p in discriminator.parameters():
                p.clamp_(-0.1, 0.1)
    return float(loss.detach())


def judge_steps(d_style: str = "", g_style: str = "") -> None:
    game = Game()
    d = Step("the discriminator's", lambda: d_step(game, d_style), "discriminator", game.d_loss, RATE)
    g = Step("the generator's", lambda: g_step(game, g_style), "generator", game.g_loss, RATE)
    idle = Step("a step of the generator's optimiser by the judge", game.optimisers["generator"].step)
    assert_displacement([d, idle, g, g, d, d], game.networks, game.copies)


@pytest.mark.parametrize("styles", [("", ""), ("tensor", ""), ("", "frozen for now")])
def test_right_sequences_of_steps_pass(styles: tuple[str, str]) -> None:
    judge_steps(*styles)


@pytest.mark.parametrize(
    ("d_style", "g_style", "says"),
    [
        ("leak", "", "step 2 of 6, a step of the generator's optimiser by the judge, moves `weight` of the generator"),
        ("stale", "", "step 5 of 6, the discriminator's, moves `weight` of the discriminator wrongly"),
        ("halved", "", "step 1 of 6, the discriminator's, moves"),
        ("uphill", "", "step 1 of 6"),
        ("two steps", "", "step 1 of 6"),
        ("nothing", "", "step 1 of 6, the discriminator's, does not move `weight` of the discriminator"),
        ("after", "", "the loss that step 1 of 6, the discriminator's, returns is off by"),
        ("no loss", "", "should be a tensor, got None"),
        ("", "stale", "step 4 of 6, the generator's, moves"),
        ("", "frozen for good", ""),
        ("", "minimax", "step 3 of 6, the generator's, moves"),
        ("", "both", "moves `weight` of the discriminator, which should stay"),
        ("", "clips", "moves `weight` of the discriminator, which should stay"),
    ],
)
def test_wrong_sequences_of_steps_fail(d_style: str, g_style: str, says: str) -> None:
    if g_style == "frozen for good":
        with pytest.raises((Wrong, RuntimeError)):
            judge_steps(d_style, g_style)
        return
    fails(lambda: judge_steps(d_style, g_style), says=says)


def test_hints_of_displacements_are_true_of_the_whole_displacement() -> None:
    fails(lambda: judge_steps("halved"), hint="0.5 times what it should be")
    fails(lambda: judge_steps("uphill"), hint="uphill")
    fails(lambda: judge_steps("", "minimax"), hint=None)


def test_a_step_of_the_authors_says_what_trains_and_by_which_loss() -> None:
    game = Game()
    for step in (Step("x", int, "generator"), Step("x", int, None, game.g_loss), Step("x", int, "critic", game.g_loss)):
        with pytest.raises(ValueError, match="a network that trains has a loss"):
            assert_displacement([step], game.networks, game.copies)
