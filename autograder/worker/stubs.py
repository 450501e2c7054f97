"""Stand-ins for what a notebook finds around it elsewhere: Colab's modules, the student's own `check`, its data.

They are made when imported, never before, so that `"google.colab" in sys.modules` stays honest. Anything Colab is
asked for is there and does nothing.
"""

from __future__ import annotations

import builtins
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from .datasets import dataset
from .notes import Notes


class Nothing:
    """Can be called, entered, iterated and asked for attributes; does nothing."""

    def __init__(self, note: Callable[[], None] | None = None) -> None:
        self.__note = note

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.__note is not None:
            self.__note()
        return None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing(self.__note)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *args: Any) -> None:
        return None


class _Stub(ModuleType):
    def __init__(self, name: str, note: Callable[[str], None]) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__note = note

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        what = f"{self.__name__}.{name}"
        return Nothing(lambda: self.__note(what))


class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `google.colab`."""

    def __init__(self, notes: Notes) -> None:
        self._guarded = False
        self._notes = notes
        self.data: Mapping[str, Mapping[str, Any]] = {}

    def course_data(self, name: str) -> dict[str, Any]:
        """What the judge handed over under a name: copies, so that each asking gives the same."""
        if name not in self.data:
            raise LookupError(f"there are no data called {name!r}")
        return {key: tensor.clone() for key, tensor in self.data[name].items()}

    def guard(self, asked: bool) -> None:
        """Whether the cell that runs asks if this is Colab: it is not."""
        self._guarded = asked

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        top, _, rest = fullname.partition(".")
        colab = rest.split(".")[0] == "colab" and not self._guarded
        if top == "google" and (colab or (not rest and importlib.machinery.PathFinder.find_spec(fullname) is None)):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return ModuleType(spec.name) if spec.name == "google" else _Stub(spec.name, self._say)

    def exec_module(self, module: ModuleType) -> None:
        """A stand-in is made whole."""

    def _say(self, what: str) -> None:
        self._notes.once(f"`{what}` does nothing here: the notebook does not run in Colab")


def check(*cells: Any, **options: Any) -> None:
    """Checks nothing: while a notebook is graded, the grader runs the checks."""


NAMES = {"check": check, "__builtins__": builtins}  # in a notebook's namespace before its first cell


def install(stubs: Stubs, *finders: importlib.abc.MetaPathFinder) -> None:
    """Makes the stand-ins importable, and what else the finders find."""
    sys.meta_path[:0] = [stubs, *finders]
    module = ModuleType("autograder")
    module.__dict__["check"] = check
    module.__dict__["course_data"] = stubs.course_data
    module.__dict__["dataset"] = dataset
    sys.modules["autograder"] = module
    warnings.filterwarnings("ignore", message=".*non-interactive.*")  # plt.show()
    warnings.filterwarnings("ignore", message="invalid escape sequence")
    warnings.simplefilter("ignore", SyntaxWarning)
