"""Jacobian blocks of single samples, parameters by name, parts that carry a graph; the oracle is torch.func."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autograder.errors import AuthorError, StudentFault, Wrong
from autograder.student import Student, asking, jacobian_blocks, parameters, parts_with_graph
from autograder.student.local import LocalChannel
from autograder.worker import gradients
from tests.autograder.vocabulary.forked import notebook

F64 = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(dtype: torch.dtype = F64) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-14), (torch.float32, 1e-6)])
@pytest.mark.parametrize("batch", [1, 64])
def test_blocks_are_those_of_jacrev_sample_by_sample(batch: int, dtype: torch.dtype, tolerance: float) -> None:
    net = network(dtype)
    x = torch.randn(batch, 2, 3, dtype=dtype, generator=generator())
    got = jacobian_blocks(net, x)
    wanted = torch.func.vmap(torch.func.jacrev(lambda one: net(one[None])[0]))(x).reshape(batch, 4, 6)
    torch.testing.assert_close(got, wanted.detach(), rtol=0, atol=tolerance)


def test_rows_come_in_several_requests_and_passes_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(3, 7, dtype=F64, generator=generator())
    weight = torch.randn(11, 7, dtype=F64, generator=generator(1))
    monkeypatch.setattr(asking, "BLOCK_NUMBERS", 3 * 21)
    monkeypatch.setattr(gradients, "NUMBERS_AT_ONCE", 2 * 21)
    got = jacobian_blocks(lambda x: (0, (x @ weight.T).sin()), x, output=1)
    torch.testing.assert_close(got, (x @ weight.T).cos()[:, :, None] * weight, rtol=0, atol=1e-14)


def test_an_operation_without_a_batching_rule_and_a_constant_have_blocks_too() -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return torch.from_numpy(grad.numpy()) * 3 * ctx.saved_tensors[0] ** 2

    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=F64)
    assert torch.equal(jacobian_blocks(Cube.apply, x), torch.diag_embed(3 * x**2))
    assert torch.equal(jacobian_blocks(lambda x: torch.ones(2, 3), x), torch.zeros(2, 3, 2, dtype=F64))
    assert jacobian_blocks(lambda x: x[:, :0], x).shape == (2, 0, 2)


@pytest.mark.parametrize(
    "mixing",
    [
        lambda x: x - x.mean(0),
        lambda x: x + 1e-2 * x.flip(0),
        lambda x: x.cumsum(0),
        lambda x: x.sort(0).values.roll(1, 0),
        lambda x: x * x[:1, :1],
    ],
)
def test_samples_that_mix_are_told_apart_from_samples_that_do_not(mixing: Any) -> None:
    for dtype, batch in ((F64, 64), (torch.float32, 5)):
        x = torch.randn(batch, 3, dtype=dtype, generator=generator())
        with pytest.raises(Wrong, match="mixes the samples of a batch"):
            jacobian_blocks(mixing, x)
        jacobian_blocks(lambda x: 1e8 * x.sin() * x.sum(1, keepdim=True) + x[:, [2, 0, 1]].exp(), x)


def test_a_result_that_is_not_one_a_sample_is_wrong_and_a_strange_question_the_authors() -> None:
    x = torch.rand(4, 3, dtype=F64)
    for fn in (lambda x: x.sum(), lambda x: x[:2], lambda x: x.T):
        with pytest.raises(Wrong, match="one result a sample"):
            jacobian_blocks(fn, x)
    with pytest.raises(StudentFault, match="at most 4096 rows and columns, asked for 5000 × 3"):
        jacobian_blocks(lambda x: x[:, :1].expand(4, 5000), x)
    with pytest.raises(Wrong, match="where a tensor was expected"):
        jacobian_blocks(lambda x: (x, x), x)
    for strange in (torch.tensor(1.0), torch.zeros(0, 3), 1.0, torch.zeros(2, 5000)):
        with pytest.raises(AuthorError, match=r"samples along its first dimension|at most 4096 numbers a sample"):
            jacobian_blocks(lambda x: x, strange)


def test_nan_in_a_block_is_handed_on_for_the_judge_to_see() -> None:
    assert jacobian_blocks(lambda x: x * torch.nan, torch.ones(2, 2, dtype=F64)).isnan().all()


def test_parameters_are_those_of_the_module_without_its_buffers() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert parameters(net).keys() == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert torch.equal(parameters(net)["0.weight"], net[0].weight.detach())


Pair = namedtuple("Pair", "z logdet")


@dataclass
class Result:
    z: Tensor
    kind: str = "pair"


def test_parts_with_a_graph_are_named_wherever_they_stand() -> None:
    w = nn.Parameter(torch.ones(2))
    results: dict[str, Any] = {
        "result": lambda: w * 2,
        "result[1]": lambda: (w.detach(), w + 1),
        "result[0]": lambda: Pair(w + 1, w.detach()),
        "result['loss']": lambda: {"loss": w.sum(), "n": 3},
        "result.z": lambda: Result(w + 1),
        "result[0][2]": lambda: [[1, "a", w]],
    }
    for name, fn in results.items():
        assert parts_with_graph(fn) == [name]
    for bare in (lambda: w.detach(), lambda: (w * 2).data, lambda: 3.0, lambda: Result(w.detach()), lambda: None):
        assert parts_with_graph(bare) == []
    assert parts_with_graph(torch.no_grad()(lambda: w * 2)) == []
    assert len(parts_with_graph(lambda: [w * 2] * 300)) == 100


def test_a_tensor_that_lies_about_its_graph_is_found_out() -> None:
    class Lying(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return False

    w = torch.ones(2, requires_grad=True)
    assert parts_with_graph(lambda: (w * 2).as_subclass(Lying)) == ["result"]


SOURCE = """
import torch
from torch import nn
net = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double()
def flow(x):
    return net(x), x.sum(1)
"""


def test_a_worker_of_its_own_answers_all_three() -> None:
    x = torch.rand(5, 3, dtype=F64, generator=generator())
    with notebook(SOURCE) as student:
        state = parameters(student.net)
        h = torch.tanh(x @ state["0.weight"].T + state["0.bias"])
        wanted = (1 - h**2)[:, :, None] * state["0.weight"]
        torch.testing.assert_close(jacobian_blocks(student.flow, x, output=0), wanted)
        assert parts_with_graph(student.flow, x) == ["result[0]"]


def test_a_probe_of_this_process_is_reached_through_a_student() -> None:
    student = Student(LocalChannel({"double": lambda f, x: 2 * f(x)}))
    f = student.probe("AffineScore", torch.tensor(3.0, dtype=F64))
    x = torch.ones(2, 1, dtype=F64)
    assert jacobian_blocks(student.double, f, x, wrt=1).tolist() == [[[6.0]], [[6.0]]]
    assert parameters(f).keys() == {"a", "b"}
