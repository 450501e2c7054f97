"""The magics and commands that mean something else while a notebook is graded.

!pip install x, %pip, %conda   not run: a note says what is installed
%matplotlib, %reset, %debug    not run: nothing is shown, no name is lost, nobody answers
%timeit                        runs once
!ls, %%bash                    run inside a container's walls, and are noted where there are none
"""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magics.execution import ExecutionMagics

from .notes import Notes

SCRIPTS = frozenset(
    ("bash", "sh", "script", "system", "sx", "!", "cmd", "perl", "ruby", "python", "python2", "python3", "pypy")
)
_INSTALLS = re.compile(r"(?:^|[;&|]\s*|\s-m\s+)(?:sudo\s+)?(?:pip3?|conda|mamba|uv|apt|apt-get)\b(.*)")
_REQUIREMENT = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_VERBS = frozenset(("install", "uninstall", "download", "pip", "add", "update", "upgrade", "list", "show", "freeze"))
_NAMED = 5  # packages of one line
_SHOWN = 80  # characters of a line named in a note
_TIMES = re.compile(r"\s*-[nr]\s*\d+")


def short(line: str) -> str:
    """A line as a note names it."""
    line = " ".join(line.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def installed(command: str) -> str | None:
    """What to say of a command that installs something; None if it does not."""
    found = _INSTALLS.search(command)
    if found is None:
        return None
    words = [word.strip("'\"") for word in re.split(r"[;&|]", found[1])[0].split()]
    names = [match[0] for word in words if word not in _VERBS and (match := _REQUIREMENT.match(word))]
    said = "; ".join(map(_version, dict.fromkeys(names[:_NAMED])))
    return "was not run: nothing can be installed here" + (f"; {said}" if said else "")


def _version(name: str) -> str:
    try:
        return f"{name} {metadata.version(name)} is here"
    except Exception:  # not installed, or installed in a way nobody can read
        return f"{name} is not here"


@magics_class
class OwnMagics(Magics):
    """Line magics in the place of IPython's own."""

    def __init__(self, shell: Any, notes: Notes) -> None:
        super().__init__(shell=shell)
        self._notes = notes
        self._own: Any = shell

    @line_magic
    def pip(self, line: str) -> None:
        """Installs nothing."""
        self._install(f"pip {line}")

    @line_magic
    def conda(self, line: str) -> None:
        """Installs nothing."""
        self._install(f"conda {line}")

    @line_magic
    def uv(self, line: str) -> None:
        """Installs nothing."""
        self._install(f"uv {line}")

    def _install(self, command: str) -> None:
        self._notes.add(f"`{short('%' + command)}` {installed(command)}")

    @line_magic
    def reset(self, line: str) -> None:
        """Keeps every name: later cells and the checks find what was defined."""
        self._notes.add(f"`{short('%reset ' + line)}` was not run: the names stay")

    @line_magic
    def debug(self, line: str) -> None:
        """Starts no debugger."""
        self._notes.add("`%debug` was not run: nobody is there to answer it")

    @no_var_expand
    @line_magic
    def timeit(self, line: str) -> object:
        """Runs its statement once instead of for ten seconds."""
        once: Any = ExecutionMagics(self._own)
        return once.timeit(f"-n1 -r1 {_TIMES.sub('', line)}", local_ns=self._own.user_ns)
