"""What travels to another machine, who may talk to it, and when it refuses."""

from __future__ import annotations

import asyncio
import stat
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from autograder.course.settings import CourseConfig
from autograder.errors import UserError
from autograder.grading import machine as machines
from autograder.grading import node as nodes
from autograder.grading import serving
from autograder.grading.bundle import packed
from autograder.grading.executor import Trouble
from autograder.grading.machine import ailing, differences, machine
from autograder.grading.node import Died, Gone, Node, Parcel, Slot, Terms
from autograder.grading.tls import make_certificates, security
from autograder.homework.assignment import load_assignment
from autograder.homework.files import HomeworkFiles
from autograder.judge.basis import basis_of
from autograder.judge.job import Job
from autograder.submission import Submission
from autograder.yamlfile import load_yaml
from tests.autograder import at_work
from tests.autograder.course_factory import NAME, make_repository, plant_variants

ROOT = Path(__file__).resolve().parents[3]
ADDRESS = "tls://127.0.0.1:8786"


@pytest.mark.parametrize("name", [f"hw{n}" for n in range(1, 7)])
def test_a_bundle_holds_what_a_judge_needs_and_nothing_of_other_homeworks(tmp_path, name):
    files = HomeworkFiles(name, ROOT / "assignments", ROOT / "solutions")
    bundle = packed(files)
    bundle.lay(tmp_path / "laid")
    there = bundle.files(tmp_path / "laid", files)
    where = {"sandbox": "process"}
    assert basis_of(load_assignment(there), where).whole == basis_of(load_assignment(files), where).whole
    names = {path.relative_to(tmp_path / "laid").as_posix() for path in (tmp_path / "laid").rglob("*")}
    assert f"hidden/solutions/{name}/{name}.py" in names, "checks are tried on the solution"
    others = {f"hidden/solutions/hw{n}/hw{n}.py" for n in range(1, 7)} - {f"hidden/solutions/{name}/{name}.py"}
    assert not names & others
    assert not any(part in path for path in names for part in ("variants", "cheats", "__pycache__", "tests/"))


def test_a_bundle_is_named_by_what_it_holds_and_brings_what_hidden_code_imports(tmp_path):
    repository = make_repository(tmp_path)
    plant_variants(repository)
    first = packed(repository.files)
    assert packed(repository.files) == first
    assert b"wrong-factor" not in first.data
    models = tmp_path / "models"
    models.mkdir()
    (models / "__init__.py").write_text("from helpers import number\n")
    (tmp_path / "helpers.py").write_text("number = 3\n")
    (tmp_path / "unrelated.py").write_text("secret = 4\n")
    checks = repository.files.hidden / "checks.py"
    checks.write_text(f"import models\n{checks.read_text()}")
    second = packed(repository.files)
    assert second.digest != first.digest
    second.lay(tmp_path / "laid")
    beside = {path.name for path in (tmp_path / "laid" / "hidden").iterdir()}
    assert beside == {"solutions", "models", "helpers.py"}
    assert stat.S_IMODE((tmp_path / "laid").stat().st_mode) == 0o700


def test_a_bundle_that_does_not_fit_is_not_there_at_all(tmp_path, monkeypatch):
    bundle = packed(make_repository(tmp_path).files)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zipfile.ZipFile.extractall", full)
    with pytest.raises(OSError, match="No space left"):
        bundle.lay(tmp_path / "laid")
    assert [path.name for path in tmp_path.iterdir() if "laid" in path.name] == []


# --- which machine


def test_a_machine_that_would_grade_otherwise_says_in_what():
    mine = machine("process", None)
    assert differences(mine, dict(mine)) == ""
    said = differences(mine, mine | {"torch": "1.0", "numpy": "9"})
    assert f"numpy is {mine['numpy']} here and 9 there, torch is {mine['torch']} here and 1.0 there" in said
    assert "install the same on both" in said
    assert {"Python", "autograder", "torch", "numpy", "the sandbox's sandbox"} <= mine.keys()


def test_a_machine_without_room_says_so(tmp_path, monkeypatch):
    assert ailing("process", None, tmp_path) == ""
    monkeypatch.setattr(machines, "ROOM", 1 << 60)
    assert "make room there" in ailing("process", None, tmp_path)


@pytest.fixture
def node(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Node("process", 1)
    yield made
    made.close()
    assert not made.folder.exists()


def test_a_node_lays_what_it_may_grade_and_removes_it(tmp_path, node):
    terms = Terms(packed(make_repository(tmp_path / "r").files), "process", None, machine("process", None))
    node.admit(terms)
    place = node.folder / terms.bundle.digest
    assert (node.refused, node.ails, place.is_dir()) == ("", "", True)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (node.folder, place)} == {0o700}
    node.forget(terms.bundle.digest)
    assert not place.exists()


def test_a_node_refuses_what_it_would_grade_otherwise_and_lays_nothing(tmp_path, node):
    other = machine("process", None) | {"torch": "1.0"}
    node.admit(Terms(packed(make_repository(tmp_path / "r").files), "process", None, other))
    assert "would grade otherwise" in node.refused
    assert not list(node.folder.iterdir())
    node.refused = ""
    here = machine("process", None)
    bundle = packed(make_repository(tmp_path / "s").files)
    node.admit(Terms(bundle, "process", None, here, datasets=[tmp_path / "mnist"]))
    assert f"no data set in {tmp_path / 'mnist'}" in node.refused


