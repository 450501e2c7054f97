"""Starts the worker: `python -I <this folder> --socket PATH` or `--fd N`, with `--walls` inside a container.

The order matters. The channel moves out of reach and stdout, stderr and stdin are replaced before anything else is
imported; this folder leaves the import path before torch is looked for; and the worker's own modules get a private copy
of Python's builtins, so that a student who patches `len` patches it for themselves alone.
"""

from __future__ import annotations

import builtins
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parent
PACKAGE = "autograder_worker"  # a student's own `worker.py` beside the notebook must stay importable


class _Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = dict(vars(builtins))
        super().exec_module(module)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of this folder as a package, without putting its parent on the import path."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != PACKAGE:
            return None
        place = FOLDER.joinpath(*name.split(".")) if name else FOLDER
        is_package = place.is_dir()
        file = str(place / "__init__.py" if is_package else place.with_suffix(".py"))
        search = [str(place)] if is_package else None
        loader = _Loader(fullname, file)
        return importlib.util.spec_from_file_location(fullname, file, loader=loader, submodule_search_locations=search)


def main() -> None:
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != FOLDER]
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    channel = importlib.import_module(f"{PACKAGE}.channel")
    given = channel.arguments_of(sys.argv[1:])
    sock = channel.open_channel(given)
    output = channel.Output()
    gc.disable()  # nearly all of a start is `import torch`; collecting garbage meanwhile would be 8 % of it
    server = importlib.import_module(f"{PACKAGE}.server")
    gc.freeze()  # what is there now is never garbage
    gc.enable()
    sys.meta_path.remove(finder)
    server.serve(sock, output, given.walls)


if __name__ == "__main__":
    main()
