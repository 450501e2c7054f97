"""A statement that needs what is not here is skipped: in a cell, in a module beside the notebook, in a script.

    import seaborn as sns               sns is Absent
    if on_my_machine: import seaborn    the same; in `try`, `def` and `class` an import fails as in Python
    for loss in losses: wandb.log(loss) the call is skipped, the loop goes on

Where no package is missing, nothing is changed but imports inside blocks.
"""

from __future__ import annotations
import __future__ as future

import ast
import sys
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import PurePath
from typing import Any

from .absent import Absent, AbsentPackage, bind_import, bind_skipped
from .lines import short
from .syntax import in_place, name_version, one_by_one

GUARD = "__skip__"  # what a guarded statement calls when it fails
Say = Callable[[str, ImportError], None]
Names = MutableMapping[str, Any]
_CATCH = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
_FLAGS = {getattr(future, name).compiler_flag for name in future.all_feature_names}
_ALONE = (ast.Import, ast.ImportFrom, ast.Expr)  # whoever runs one of these can skip it whole
_held: list[tuple[ast.stmt, Names, Say, str]] = []


def skipped(statement: ast.stmt, error: BaseException | None, names: Names, file: str = "") -> str | None:
    """The note of a statement that fails for want of a package, its names bound; None if it fails otherwise.

    Args:
        file: where the statement stands, if not in a cell.
    """
    shown = short(ast.unparse(statement))
    if isinstance(statement, ast.Import | ast.ImportFrom) and isinstance(error, ImportError):
        reason = bind_import(statement, error, names)
        return f"`{shown}`{f' in {file}' if file else ''} failed: {reason}; what uses it is skipped"
    if type(error) is AbsentPackage:
        bind_skipped(statement, error, names)
        return f"{f'{file}, ' if file else ''}line {statement.lineno}: `{shown}` was skipped: {error}"
    return None


def guarded(statement: ast.stmt, names: Names, say: Say, file: str = "") -> ast.stmt:
    """The statement with what it holds guarded: imports in its blocks, calls whose value nobody uses."""
    absent = {name for name, value in list(names.items()) if type(value) is Absent}
    guarding = _Guarding(absent, lambda part: _hold(part, names, say, file))
    return statement if isinstance(statement, _ALONE) else guarding.visit(statement)


def play(source: str, path: str, names: Names, say: Say) -> None:
    """Runs a module or a script statement by statement, and skips what needs what is not here."""
    file = PurePath(path).name
    try:
        tree = ast.parse(source, path)
    except SyntaxError as error:
        name_version(error, source)
        raise
    names["__doc__"] = ast.get_docstring(tree, clean=False)
    flags = 0
    for statement in in_place(tree).body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a string at the top of a file of its own would be its docstring
        module = ast.Module([guarded(statement, names, say, file)], [])
        code = compile(ast.fix_missing_locations(module), path, "exec", flags, dont_inherit=True)
        flags |= sum(flag for flag in _FLAGS if code.co_flags & flag)
        try:
            exec(code, names)  # type: ignore[arg-type]
        except ImportError as error:
            note = skipped(statement, error, names, file)
            if note is None:
                raise
            say(note, error)


def _hold(statement: ast.stmt, names: Names, say: Say, file: str) -> int:
    names[GUARD] = _failed
    _held.append((statement, names, say, file))
    return len(_held) - 1


def _failed(number: int) -> None:
    """Called where a guarded statement failed: says so if it wants a package, and raises again if not."""
    statement, names, say, file = _held[number]
    error = sys.exc_info()[1]
    note = skipped(statement, error, names, file)
    if note is None or not isinstance(error, ImportError):
        raise
    say(note, error)


class _Guarding:
    """Guards what a statement holds.

    Args:
        absent: names that stand for a package that is not here.
        hold: remembers a statement by a number.
    """

    def __init__(self, absent: set[str], hold: Callable[[ast.stmt], int]) -> None:
        self._absent = absent
        self._hold = hold

    def visit(self, statement: ast.stmt, imports: bool = True) -> Any:
        """A statement as it may stand in a block; imports are guarded outside of functions and classes alone."""
        if isinstance(statement, _ALONE):
            uses = {part.id for part in ast.walk(statement) if isinstance(part, ast.Name)} & self._absent
            needs = bool(uses) if isinstance(statement, ast.Expr) else imports
            return self._guarded(statement) if needs else statement
        if isinstance(statement, ast.Try | ast.TryStar) and any(map(_may_catch, statement.handlers)):
            return statement
        imports = imports and not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for block in _blocks(statement):
            block[:] = [self.visit(part, imports) for several in block for part in one_by_one(several)]
        return statement

    def _guarded(self, statement: ast.stmt) -> ast.stmt:
        call = ast.Expr(ast.Call(ast.Name(GUARD, ast.Load()), [ast.Constant(self._hold(statement))], []))
        handler = ast.ExceptHandler(None, None, [call])
        whole = ast.Try(body=[statement], handlers=[handler], orelse=[], finalbody=[])
        for part in (whole, handler, call, *ast.walk(call.value)):
            ast.copy_location(part, statement)
        return whole


def _blocks(statement: ast.AST) -> Iterator[list[ast.stmt]]:
    """The lists of statements that a statement holds."""
    for name in ("body", "orelse", "finalbody"):
        if isinstance(block := getattr(statement, name, None), list):
            yield block
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


def _may_catch(handler: ast.ExceptHandler) -> bool:
    """Whether a handler may be there for a package that is not."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    named = {kind.id for kind in caught if isinstance(kind, ast.Name)}
    return len(named) < len(caught) or bool(named & _CATCH)