def parcel(terms: Terms) -> Parcel:
    job = Job(HomeworkFiles(NAME, Path("/there"), Path("/there/solutions")), Submission.of("ada", b"{}"), "process")
    return Parcel(at_work.name, job, terms.bundle.digest, None, b"")


@pytest.fixture
def admitted(tmp_path, node) -> Terms:
    terms = Terms(packed(make_repository(tmp_path / "r").files), "process", None, machine("process", None))
    node.admit(terms)
    return terms


def test_a_job_of_a_class_that_a_node_does_not_know_is_given_back(admitted, node):
    node.forget(admitted.bundle.digest)
    assert node.do(parcel(admitted)) == Gone(missing=True)
    assert node.is_idle


@pytest.mark.parametrize("result", [Trouble("ada", "no engine"), BrokenExecutor()], ids=["trouble", "death"])
def test_what_fails_on_a_machine_that_ails_is_given_back_and_counts_for_nothing(admitted, node, monkeypatch, result):
    def done(slot: Slot, parcel: Parcel, job: Job) -> object:
        Path(str(job.spool)).write_bytes(b"found")
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(Slot, "do", done)
    assert node.do(parcel(admitted)) == (Died(b"found") if isinstance(result, Exception) else result)
    monkeypatch.setattr(nodes, "ailing", lambda *arguments: "no container engine answers")
    assert node.do(parcel(admitted)) == Gone()
    assert node.ails == "no container engine answers"
    monkeypatch.setattr(Slot, "do", lambda *arguments: pytest.fail("it takes nothing more"))
    assert node.do(parcel(admitted)) == Gone()
    monkeypatch.setattr(nodes, "ailing", lambda *arguments: "")
    assert node.looks() == ""


def test_a_node_without_room_for_a_bundle_ails_and_gives_jobs_back(tmp_path, node, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    terms = Terms(packed(make_repository(tmp_path / "r").files), "process", None, machine("process", None))
    with monkeypatch.context() as patch:
        patch.setattr("zipfile.ZipFile.extractall", full)
        node.admit(terms)
    assert "No space left" in node.ails
    assert node.do(parcel(terms)) == Gone(missing=False)


# --- who may talk to it


def test_certificates_are_for_their_owner_alone_and_are_not_made_over_others(tmp_path):
    paths = make_certificates(tmp_path / "cluster")
    assert [path.name for path in paths] == ["ca.pem", "scheduler.pem", "worker.pem", "client.pem"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert stat.S_IMODE(paths[0].parent.stat().st_mode) == 0o700
    assert b"PRIVATE KEY" not in paths[0].read_bytes(), "the authority's own key is kept nowhere"
    with pytest.raises(UserError, match="exists and is not empty"):
        make_certificates(tmp_path / "cluster")


def test_a_cluster_is_encrypted_unless_somebody_insists(tmp_path):
    make_certificates(tmp_path / "cluster")
    found = security(ADDRESS, tmp_path / "cluster", "client")
    assert found is not None
    assert found.require_encryption
    with pytest.raises(UserError, match=r"is not encrypted.*--no-tls"):
        security("tcp://127.0.0.1:8786", tmp_path / "cluster", "client")
    assert security("tcp://127.0.0.1:8786", tmp_path, "client", plain=True) is None


@pytest.mark.parametrize(
    "address", ["scheduler:8786", "tls://scheduler", "tls://:1", "http://a:1", "tls://a:0", "tls://a:70000"]
)
def test_a_bad_address_is_a_sentence_on_the_command_line_and_in_the_settings(tmp_path, address):
    with pytest.raises(UserError, match="should be an address such as tls://scheduler:8786"):
        security(address, tmp_path, "client")
    settings = tmp_path / "course.yaml"
    settings.write_text(f"name: a\nassignments: a\nsolutions: b\ncluster:\n  address: {address}\n")
    with pytest.raises(UserError, match=r"line 5: `cluster.address` should be an address such as"):
        load_yaml(settings, CourseConfig)


def test_certificates_that_are_missing_open_or_none_are_sentences(tmp_path):
    folder = tmp_path / "cluster"
    with pytest.raises(UserError, match=r"ca\.pem is not there; `autograder cluster init"):
        security(ADDRESS, folder, "client")
    make_certificates(folder)
    (folder / "client.pem").chmod(0o640)
    with pytest.raises(UserError, match="others may read the key"):
        security(ADDRESS, folder, "client")
    (folder / "client.pem").chmod(0o600)
    (folder / "client.pem").write_text("nothing")
    with pytest.raises(UserError, match="is no certificate"):
        security(ADDRESS, folder, "client")
    (folder / "worker.pem").unlink()
    with pytest.raises(UserError, match=r"worker\.pem is not there"):
        security(ADDRESS, folder, "worker")


def test_without_its_packages_a_cluster_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "trustme", None)
    with pytest.raises(UserError, match=r'pip install "dgm-autograder\[cluster\]"'):
        make_certificates(tmp_path / "cluster")
    with pytest.raises(UserError, match=r'pip install "dgm-autograder\[cluster\]"'):
        security(ADDRESS, tmp_path, "client")


def test_a_connection_that_is_cut_while_it_is_made_is_no_end_of_a_worker(monkeypatch):
    async def cut(*arguments: object, **options: object) -> None:
        raise ValueError("IOStream is not idle; cannot convert to SSL")

    monkeypatch.setattr(serving, "connect", cut)
    assert not asyncio.run(serving._answers(ADDRESS, None, 1.0))
