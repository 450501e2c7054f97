"""Who may import whom, what a student's installation holds, and what no file of the project may name."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("autograder", "assignments", "solutions", "reference_models")
WORKER = ROOT / "autograder" / "worker"


def modules(path: Path) -> Iterator[str]:
    """Everything a file imports, anywhere in it, by absolute name."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    """The four packages a file imports from."""
    return {module.split(".")[0] for module in modules(path)} & set(PACKAGES)


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("autograder", {"autograder"}),
        ("assignments", {"autograder"}),
        ("solutions", {"autograder", "reference_models", "solutions"}),
        ("reference_models", {"reference_models"}),
    ],
)
def test_packages_import_only_what_they_may(folder, allowed):
    assert {named(path): ours(path) - allowed for path in files(folder) if ours(path) - allowed} == {}


def test_the_engine_knows_no_particular_homework():
    text = {named(path): path.read_text() for path in files("autograder")}
    assert [name for name, source in text.items() if re.search(r"\bimport\b.*\bhw\d", source)] == []


def test_reference_models_and_the_worker_stand_alone():
    tools = {"scipy", "sklearn", "safetensors", "matplotlib", "rich", "typer"}
    for folder, own, more in (
        ("reference_models", "reference_models", tools),
        ("autograder/worker", "autograder.worker", {"IPython"}),
    ):
        allowed = sys.stdlib_module_names | {"torch", "numpy"} | more
        for path in files(folder):
            foreign = {m for m in modules(path) if m.split(".")[0] not in allowed and not m.startswith(own)}
            assert foreign == set(), named(path)


@pytest.mark.parametrize("path", sorted(ROOT.glob("assignments/*/checks.py")), ids=named)
def test_public_checks_use_the_public_face_only(path):
    used = {module for module in modules(path) if module.split(".")[0] == "autograder"}
    assert {module for module in used if not module.startswith("autograder.checks.")} <= {"autograder.checks"}


@pytest.mark.parametrize("path", sorted(ROOT.glob("solutions/*/hw*.py")), ids=named)
def test_a_solution_notebook_imports_what_a_students_would(path):
    used = {module for module in modules(path) if module.split(".")[0] in PACKAGES}
    assert used <= {"autograder", "autograder.check", "autograder.course_data"}


def project_files() -> list[Path]:
    """Everything git knows or would add; outside a repository, everything."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True).stdout.decode().split("\0")
    paths = [ROOT / name for name in listed if name] or list(ROOT.rglob("*"))
    return [path for path in paths if path.is_file()]


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after a statement."""
    program = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_or_the_command_is_quick():
    heavy = {"torch", "pytest", "numpy", "nbgrader", "docker", "sqlalchemy", "matplotlib", "sklearn", "scipy"}
    assert loaded_by("import autograder") & heavy == set()
    assert loaded_by("from autograder import cli") & heavy == set()


def test_the_process_that_serves_a_class_loads_no_torch():
    statement = "from autograder.grading import batch; from autograder.sandbox import docker, process"
    assert loaded_by(statement) & {"torch", "pytest", "nbconvert", "nbgrader", "scipy"} == set()


def test_a_check_in_a_notebook_reaches_no_grader():
    statement = "from autograder import check; check"
    assert loaded_by(statement) & {"nbgrader", "docker", "sqlalchemy", "solutions", "reference_models"} == set()


def test_the_worker_runs_from_a_copy_of_its_folder_alone(tmp_path):
    (tmp_path / "worker").mkdir()
    for path in WORKER.glob("*.py"):
        (tmp_path / "worker" / path.name).write_bytes(path.read_bytes())
    command = [sys.executable, "-I", str(tmp_path / "worker"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--socket" in done.stdout


# --- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """Built from a copy, so that building leaves nothing in the project."""
    folder = tmp_path_factory.mktemp("wheel")
    wanted = (*(f"{package}/" for package in PACKAGES), "pyproject.toml")
    for path in project_files():
        if named(path).startswith(wanted):
            target = folder / "project" / named(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(folder)]
    subprocess.run([*command, str(folder / "project")], check=True, cwd=folder, capture_output=True)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_the_engine_and_nothing_hidden(wheel):
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == {"autograder"}
    (top,) = [name for name in wheel.namelist() if name.endswith("top_level.txt")]
    assert wheel.read(top).decode().split() == ["autograder"]


def test_the_wheel_holds_everything_the_engine_reads(wheel):
    names = set(wheel.namelist())
    for path in (ROOT / "autograder").rglob("*"):
        if path.suffix in (".py", ".json", ".html", ".css", ".j2") or path.name == "Dockerfile":
            assert named(path) in names


def test_no_hidden_line_is_in_the_wheel(wheel):
    """Lines of the hidden checks that are long enough to be nobody else's."""
    hidden = {
        line.strip()
        for path in [*files("solutions"), *files("reference_models")]
        for line in path.read_text().splitlines()
        if len(line.strip()) > 60 and not line.strip().startswith(("import", "from", "#"))
    }
    whole = "\n".join(wheel.read(name).decode("utf-8", "replace") for name in wheel.namelist())
    public = "\n".join(path.read_text() for path in [*files("assignments"), *(ROOT / "assignments").rglob("*.ipynb")])
    assert [line for line in hidden if line in whole and line not in public] == []


# --- words


def test_no_file_names_a_place_or_a_person_of_one_machine():
    places = ("/" + "work/", "/" + "tmp/" + "setup", "/" + "root/", "/home/" + "user", "." + "pyenv")
    found = {}
    for path in project_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        hits = [place for place in places if place in text]
        if hits:
            found[named(path)] = hits
    assert found == {}


def test_nothing_is_left_to_do_later():
    words = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
    paths = [path for folder in ("autograder", "solutions", "reference_models") for path in files(folder)]
    assert [named(path) for path in paths if words.search(path.read_text())] == []


def test_reading_notebooks_builds_no_grammar():
    """Later releases of jsonschema do, through an extra that nbgrader asks for: 1.4 s in every command."""
    code = "import sys, nbformat, nbgrader; print(sorted({'lark', 'rfc3987_syntax'} & sys.modules.keys()))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
