"""The audit reads the checks as well: what is wrong with a check whatever a notebook does is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.authoring import audit as audit_module
from autograder.authoring.audit import run_audit
from tests.autograder.course_factory import NAME, make_repository, plant_variants

ROOT = Path(__file__).resolve().parents[3]
HEADER = "import pytest\nimport torch\nfrom autograder.checks import assert_close, call\n\n\n"
GRADED = '@pytest.mark.graded("double", points=1)\ndef test_it({arguments}):\n    """What holds."""\n'


def lint(folder: Path, body: str, arguments: str = "student", header: str = HEADER) -> list[str]:
    from autograder.authoring.lint import lint as read

    path = folder / "checks.py"
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    path.write_text(header + GRADED.format(arguments=arguments) + lines)
    return list(read(path))


EVERYTHING = "student, rng, seed, figures, law_rng"
TRY = "try:\n    student.double(1)\n"
PROBLEMS = {
    "an undefined name": ("assert student.double(1) == expcted", "student", "`expcted`"),
    "a name where nobody goes": ("if student.double(1) is None:\n    raise Wrong('x')", "student", "`Wrong`"),
    "an undefined name in a comprehension": ("assert student.double([y for x in range(3)])", "student", "`y`"),
    "an unknown fixture": ("assert student.double(data_set)", "student, data_set", "`data_set`"),
    "no student": ("assert True", "rng", "`student`"),
    "a lambda handed over": ("student.double(lambda x: x)", "student", "lambda"),
    "a judge's function handed over": ("def f(x):\n    return x\nstudent.double(f)", "student", "`f`"),
    "a function by call": ("def f(x):\n    return x\ncall(student.double, f)", "student", "`f`"),
    "numbers without a generator": ("assert_close(student.double(torch.randn(3)), 1.0)", "student", "`torch.randn`"),
    "a swallowed fault": (f"{TRY}except Exception:\n    pass", "student", "except"),
    "a bare except": (f"{TRY}except:\n    pass", "student", "except"),
    "thresholds of its own": ('assert student.double(1) < len(open("assignment.yaml").read())', "student", "`data`"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_is_wrong_with_a_check_is_said_with_its_line(tmp_path, name):
    body, arguments, word = PROBLEMS[name]
    (sentence,) = lint(tmp_path, body, arguments)
    assert word in sentence
    assert "checks.py, line " in sentence


SOUND = {
    "parameters": ("for n in (1, 2):\n    assert student.double(n) == 2 * n", "student"),
    "a lambda for an assertion": ("assert_close(call(lambda x: student.double(x), 1), 2)", "student"),
    "a handle": ("f = student.double\ncall(f, f)", "student"),
    "a generator": ("x = torch.randn(3, generator=rng)\nassert_close(student.double(x), 2 * x)", EVERYTHING),
    "a class below": ("class A:\n    y = 1\nassert student.double(A.y) == 2", "student"),
    "an exception by name": (f"{TRY}except KeyError as error:\n    raise ValueError(str(error)) from None", "student"),
    "a walrus": ("assert (y := student.double(1)) and y", "student"),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_what_is_sound_is_left_alone(tmp_path, name):
    assert lint(tmp_path, *SOUND[name]) == []


def test_parameters_are_no_unknown_fixtures(tmp_path):
    from autograder.authoring.lint import lint as read

    path = tmp_path / "checks.py"
    mark = '@pytest.mark.parametrize(("a", "b"), [(1, 2)])\n@pytest.mark.parametrize("c,d", [(1, 2)])\n'
    path.write_text(HEADER + mark + GRADED.format(arguments="student, a, b, c, d") + "    student.double(a, b, c, d)\n")
    assert list(read(path)) == []


def test_the_checks_of_every_homework_are_sound():
    from autograder.authoring.lint import lint as read

    files = [
        *ROOT.glob("assignments/*/checks.py"),
        *ROOT.glob("solutions/*/checks*.py"),
        *ROOT.glob("solutions/[!c]*/*s.py"),
    ]
    assert len(files) > 5
    assert [sentence for path in files for sentence in read(path)] == []


def test_the_audit_says_what_is_wrong_with_a_check_before_it_runs_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_module, "run_jobs", lambda jobs, workers, work: (job for job in ()))
    monkeypatch.setattr(audit_module, "sweep", lambda: [])
    repository = make_repository(tmp_path)
    plant_variants(repository)
    path = repository.solutions / NAME / "checks.py"
    path.write_text(path.read_text().replace("2 * secret_input", "2 * secret_inptu"))
    audit = run_audit(repository.files, seeds=1, sandbox="process")
    assert any("secret_inptu" in finding.sentence for finding in audit.findings)
