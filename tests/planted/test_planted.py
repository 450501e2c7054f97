"""Every planted error can be planted, every family has some, and a sample of them is caught here and now."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
import yaml

from reference_models.catalogue import families
from tests.planted.entries import ROOT, Planted, UnusableError, every_file, load

LEAST = 2  # errors a family


@pytest.fixture(scope="module")
def entries() -> list[Planted]:
    return [entry for file in every_file() for entry in load(file)]


def test_every_entry_belongs_to_a_family_or_to_what_they_share(entries):
    assert {entry.family for entry in entries} <= {family.name for family in families()} | {"parts"}


def test_every_family_has_planted_errors(entries):
    counted = Counter(entry.family for entry in entries)
    assert {family.name: counted[family.name] for family in families() if counted[family.name] < LEAST} == {}
    assert counted.total() >= 150


def test_no_error_is_planted_twice(entries):
    changes = Counter((entry.file, entry.source) for entry in entries)
    assert [file for (file, _), n in changes.items() if n > 1] == []


def test_an_error_has_a_description_of_its_own(entries):
    said = Counter((entry.family, entry.error) for entry in entries)
    assert [pair for pair, n in said.items() if n > 1] == []


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.planted", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})


def test_a_sample_of_the_errors_is_caught():
    """One or two a folder, the same ones each time; the unchanged tests run in this very suite."""
    done = run("--sample", "12", "--seed", "0", "--no-unchanged")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 of 12 caught" in done.stdout


# --- the runner itself


def test_an_entry_that_cannot_be_planted_is_refused(tmp_path):
    entry = {"family": "cfm", "file": "flow_matching/conditional.py", "error": "e"}
    good = {**entry, "replace": "(prediction - sample.dx_t)", "by": "(prediction + sample.dx_t)"}
    assert "prediction + sample.dx_t" in Planted.model_validate(good).source
    assert Planted.model_validate(good).module == "reference_models.flow_matching.conditional"
    for change, sentence in [
        ({"replace": "nowhere to be found"}, "must occur exactly once in .*, it occurs 0 times"),
        ({"replace": "self"}, "must occur exactly once"),
        ({"by": "(prediction - sample.dx_t"}, "does not compile"),
        ({"by": good["replace"]}, "changes nothing"),
        ({"file": "flow_matching/none.py"}, "there is no reference_models/flow_matching/none.py"),
        ({"tests": "flow_matching/test_none.py"}, "there is no tests/reference_models/flow_matching/test_none.py"),
        ({"why": "because"}, "Extra inputs are not permitted"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            Planted.model_validate({**good, **change})
    file = tmp_path / "entries.yaml"
    file.write_text("- family: cfm\n")
    with pytest.raises(UnusableError, match=r"entries.yaml, entry 1: file Field required"):
        list(load(file))
    file.write_text("family: cfm\n")
    with pytest.raises(UnusableError, match="a list of planted errors is expected"):
        list(load(file))


def test_unknown_names_are_refused_in_one_sentence():
    done = run("--family", "nobody")
    assert done.returncode == 2
    assert done.stderr.strip() == "there is no planted error of that folder and family"


# what a course of one tiny model looks like to the runner
MODEL = "def double(x):\n    return 2 * x\n\n\ndef spin():\n    return 0\n"
TEST = "from reference_models.toy.model import double\n\n\ndef test_double():\n    assert double(3) == 6\n"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A checkout with one module, its test and room for planted errors; gives a function that runs them."""
    for folder in ("reference_models/toy", "tests/reference_models/toy", "tests/planted"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\npythonpath = ["."]\n')
    for name in ("__main__.py", "entries.py", "mutants.py"):
        source = (ROOT / "tests" / "planted" / name).read_text()
        light = re.sub(r"HEAVY = \(.*?\n\)", "HEAVY = ()", source, flags=re.DOTALL)  # the toy needs no more
        (tmp_path / "tests" / "planted" / name).write_text(light)
    (tmp_path / "reference_models/toy/model.py").write_text(MODEL)
    (tmp_path / "tests/reference_models/toy/test_model.py").write_text(TEST)

    def plant(*changes: tuple[str, str, str], options: tuple[str, ...] = (), start=subprocess.run):
        common = {"family": "toy", "file": "toy/model.py"}
        entries = [{**common, "replace": old, "by": new, "error": error} for old, new, error in changes]
        (tmp_path / "tests/planted/toy.yaml").write_text(yaml.safe_dump(entries))
        command = [sys.executable, "-m", "tests.planted", *options]
        if start is subprocess.Popen:
            return start(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return start(command, cwd=tmp_path, capture_output=True, text=True)

    plant.folder = tmp_path
    return plant


def test_it_says_which_test_caught_which_and_fails_when_one_survives(toy):
    before = {path: path.read_bytes() for path in toy.folder.rglob("*.py")}
    done = toy(("2 * x", "3 * x", "triples"), ("return 0", "return 1", "nobody looks"))
    assert done.returncode == 1
    rows = [line for line in done.stdout.splitlines() if line.startswith("│")]
    assert "triples" in rows[0]
    assert "test_double" in rows[0]
    assert "nobody looks" in rows[1]
    assert "NOT CAUGHT" in rows[1]
    assert "1 of 2 caught" in done.stdout
    assert {path: path.read_bytes() for path in before} == before
    assert toy(("2 * x", "3 * x", "triples")).returncode == 0


def test_parts_are_all_of_it_and_nothing_twice(toy):
    changes = ("2 * x", "3 * x", "triples"), ("2 * x", "4 * x", "quadruples"), ("2 * x", "x", "forgets")
    said = [toy(*changes, options=("--no-unchanged", "--part", f"{i}/2")).stdout for i in (1, 2)]
    for _, _, error in changes:
        assert sum(error in text for text in said) == 1
    assert ["1 of 1 caught" in said[0], "2 of 2 caught" in said[1]] == [True, True]
    for wrong in ("0/2", "3/2", "2", "1/4"):
        done = toy(*changes, options=("--part", wrong))
        assert done.returncode == 2
        assert f"got {wrong}" in done.stderr


def test_what_does_not_import_hangs_or_dies_is_not_caught(toy):
    hangs = ("2 * x", '__import__("time").sleep(60)', "hangs")
    dies = ("2 * x", '__import__("os")._exit(0)', "dies")
    done = toy(hangs, dies, options=("--limit", "5"))
    assert done.returncode == 1
    assert done.stdout.count("NOT CAUGHT: the tests did not end") == 2
    done = toy(("def spin():", "boom()\n\n\ndef spin():", "does not import"))
    assert done.returncode == 1
    assert "NOT CAUGHT: E   NameError: name 'boom' is not defined" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_children_end_with_the_run(toy, number):
    """A child that would sleep for a minute writes its process group; after the signal nobody is left in it."""
    note = toy.folder / "group"
    sleeps = f'__import__("pathlib").Path({str(note)!r}).write_text(str(__import__("os").getpgrp())) * '
    sleeps += '(__import__("time").sleep(60) or 1)'
    run = toy(("2 * x", sleeps, "sleeps"), options=("--no-unchanged",), start=subprocess.Popen)
    try:
        wait_until(lambda: note.is_file() and note.read_text())
        group = int(note.read_text())
        assert group != os.getpgid(run.pid)
        run.send_signal(number)
        assert run.wait(timeout=30) == 128 + number
        wait_until(lambda: not group_lives(group))
    finally:
        run.kill()
        run.wait()


def wait_until(holds, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_nothing_is_planted_while_the_unchanged_tests_fail(toy):
    (toy.folder / "tests/reference_models/toy/test_model.py").write_text(TEST.replace("== 6", "== 7"))
    done = toy(("2 * x", "3 * x", "triples"))
    assert done.returncode == 1
    assert "tests/reference_models/toy/test_model.py fails without any error: test_double" in done.stderr
    assert "caught" not in done.stdout
    (toy.folder / "tests/reference_models/toy/test_model.py").write_text("")
    assert "no test ran" in toy(("2 * x", "3 * x", "triples")).stderr
