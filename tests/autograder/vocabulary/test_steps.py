"""What a step moves; the students are two small networks and optimisers of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autograder.checks import assert_no_graph, assert_step_changes_only, assert_tuple, perturb
from tests.autograder.vocabulary.forked import notebook
from tests.autograder.vocabulary.students import fails


class Game:
    """A generator, a critic, and one step of the critic with a mistake or none."""

    def __init__(self, mistake: str = "", dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        self.generator = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).to(dtype)
        self.critic = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).to(dtype)
        self.mistake = mistake
        both = [*self.generator.parameters(), *self.critic.parameters()]
        trained = {"": self.critic.parameters(), "both": both, "last": self.critic[2].parameters()}
        self.optimiser = torch.optim.Adam(trained.get(mistake, self.critic.parameters()), lr=1e-3)

    def step(self, x: Tensor) -> Tensor:
        self.optimiser.zero_grad()
        z = torch.randn_like(x)
        fake = self.generator(z) if self.mistake == "both" else self.generator(z).detach()
        loss = self.critic(fake).mean() - self.critic(x).mean()
        loss = loss * {"nan": torch.nan}.get(self.mistake, 1.0)
        if self.mistake != "no backward":
            loss.backward()
        if self.mistake != "no step":
            self.optimiser.step()
        if self.mistake == "other shapes":
            self.critic[0].weight = nn.Parameter(torch.zeros(3, 2))
        if self.mistake == "last bit":
            self.generator[0].weight.data[0, 0] *= 1 + 2**-23
        return loss.detach()


def ask(game: Game, **options: Any) -> Any:
    x = torch.ones(8, 2, dtype=game.critic[0].weight.dtype)
    modules = {"changes": {"the critic": game.critic}, "keeps": {"the generator": game.generator}}
    return assert_step_changes_only(game.step, x, **{**modules, **options})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_right_step_passes_although_batch_normalisation_counts(dtype: torch.dtype) -> None:
    game = Game(dtype=dtype)
    before = game.generator[1].running_mean.clone()
    # the output's bias cancels out of a critic's loss, so it rightly gets no gradient
    assert ask(game, share=0.75).shape == ()
    assert not torch.equal(game.generator[1].running_mean, before)


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        ("both", "changes the generator, which it should leave alone"),
        ("last bit", "1 of 6 parameters moved (`0.weight`)"),
        ("no step", "4 of 4 parameters are as before"),
        ("no backward", "4 of 4 parameters are as before"),
        ("last", "should change the critic, but"),
        ("nan", "finite"),
        ("other shapes", "other parameters than it had"),
    ],
)
def test_each_wrong_step_fails_by_name(mistake: str, says: str) -> None:
    fails(lambda: ask(Game(mistake), share=0.75), says=says)


def test_names_out_of_the_sandbox_are_left_out_of_what_a_hidden_check_says() -> None:
    for mistake in ("both", "no step"):
        fault = fails(lambda mistake=mistake: ask(Game(mistake), share=0.75), says="`0.weight`")
        assert fault.plain is not None
        assert "weight" not in fault.plain


def test_parameters_that_should_move_may_be_counted_by_share() -> None:
    fails(lambda: ask(Game()), says="1 of 4 parameters are as before (`2.bias`)")
    ask(Game("last"), share=0.25)
    fails(lambda: ask(Game("no step"), share=0.0), says="4 of 4")


def test_names_that_are_no_modules_or_stand_twice_are_the_authors_mistake() -> None:
    game = Game()
    options: list[dict[str, Any]] = [
        {"keeps": {"the critic": game.critic}},
        {"changes": {}, "keeps": {}},
        {"changes": {"a": torch.ones(2)}},
    ]
    for option in options:
        with pytest.raises(ValueError, match=r"modules? "):
            ask(game, **option)
    fails(lambda: ask(game, changes={"it": nn.Tanh()}), says="has no parameters")


SOURCE = """
import torch
from torch import nn
model, critic = nn.Linear(2, 2), nn.Linear(2, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
def step(x):
    loss = critic(model(x)).square().mean()
    optimiser.zero_grad(); loss.backward(); optimiser.step()
    return loss.item()
def leaky(x):
    with torch.no_grad():
        critic.weight.add_(model(x).sum())
    return step(x)
@torch.no_grad()
def sample(n):
    return model(torch.randn(n, 2))
def drawn(n):
    return {"x": model(torch.randn(n, 2)), "n": n}
"""


def test_a_step_and_a_sampler_in_a_worker_are_seen_as_well() -> None:
    x = torch.ones(4, 2)
    with notebook(SOURCE) as student:
        perturb(student.model)
        modules = {"changes": {"the model": student.model}, "keeps": {"the critic": student.critic}}
        assert assert_step_changes_only(student.step, x, **modules) > 0
        fails(lambda: assert_step_changes_only(student.leaky, x, **modules), says="changes the critic")
        assert assert_no_graph(student.sample, 3).shape == (3, 2)
        fails(lambda: assert_no_graph(student.drawn, 3), says="(result['x'])", hint="no_grad")


W = nn.Parameter(torch.ones(2, 3))


@pytest.mark.parametrize(
    "right",
    [
        torch.no_grad()(lambda x: x @ W),
        torch.inference_mode()(lambda x: x @ W),
        lambda x: (x @ W).detach(),
        lambda x: (x @ W).data,
        lambda x: (x @ W).tolist(),
        lambda x: ((x @ W).detach(), 3),
    ],
)
def test_results_without_a_graph_pass(right: Callable[[Tensor], Any]) -> None:
    for shape in ((2,), (64, 2)):
        assert assert_no_graph(right, torch.ones(shape)) is not None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda x: x @ W, "(result)"),
        (lambda x: ((x @ W).detach(), x @ W), "(result[1])"),
        (lambda x: [x @ W] * 5, "(result[0], result[1], result[2] and 2 more)"),
        (lambda x: W, "(result)"),
        (torch.no_grad()(lambda x: torch.enable_grad()(lambda: x @ W)()), "(result)"),
    ],
)
def test_results_with_a_graph_fail_by_their_part(wrong: Callable[[Tensor], Any], says: str) -> None:
    fails(lambda: assert_no_graph(wrong, torch.ones(4, 2), what="`sample`"), says=says, hint="no_grad")


def test_a_tuple_has_as_many_parts_as_asked_for() -> None:
    z, logdet = torch.ones(2, 3), torch.ones(2)
    for right in ((z, logdet), [z, logdet]):
        assert assert_tuple(right, 2)[1] is logdet
    wrong: list[tuple[Any, str]] = [
        (torch.stack([logdet, logdet]), "it is one tensor of shape (2, 2)"),
        ((z,), "a tuple of 1"),
        ([z, logdet, z], "a list of 3"),
        ({"z": z, "logdet": logdet}, "a `dict`"),
        (None, "None"),
        (3.0, "a `float`"),
    ]
    for value, says in wrong:
        fault = fails(lambda value=value: assert_tuple(value, 2, "`forward(x)`", names=("z", "logdet")), says=says)
        assert "`forward(x)` should be a tuple of 2: (z, logdet)" in fault.message
    fails(lambda: assert_tuple(None, 2), hint="without `return`")
    with pytest.raises(ValueError, match="2 parts were asked for, 1 are named"):
        assert_tuple((z, logdet), 2, names=("z",))


def test_an_object_of_the_students_is_no_tuple() -> None:
    with notebook("class Pair:\n    pass\ndef make():\n    return Pair()") as student:
        fails(lambda: assert_tuple(student.make(), 2), says="an object of type `Pair`")
