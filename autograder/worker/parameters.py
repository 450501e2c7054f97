"""Parameters of a student's module by the names a check knows, also where a parametrization or lazy layers are used.

A layer whose `weight` is parametrized has `parametrizations.weight.original` in its place: a check sets and asks for
`weight` all the same. A lazy layer has no values before its first call: it is perturbed at that moment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

_PARAMETRIZED = re.compile(r"(.*\.|)parametrizations\.([^.]+)\.original")


def named_parameters(module: nn.Module) -> dict[str, Tensor]:
    """Parameters by name, a parametrized one by the name it has in the layer."""
    return {_PARAMETRIZED.sub(r"\1\2", name): parameter for name, parameter in module.named_parameters()}


def state_of(module: nn.Module) -> dict[str, Any]:
    """Parameters and buffers that have values."""
    return {name: value for name, value in module.state_dict().items() if not is_lazy(value)}


def load(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """`load_state_dict`, with parametrized parameters set through the module."""
    through = {name: value for name, value in state.items() if _parametrized(module, name) is not None}
    module.load_state_dict({name: value for name, value in state.items() if name not in through})
    for name, value in through.items():
        set_parameter(module, name, value)


def set_parameter(module: nn.Module, name: str, value: Tensor) -> None:
    """`module.name = value`, where a module takes a parameter only, and a parametrization what it can invert."""
    found = _parametrized(module, name)
    if found is None:
        own = getattr(module, "_parameters", None)
        if own and name in own and not isinstance(value, nn.Parameter):
            value = nn.Parameter(value)
        setattr(module, name, value)
        return
    layer, last = found
    with torch.no_grad():
        try:
            setattr(layer, last, value)
        except (RuntimeError, NotImplementedError):  # it has no inverse: what it is computed from
            getattr(getattr(layer, "parametrizations"), last).original.copy_(value)  # noqa: B009 (not of every module)


def perturb(module: nn.Module, std: float, seed: int) -> None:
    """Adds std · N(0, 1) to every parameter; to those of a lazy layer as soon as it has any.

    A frozen one beside others that train is a constant, a mask for example: it stays as it is.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    trains = any(parameter.requires_grad for parameter in module.parameters())
    for parameter in module.parameters():
        if not is_lazy(parameter) and (parameter.requires_grad or not trains):
            _add_noise(parameter, std, generator)
    for position, layer in enumerate(module.modules()):
        lazy = [parameter for parameter in layer.parameters(recurse=False) if is_lazy(parameter)]
        if lazy:
            _perturb_when_called(layer, lazy, std, seed + position)


def _perturb_when_called(layer: nn.Module, lazy: list[nn.Parameter], std: float, seed: int) -> None:
    def when_called(*_: Any) -> None:  # after torch's own hook, which gives the parameters their values
        hook.remove()
        generator = torch.Generator("cpu").manual_seed(seed)
        for parameter in lazy:
            _add_noise(parameter, std, generator)

    hook = layer.register_forward_pre_hook(when_called)


def _add_noise(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64, device="cpu")
    with torch.no_grad():
        parameter.add_((std * noise).to(parameter))


def _parametrized(module: nn.Module, name: str) -> tuple[nn.Module, str] | None:
    """The layer that `name` is a parametrized parameter of, and its name there."""
    path, _, last = name.rpartition(".")
    try:
        layer = module.get_submodule(path)
    except AttributeError:
        return None
    lists = layer._modules.get("parametrizations")
    return (layer, last) if isinstance(lists, nn.ModuleDict) and last in lists else None
