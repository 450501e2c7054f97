"""What can be asked of a handle beyond plain calls: conditions, gradients, parameters, records.

Everything here also works on plain Python callables, which then run in this process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from autograder.errors import AuthorError, MissingName, Wrong
from autograder.student.answers import tampered
from autograder.student.handles import Handle, is_module, request
from autograder.student.local import as_handle
from autograder.student.notebook import Student
from autograder.worker.gradients import LARGEST_SIDE

Mode = Literal["train", "eval"]
Optimiser = Literal["SGD", "Adam"]

LARGEST_BLOCK = 4096  # numbers of one sample that a Jacobian block is taken of, on either side
BLOCK_NUMBERS = 1 << 20  # numbers of one reply with Jacobian blocks: 8 MB in float64


def call(
    h: Any, *args: Any, seed: int | None = None, mode: Mode | None = None, grad: bool = False, **kwargs: Any
) -> Any:
    """`h(*args, **kwargs)` under conditions.

    Args:
        seed: of torch, NumPy and `random`, set just before the call and undone after it.
        mode: "train" or "eval" for the module called, or owning the method called; restored afterwards.
        grad: record gradients. What comes back as data is detached in any case.
    """
    return request(as_handle(h), "call", args=args, kwargs=kwargs, seed=seed, mode=mode, grad=grad)


def keep(
    h: Any, *args: Any, seed: int | None = None, mode: Mode | None = None, grad: bool = False, **kwargs: Any
) -> Handle:
    """As `call`, but the result stays in the sandbox even if it is a tensor: with `grad=True` also its graph."""
    h = as_handle(h)
    result = request(h, "call", args=args, kwargs=kwargs, seed=seed, mode=mode, grad=grad, keep=True)
    return _must_be_handle(result)


def call_with_echo(
    h: Any, *args: Any, seed: int | None = None, mode: Mode | None = None, grad: bool = False, **kwargs: Any
) -> tuple[Any, tuple[Any, ...]]:
    """As `call`, and the positional arguments as they are after the call: `(value, args_after)`."""
    conditions = {"seed": seed, "mode": mode, "grad": grad}
    both = request(as_handle(h), "call", args=args, kwargs=kwargs, echo=True, **conditions)
    if type(both) is not dict or type(both.get("args")) is not tuple or len(both["args"]) != len(args):
        tampered("the arguments did not come back")
    return both.get("value"), both["args"]


def state_dict(h: Any) -> dict[str, Tensor]:
    """Parameters and buffers of a module by name, as copies."""
    state = request(as_handle(h), "state_dict")
    if type(state) is not dict or not all(type(k) is str and type(v) is Tensor for k, v in state.items()):
        raise Wrong("`state_dict()` is not a dictionary of tensors by name")
    return state


def parameters(h: Any) -> dict[str, Tensor]:
    """Parameters of a module by name, as copies; buffers are not among them."""
    found = request(as_handle(h), "parameters")
    if type(found) is not dict or not all(type(k) is str and type(v) is Tensor for k, v in found.items()):
        tampered("parameters did not come back as asked")
    return found


def load_state_dict(h: Any, state: Mapping[str, Tensor]) -> None:
    """Put parameters and buffers into a module; names and shapes must fit exactly."""
    request(as_handle(h), "load_state_dict", state=dict(state))


def perturb(h: Any, std: float = 0.2, seed: int = 0) -> None:
    """Add std · N(0, 1) to every parameter in place, so that no zero initialisation hides an error.

    A frozen one beside others that train is a constant, a mask for example, and stays as it is.
    """
    request(as_handle(h), "perturb", std=float(std), seed=seed)


def optimiser(h: Any, kind: Optimiser = "SGD", **settings: Any) -> Handle:
    """A torch optimiser in the sandbox over exactly the parameters of `h`, to hand to a student's step.

    The judge may step it too, `optimiser(generator, lr=0.1).step()`: a gradient that somebody left in the parameters
    then moves them.
    """
    return _must_be_handle(request(as_handle(h), "optimiser", kind=kind, settings=settings))


def signature(h: Any) -> dict[str, Any] | None:
    """What `h` takes: {"parameters": [{"name", "kind", "default"}], "var_args", "var_kwargs"}; None where unknown."""
    found: dict[str, Any] | None = request(as_handle(h), "signature")
    if found is not None and not _is_signature(found):
        tampered("a signature did not come back as asked")
    return found


def accepts(h: Any, *names: str) -> bool:
    """Whether `h` can be called with these keyword arguments; True where Python can not tell."""
    found = signature(h)
    if found is None or found["var_kwargs"]:
        return True
    usable = {p["name"] for p in found["parameters"] if p["kind"] != "positional_only"}
    return usable.issuperset(names)


def gradient(
    h: Any,
    *args: Any,
    wrt: int | str | Sequence[int | str] = 0,
    cotangent: Tensor | None = None,
    output: int | str | None = None,
    seed: int | None = None,
    mode: Mode | None = None,
    **kwargs: Any,
) -> Any:
    """d⟨cotangent, h(*args)⟩ / d args[wrt], of the argument's shape; None if the result does not depend on it.

    Args:
        wrt: position or name of a tensor argument; a tuple of them gives a tuple of gradients.
        cotangent: of the output's shape; ones if None.
        output: which part of a tuple, dictionary or object with attributes is differentiated.

    Raises:
        Wrong: the result is not a tensor, or the cotangent does not have its shape.
    """
    several = not isinstance(wrt, (int, str))
    keys = list(wrt) if not isinstance(wrt, (int, str)) else [wrt]
    fields = {"cotangent": cotangent, "output": output, "seed": seed, "mode": mode}
    reply = request(as_handle(h), "gradient", args=args, kwargs=kwargs, wrt=keys, **fields)
    found = reply.get("inputs") if type(reply) is dict else None
    if type(found) is not list or len(found) != len(keys) or not all(_tensor_or_none(item) for item in found):
        tampered("gradients did not come back as asked")
    return tuple(found) if several else found[0]


def parameter_gradients(
    h: Any,
    *args: Any,
    of: Any,
    cotangent: Tensor | None = None,
    output: int | str | None = None,
    seed: int | None = None,
    mode: Mode | None = None,
    **kwargs: Any,
) -> dict[str, Tensor | None]:
    """d⟨cotangent, h(*args)⟩ / dθ by name of the parameter of `of`; None for those the result does not depend on."""
    fields = {"cotangent": cotangent, "output": output, "seed": seed, "mode": mode, "parameters_of": of}
    reply = request(as_handle(h), "gradient", args=args, kwargs=kwargs, wrt=[], **fields)
    found = reply.get("parameters") if type(reply) is dict else None
    if type(found) is not dict or not all(_tensor_or_none(item) for item in found.values()):
        tampered("gradients did not come back as asked")
    return found


def jacobian(
    h: Any,
    *args: Any,
    wrt: int | str = 0,
    output: int | str | None = None,
    seed: int | None = None,
    mode: Mode | None = None,
    **kwargs: Any,
) -> Tensor:
    """∂h(*args) / ∂args[wrt], shape (*output.shape, *argument.shape), both of at most 4096 numbers.

    Of a batch whose samples do not mix, `jacobian_blocks` takes each sample's own, however many samples there are.

    Raises:
        AuthorError: the argument holds more.
    """
    given = args[wrt] if isinstance(wrt, int) else kwargs.get(wrt)
    if isinstance(given, Tensor) and given.numel() > LARGEST_SIDE:
        raise AuthorError(f"a Jacobian is taken of at most {LARGEST_SIDE} numbers, got shape {tuple(given.shape)}")
    fields = {"output": output, "seed": seed, "mode": mode}
    found = request(as_handle(h), "jacobian", args=args, kwargs=kwargs, wrt=wrt, **fields)
    if not isinstance(found, Tensor):
        tampered("a Jacobian did not come back as asked")
    return found


def jacobian_blocks(
    h: Any,
    *args: Any,
    wrt: int | str = 0,
    output: int | str | None = None,
    seed: int | None = None,
    mode: Mode | None = None,
    **kwargs: Any,
) -> Tensor:
    """∂h(*args)[b] / ∂args[wrt][b] of every sample b, flattened: shape (B, numbers of a result, numbers of a sample).

    Rows come in several requests, so `h` is called several times: it must be deterministic, or be given a seed.

    Raises:
        Wrong: the result is not a tensor with one result a sample, or the samples of the batch mix.
        AuthorError: the argument is not a tensor with samples along its first dimension, of at most 4096 numbers each.
    """
    x = args[wrt] if isinstance(wrt, int) else kwargs.get(wrt)
    if not isinstance(x, Tensor) or x.dim() == 0 or x.numel() == 0:
        raise AuthorError("Jacobian blocks are taken of a tensor with samples along its first dimension")
    if x[0].numel() > LARGEST_SIDE:
        raise AuthorError(f"Jacobian blocks are taken of at most {LARGEST_SIDE} numbers a sample, got {x[0].numel()}")
    fields = {"wrt": wrt, "output": output, "seed": seed, "mode": mode}
    step = max(1, BLOCK_NUMBERS // x.numel())
    parts: list[Tensor] = []
    numbers = step  # until the first answer says how many rows there are
    while sum(part.shape[1] for part in parts) < numbers:
        begin = sum(part.shape[1] for part in parts)
        asked = {**fields, "rows": [begin, begin + step]}
        reply = request(as_handle(h), "jacobian_blocks", args=args, kwargs=kwargs, **asked)
        numbers, rows = _rows_of_blocks(reply, x, begin, step)
        parts.append(rows)
        if numbers == 0:
            break
    return torch.cat(parts, 1)


def _rows_of_blocks(reply: Any, x: Tensor, begin: int, step: int) -> tuple[int, Tensor]:
    """How many rows there are, and those from `begin` on; every part of the reply is looked at."""
    numbers = reply.get("numbers") if type(reply) is dict else None
    rows = reply.get("blocks") if type(reply) is dict else None
    if type(numbers) is not int or not 0 <= numbers <= LARGEST_BLOCK or type(rows) is not Tensor:
        tampered("Jacobian blocks did not come back as asked")
    if rows.shape != (len(x), max(min(begin + step, numbers) - begin, 0), x[0].numel()):
        tampered("Jacobian blocks did not come back in the shape asked for")
    return numbers, rows


def parts_with_graph(h: Any, *args: Any, seed: int | None = None, mode: Mode | None = None, **kwargs: Any) -> list[str]:
    """Which parts of what a call returns carry a graph, gradients being recorded: "result", "result[1]", "result.x"."""
    found = request(as_handle(h), "parts_with_graph", args=args, kwargs=kwargs, seed=seed, mode=mode)
    if type(found) is not list or not all(type(part) is str for part in found):
        tampered("the parts of a result did not come back as asked")
    return [part[:200] for part in found[:100]]


def records(h: Any) -> list[dict[str, Any]]:
    """What a `Recorder` probe was called with, call by call: [{"args": [...], "kwargs": {...}}]."""
    found = request(as_handle(h), "records")
    shaped = type(found) is list and all(
        type(item) is dict and type(item.get("args")) is list and type(item.get("kwargs")) is dict for item in found
    )
    if not shaped:
        tampered("records did not come back as asked")
    calls: list[dict[str, Any]] = found
    return calls


def contents(value: Any) -> Any:
    """What an answer holds: a tuple, list or dictionary of the student's own class (a named tuple) as a plain one.

    Everything else comes back as it is.
    """
    if not isinstance(value, Handle) or is_module(value):
        return value
    try:
        return request(value, "contents")
    except MissingName:
        return value


def probe_beside(h: Any, name: str, *args: Any) -> Handle:
    """A probe where `h` lives: see `Student.probe`."""
    return Student(as_handle(h)._handle_channel).probe(name, *args)


def part_of(h: Handle, path: Sequence[int | str]) -> Handle:
    """What stands at a place inside a kept object; it stays in the sandbox, with its graph."""
    for key in path:
        h = _must_be_handle(request(h, "call", method="__getitem__", args=(key,), grad=True, keep=True))
    return h


def _must_be_handle(value: Any) -> Handle:
    if not isinstance(value, Handle):
        tampered("an object was asked for, something else came back")
    return value


def _is_signature(value: Any) -> bool:
    if type(value) is not dict or type(value.get("parameters")) is not list:
        return False
    kinds = {"name": str, "kind": str, "default": bool}
    each = all(type(p) is dict and {k: type(v) for k, v in p.items()} == kinds for p in value["parameters"])
    return each and type(value.get("var_args")) is bool and type(value.get("var_kwargs")) is bool


def _tensor_or_none(value: Any) -> bool:
    return value is None or type(value) is Tensor
