"""Runs a notebook's cells in order in one namespace, without a kernel, each cell guarded.

Where a graded cell ends, the namespace is copied under its `grade_id`. A function finds its globals in the one live
namespace, so looking into a copy first puts that copy's names back into it: a helper that a later task defines anew
does not change what an earlier task's checks see.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from . import stubs
from .calling import Fault
from .cells import Cell, prepare, run
from .frames import describe
from .notes import Notes
from .shims import map_cuda

_clock = time.perf_counter
_UNSET = object()


class Scopes(Mapping[str, Mapping[str, Any]]):
    """Copies of the live namespace by name; asking for one makes it the live one again.

    Args:
        live: the dict every cell runs in and every function of the notebook has as its globals.
    """

    def __init__(self, live: dict[str, Any]) -> None:
        self.live = live
        self.end = _End(self)
        self._saved: dict[str | None, dict[str, Any]] = {None: {}}
        self._active: str | None = None

    def __getitem__(self, scope: str) -> Mapping[str, Any]:
        self.enter(scope)
        return self.live

    def __contains__(self, scope: object) -> bool:
        return scope in self._saved

    def __iter__(self) -> Iterator[str]:
        return (scope for scope in self._saved if scope is not None)

    def __len__(self) -> int:
        return len(self._saved) - 1

    def enter(self, scope: str | None) -> None:
        """Makes `scope` live; None is the end of what has run. Raises KeyError if there is no such copy."""
        names = self._saved[scope]
        if scope != self._active:
            self._saved[self._active] = dict(self.live)
            self._active = scope
            self.live.clear()
            self.live.update(names)

    def clear(self) -> None:
        """Forgets everything, also what is live."""
        self._saved = {None: {}}
        self._active = None
        self.live.clear()

    def save(self, scope: str, names: Mapping[str, Any] | None = None) -> None:
        """Keeps `names`, by default what is live now, under `scope`."""
        if scope == self._active:
            self.enter(None)
        self._saved[scope] = dict(self.live if names is None else names)

    def copy_of(self, scope: str) -> dict[str, Any]:
        """What was saved under `scope`; empty if nothing was."""
        return dict(self.live if scope == self._active else self._saved.get(scope, {}))


class _End(Mapping[str, Any]):
    """The namespace where the notebook ends."""

    def __init__(self, scopes: Scopes) -> None:
        self._scopes = scopes

    def __getitem__(self, name: str) -> Any:
        self._scopes.enter(None)
        return self._scopes.live[name]

    def __iter__(self) -> Iterator[str]:
        self._scopes.enter(None)
        return iter(list(self._scopes.live))

    def __len__(self) -> int:
        self._scopes.enter(None)
        return len(self._scopes.live)


class Notebook:
    """The operations `load`, `run_cell`, `train` and `checkpoint`.

    Args:
        take_output: returns what was printed since its last call.
    """

    def __init__(self, take_output: Callable[[], str]) -> None:
        module = ModuleType("__main__")  # pickling and `if __name__ == "__main__"` look here
        self.scopes = Scopes(module.__dict__)
        self.operations: dict[str, Callable[..., Any]] = {
            **{"load": self.load, "run_cell": self.run_cell, "train": self.train}
        }
        self._module = module
        self._take_output = take_output
        self._notes = Notes()
        self._cells: list[Cell] = []
        self._stubs = stubs.Stubs(self._notes)
        self._random: dict[int, Any] = {}  # generator states where a training cell was skipped, by its index
        self._device = "cpu"

    def load(self, cells: Sequence[Any], files: Mapping[str, Any], seed: int, device: str) -> dict[str, int]:
        """Takes a notebook and the files beside it, which land in the working directory."""
        if not os.access(".", os.W_OK):
            os.chdir(os.environ.get("HOME", "/tmp"))
        for name, content in files.items():
            _write(name, content)
        self._surround()
        self._cells = [Cell(**cell) for cell in cells]
        self._device = device if device == "cuda" and torch.cuda.is_available() else "cpu"
        self.scopes.clear()
        self.scopes.live |= {"__name__": "__main__", "__doc__": None, **stubs.names(self._notes)}
        sources = [cell.source for cell in self._cells]
        sources += [bytes(content.numpy()).decode("latin-1") for name, content in files.items() if name.endswith(".py")]
        if not torch.cuda.is_available() and any("cuda" in source or "pin_memory" in source for source in sources):
            map_cuda(self._notes)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        return {"cells": len(self._cells)}

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
            place = f"before:{index}"
            before = self.scopes.copy_of(place) if place in self.scopes else dict(self.scopes.end)
            self._enter_new(scope, {**before, **changed})
            _set_random_state(self._random.get(index))
            outcomes.append(self._run(cell))
            changed |= {k: v for k, v in self.scopes.live.items() if before.get(k, _UNSET) is not v}
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
        names = next((self.scopes.copy_of(place) for place in stood if place in self.scopes), None)
        self._enter_new(scope, dict(self.scopes.end) if names is None else names)
        if build not in self.scopes.live:
            raise Fault("missing", f"`{build}`, which builds the model of the checkpoint, is not defined")
        model = self.scopes.live[build]()
        weights = torch.load(_checked(file), map_location=self._device, weights_only=True)
        model.load_state_dict(weights.get("state_dict", weights))
        self.scopes.live[name or build] = model
        return scope, name or build

    def _surround(self) -> None:
        """Sets up what a notebook finds around it, once."""
        if sys.modules["__main__"] is self._module:
            return
        sys.path.append(str(Path.cwd()))  # last: a file named like a library must not stand in for it
        sys.argv[:] = ["notebook"]
        sys.modules["__main__"] = self._module
        stubs.install(self._stubs)

    def _enter_new(self, scope: str, names: Mapping[str, Any]) -> None:
        self.scopes.enter(None)
        self.scopes.save(scope, names)
        self.scopes.enter(scope)

    def _run(self, cell: Cell) -> dict[str, Any]:
        self._take_output()
        begin = _clock()
        error = None
        try:
            program = prepare(cell, self._notes)
            self._stubs.guarded = program.guarded
            run(program, self.scopes.live, self._notes)
        except BaseException as raised:  # SystemExit ends the cell, not the worker
            error = describe(raised)
        seconds = _clock() - begin
        _close_figures()
        status = "ok" if error is None else "error"
        said = {"seconds": seconds, "notes": self._notes.take(), "stdout": self._take_output()}
        return {**_outcome(status, error), **said}


def _outcome(status: str, error: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"status": status, "seconds": 0.0, "error": error, "notes": [], "stdout": ""}


def _joined(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        **outcomes[-1],
        "seconds": sum(outcome["seconds"] for outcome in outcomes),
        "notes": [note for outcome in outcomes for note in outcome["notes"]],
        "stdout": "".join(outcome["stdout"] for outcome in outcomes),
    }


def _write(name: str, content: torch.Tensor) -> None:
    descriptor = os.open(_checked(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(bytes(content.numpy()))


def _checked(name: str) -> str:
    """A plain file name. Raises Fault for anything that could lead elsewhere."""
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > 255:
        raise Fault("exception", f"{name[:100]!r} is not the name of a file beside the notebook")
    return name


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
