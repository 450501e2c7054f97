"""What a student reads of a hidden check that met an error: what kind of error, where; nothing of the question."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from autograder.judge.runner import Bench, CheckFile, run_checks
from autograder.report import CheckResult
from autograder.student.local import LocalChannel
from tests.autograder.judge.test_runner import HEADER, check

CELL = "<cell 3>"
SECRET = re.compile(r"\d")


def keys() -> Any:
    from autograder.judge.keys import Keys

    return Keys.local(7)


def hidden(folder: Path, body: str, namespace: dict[str, Any], public: bool = False) -> CheckResult:
    path = folder / "checks.py"
    path.write_text(HEADER + check(body))

    bench = Bench(LocalChannel(namespace), keys(), sources={"cell 3": SOURCE})
    (result,) = run_checks([CheckFile(path, public=public)], bench)
    return result


SOURCE = """\
def it(x):
    return fail(x)


class Net:
    def forward(self, x):
        return fail(x)
"""


def cell(fail: Callable[..., Any]) -> dict[str, Any]:
    """The names of a notebook whose third cell is SOURCE."""
    from autograder.worker.frames import register

    register(3, SOURCE)
    namespace: dict[str, Any] = {"fail": FunctionType(elsewhere(fail.__code__), globals(), closure=fail.__closure__)}
    exec(compile(SOURCE, CELL, "exec"), namespace)
    return namespace


def elsewhere(code: CodeType) -> CodeType:
    """The same code, as if a library had it."""
    parts = tuple(elsewhere(part) if isinstance(part, CodeType) else part for part in code.co_consts)
    return code.replace(co_filename="<string>", co_consts=parts)


def raise_(error: BaseException) -> Callable[..., Any]:
    def fail(x: Any) -> Any:
        raise error

    return fail


ASK = "from autograder.checks import call; call(student.it, torch.zeros(17, 23), grad=True)"
COMMON: dict[str, tuple[Callable[..., Any], str]] = {
    "matmul": (lambda x: x @ torch.zeros(5, 5), "multiplied"),
    "linear": (lambda x: nn.Linear(5, 5)(x), "multiplied"),
    "broadcast": (lambda x: x + torch.zeros(19), "sizes"),
    "view": (lambda x: x.view(7, 7), "reshape"),
    "index": (lambda x: x[99], "index"),
    "gather": (lambda x: nn.Embedding(3, 3)(torch.tensor([17])), "index"),
    "dim": (lambda x: x.sum(dim=7), "dimension"),
    "cat": (lambda x: torch.cat([x, torch.zeros(3, 3)]), "sizes"),
    "stack": (lambda x: torch.stack([x, torch.zeros(3)]), "sizes"),
    "dtype": (lambda x: nn.Linear(23, 1).double()(x), "dtype"),
    "long": (lambda x: nn.Embedding(3, 3)(x), "dtype"),
    "channels": (lambda x: nn.Conv2d(3, 4, 3)(x[None, None]), "channels"),
    "kernel": (lambda x: functional.conv2d(x[None, None], torch.zeros(1, 1, 99, 99)), "kernel"),
    "no graph": (lambda x: x.sum().backward(), "gradient"),
    "in place": (lambda x: torch.zeros(3, requires_grad=True).add_(1), "in place"),
    "numpy": (lambda x: x.clone().requires_grad_().numpy(), "detach"),
    "item": (lambda x: x.item(), "one number"),
    "bool": (lambda x: 1 if x else 2, "one number"),
    "unpack": (lambda x: [a for a, b in [(*x.shape, 5)]], "unpack"),
    "none": (lambda x: None.shape, "attribute"),
    "key": (lambda x: {}[tuple(x.shape)], "key"),
    "list": (lambda x: [1, 2][x.shape[0]], "index"),
    "division": (lambda x: 1 / 0, "zero"),
    "type": (lambda x: x + "17", "type"),
}


@pytest.mark.parametrize("name", COMMON)
def test_the_commonest_errors_have_a_sentence_without_a_number(tmp_path, name):
    fail, word = COMMON[name]
    result = hidden(tmp_path, ASK, cell(fail))
    assert (result.outcome, result.reason) == ("failed", "crash")
    assert word in result.message, (result.message, result.full)
    assert not SECRET.search(result.message)
    assert "17" not in f"{result.message}{result.hint}"
    assert result.where == "`it`, line 2 of its cell: return fail(x)"
    assert result.full, "the TA reads what was said"


def test_the_whole_text_is_the_tas_and_of_a_public_check_also_the_students(tmp_path):
    fail = COMMON["matmul"][0]
    result = hidden(tmp_path, ASK, cell(fail))
    assert "17x23" in (result.full or "")
    (tmp_path / "b").mkdir()
    shown = hidden(tmp_path / "b", ASK, cell(fail), public=True)
    assert "17x23" in shown.message
    assert shown.full is None


def named(name: str) -> BaseException:
    return type(name, (Exception,), {})("boo")


SMUGGLED: dict[str, Callable[..., Any]] = {
    "in a message": lambda x: raise_(ValueError(f"the input is {list(x.shape)}"))(x),
    "in a class's name": lambda x: raise_(named(f"Shape{x.shape[0]}x{x.shape[1]}"))(x),
    "in a name that is missing": lambda x: raise_(NameError(f"name 's{x.shape[0]}' is not defined"))(x),
    "in what is not written": lambda x: raise_(NotImplementedError(str(x.shape)))(x),
    "in an attribute": lambda x: getattr(x, f"a{x.shape[0]}"),
    "in memory": lambda x: raise_(MemoryError(f"{x.shape}"))(x),
    "as torch would say it": lambda x: raise_(RuntimeError(f"mat1 and mat2 shapes cannot be multiplied {x.shape}"))(x),
    "in a file's name": lambda x: exec(compile("1/0", f"<cell {x.shape[0]}>", "exec")),
    "in a line": lambda x: exec(compile("\n" * (16 + len(x)) + "1/0", CELL, "exec")),
    "in a function's name": lambda x: exec(
        compile(f"def f{len(x)}():\n    1/0\nf{len(x)}()", f"/tmp/saw{len(x)}.py", "exec")
    ),
}


@pytest.mark.parametrize("how", SMUGGLED)
def test_no_text_that_the_sandbox_made_reaches_the_student(tmp_path, how):
    result = hidden(tmp_path, ASK, cell(SMUGGLED[how]))
    assert result.outcome == "failed"
    for told in (result.message, result.hint or "", result.where or ""):
        assert "17" not in told, told
        assert "23" not in told, told
        assert "33" not in told, told


@pytest.mark.parametrize(
    ("body", "namespace", "reason"),
    [
        ("student.it(torch.zeros(17, 23), 5)", {"it": lambda x: x}, "missing"),
        (
            "gradient(student.it, torch.zeros(17, 23), cotangent=torch.zeros(17, 23))",
            {"it": lambda x: x.sum(0)},
            "wrong",
        ),
        ("student.it(torch.zeros(17, 23)).nowhere_17", {"it": lambda x: object()}, "missing"),
        ("student.it(torch.zeros(17, 23))", {"it": lambda x: [0] * 10**6}, "output"),
        ("student.nowhere", {}, "missing"),
    ],
)
def test_nor_does_what_an_honest_worker_says_of_sizes(tmp_path, body, namespace, reason):
    result = hidden(tmp_path, f"from autograder.checks import gradient; {body}", namespace)
    assert (result.outcome, result.reason) == ("failed", reason)
    assert not re.search(r"17|23", result.message), result.message
    assert result.full


def spoken(x: torch.Tensor) -> str:
    return f"saw {x.shape[0]} by {x.shape[1]}"


def labelled(name: str) -> nn.Module:
    """A module with a parameter of that name."""
    module = nn.Module()
    module.register_parameter(name, nn.Parameter(torch.zeros(1)))
    return module


CHOSEN: dict[str, tuple[str, Callable[..., Any]]] = {
    "a class's name": ("assert_tuple(student.it(X), 2)", lambda x: type(spoken(x), (), {})()),
    "a class's name in a picture of it": (
        "assert str(student.it(X)) == '', str(student.it(X))",
        lambda x: type(spoken(x), (), {})(),
    ),
    "a parameter's name": (
        "assert not state_dict(student.it(X)), f'`{next(iter(state_dict(student.it(X))))}` is strange'",
        lambda x: labelled(spoken(x)),
    ),
    "numbers as names": (
        "assert not state_dict(student.it(X)), next(iter(state_dict(student.it(X))))",
        lambda x: nn.Sequential(*[nn.Identity()] * 316, nn.Linear(1, 1)) if x.shape[0] == 17 else None,
    ),
    "a text": ("assert student.it(X) == '', f'got {student.it(X)}'", spoken),
    "a text in quotes": ("assert student.it(X) == '', f'got {student.it(X)!r}'", lambda x: f"\n'{spoken(x)}'"),
    "a long text that is cut": (
        "assert student.it(X) == '', f'got {student.it(X)[:70]}'",
        lambda x: 30 * "a" + spoken(x) + 90 * "b",
    ),
    "a key": ("assert not student.it(X), f'{list(student.it(X))} is strange'", lambda x: {spoken(x): 1}),
    "a word in a list": ("assert not student.it(X), f'{student.it(X)[1][0]} is strange'", lambda x: [1, (spoken(x),)]),
}
IMPORTS = "from autograder.checks import assert_tuple, state_dict; X = torch.zeros(17, 23); "


@pytest.mark.parametrize("how", CHOSEN)
def test_no_word_that_the_sandbox_chose_reaches_the_student(tmp_path, how):
    body, it = CHOSEN[how]
    result = hidden(tmp_path, IMPORTS + body, {"it": it})
    assert result.outcome == "failed"
    assert not re.search(r"17|23|316", f"{result.message}{result.hint}{result.where}"), result.message
    assert re.search(r"17|23|316", result.full or ""), "the TA reads it"


def test_names_that_stand_in_the_notebook_or_in_torch_are_said(tmp_path):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.forward_ = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))

    body = "assert not state_dict(student.Net()), f'{student.Net()} has {list(state_dict(student.Net()))}'"
    (tmp_path / "checks.py").write_text(HEADER + check(IMPORTS + body))
    source = SOURCE + "        self.forward_ = 1\n"
    bench = Bench(LocalChannel({"Net": Net}), keys(), sources={"cell 3": source})
    (result,) = run_checks([CheckFile(tmp_path / "checks.py", public=False)], bench)
    assert result.message.startswith("<Net in the sandbox> has ['forward_.0.weight', 'forward_.0.bias',")
    assert result.full is None


def test_a_name_that_is_missing_is_named(tmp_path):
    assert "`nowhere`" in hidden(tmp_path, "student.nowhere", {}).message


def test_a_class_gets_the_page_without_and_the_ta_the_page_with_it(tmp_path):
    from autograder.feedback.page import student_page
    from tests.autograder.records.test_gradebook import report

    result = hidden(tmp_path, ASK, cell(COMMON["matmul"][0])).model_copy(update={"cell": "double"})
    whole = report("alice", 0.0, 0.0).model_copy(update={"checks": [result]})
    assert "17x23" not in student_page(whole, "Title")
    assert "17x23" in student_page(whole, "Title", "ta")
    assert "17x23" in student_page(whole, "Title", rule="everything")
