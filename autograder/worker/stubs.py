"""Stand-ins for what a notebook finds around it elsewhere: Colab, IPython, widgets, the student's own `check`.

They are made when imported, never before, so that `"google.colab" in sys.modules` stays honest. Anything they are
asked for is there and does nothing.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from .notes import Notes

_STUBBED = ("IPython", "ipywidgets")


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
    """Finds the stand-ins, also where the real thing is installed: it would have no kernel to talk to."""

    def __init__(self, notes: Notes) -> None:
        self.guarded = False  # the cell that runs asks whether this is Colab: it is not
        self._notes = notes

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        top, _, rest = fullname.partition(".")
        colab = rest.split(".")[0] == "colab" and not self.guarded
        if top == "google" and (colab or (not rest and importlib.machinery.PathFinder.find_spec(fullname) is None)):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        if top in _STUBBED or fullname == "tqdm.notebook":
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return ModuleType(spec.name) if spec.name in ("google", "tqdm.notebook") else _Stub(spec.name, self._say)

    def exec_module(self, module: ModuleType) -> None:
        names = module.__dict__
        if module.__name__ == "IPython":
            names["get_ipython"] = get_ipython(self._notes)
        elif module.__name__ == "IPython.display":
            names["display"] = display
        elif module.__name__ == "tqdm.notebook":  # the plain bar in the place of the one that needs widgets
            plain = importlib.import_module("tqdm.std")
            names |= {"tqdm": plain.tqdm, "tqdm_notebook": plain.tqdm, "trange": plain.trange, "tnrange": plain.trange}

    def _say(self, what: str) -> None:
        if what.startswith("google.colab"):
            self._notes.once(f"`{what}` does nothing here: the notebook does not run in Colab")


def display(*things: Any, **options: Any) -> None:
    """Shows nothing: a picture or a table is for the person in front of the notebook."""


def get_ipython(notes: Notes) -> Callable[[], Any]:
    """`get_ipython` whose shell runs no magic and no command."""
    shell = Nothing(lambda: notes.once("`get_ipython()` does nothing here: no magic and no command is run"))
    return lambda: shell


def check(*cells: Any, **options: Any) -> None:
    """Checks nothing: while a notebook is graded, the grader runs the checks."""


def names(notes: Notes) -> dict[str, Any]:
    """What a notebook's namespace holds before its first cell."""
    return {"get_ipython": get_ipython(notes), "display": display, "check": check, "__builtins__": builtins}


def install(stubs: Stubs) -> None:
    """Makes the stand-ins importable."""
    sys.meta_path.insert(0, stubs)
    module = ModuleType("autograder")
    module.__dict__["check"] = check
    sys.modules["autograder"] = module
    warnings.filterwarnings("ignore", message=".*non-interactive.*")  # plt.show()
    warnings.filterwarnings("ignore", message="invalid escape sequence")
    warnings.simplefilter("ignore", SyntaxWarning)
