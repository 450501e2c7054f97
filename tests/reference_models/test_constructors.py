"""Every class is built by every constructor that can be reached on it, those of its bases included."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch

import reference_models
from reference_models.adversarial.biggan import BigGAN
from reference_models.adversarial.gan import paper_gan
from reference_models.autoregressive.image_gpt import ImageGPT
from reference_models.diffusion.ddpm import cifar10_ddpm
from reference_models.diffusion.sr3 import SR3
from reference_models.latent.dip_vae import DIPVAE
from reference_models.latent.vae import paper_vae
from tests.reference_models.papers import WRITTEN, described


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


def on_meta(make: Callable[[], Any], device: str = "meta") -> Callable[[], Any]:
    """The constructor called where weights take no room."""

    def made() -> Any:
        with torch.device(device):
            return make()

    return made


PAPERS = ("paper", "cifar10", "ddpm")  # in their names
BUILDERS = {
    f"{cls.__name__}.{name}": on_meta(getattr(cls, name), CHECKED_BY_VALUE.get(cls.__name__, "meta"))
    for cls, name in REACHED
    if any(word in name for word in PAPERS)
} | {
    "BigGAN.paper without skip-z": on_meta(partial(BigGAN.paper, skip_z=False)),
    "BigGAN.paper without an embedding": on_meta(partial(BigGAN.paper, shared=False, skip_z=False)),
    "DIPVAE.paper I": on_meta(partial(DIPVAE.paper, "I")),
    "ImageGPT.paper L": on_meta(partial(ImageGPT.paper, "L")),
    "ImageGPT.paper M": on_meta(partial(ImageGPT.paper, "M")),
    "SR3.faces_network": on_meta(SR3.faces_network),
    "cifar10_ddpm": cifar10_ddpm,
    "paper_gan": on_meta(paper_gan),
    "paper_vae": on_meta(paper_vae),
}


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


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_what_a_constructor_builds_is_written_down(name: str) -> None:
    """Layers, heads, activations, dropout and widths, which the number of parameters need not show."""
    written = {part.splitlines()[0]: part for part in WRITTEN.read_text().split("\n\n")}
    now = described(name, BUILDERS[name]).strip()
    assert written[f"== {name}"].strip() == now, "run: python -m tests.reference_models.papers"


def test_nothing_is_written_down_of_what_is_not_there() -> None:
    headings = [line[3:] for line in WRITTEN.read_text().splitlines() if line.startswith("== ")]
    assert headings == sorted(BUILDERS)
