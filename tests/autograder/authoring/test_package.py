"""The wheel in a released zip is enough: `check` and the command run where only what it declares is installed."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from autograder.authoring.package import build_wheel
from autograder.authoring.release import pack, released_files
from autograder.homework.assignment import load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.homework.first_cell import WHEEL, first_cell

ROOT = Path(__file__).parents[3]
HW1 = HomeworkFiles("hw1", ROOT / "assignments", ROOT / "solutions")


def declared(wheel: Path, extra: str) -> dict[str, set[str]]:
    """What a wheel asks for, directly and through what it asks for: distribution -> its extras."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = archive.read(name).decode()
    asked = [line.removeprefix("Requires-Dist: ") for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    found: dict[str, set[str]] = {}
    waiting = list(wanted(asked, {extra}))
    while waiting:
        need = waiting.pop()
        if need.name in found and need.extras <= found[need.name]:
            continue
        found[need.name] = found.get(need.name, set()) | need.extras
        waiting += wanted(importlib.metadata.requires(need.name) or [], found[need.name] or {""})
    return found


def wanted(requirements: list[str], extras: set[str]) -> Iterator[Requirement]:
    for text in requirements:
        need = Requirement(text)
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
            yield need


def environment(folder: Path, wheel: Path, extra: str = "") -> Path:
    """An interpreter that has the wheel, and of all packages here those alone that it declares. Returns its path."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in declared(wheel, extra):
        distribution = importlib.metadata.distribution(name)
        tops = {path.parts[0] for path in distribution.files or [] if not path.parts[0].startswith("..")}
        for top in tops - {"__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--quiet", "--python", python, "install", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, capture_output=True)
    return python


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student's folder: the unpacked zip of homework 1."""
    folder = tmp_path_factory.mktemp("student")
    archive = pack("hw1", released_files(load_assignment(HW1)))
    zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)
    return folder / "hw1"


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run([python, *arguments], cwd=folder, env=clean, capture_output=True, text=True, timeout=300)


def test_check_runs_in_a_notebook_with_nothing_but_what_the_wheel_declares(released: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "venv", released / WHEEL)
    cells = [cell for cell in json.loads((released / "hw1.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
    first = "".join(cells[0]["source"])
    program = f"{first}\ndef made_masks(dims, hidden):\n    raise NotImplementedError()\ncheck('made-masks')"
    done = run(python, released, "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("FAILED")
    assert "this part is not written yet" in done.stdout
    for module in ("typer", "nbformat", "matplotlib", "docker"):
        assert run(python, released, "-c", f"import {module}").returncode == 1, f"{module} should not be there"


def test_the_command_runs_with_the_extra_it_is_said_to_need(released: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "venv", released / WHEEL, "cli")
    done = run(python, released, "-m", "autograder", "check", "hw1.ipynb", "--only", "made-masks")
    assert done.returncode == 1, done.stderr
    assert "made-masks" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_the_same_engine_gives_the_same_wheel(released: Path) -> None:
    assert build_wheel() == (released / WHEEL).read_bytes()


# --- the first cell


def ran(folder: Path, program: str, **environment: str) -> str:
    """What the first cell prints in an interpreter that has no package of ours."""
    command = [sys.executable, "-S", "-c", f"{program}\ncheck('double')"]
    clean = {"PATH": os.environ["PATH"], **environment}
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_alone_the_first_cell_says_what_to_do_and_the_notebook_runs_on(tmp_path: Path) -> None:
    said = ran(tmp_path, first_cell())
    assert f"put {WHEEL}, checks.py of the homework's zip beside this\nnotebook" in said
    assert "double: not checked" in said


def test_a_strangers_package_of_the_same_name_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "autograder").mkdir()
    (tmp_path / "autograder" / "__init__.py").write_text("")
    said = ran(tmp_path, first_cell(), PYTHONPATH=str(tmp_path))
    assert "Another package called `autograder` is installed here. Run `pip uninstall autograder`" in said


def test_a_notebook_opened_alone_fetches_what_it_needs_from_where_the_course_keeps_it(tmp_path: Path) -> None:
    course = tmp_path / "course"
    course.mkdir()
    (course / WHEEL).write_bytes(b"")  # fetched, and then refused by pip: the sentence comes, and nothing breaks
    (course / "checks.py").write_text("# fetched")
    (tmp_path / "alone").mkdir()
    (course / "points.csv").write_text("x")
    said = ran(tmp_path / "alone", first_cell(f"{course.as_uri()}/", ["points.csv"]))
    assert (tmp_path / "alone" / "points.csv").read_text() == "x"
    assert (tmp_path / "alone" / "checks.py").read_text() == "# fetched"
    assert (tmp_path / "alone" / WHEEL).exists()
    assert "double: not checked" in said


def test_the_first_cell_is_the_same_in_every_course_but_for_the_place_of_its_files() -> None:
    assert first_cell().count("@") == 0
    assert first_cell("https://a.example/hw1").replace("https://a.example/hw1", "") == first_cell()
    assert compile(first_cell(), "first cell", "exec")
