"""Calling what a student wrote: the signature is looked at first; seed, mode and gradients are set around the call."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .wire import type_name

OPTIMISERS = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}  # that the judge may ask for, by name


class Fault(Exception):  # noqa: N818 (the word the judge uses for it)
    """An error reply that no exception of the student's code stands for.

    Args:
        kind: "missing" (a name that is not there), "signature" (arguments that do not fit), "wrong" (a result of
            another kind than asked for), "limit" (one too large for what is asked) or "unsendable" (one that can not
            cross).
        message: a sentence for the student.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def invoke(
    function: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    seed: int | None = None,
    mode: str | None = None,
    grad: bool = False,
) -> Any:
    """`function(*args, **kwargs)` under `seed`, with its module in `mode`, recording gradients only if `grad`.

    Raises:
        Fault: the arguments do not fit the signature, or there is nothing to call.
        BaseException: whatever the student's code raises.
    """
    if not callable(function):
        raise Fault("missing", f"`{name_of(function)}` can not be called: it is not a function, class or module")
    check_signature(function, args, kwargs)
    with seeded(seed), in_mode(function, mode), torch.set_grad_enabled(grad):
        return function(*args, **kwargs)


def beside_model(function: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments, their tensors moved to where the parameters are of the module they are for.

    The judge makes its tensors on the CPU; a model that the notebook trained on a GPU meets them there. The module is
    the function itself, the owner of the method, or the first one among the arguments.
    """
    owners = [function, getattr(function, "__self__", None), *args, *kwargs.values()]
    modules = [thing for thing in owners if isinstance(thing, nn.Module) and "_parameters" in vars(thing)]
    device = next((parameter.device for module in modules for parameter in module.parameters()), None)
    if device is None or device.type == "cpu":
        return args, kwargs
    return _moved(args, device), _moved(kwargs, device)


def _moved(value: Any, device: torch.device) -> Any:
    if type(value) is Tensor:
        return value.to(device)
    if type(value) in (list, tuple):
        return type(value)(_moved(item, device) for item in value)
    if type(value) is dict:
        return {key: _moved(item, device) for key, item in value.items()}
    return value


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Seed torch, NumPy and `random`, and put their states back afterwards: a check leaves no trace in a notebook."""
    if seed is None:
        yield
        return
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if on_gpu is not None:
            torch.cuda.set_rng_state_all(on_gpu)


@contextmanager
def in_mode(function: Any, mode: str | None) -> Iterator[None]:
    """Put the module behind `function` (itself, or the owner of a bound method) in "train" or "eval" for a while."""
    module = function if isinstance(function, nn.Module) else getattr(function, "__self__", None)
    if mode is None or not isinstance(module, nn.Module):
        yield
        return
    flags = [(part, part.training) for part in module.modules()]
    module.train(mode == "train")
    try:
        yield
    finally:
        for part, flag in flags:
            part.training = flag


def signature_of(function: Any) -> inspect.Signature | None:
    """What `function` takes, for a module what its `forward` takes; None where Python can not tell."""
    target = function
    if isinstance(function, nn.Module) and type(function).__call__ is nn.Module.__call__:
        target = function.forward
    try:
        signature = inspect.signature(target)
    except Exception:  # builtins have none, and a student's `__signature__` may do anything
        return None
    return signature if type(signature) is inspect.Signature else None


def check_signature(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise Fault("signature") with the names on both sides if the arguments can not be bound."""
    signature = signature_of(function)
    if signature is None:
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        given = _given(signature, args, kwargs)
        message = f"`{name_of(function)}` takes {_taken(signature)}; it was called with {given}"
        raise Fault("signature", message) from None


def place(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], key: int | str) -> int | str:
    """Where the argument `key` stands: a position in `args` or a name in `kwargs`.

    Raises:
        Fault: no such argument was given.
    """
    if isinstance(key, int) and -len(args) <= key < len(args):
        return key % len(args)
    if isinstance(key, str) and key in kwargs:
        return key
    signature = signature_of(function)
    if isinstance(key, str) and signature is not None and key in signature.parameters:
        position = list(signature.parameters).index(key)
        if position < len(args):
            return position
    raise Fault("signature", f"`{name_of(function)}` was called without an argument {key!r}")


def name_of(thing: Any) -> str:
    """A short name for messages: `MADE`, `MADE.log_prob`, `sample`."""
    if isinstance(thing, (type, nn.Module)) or not callable(thing):
        thing = thing if isinstance(thing, type) else type(thing)
        return type_name(thing)
    try:
        name, owner = thing.__name__, getattr(thing, "__self__", None)
    except Exception:
        name, owner = None, None
    if type(name) is not str or not name or len(name) > 200:
        name = type_name(type(thing))
    if owner is None or inspect.ismodule(owner):
        return name
    return f"{type_name(owner if isinstance(owner, type) else type(owner))}.{name}"


def _taken(signature: inspect.Signature) -> str:
    words = []
    bare_star = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not bare_star:
            words.append("*")
            bare_star = True
        if parameter.kind is parameter.VAR_POSITIONAL:
            words.append(f"*{parameter.name}")
            bare_star = True
        elif parameter.kind is parameter.VAR_KEYWORD:
            words.append(f"**{parameter.name}")
        elif parameter.default is parameter.empty:
            words.append(parameter.name)
        else:
            words.append(f"{parameter.name}={_default(parameter.default)}")
    return f"({', '.join(words)})"


def _default(value: Any) -> str:
    return repr(value)[:40] if type(value) in (bool, int, float, str, type(None)) else "…"


def _given(signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    words = [p.name for p, _ in zip(positional, args, strict=False)]
    words += [f"another {type(extra).__name__}" for extra in args[len(positional) :]]
    words += [f"{name}=…" for name in kwargs]
    return f"({', '.join(words)})"
