"""Every class is built by every constructor that can be reached on it, those of its bases included."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import reference_models
from reference_models.diffusion.sr3 import SR3


def classes() -> Iterator[type[Any]]:
    """The concrete classes of the library, each once, by the module that defines them."""
    for module in pkgutil.walk_packages(reference_models.__path__, "reference_models."):
        if not module.name.endswith(".__main__"):
            for thing in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(thing) and thing.__module__ == module.name and not inspect.isabstract(thing):
                    yield thing


def constructors(cls: type[Any]) -> Iterator[str]:
    """Names of public class methods that want no argument, whichever class of the library defines them."""
    for base in cls.__mro__:
        if base.__module__.startswith("reference_models."):
            for name, method in vars(base).items():
                if isinstance(method, classmethod) and not name.startswith("_"):
                    parameters = inspect.signature(getattr(cls, name)).parameters.values()
                    if all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
                        yield name


REACHED = [(cls, name) for cls in classes() for name in dict.fromkeys(constructors(cls))]
CHECKED_BY_VALUE = {"Schedule": "cpu", "SR3": "cpu"}  # their noise is refused by its values, which meta has not


@pytest.mark.parametrize(("cls", "name"), REACHED, ids=[f"{cls.__name__}.{name}" for cls, name in REACHED])
def test_a_constructor_gives_the_class_it_is_called_on(
    cls: type[Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cls is SR3:
        monkeypatch.setattr(SR3, "faces_network", torch.nn.Identity)  # 550 million numbers where there is no meta
    with torch.device(CHECKED_BY_VALUE.get(cls.__name__, "meta")):
        assert type(getattr(cls, name)()) is cls


def test_the_walk_finds_own_and_inherited_constructors() -> None:
    found = {f"{cls.__name__}.{name}" for cls, name in REACHED}
    assert {"DCGAN.paper", "UNet.ddpm_cifar10", "RectifiedFlow.cifar10"} <= found
