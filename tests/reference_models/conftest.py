"""Every test of the reference models: float64, one seed, and a device to choose (`--device cuda`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


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


@pytest.fixture(autouse=True)
def _double_precision_and_one_seed(device: torch.device) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    if device.type != "cpu":
        torch.set_default_device(device)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)
    if device.type != "cpu":
        torch.set_default_device(None)


@pytest.fixture
def generator(device: torch.device) -> torch.Generator:
    """A source of randomness on the device of the run, always in the same state."""
    return torch.Generator(device).manual_seed(0)
