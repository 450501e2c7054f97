"""Runs a notebook's cells in order in one namespace, in IPython's shell, each cell guarded.

Where a graded cell ends, the namespace is copied under its `grade_id` (`scopes`).
"""

from __future__ import annotations

import importlib
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import torch

from . import gpu, stubs
from .calling import Fault
from .frames import describe
from .helpers import HelperFinder
from .notes import Notes
from .placing import checked, place
from .scopes import Scopes
from .shell import Shell
from .shims import map_cuda

_clock = time.perf_counter
_UNSET = object()


@dataclass(frozen=True)
class Cell:
    """A cell as `load` takes it.

    Args:
        kind: "code" or "markdown".
        number: position in the submitted notebook, from 1; None for a cell put there by the judge.
    """

    source: str
    kind: str
    grade_id: str | None = None
    tags: Sequence[str] = ()
    number: int | None = None


class Notebook:
    """The operations `load`, `run_cell`, `train` and `checkpoint`.

    Args:
        take_output: returns what was printed since its last call.
        walls: commands of the notebook's run; otherwise they are noted.
    """

    def __init__(self, take_output: Callable[[], str], walls: bool = False) -> None:
        module = ModuleType("__main__")  # pickling and `if __name__ == "__main__"` look here
        self.operations: dict[str, Callable[..., Any]] = {
            **{"load": self.load, "run_cell": self.run_cell, "train": self.train}
        }
        self._take_output = take_output
        self._notes = Notes()
        self._stubs = stubs.Stubs(self._notes)
        Shell.clear_instance()
        self._shell: Shell = Shell.instance(module, self._notes, walls)
        self._shell.colab_asked = self._stubs.guard
        self.scopes = Scopes(module.__dict__, self._shell.stays)
        self._cells: list[Cell] = []
        self._random: dict[int, Any] = {}  # generator states where a training cell was skipped, by its index
        self._device = "cpu"
        self._home: str | None = None  # the folder of the notebook; a cell may go elsewhere

    def load(
        self,
        cells: Sequence[Any],
        files: Mapping[str, Any],
        seed: int,
        device: str,
        data: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        gpu_memory_mb: int | None = None,
    ) -> dict[str, Any]:
        """Takes a notebook and the files beside it, which land in the working directory, folders as folders.

        Args:
            data: what `course_data("…")` gives, tensors by name.

        Returns:
            How many `cells` there are, the `device` given checkpoints go to, "cpu" where the one asked for is not, and
            what was `settled` for it.
        """
        self._go_home()
        self._stubs.data = data
        for name, content in files.items():
            place(name, content)
        self._cells = [Cell(**cell) for cell in cells]
        self._device = device if device == "cuda" and torch.cuda.is_available() else "cpu"
        self.scopes.clear()
        self._shell.start_anew()
        self.scopes.live |= {"__name__": "__main__", "__doc__": None, **stubs.NAMES}
        sources = [cell.source for cell in self._cells]
        sources += [bytes(content.numpy()).decode("latin-1") for name, content in files.items() if name.endswith(".py")]
        if not torch.cuda.is_available() and any("cuda" in source or "pin_memory" in source for source in sources):
            map_cuda(self._notes)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        settled = gpu.settle(gpu_memory_mb) if self._device == "cuda" else {}
        return {"cells": len(self._cells), "device": self._device, "settled": settled}

    def run_cell(self, index: int, scope: str | None = None) -> dict[str, Any]:
        """Runs one cell; training cells are only remembered, text cells only end a task."""
        cell = self._cells[index]
        self.scopes.enter(scope)
        if cell.kind == "code" and "train" in cell.tags:
            self.scopes.save(f"before:{index}")
            self._random[index] = _random_state()
            outcome = _outcome("skipped")
        else:
            outcome = self._run(cell) if cell.kind == "code" else _outcome("ok")
        if cell.grade_id is not None and scope is None:
            self.scopes.save(cell.grade_id)
        return outcome

    def train(self, task: str, name: str | None = None) -> dict[str, Any]:
        """Runs the training cells of `task` where they stood; the result is the scope `train:<task>`.

        Args:
            name: what must be defined afterwards.
        """
        outcomes: list[dict[str, Any]] = []
        changed: dict[str, Any] = {}
        scope = f"train:{task}"
        for index, cell in enumerate(self._cells):
            if cell.kind != "code" or "train" not in cell.tags or scope not in cell.tags:
                continue
            begin = f"before:{index}"
            before = self.scopes.copy_of(begin) if begin in self.scopes else self._end()
            self._enter_new(scope, {**before, **changed})
            _set_random_state(self._random.get(index))
            outcomes.append(self._run(cell))
            changed |= {k: v for k, v in self.scopes.now().items() if before.get(k, _UNSET) is not v}
            if outcomes[-1]["status"] != "ok":
                return _joined(outcomes)
        if outcomes and name is not None and name not in self.scopes.live:
            error = {"type": "NameError", "message": f"`{name}` is not defined after the training cell", "where": None}
            return {**_joined(outcomes), "status": "error", "error": error}
        return _joined(outcomes) if outcomes else _outcome("skipped")

    def checkpoint(self, task: str, build: str, file: str, name: str | None = None) -> tuple[str, str]:
        """Builds a model with the notebook's function `build` and loads the weights in `file` into it.

        The scope `train:<task>` is then as if training had bound the model to `name`. Returns scope and name.
        """
        scope = f"train:{task}"
        stood = [f"before:{i}" for i, cell in enumerate(self._cells) if scope in cell.tags]
        names = next((self.scopes.copy_of(begin) for begin in stood if begin in self.scopes), None)
        self._enter_new(scope, self._end() if names is None else names)
        if build not in self.scopes.live:
            raise Fault("missing", f"`{build}`, which builds the model of the checkpoint, is not defined")
        model = self.scopes.live[build]()
        path = os.path.join(self._home or ".", *checked(file))  # noqa: PTH118 (`Path` may be patched by now)
        weights = torch.load(path, map_location=self._device, weights_only=True)
        model.load_state_dict(weights.get("state_dict", weights))
        self.scopes.live[name or build] = model
        return scope, name or build

    def _go_home(self) -> None:
        """The notebook's folder becomes the working directory, and is where its imports look last."""
        if self._home is None:
            if not os.access(".", os.W_OK):
                os.chdir(os.environ.get("HOME", "/tmp"))
            self._home = str(Path.cwd())
            sys.path += [self._home, ""]  # last: a file named like a library must not stand in for it
            sys.argv[:] = ["notebook"]
            stubs.install(self._stubs, HelperFinder(self._shell.note_skipped))
        os.chdir(self._home)

    def _end(self) -> dict[str, Any]:
        self.scopes.enter(None)
        return self.scopes.now()

    def _enter_new(self, scope: str, names: Mapping[str, Any]) -> None:
        self.scopes.enter(None)
        self.scopes.save(scope, names)
        self.scopes.enter(scope)

    def _run(self, cell: Cell) -> dict[str, Any]:
        self._take_output()
        importlib.invalidate_caches()  # a cell may have written a module
        begin = _clock()
        try:
            error = self._shell.play(cell.source, cell.number or 0)
        except BaseException as raised:  # IPython is the student's to break, for themselves
            error = raised
        seconds = _clock() - begin
        _close_figures()
        skipped = self._shell.skipped
        said = describe(error) if error is not None else describe(skipped) if skipped is not None else None
        outcome = _outcome("ok" if error is None else "error", said)
        return {**outcome, "seconds": seconds, "notes": self._notes.take(), "stdout": self._take_output()}


def _outcome(status: str, error: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"status": status, "seconds": 0.0, "error": error, "notes": [], "stdout": ""}


def _joined(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        **outcomes[-1],
        "seconds": sum(outcome["seconds"] for outcome in outcomes),
        "notes": [note for outcome in outcomes for note in outcome["notes"]],
        "stdout": "".join(outcome["stdout"] for outcome in outcomes),
    }


def _random_state() -> tuple[Any, ...]:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def _set_random_state(state: tuple[Any, ...] | None) -> None:
    if state is not None:
        torch.set_rng_state(state[0])
        np.random.set_state(state[1])
        random.setstate(state[2])


def _close_figures() -> None:
    """Frees what a cell has drawn; a hundred open figures take a gigabyte."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        try:
            pyplot.close("all")
        except BaseException:  # student code can patch pyplot too
            return
