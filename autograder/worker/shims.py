"""`torch.cuda` on a machine without one: what a notebook puts on the GPU stays on the CPU, with one note.

`torch.cuda.is_available()` stays honest and `torch.device("cuda")` stays a device; what places a tensor is patched.
Nothing is patched unless the notebook mentions CUDA, and then a call costs a dictionary look-up more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from .notes import Notes

FACTORIES = (
    *("empty", "empty_like", "empty_strided", "zeros", "zeros_like", "ones", "ones_like", "full", "full_like"),
    *("rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "normal", "arange", "range"),
    *("linspace", "logspace", "eye", "tensor", "as_tensor", "asarray", "scalar_tensor", "from_file"),
    *("tril_indices", "triu_indices", "complex", "hann_window", "hamming_window", "sparse_coo_tensor"),
)
METHODS = ("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor")
# What asks the driver, and what it is told: nothing is in use, there is nothing to wait for.
QUIET: dict[str, Any] = {
    **{"synchronize": None, "empty_cache": None, "set_device": None, "init": None, "ipc_collect": None},
    **{"manual_seed": None, "manual_seed_all": None, "seed": None, "seed_all": None},
    **{"reset_peak_memory_stats": None, "reset_max_memory_allocated": None, "memory_summary": ""},
    **{"max_memory_allocated": 0, "memory_allocated": 0, "max_memory_reserved": 0, "memory_reserved": 0},
    **{"current_device": 0, "get_device_name": "CPU", "mem_get_info": (0, 0), "get_device_capability": (0, 0)},
}
NOTE = "There is no GPU here: what the notebook puts on `cuda` stays on the CPU"
_Device = torch.device
_Generator = torch.Generator


def is_cuda(device: Any) -> bool:
    """Whether an argument names a GPU: "cuda", "cuda:1", torch.device("cuda")."""
    if type(device) is str:
        return device.startswith("cuda")
    return type(device) is _Device and device.type == "cuda"


def map_cuda(notes: Notes) -> None:
    """Patches torch for the rest of the process, once."""
    if torch.Generator is not _Generator:
        return
    say = functools.partial(notes.once, NOTE)
    for name in FACTORIES:
        setattr(torch, name, _on_cpu(getattr(torch, name), say))
    for name in METHODS:
        setattr(torch.Tensor, name, _on_cpu(getattr(torch.Tensor, name), say))
    torch.Tensor.to = _to(torch.Tensor.to, say)  # type: ignore[method-assign]
    torch.Tensor.cuda = _stays(say)  # type: ignore[method-assign]
    torch.Tensor.pin_memory = _stays(say)  # type: ignore[method-assign]
    torch.load = _load(torch.load, say)
    torch.Generator = _GeneratorMeta("Generator", (), {"say": staticmethod(say)})  # type: ignore[misc, assignment]
    _default_device(say)
    for name, answer in QUIET.items():
        if hasattr(torch.cuda, name):
            setattr(torch.cuda, name, _answers(getattr(torch.cuda, name), answer))


def _on_cpu(function: Callable[..., Any], say: Callable[[], None]) -> Callable[..., Any]:
    """A factory whose `device` and `pin_memory` arguments are mapped."""

    @functools.wraps(function)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        if "device" in kwargs and is_cuda(kwargs["device"]):
            kwargs["device"] = "cpu"
            say()
        if "pin_memory" in kwargs:
            kwargs["pin_memory"] = False
        return function(*args, **kwargs)

    return mapped


def _to(function: Callable[..., Any], say: Callable[[], None]) -> Callable[..., Any]:
    @functools.wraps(function)
    def to(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if args and is_cuda(args[0]):
            args = ("cpu", *args[1:])
            say()
        elif "device" in kwargs and is_cuda(kwargs["device"]):
            kwargs["device"] = "cpu"
            say()
        elif args and type(args[0]) is int:  # the number of a GPU
            args = ("cpu", *args[1:])
            say()
        return function(self, *args, **kwargs)

    return to


def _stays(say: Callable[[], None]) -> Callable[..., Any]:
    def cuda(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        say()
        return self

    return cuda


def _load(function: Callable[..., Any], say: Callable[[], None]) -> Callable[..., Any]:
    @functools.wraps(function)
    def load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
        if map_location is None or is_cuda(map_location):
            map_location = "cpu"
        return function(f, map_location, *args, **kwargs)

    return load


class _GeneratorMeta(type):
    """`torch.Generator("cuda")` gives a CPU generator; `isinstance` sees through."""

    say: Callable[[], None]

    def __call__(cls, device: Any = "cpu") -> torch.Generator:
        if is_cuda(device):
            cls.say()
            device = "cpu"
        return _Generator(device)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _Generator)


def _default_device(say: Callable[[], None]) -> None:
    """Covers `torch.set_default_device("cuda")` and `with torch.device("cuda"):`, which both make this context."""
    from torch.utils._device import DeviceContext

    function: Any = DeviceContext.__init__

    def init(self: Any, device: Any) -> None:
        if is_cuda(device):
            device = "cpu"
            say()
        function(self, device)

    DeviceContext.__init__ = init  # type: ignore[method-assign]


def _answers(function: Callable[..., Any], answer: Any) -> Callable[..., Any]:
    @functools.wraps(function)
    def quiet(*args: Any, **kwargs: Any) -> Any:
        return answer

    return quiet
