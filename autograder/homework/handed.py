"""Data that the judge hands to a notebook: which functions make them, and what they return.

    @hands_over("ring")
    def ring(law_rng, rng):
        law = Ring(radius=1.8 + 0.4 * torch.rand((), generator=law_rng))
        return CourseData({"ring_train": law.draw(8000, rng)}, law)

Such a function stands in the public `checks.py`; `data.py` beside the hidden checks may hold another one of the same
name, which then takes its place in grading. The notebook says `course_data("ring")["ring_train"]`, a check has the
fixture `course_data` and asks `course_data("ring").law`.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from autograder.errors import UserError

if TYPE_CHECKING:  # a homework is opened without torch, which takes a second and 170 MB
    from torch import Generator, Tensor

LARGEST = 64 << 20  # bytes of all that is handed to one notebook
ASKED = re.compile(r"""\bcourse_data\(\s*(["'])(.+?)\1""")  # in the source of a notebook's cell


@dataclass(frozen=True)
class CourseData:
    """What one function hands over.

    Args:
        tensors: by the names that the notebook's cell finds them under.
        law: what checks may know of them; it stays with the judge.
    """

    tensors: Mapping[str, Tensor]
    law: Any = None


Maker = Callable[["Generator", "Generator"], CourseData]


def hands_over(name: str) -> Callable[[Maker], Maker]:
    """Mark a function as the one that makes the data `name`.

    It takes `(law_rng, rng)`, the generator of what is withheld, the parameters of a law, and the one of what is shown,
    and returns `CourseData`. At home both generators are always the same ones, so that everybody sees one example; in
    grading they are the student's own, for everything they hand in of the homework.
    """

    def mark(maker: Maker) -> Maker:
        maker.__dict__["hands_over"] = name
        return maker

    return mark


def declared(path: Path) -> dict[str, int]:
    """Names that functions of a file hand over, with their lines, read without running it.

    Raises:
        UserError: a name is not written out, or stands twice.
    """
    found: dict[str, int] = {}
    for node in ast.parse(path.read_bytes(), str(path)).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in filter(_is_mark, node.decorator_list):
            place = f"{path}, line {node.lineno}: `{node.name}`"
            name = mark.args[0] if isinstance(mark, ast.Call) and len(mark.args) == 1 else None
            if not isinstance(name, ast.Constant) or not isinstance(name.value, str) or not name.value:
                raise UserError(f'{place} should be marked `@hands_over("name")`, its name written out.')
            if name.value in found:
                raise UserError(f"{place} hands over {name.value!r}, as line {found[name.value]} does.")
            if [argument.arg for argument in node.args.args] != ["law_rng", "rng"]:
                raise UserError(f"{place} hands over data, so it takes (law_rng, rng).")
            found[name.value] = node.lineno
    return found


def asked_for(sources: Iterator[str]) -> set[str]:
    """Names that cells ask `course_data("…")` for."""
    return {match[2] for source in sources for match in ASKED.finditer(source)}


def makers(path: Path, *, package: bool) -> dict[str, Maker]:
    """The functions of a file that hand over data, by name; nothing is run where none is declared.

    Args:
        package: the file may import its neighbours (`from .laws import …`).

    Raises:
        UserError: the file can not be imported.
    """
    if not path.is_file() or not declared(path):
        return {}
    try:
        module = _in_package(path) if package else _alone(path)
    except Exception as error:  # whatever the author's code raises
        raise UserError(f"{path} can not be imported: {type(error).__name__}: {error}.") from None
    marked = [value for value in vars(module).values() if callable(value) and hasattr(value, "hands_over")]
    return {value.hands_over: value for value in marked}


def make(name: str, maker: Maker, law_rng: Generator, rng: Generator) -> CourseData:
    """What a function hands over, looked at.

    Raises:
        UserError: it fails, or returns something that no notebook can be handed.
    """
    from torch import Tensor

    from autograder.worker.layout import DTYPES, megabytes

    place = f"{maker.__code__.co_filename}: `{maker.__name__}`"
    try:
        data = maker(law_rng, rng)
    except Exception as error:  # whatever the author's code raises
        raise UserError(f"{place}, which hands over {name!r}, failed: {type(error).__name__}: {error}.") from error
    if not isinstance(data, CourseData):
        raise UserError(f"{place} should return CourseData, got a {type(data).__name__}.")
    for key, value in data.tensors.items():
        if not isinstance(value, Tensor) or str(value.dtype).removeprefix("torch.") not in DTYPES:
            raise UserError(f"{place} hands over {key!r}, a {type(value).__name__}; tensors can be handed over.")
    size = sum(value.nbytes for value in data.tensors.values())
    if size > LARGEST:
        raise UserError(f"{place} hands over {megabytes(size)}; at most {megabytes(LARGEST)} are taken.")
    return data


def _is_mark(node: ast.expr) -> bool:
    target = node.func if isinstance(node, ast.Call) else node
    return (target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", None)) == "hands_over"


def _alone(path: Path) -> ModuleType:
    """The public file under a name of its own: pytest imports it once more, in its own way."""
    spec = importlib.util.spec_from_file_location("autograder_course_data", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _in_package(path: Path) -> ModuleType:
    """The hidden file as pytest would import it, so that it and the checks beside it share one module."""
    from _pytest.pathlib import import_path

    path = path.resolve()
    return import_path(path, mode="importlib", root=Path(path.anchor), consider_namespace_packages=False)
