"""Which definitions a definition reaches, found in the syntax trees of our own modules without running them.

A node is a name bound at the top level of a file; its edges are the names its tree uses, followed through imports to
the file that binds them. A face that only passes names on (an `__init__`, `autograder.checks`) is followed through, so
that it does not pull in all it could give. What a file does when it is imported, beside binding names, is a node of its
own, called "", that whoever reaches the file reaches. Comments and docstrings are in no tree.

A name counts wherever it is written, also where something local hides it: too much is reached, never too little.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path

HOMES = "HOMES"  # of a lazy face: module -> the names that are found there
PROBE = "probe"  # student.probe("Name", …) reaches a class of the probes
BESIDE = "probe_beside"  # as does probe_beside(h, "Name", …), which hands the name on


@dataclass(frozen=True, order=True)
class Node:
    """A name that a file binds, or "" for what importing it does."""

    file: Path
    name: str


Target = Node | Path  # a definition, or a whole module
Import = tuple[str, int, str | None]  # module, level, name; a module itself has no name


@dataclass
class Source:
    """One file, taken apart."""

    path: Path
    bound: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)
    loads: list[Import] = field(default_factory=list)  # every import that runs with the file
    stars: list[Import] = field(default_factory=list)
    statements: list[ast.stmt] = field(default_factory=list)
    homes: dict[str, str] = field(default_factory=dict)  # of a lazy face: name -> module
    digests: dict[str, str] = field(default_factory=dict)  # name -> hash, of those that were asked for

    @classmethod
    def read(cls, path: Path) -> Source:
        """Take a file apart, once for each content that it has. Raises SyntaxError."""
        return _taken_apart(path, path.read_bytes())

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    def tree_of(self, name: str) -> list[ast.stmt]:
        """What binds a name; for "" what runs."""
        return self.bound.get(name, []) if name else self.statements

    def digest(self, name: str) -> str:
        """A hash over what binds a name."""
        if name not in self.digests:
            text = "\0".join(ast.dump(statement) for statement in self.tree_of(name))
            self.digests[name] = sha256(text.encode()).hexdigest()[:16]
        return self.digests[name]

    def take(self, statement: ast.stmt, inside: bool = False) -> None:
        """Add a statement of the file."""
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for name, what in imported(statement):
                if name == "*":
                    self.stars.append(what)
                else:
                    self.imports[name] = what
                self.loads.append(what)
            if isinstance(statement, ast.Import):
                self.loads += [(alias.name, 0, None) for alias in statement.names]
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._bind(statement.name, statement)
            if any("autouse" in ast.dump(decorator) for decorator in statement.decorator_list):
                self.statements.append(statement)
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and (names := _names_of(statement)):
            for name in names:
                self._bind(name, statement)
            if names == [HOMES] and isinstance(statement.value, ast.Dict):
                homes = ast.literal_eval(statement.value)
                self.homes = {name: home for home, given in homes.items() for name in given}
        elif not _only_for_types(statement):
            if not inside:
                self.statements.append(statement)
            for part in ast.iter_child_nodes(statement):
                for below in [part, *getattr(part, "body", [])] if isinstance(part, ast.ExceptHandler) else [part]:
                    if isinstance(below, ast.stmt):
                        self.take(below, inside=True)

    def _bind(self, name: str, statement: ast.stmt) -> None:
        self.bound.setdefault(name, []).append(statement)


@cache
def _taken_apart(path: Path, content: bytes) -> Source:
    source = Source(path)
    for statement in _without_docstrings(ast.parse(content, filename=str(path))).body:
        source.take(statement)
    return source


class Definitions:
    """The definitions of our own files.

    Args:
        roots: folders in which modules are looked for by their dotted names.
        engine: our own package. Beside it may lie all that is installed, which is not ours.
        probes: the package of the probes.
        names: how files are called in what is said: a folder -> the name it has there.
        carriers: files whose definitions reach nothing and say nothing, but for what importing them does.
    """

    def __init__(
        self, roots: Iterable[Path], engine: Path, probes: Path, names: dict[Path, str], carriers: Iterable[Path] = ()
    ) -> None:
        self._carriers = frozenset(carriers)
        self._homes = [root.resolve() for root in roots]
        self._engine = engine.resolve()
        self._roots = [*self._homes, self._engine.parent]
        self._probes = probes.resolve()
        self._names = {folder.resolve(): name for folder, name in names.items()}
        self._sources: dict[Path, Source] = {}
        self._edges: dict[Node, frozenset[Node]] = {}
        self._run_with: dict[Path, list[Path]] = {}
        self._loaded: dict[Path, frozenset[Path]] = {}
        self._modules: dict[tuple[Path | None, str], Path | None] = {}
        self.looked_for: dict[Path, bool] = {}  # every file that was looked for, and whether it was there

    @property
    def read(self) -> list[Path]:
        """Every file that was taken apart."""
        return sorted(self._sources)

    def reach(self, roots: Iterable[Node], known: frozenset[Node] = frozenset()) -> frozenset[Node]:
        """All that these definitions reach, themselves included, and what importing their files does.

        Args:
            known: reached before; not gone into again, and not returned.
        """
        found: set[Node] = set()
        files = {node.file for node in known}
        queue = list(roots)
        while queue:
            node = queue.pop()
            if node in found or node in known:
                continue
            found.add(node)
            if node.file not in files:
                files.add(node.file)
                queue += (Node(file, "") for file in self._with_what_it_loads(node.file))
            if node.file not in self._carriers:
                queue += self._edges_of(node)
        return frozenset(found)

    def digest(self, node: Node) -> str:
        """A hash over a definition's tree."""
        return self.source(node.file).digest(node.name)

    def tree_of(self, node: Node) -> list[ast.stmt]:
        """What a definition says."""
        if node.name and node.file in self._carriers:
            return []
        return self.source(node.file).tree_of(node.name)

    def label(self, node: Node) -> str:
        """A definition's name, the same on every machine: "solutions/hw1/laws.py: bars_law"."""
        for folder, name in self._names.items():
            if folder in node.file.parents:
                return f"{name}/{node.file.relative_to(folder).as_posix()}: {node.name or 'what importing it does'}"
        return f"{node.file.name}: {node.name}"

    def whole(self, file: Path) -> list[Node]:
        """Every definition of a file."""
        source = self.source(file)
        return [Node(source.path, name) for name in ("", *source.bound)]

    def source(self, file: Path) -> Source:
        """A file, taken apart once."""
        if file not in self._sources:
            self._sources[file] = Source.read(file)
        return self._sources[file]

    # --- edges

    def _edges_of(self, node: Node) -> frozenset[Node]:
        if node.file == self._probes:
            return frozenset()  # the table of all probes: a check reaches those that it names
        if node not in self._edges:
            source = self.source(node.file)
            found: set[Node] = set()
            for statement in source.tree_of(node.name):
                found |= _Uses(self, source, statement).found
            self._edges[node] = frozenset(found)
        return self._edges[node]

    def _with_what_it_loads(self, file: Path) -> frozenset[Path]:
        """A file and all of ours that run when it is imported."""
        if file not in self._loaded:
            found: set[Path] = set()
            queue = [file]
            while queue:
                path = queue.pop()
                if path not in found:
                    found.add(path)
                    queue += self._those_it_runs(path)
            self._loaded[file] = frozenset(found)
        return self._loaded[file]

    def _those_it_runs(self, file: Path) -> list[Path]:
        """The files of ours that a file's import runs itself: the packages above it, and what it names."""
        if file not in self._run_with:
            named = (path for what in self.source(file).loads for path in self._files_of(file, what))
            self._run_with[file] = list(dict.fromkeys([*self._packages_of(file), *named]))
        return self._run_with[file]

    def _packages_of(self, file: Path) -> list[Path]:
        """The `__init__` of every package above a file."""
        above = (folder / "__init__.py" for folder in file.parents if any(r in folder.parents for r in self._roots))
        return [path for path in above if self._is_file(path)]

    def _files_of(self, file: Path, what: Import) -> list[Path]:
        module, level, name = what
        files = self._module_files(file, module, level)
        if name is not None and (sub := self._module(file, f"{module}.{name}".strip("."), level)) is not None:
            files.append(sub)
        return files

    def _module_files(self, file: Path, module: str, level: int) -> list[Path]:
        """The file of a module and those of the packages around it."""
        parts = module.split(".") if module else []
        found = [self._module(file, ".".join(parts[:count]), level) for count in range(len(parts) + 1)]
        return [path for path in found if path is not None]

    def _module(self, file: Path, module: str, level: int) -> Path | None:
        """The file of a module; None if it is none of ours."""
        start = file.parents[level - 1] if level else None
        if (start, module) not in self._modules:
            self._modules[start, module] = self._look_for(start, module)
        return self._modules[start, module]

    def _look_for(self, start: Path | None, module: str) -> Path | None:
        parts = module.split(".") if module else []
        folders = [] if start is None else [start]
        if start is None and parts:
            folders = [*self._homes, *([self._engine.parent] if parts[0] == self._engine.name else [])]
        for folder in folders:
            place = folder.joinpath(*parts)
            for path in (place / "__init__.py", place.with_suffix(".py")) if parts else (place / "__init__.py",):
                if self._is_file(path):
                    return path.resolve()
        return None

    def _is_file(self, path: Path) -> bool:
        if path not in self.looked_for:
            self.looked_for[path] = path.is_file()
        return self.looked_for[path]

    def find(self, source: Source, name: str, seen: frozenset[tuple[Path, str]] = frozenset()) -> list[Target]:
        """What a name means in a file: definitions, or a module."""
        if (source.path, name) in seen:
            return []
        seen |= {(source.path, name)}
        found: list[Target] = [Node(source.path, name)] if name in source.bound else []
        if name in source.imports:
            found += self.follow(source.path, source.imports[name], seen)
        if not found and name in source.homes:
            found += self.follow(source.path, (source.homes[name], 0, name), seen)
        for module, level, _ in [] if found else source.stars:
            if (path := self._module(source.path, module, level)) is not None:
                found += self.find(self.source(path), name, seen)
        if not found and source.is_package and (sub := self._module(source.path, name, 1)) is not None:
            found.append(sub)
        return found

    def follow(self, file: Path, what: Import, seen: frozenset[tuple[Path, str]] = frozenset()) -> list[Target]:
        """What an import gives."""
        module, level, name = what
        path = self._module(file, module, level)
        if name is None:
            return [] if path is None else [path]
        found = [] if path is None else self.find(self.source(path), name, seen)
        if not found and (sub := self._module(file, f"{module}.{name}".strip("."), level)) is not None:
            found = [sub]
        return found

    def probe(self, name: str | None) -> list[Node]:
        """The class of a probe; of all of them where its name is not written out."""
        source = self.source(self._probes)
        names = [name] if name is not None else list(source.imports)
        return [target for one in names for target in self.find(source, one) if isinstance(target, Node)]


