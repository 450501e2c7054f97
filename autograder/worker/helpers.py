"""Modules that were handed in beside the notebook, or that a cell wrote.

There too, a package that is not here costs what uses it and nothing else.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
from collections.abc import Sequence
from types import ModuleType

from .frames import is_students
from .skipping import Say, play


class HelperFinder(importlib.abc.MetaPathFinder):
    """Finds what Python would find, and has the student's own modules run by `play`.

    Args:
        say: told what was skipped.
    """

    def __init__(self, say: Say) -> None:
        self._say = say

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        plain = spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader
        if spec is not None and spec.origin is not None and plain and is_students(spec.origin):
            spec.loader = _Loader(fullname, spec.origin, self._say)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, say: Say) -> None:
        super().__init__(fullname, path)
        self._say = say

    def exec_module(self, module: ModuleType) -> None:
        """Runs the module."""
        source = importlib.util.decode_source(self.get_data(self.path))
        play(source, self.path, module.__dict__, self._say)
