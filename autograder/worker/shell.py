"""IPython's shell without a kernel: a cell means what it means in Jupyter.

Differences, each for a reason: nothing is kept of what is shown; a traceback is the judge's to tell; a statement that
needs a package that is not here is skipped; what would install or wait for somebody is noted.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.history import HistoryManager
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from IPython.utils.syspathcontext import prepended_to_syspath
from IPython.utils.text import LSString, SList

from .absent import AbsentPackage
from .frames import describe, register
from .lines import SCRIPTS, OwnMagics, installed, short
from .notes import Notes
from .skipping import guarded, play, skipped
from .syntax import asks_for_colab, body_of, in_place, name_version

_OURS = frozenset(("_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh", "_dh"))  # IPython's, by name
_NUMBERED = re.compile(r"_i?\d+")


class _Compiler(CachingCompiler):
    """Gives cells the names that their frames are known by."""

    cell: int | None = None  # the cell about to be compiled; what it runs with `run_cell` keeps IPython's names

    def cache(self, transformed_code: str, number: int = 0, raw_code: str | None = None) -> str:
        if self.cell is None:
            return str(super().cache(transformed_code, number, raw_code))
        number, self.cell = self.cell, None
        return register(number, transformed_code)


class _Hook(DisplayHook):
    """Shows the value of a cell as text, and keeps the value alone."""

    def write_output_prompt(self) -> None:
        pass

    def log_output(self, format_dict: Any) -> None:
        pass


class _Publisher(DisplayPublisher):
    """Shows as text what `display` is given."""

    def publish(self, data: Any, *args: Any, update: bool = False, **options: Any) -> None:
        if "text/plain" in data and not update:
            print(data["text/plain"])

    def clear_output(self, wait: bool = False) -> None:
        pass


class Shell(InteractiveShell):
    """The shell that a notebook's cells run in; there is one in a process.

    Args:
        notes: told what was not run as it stands.
        walls: commands run; otherwise they are noted.
    """

    cache_size = 100
    compiler_class = _Compiler
    displayhook_class = _Hook
    display_pub_class = _Publisher

    def __init__(self, module: ModuleType, notes: Notes, walls: bool) -> None:
        self.notes = notes
        self.walls = walls
        self.colab_asked: Callable[[bool], None] = lambda asked: None
        self.skipped: AbsentPackage | None = None  # why a statement of this cell was skipped, the first time
        self._shown: BaseException | None = None
        super().__init__(user_module=module)
        formatter: Any = self.display_formatter
        formatter.active_types = ["text/plain"]
        self.register_magics(OwnMagics(self, notes))
        self.db: Any = {}
        sys.breakpointhook = lambda *_, **__: notes.add("`breakpoint()` does not stop here: nobody is there")

    def start_anew(self) -> None:
        """Forgets the notebook before; the namespace holds what a notebook begins with."""
        self.compile.reset_compiler_flags()
        self.ast_transformers.clear()
        self.reset()

    def stays(self, name: Any, value: Any) -> bool:
        """Whether a name is the shell's own, the same in every scope: the history, or what IPython put there."""
        if type(name) is not str:
            return False
        own = name in ("In", "Out", "get_ipython", "exit", "quit", "open") and self.user_ns_hidden.get(name) is value
        return own or name in _OURS or _NUMBERED.fullmatch(name) is not None

    def play(self, source: str, number: int) -> BaseException | None:
        """Runs a cell; what ended it, if anything did."""
        body = body_of(source)
        self.skipped = self._shown = None
        compiler: Any = self.compile
        compiler.cell = number
        with self._captured(body.captures, body.bind):
            result = self.run_cell(body.source, store_history=True)
        before: BaseException | None = result.error_before_exec
        error: BaseException | None = result.error_in_exec if before is None else before
        if type(error) is SyntaxError:
            name_version(error, self.transform_cell(body.source))
        if error is None and self._shown is not None:
            said = describe(self._shown)
            self.notes.add(f"{said['type']}: {said['message'][:200]} (the cell went on)")
        return error

    # what a cell is made of

    def transform_cell(self, raw_cell: str) -> str:
        """IPython's syntax as Python; leading empty lines stay, so that lines keep their numbers."""
        empty = len(raw_cell) - len(raw_cell.lstrip("\n"))
        return "\n" * empty + str(super().transform_cell(raw_cell))

    def transform_ast(self, node: ast.Module) -> ast.Module:
        self.colab_asked(asks_for_colab(node))
        changed: ast.Module = super().transform_ast(in_place(node))
        return changed

    async def run_ast_nodes(  # one after the other, so that one that needs what is not here can be skipped
        self,
        nodelist: list[ast.stmt],
        cell_name: str,
        interactivity: str = "last_expr",
        compiler: Any = compile,
        result: Any = None,
    ) -> bool:
        for node in nodelist:
            shows = interactivity if node is nodelist[-1] or interactivity == "all" else "none"
            whole = guarded(node, self.user_ns, self.note_skipped)
            if await super().run_ast_nodes([whole], cell_name, shows, compiler, result) and not self._skip(
                node, result
            ):
                return True
        return False

    def _skip(self, node: ast.stmt, result: Any) -> bool:
        """Whether the cell goes on without a statement that failed."""
        error = None if result is None else result.error_in_exec
        note = skipped(node, error, self.user_ns)
        if note is None or error is None:
            return False
        self.note_skipped(note, error)
        result.error_in_exec = self._shown = None
        return True

    def note_skipped(self, note: str, error: ImportError) -> None:
        """Notes a statement that was skipped for want of a package."""
        self.notes.add(note)
        if type(error) is AbsentPackage:
            self.skipped = self.skipped or error

    def safe_execfile(self, fname: Any, *where: Any, exit_ignore: bool = False, **options: Any) -> None:
        """Runs a script for `%run`."""
        path = Path(fname).expanduser().resolve()
        names = where[0] if where else self.user_ns
        with prepended_to_syspath(str(path.parent)), self.builtin_trap:
            try:
                play(importlib.util.decode_source(path.read_bytes()), str(path), names, self.note_skipped)
            except SystemExit as status:
                if status.code and not exit_ignore:
                    self.showtraceback()
            except BaseException:
                self.showtraceback()

    @contextmanager
    def _captured(self, captures: bool, bind: str | None) -> Iterator[None]:
        if not captures:
            yield
            return
        with capture_output() as captured:
            yield
        if bind is not None:
            self.user_ns[bind] = captured

    # what is shown, and to whom

    def showtraceback(self, *args: Any, **options: Any) -> None:
        self._shown = sys.exc_info()[1]

    showsyntaxerror = showindentationerror = showtraceback

    def show_usage_error(self, exc: BaseException) -> None:
        self._shown = exc

    def _format_exception_for_storage(self, exception: Any, *args: Any, **options: Any) -> dict[str, Any]:
        return {}  # a student's exception is read once, with care, by `frames`

    def _tee(self, channel: str) -> Any:
        return nullcontext()  # nobody asks again for what was printed

    def enable_matplotlib(self, gui: str | None = None) -> tuple[str, str]:
        """Changes nothing: figures are closed when their cell ends."""
        return "inline", "agg"

    def enable_gui(self, gui: str | None = None) -> None:
        """There is no window."""

    def ask_exit(self) -> NoReturn:
        """`exit()` ends its cell."""
        raise SystemExit

    # commands

    def system(self, cmd: str) -> None:
        """`!cmd`."""
        if not self._is_noted(f"!{cmd}", cmd):
            self.user_ns["_exit_code"] = subprocess.call(self.var_expand(cmd, depth=1), shell=True)

    system_raw = system_piped = system

    def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> Any:
        """`lines = !cmd`."""
        if self._is_noted(f"!{cmd}", cmd):
            return SList() if split else LSString()
        return super().getoutput(cmd, split, depth + 1)

    def run_line_magic(self, magic_name: str, line: str, _stack_depth: int = 1) -> Any:
        known = self.find_line_magic(magic_name) is not None
        if magic_name == "config" or self._magic_is_noted(f"%{magic_name} {line}", magic_name, known):
            return None  # there is no front end whose looks `%config` could change
        try:
            return super().run_line_magic(magic_name, line, _stack_depth + 1)
        except ModuleNotFoundError as error:
            self.notes.add(f"`{short(f'%{magic_name} {line}')}` failed: {error}")

    def run_cell_magic(self, magic_name: str, line: str, cell: str) -> Any:
        known = self.find_cell_magic(magic_name) is not None
        if self._magic_is_noted(f"%%{magic_name} {line}", magic_name, known):
            return None
        return super().run_cell_magic(magic_name, line, cell)

    def _magic_is_noted(self, line: str, name: str, known: bool) -> bool:
        if known and (self.walls or name not in SCRIPTS):
            return False
        why = "commands run in containers only" if known else "there is no such magic here"
        self.notes.add(f"`{short(line)}` was not run: {why}")
        return True

    def _is_noted(self, line: str, command: str) -> bool:
        said = installed(command)
        if said is None and not self.walls:
            said = "was not run: commands run in containers only"
        if said is not None:
            self.notes.add(f"`{short(line)}` {said}")
        return said is not None

    # parts of IPython that are not started: no files in the student's home, no threads, no history on disk

    def init_ipython_dir(self, ipython_dir: Any) -> None:
        pass

    def init_profile_dir(self, profile_dir: Any) -> None:
        pass

    def init_virtualenv(self) -> None:
        pass

    def init_history(self) -> None:
        self.history_manager = HistoryManager(shell=self, parent=self, enabled=False, hist_file=":memory:")
        configurables: list[Any] = self.configurables
        configurables.append(self.history_manager)