class _Uses(ast.NodeVisitor):
    """The definitions that a statement uses."""

    def __init__(self, definitions: Definitions, source: Source, statement: ast.stmt) -> None:
        self.found: set[Node] = set()
        self._definitions, self._source = definitions, source
        self._hands_on = isinstance(statement, ast.FunctionDef) and statement.name == BESIDE
        self._local: dict[str, Import] = {}
        for part in ast.walk(statement):
            if isinstance(part, ast.Import | ast.ImportFrom):
                for name, what in imported(part):
                    self._local[name] = what
                    self._add(definitions.follow(source.path, what), [], whole=False)
        self.visit(statement)

    def visit_Name(self, node: ast.Name) -> None:
        self._use(node.id, [])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain: list[str] = []
        part: ast.expr = node
        while isinstance(part, ast.Attribute):
            chain.insert(0, part.attr)
            part = part.value
        if isinstance(part, ast.Name):
            self._use(part.id, chain)
        else:
            self.visit(part)

    def visit_arg(self, node: ast.arg) -> None:
        """A parameter may be a fixture that the same file defines."""
        if any("fixture" in ast.dump(d) for s in self._source.bound.get(node.arg, []) for d in _decorators(s)):
            self._use(node.arg, [])
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        named = node.args[:1] if isinstance(node.func, ast.Attribute) and node.func.attr == PROBE else []
        if isinstance(node.func, ast.Name) and node.func.id == BESIDE:
            named = node.args[1:2]
        for one in named if not self._hands_on else []:
            name = one.value if isinstance(one, ast.Constant) and isinstance(one.value, str) else None
            self.found |= set(self._definitions.probe(name))
        self.generic_visit(node)

    def _use(self, name: str, chain: list[str]) -> None:
        if name in self._local:
            self._add(self._definitions.follow(self._source.path, self._local[name]), chain)
        self._add(self._definitions.find(self._source, name), chain)

    def _add(self, targets: list[Target], chain: list[str], *, whole: bool = True) -> None:
        for target in targets:
            if isinstance(target, Node):
                self.found.add(target)
                continue
            self.found.add(Node(target, ""))
            source = self._definitions.source(target)
            if chain:
                self._add(self._definitions.find(source, chain[0]), chain[1:])
            elif whole:  # handed on as a whole
                self.found |= {Node(target, name) for name in source.bound}


def imported(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Import]]:
    """Every name that an import binds, with what it means."""
    for alias in statement.names:
        if isinstance(statement, ast.ImportFrom):
            yield alias.asname or alias.name, (statement.module or "", statement.level, alias.name)
        elif alias.asname:
            yield alias.asname, (alias.name, 0, None)
        else:
            yield alias.name.split(".")[0], (alias.name.split(".")[0], 0, None)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            text = first.value if isinstance(first, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                node.body = node.body[1:] or ([] if isinstance(node, ast.Module) else [ast.Pass()])
    return tree


def _names_of(statement: ast.Assign | ast.AnnAssign) -> list[str]:
    """The names an assignment binds; none if it writes anywhere else as well."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    flat = [part for t in targets for part in (t.elts if isinstance(t, ast.Tuple | ast.List) else [t])]
    names = [part.id for part in flat if isinstance(part, ast.Name)]
    return names if len(names) == len(flat) else []


def _only_for_types(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test)


def _decorators(statement: ast.stmt) -> list[ast.expr]:
    return getattr(statement, "decorator_list", [])
