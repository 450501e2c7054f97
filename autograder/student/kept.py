"""Networks of a live notebook as a check found them: whatever the check does to them is undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

TABLES = ("_parameters", "_buffers", "_modules")


class KeptAsFound(Mapping[str, Any]):
    """A namespace that remembers each network looked up in it, alone or in a list, tuple or dictionary.

    `restore` gives those their parameters, buffers, gradients, dtype, mode and attributes back. They stay the same
    objects, so that functions which use them as global names see what a check does to them, as in a sandbox.
    """

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace
        self._found: dict[int, Callable[[], None]] = {}  # by the id of a module, which the function keeps alive

    def __getitem__(self, name: str) -> Any:
        thing = self._namespace[name]
        for network in _networks(thing):
            for module in network.modules():
                if id(module) not in self._found:
                    self._found[id(module)] = _undo(module)
        return thing

    def restore(self) -> None:
        for undo in self._found.values():
            undo()
        self._found.clear()

    def __iter__(self) -> Iterator[str]:
        return iter(self._namespace)

    def __len__(self) -> int:
        return len(self._namespace)


def _networks(thing: Any) -> Iterator[nn.Module]:
    if isinstance(thing, nn.Module):
        yield thing
    elif isinstance(thing, dict | list | tuple):
        for part in thing.values() if isinstance(thing, dict) else thing:
            if isinstance(part, nn.Module):
                yield part


def _undo(module: nn.Module) -> Callable[[], None]:
    attributes = dict(module.__dict__)
    tables = {name: dict(attributes[name]) for name in TABLES if name in attributes}
    tensors = [_undo_tensor(t) for name in TABLES[:2] for t in tables.get(name, {}).values() if t is not None]

    def undo() -> None:
        for name, table in tables.items():
            attributes[name].clear()
            attributes[name].update(table)
        module.__dict__.clear()
        module.__dict__.update(attributes)
        for restore in tensors:
            restore()

    return undo


def _undo_tensor(tensor: Tensor) -> Callable[[], None]:
    if is_lazy(tensor):
        return lambda: None  # a lazy one: what gives it a shape cannot be undone
    data, grad, wanted = tensor.data, tensor.grad, tensor.requires_grad
    values, slopes = data.clone(), None if grad is None else grad.clone()

    @torch.no_grad()
    def undo() -> None:
        tensor.grad = None  # a gradient has the dtype of its tensor
        tensor.data = data
        data.copy_(values)
        tensor.requires_grad_(wanted)
        if grad is not None and slopes is not None:
            grad.data = slopes
            tensor.grad = grad

    return undo
