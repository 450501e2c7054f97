"""Errors nobody chose: single changes of the reference models, drawn by a seeded generator.

    operator    + for −, × for /, < for >, == for !=, `and` for `or`, a sign dropped
    constant    one more for a whole number, half as much again for another
    argument    a parameter with a default that its function reads is replaced by that default: it is silently ignored
    generator   a call is made without the `generator` it had

Some change nothing that anybody can see: those that were drawn and understood stand in equivalent.yaml, each with its
reason, and are not counted.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from tests.planted.entries import EQUIVALENT, EVERY_CALLABLE, MODELS, TESTS

KINDS = ("operator", "constant", "argument", "generator")
LEFT_OUT = ("recipes", "__", "report", "train_digit_classifier")  # programs, and what tests of their own run
OTHER: dict[type[ast.AST], str] = {
    **{ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.And: "or", ast.Or: "and"},
    **{ast.Lt: ">", ast.Gt: "<", ast.LtE: ">", ast.GtE: "<", ast.Eq: "!=", ast.NotEq: "=="},
}
ENOUGH = 3  # further test files besides a module's own


@dataclass(frozen=True)
class Mutant:
    """One change: of the text from `start` to `end` in a file, or of several places when an argument is ignored.

    where: the line of source that is changed, without its indentation. error: what is changed into what.
    """

    kind: str
    file: str
    line: int
    where: str
    error: str
    changes: tuple[tuple[int, int, str], ...]

    @property
    def family(self) -> str:
        return f"{self.kind}, {self.file}:{self.line}"

    @property
    def folder(self) -> str:
        return self.file.split("/")[0]

    @property
    def module(self) -> str:
        """The name under which the file is imported."""
        return ".".join(["reference_models", *Path(self.file).with_suffix("").parts])

    @cached_property
    def source(self) -> str:
        """The file with the change in it."""
        text = (MODELS / self.file).read_bytes()
        for start, end, by in sorted(self.changes, reverse=True):
            text = text[:start] + by.encode() + text[end:]
        return text.decode()

    @property
    def callables(self) -> str | None:
        """What the names of the module's rows in the tests over every callable begin with."""
        return f"{self.module.removeprefix('reference_models.')}." if EVERY_CALLABLE.is_file() else None

    @property
    def test_files(self) -> tuple[Path, ...]:
        """The module's own tests, and a few that import it: of its folder first."""
        own = TESTS / Path(self.file).with_name(f"test_{Path(self.file).name}")
        using = [file for file in sorted(TESTS.rglob("test_*.py")) if self._used_by(file) and file != own]
        using.sort(key=lambda file: file.parent.name != self.folder)
        return (*([own] if own.is_file() else []), *using[:ENOUGH])

    def _used_by(self, file: Path) -> bool:
        """Whether a test file imports from the module, or one of its names from its folder."""
        text = file.read_text()
        folder = re.search(rf"from {self.module.rpartition('.')[0]} import (\([^)]*\)|.*)", text)
        by_folder = set(re.findall(r"\w+", folder.group(1))) if folder else set()
        return f"from {self.module} import" in text or bool(by_folder & self._names)

    @cached_property
    def _names(self) -> set[str]:
        found = ast.parse((MODELS / self.file).read_text()).body
        return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.ClassDef)}


