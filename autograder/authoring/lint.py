"""What is wrong with a file of checks whatever a notebook does, read without running it.

A name that is not defined, an argument no fixture answers to, a check that never looks at the student, a function of
the judge's handed to student code (it can not cross), numbers that no seed draws, an `except` that swallows a
submission's fault, thresholds that are read beside those the report is made with.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator
from pathlib import Path

FIXTURES = frozenset({"student", "seed", "rng", "law_rng", "course_data", "figures", "data", "datasets", "request"})
HIDDEN = frozenset({"data", "datasets"})  # of them, those of hidden checks alone
ASKING = frozenset({"call", "keep", "call_with_echo", "gradient", "parameter_gradients", "jacobian", "run_fit"})
RANDOM = frozenset({"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial"})
SWALLOWING = frozenset({"Exception", "BaseException", "StudentFault", "AutograderError"})
MODULE_NAMES = frozenset({"__file__", "__name__", "__doc__", "__package__", "__spec__", "__builtins__"})


def lint(path: Path, *, public: bool = False) -> Iterator[str]:
    """One sentence for each problem, naming file and line.

    Args:
        public: the checks run on students' machines too, which do not have the thresholds.
    """
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source, str(path))
    problems = [*_undefined(source, tree, path)]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            if node.name.startswith("test_"):
                problems += _arguments(node, FIXTURES - HIDDEN if public else FIXTURES)
            problems += _handed_over(node)
    problems += [*_unseeded(tree), *_swallowed(tree), *_read_again(tree)]
    for line, sentence in sorted(problems):
        yield f"{path}, line {line}: {sentence}"


Problem = tuple[int, str]


def _undefined(source: str, tree: ast.Module, path: Path) -> Iterator[Problem]:
    top = symtable.symtable(source, str(path), "exec")
    known = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    known |= {child.get_name() for child in top.get_children()} | set(dir(builtins)) | MODULE_NAMES
    missing = {name for table in _tables(top) for name in _globals_of(table) if name not in known}
    seen: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in missing and node.id not in seen:
            seen.add(node.id)
            yield node.lineno, f"`{node.id}` is not defined."


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def _globals_of(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that are looked for in the module."""
    for symbol in table.get_symbols():
        at_top = table.get_type() == "module" and not symbol.is_assigned() and not symbol.is_imported()
        if symbol.is_referenced() and (symbol.is_global() or at_top):
            yield symbol.get_name()


def _arguments(node: ast.FunctionDef, fixtures: frozenset[str]) -> Iterator[Problem]:
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    for name in names:
        if name not in fixtures | _parameters(node):
            yield (
                node.lineno,
                f"`{node.name}` takes `{name}`, which is no fixture; there are {', '.join(sorted(fixtures))}.",
            )
    if "student" not in names:
        yield node.lineno, f"`{node.name}` does not take `student`, so no notebook can fail it."


def _parameters(node: ast.FunctionDef) -> set[str]:
    """Names that `parametrize` gives."""
    found: set[str] = set()
    for decorator in node.decorator_list:
        if not (isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute) and decorator.args):
            continue
        first = decorator.args[0]
        if decorator.func.attr == "parametrize" and isinstance(first, ast.Constant | ast.Tuple | ast.List):
            names = ast.literal_eval(first)
            found |= {name.strip() for name in (names.split(",") if isinstance(names, str) else names)}
    return found


def _handed_over(node: ast.FunctionDef) -> Iterator[Problem]:
    """Functions of the judge's among the arguments of student code."""
    own = {inner.name for inner in ast.walk(node) if isinstance(inner, ast.FunctionDef) and inner is not node}
    for found in ast.walk(node):
        if not isinstance(found, ast.Call):
            continue
        arguments = [*found.args, *(keyword.value for keyword in found.keywords)]
        if isinstance(found.func, ast.Name) and found.func.id in ASKING:
            if not (arguments and _is_students(arguments[0])):
                continue
            arguments = arguments[1:]
        elif not _is_students(found.func):
            continue
        for argument in arguments:
            if isinstance(argument, ast.Lambda):
                yield found.lineno, "a lambda is handed to student code; a function of the judge's can not cross."
            elif isinstance(argument, ast.Name) and argument.id in own:
                yield (
                    found.lineno,
                    f"`{argument.id}` is handed to student code; it is a function here and can not cross.",
                )


def _is_students(node: ast.expr) -> bool:
    """`student.name`, but for the methods of `student` itself."""
    own = {"get", "has", "at", "probe", "trained"}
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "student"
        and node.attr not in own
    )


def _unseeded(tree: ast.Module) -> Iterator[Problem]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RANDOM:
            of_torch = isinstance(node.func.value, ast.Name) and node.func.value.id == "torch"
            if of_torch and all(keyword.arg not in ("generator", None) for keyword in node.keywords):
                yield node.lineno, f"`torch.{node.func.attr}` draws without a generator, so no seed repeats it."


def _swallowed(tree: ast.Module) -> Iterator[Problem]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            names = {part.id for part in ast.walk(node.type) if isinstance(part, ast.Name)} if node.type else SWALLOWING
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if names & SWALLOWING and not raises:
                yield node.lineno, "this `except` swallows a submission's fault; name what is expected, or raise."


def _read_again(tree: ast.Module) -> Iterator[Problem]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value == "assignment.yaml":
            yield node.lineno, "`assignment.yaml` is read again, without the course's profile; take the fixture `data`."
