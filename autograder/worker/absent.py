"""What stands for a package that is not here: it costs what uses it, and nothing else.

import seaborn as sns   →  sns = Absent("there is no module `seaborn` here")
sns.set_theme()         →  AbsentPackage; the shell skips a statement at the top of a cell and goes on
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any, NoReturn

_REASON_LIMIT = 300


class AbsentPackage(ImportError):  # noqa: N818 (what the student reads; it is no error of theirs)
    """Something was used that an import should have brought."""


class Absent:
    """Stands for what an import should have brought; any use raises AbsentPackage.

    Args:
        reason: a sentence without its full stop.
    """

    def __init__(self, reason: str) -> None:
        self.__dict__["_reason"] = reason

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") and name != "__version__":  # asked of everything, by `inspect` and `copy`
            raise AttributeError(name)
        _refuse(self)

    def __repr__(self) -> str:
        return f"<absent: {self.__dict__['_reason']}>"


def _refuse(absent: Absent, *_: Any, **__: Any) -> NoReturn:
    raise AbsentPackage(absent.__dict__["_reason"])


for _name in (
    *("setattr", "delattr", "call", "getitem", "setitem", "delitem", "contains", "iter", "next", "len", "reversed"),
    *("enter", "exit", "await", "aiter", "anext", "aenter", "aexit", "mro_entries", "instancecheck", "subclasscheck"),
    *("bool", "int", "float", "complex", "index", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert", "round"),
    *("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "or", "xor"),
    *("radd", "rsub", "rmul", "rmatmul", "rtruediv", "rfloordiv", "rmod", "rpow", "rand", "ror", "rxor"),
):
    setattr(Absent, f"__{_name}__", _refuse)


def bind_import(statement: ast.Import | ast.ImportFrom, error: ImportError, names: MutableMapping[str, Any]) -> str:
    """Binds what a failed import statement should have bound, and returns why it failed."""
    reason = reason_of(error)
    for alias in statement.names:
        top = alias.name.split(".")[0]
        if alias.name == "*" or (isinstance(statement, ast.Import) and alias.asname is None and top in sys.modules):
            continue  # `import torch.nonesuch` takes no `torch` away
        names[alias.asname or top] = Absent(reason)
    return reason


def bind_skipped(statement: ast.stmt, error: AbsentPackage, names: MutableMapping[str, Any]) -> None:
    """Binds the names that a skipped definition or assignment would have been the first to bind."""
    for name in _bound_by(statement):
        if name not in names:
            names[name] = Absent(str(error))


def reason_of(error: ImportError) -> str:
    """Why an import failed, in words that are true of every module: installed, handed in, or neither."""
    if type(error) is ModuleNotFoundError and type(error.name) is str:
        return f"there is no module `{error.name[:_REASON_LIMIT]}` here, neither installed nor handed in"
    try:
        return str.__str__(str(error))[:_REASON_LIMIT]
    except BaseException:  # a student's own ImportError may say anything
        return "the import failed"


def _bound_by(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        nodes = (node for target in targets if target for node in ast.walk(target))
        yield from (node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