class Sites(ast.NodeVisitor):
    """Every change that could be made in one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.text = (MODELS / file).read_bytes()
        self.lines = self.text.split(b"\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.found: list[Mutant] = []

    def _place(self, node: ast.AST) -> tuple[int, int]:
        start = self.starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        end = self.starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return start, end

    def _add(self, kind: str, node: ast.AST, error: str, *changes: tuple[int, int, str]) -> None:
        line: int = node.lineno  # type: ignore[attr-defined]
        where = self.lines[line - 1].decode().strip()
        self.found.append(Mutant(kind, self.file, line, where, error, changes))

    def visit_Raise(self, node: ast.Raise) -> None:
        return

    def visit_Assert(self, node: ast.Assert) -> None:
        return

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        return

    def _between(self, left: ast.AST, right: ast.AST, old: ast.AST, node: ast.AST) -> None:
        """An operator stands between its operands, perhaps with brackets or line ends around it."""
        start, end = self._place(left)[1], self._place(right)[0]
        signs = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.And: "and", ast.Or: "or", ast.Lt: "<"}
        signs |= {ast.Gt: ">", ast.LtE: "<=", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
        sign = signs[type(old)]
        at = self.text.find(sign.encode(), start, end)
        if at >= 0:
            by = OTHER[type(old)]
            self._add("operator", node, f"{sign} becomes {by}", (at, at + len(sign), by))

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in OTHER:
            self._between(node.left, node.right, node.op, node)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._between(node.values[0], node.values[1], node.op, node)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if type(node.ops[0]) in OTHER:
            self._between(node.left, node.comparators[0], node.ops[0], node)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub):
            start, _ = self._place(node)
            self._add("operator", node, "a sign is dropped", (start, start + 1, ""))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if type(node.value) in (int, float):
            by = node.value + 1 if isinstance(node.value, int) else node.value * 1.5 or 1.0
            self._add("constant", node, f"{node.value} becomes {by}", (*self._place(node), repr(by)))

    def visit_Call(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg == "generator" and not isinstance(keyword.value, ast.Constant):
                start, end = self._place(keyword)
                before = self.text[:start].rstrip()
                if before.endswith(b","):
                    start = len(before) - 1
                elif self.text[end : end + 1] == b",":
                    end += 1
                name = ast.unparse(node.func)
                self._add("generator", keyword, f"{name} is called without the generator", (start, end, ""))
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        positional = [*node.args.posonlyargs, *node.args.args]
        defaults = [None] * (len(positional) - len(node.args.defaults)) + list(node.args.defaults)
        pairs = zip([*positional, *node.args.kwonlyargs], [*defaults, *node.args.kw_defaults], strict=True)
        for parameter, default in pairs:
            if default is None or parameter.arg == "generator":
                continue
            read = [
                n for part in node.body for n in ast.walk(part) if isinstance(n, ast.Name) and n.id == parameter.arg
            ]
            loads = [n for n in read if isinstance(n.ctx, ast.Load)]
            if loads and len(loads) == len(read):
                by = f"({ast.unparse(default)})"
                error = f"{node.name} ignores {parameter.arg}, always {ast.unparse(default)}"
                self._add("argument", parameter, error, *((*self._place(n), by) for n in loads))
        for part in [*node.args.defaults, *node.args.kw_defaults, *node.body]:
            if part is not None:
                self.visit(part)


def sites() -> Iterator[Mutant]:
    """Every mutant there could be, in the order of files and lines; those that do not compile are left out."""
    for path in sorted(MODELS.glob("*/*.py")):
        if path.name.startswith(LEFT_OUT):
            continue
        visitor = Sites(path.relative_to(MODELS).as_posix())
        visitor.visit(ast.parse(visitor.text))
        yield from visitor.found


def drawn(n: int, seed: int) -> list[Mutant]:
    """n mutants, of each kind as many, spread evenly over the folders."""
    dice = random.Random(seed)
    everything = list(sites())
    chosen: list[Mutant] = []
    for index, kind in enumerate(KINDS):
        queues: dict[str, list[Mutant]] = {}
        of_kind = [site for site in everything if site.kind == kind]
        for site in dice.sample(of_kind, len(of_kind)):
            queues.setdefault(site.folder, []).append(site)
        wanted = n // len(KINDS) + (index < n % len(KINDS))
        while wanted and queues:
            for folder in sorted(queues):
                if wanted:
                    chosen.append(queues[folder].pop())
                    wanted -= 1
                if not queues[folder]:
                    del queues[folder]
    return [mutant for mutant in chosen if _compiles(mutant)]


def _compiles(mutant: Mutant) -> bool:
    try:
        compile(mutant.source, mutant.file, "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def equivalent() -> dict[tuple[str, str, str], str]:
    """Mutants that change nothing one can see: file, line of source and error, to the reason."""
    entries = yaml.safe_load(EQUIVALENT.read_text()) or []
    return {(entry["file"], entry["where"], entry["error"]): entry["reason"] for entry in entries}
