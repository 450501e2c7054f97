"""Every test of the reference models: float64, one seed, and a device to choose (`--device cuda`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where the reference models are tested: cpu, cuda, cuda:1")


def pytest_configure(config: pytest.Config) -> None:
    chosen = config.getoption("--device", default="cpu")
    if chosen.startswith("cuda") and not torch.cuda.is_available():
        raise pytest.UsageError(f"--device {chosen}: torch sees no CUDA device here")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    # the whole suite does not read this file early enough to know the option, and runs on the CPU
    return torch.device(request.config.getoption("--device", default="cpu"))


class SameDraws(TorchFunctionMode):
    """Draws without a generator come from the CPU's, so that weights and inputs are the same on every device.

    Draws with one come from the device's own: laws of samples are tested with other numbers than on the CPU.
    """

    NEW = (torch.rand, torch.randn, torch.randint, torch.randperm)
    LIKE = (torch.rand_like, torch.randn_like, torch.bernoulli)
    FILL = (torch.Tensor.normal_, torch.Tensor.uniform_)  # and torch.nn.init, whose functions call them unseen

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if "tensor" in kwargs:  # torch.nn.init names it
            args = (kwargs.pop("tensor"), *args)
        first = args[0] if args else None
        on_meta = getattr(first, "is_meta", False) or "meta" in str(kwargs.get("device"))
        if kwargs.get("generator") is not None or on_meta:
            return func(*args, **kwargs)
        if func in self.NEW or func in self.LIKE:
            learns = kwargs.pop("requires_grad", False)  # of the leaf on its device
            if func in self.NEW:
                where = kwargs.pop("device", None) or torch.empty(0).device
                drawn = func(*args, **kwargs, device="cpu")
            else:
                where, drawn = first.device, func(first.cpu(), *args[1:], **kwargs)
            return drawn.to(where).requires_grad_(learns) if learns else drawn.to(where)
        if func in self.FILL or getattr(func, "__module__", None) == "torch.nn.init":
            with torch.no_grad():
                return first.copy_(func(torch.empty_like(first, device="cpu"), *args[1:], **kwargs))
        return func(*args, **kwargs)


@pytest.fixture(autouse=True)
def _double_precision_and_one_seed(device: torch.device) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    if device.type == "cpu":
        yield
    else:
        torch.set_default_device(device)  # and not `with device`, which a test could not leave
        with SameDraws():
            yield
        torch.set_default_device(None)
    torch.set_default_dtype(before)


@pytest.fixture
def generator(device: torch.device) -> torch.Generator:
    """A source of randomness on the device of the run, always in the same state."""
    return torch.Generator(device).manual_seed(0)
