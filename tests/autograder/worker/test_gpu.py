"""What a worker sets on a GPU before the first cell runs, on a machine that has none: torch is asked what was set."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from autograder.worker import gpu

SWITCHES = (  # what they say when asked cannot be deleted and set anew, as monkeypatch would
    (torch.backends.cuda.matmul, "allow_tf32"),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cudnn, "benchmark"),
)


@pytest.fixture
def capped(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A device of 16 GB; the parts of it that were asked for."""
    asked: list[float] = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=16 << 30))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", asked.append)
    monkeypatch.setitem(os.environ, "CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = [getattr(place, name) for place, name in SWITCHES]
    for place, name in SWITCHES:
        setattr(place, name, True)
    with warnings.catch_warnings():
        yield asked
    torch.use_deterministic_algorithms(False)
    for (place, name), value in zip(SWITCHES, before, strict=True):
        setattr(place, name, value)


def test_arithmetic_on_a_gpu_is_repeatable_and_the_report_says_what_was_set(capped: list[float]) -> None:
    settled = gpu.settle(None)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert [getattr(place, name) for place, name in SWITCHES] == [False, False, False]
    assert settled["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert settled.keys() == {"CUBLAS_WORKSPACE_CONFIG", "deterministic algorithms", "cudnn.benchmark", "TF32"}
    assert capped == []


@pytest.mark.parametrize(("memory_mb", "part"), [(4096, 0.25), (1 << 20, 1.0)])
def test_a_job_has_the_memory_of_a_gpu_that_its_budget_names(capped: list[float], memory_mb: int, part: float) -> None:
    settled = gpu.settle(memory_mb)
    assert capped == [part]
    assert settled["memory of the GPU"] == f"{memory_mb} MB"
