"""The audit finds what is planted in an assignment: unfair, toothless and flaky checks, wrong claims, paid cheats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.authoring import audit as module
from autograder.authoring.audit import Audit, run_audit
from autograder.authoring.variants import load_variants
from autograder.commands.matrix import print_audit, print_audit_json
from autograder.errors import Infrastructure, UserError
from autograder.grading.executor import Trouble
from autograder.judge import grade as grading
from tests.autograder.course_factory import NAME, Repository, make_repository, plant_variants
from tests.autograder.providers import FailingProvider, FakeProvider, ForkProvider

ORIGIN = "torch.equal(answer, torch.zeros(4))"
SLOPE = "assert abs(slope - 3) < 0.1"


@pytest.fixture(autouse=True)
def provider(monkeypatch) -> Iterator[ForkProvider]:
    source = ForkProvider()
    use(monkeypatch, source)
    monkeypatch.setattr(module, "run_jobs", lambda jobs, workers, work: ((job, work(job)) for job in jobs))
    monkeypatch.setattr(module, "sweep", lambda: [])
    yield source
    source.close()


def use(monkeypatch, source: FakeProvider) -> None:
    monkeypatch.setattr(grading, "provider_of", lambda *arguments: source)


@pytest.fixture
def repository(tmp_path) -> Repository:
    made = make_repository(tmp_path)
    plant_variants(made)
    return made


def audit_of(repository: Repository, seeds: int = 1, **options: object) -> Audit:
    return run_audit(repository.files, seeds=seeds, sandbox="process", **options)


def plant(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))


def checks(repository: Repository, *, public: bool = False) -> Path:
    return (repository.assignments if public else repository.solutions) / NAME / "checks.py"


def found(audit: Audit) -> dict[str, list[str]]:
    sentences: dict[str, list[str]] = {}
    for finding in audit.findings:
        sentences.setdefault(finding.variant, []).append(finding.sentence)
    return sentences


def test_a_sound_assignment_is_clean_and_its_matrix_says_so(repository, capsys):
    told: list[str] = []
    audit = audit_of(repository, seeds=3, say=told.append)
    assert found(audit) == {}
    assert {name: [report.earned for report in reports] for name, reports in audit.reports.items()} == {
        "solution": [3.0] * 3,
        "right-object": [3.0] * 3,
        "wrong-factor": [0.0] * 3,  # `line` is trained and has nothing to do with it: it is not asked
        "wrong-shift": [2.0] * 3,
        "cheat-twos": [0.0] * 3,
        "blank": [0.0] * 3,
    }
    assert [(quality.killed, quality.could) for quality in audit.checks] == [(1, 1)] * 6
    assert len(told) == 6
    print_audit(audit)
    said = capsys.readouterr().out
    assert "The audit is clean." in said
    assert "Note: hw0 trains models and was never calibrated; run `autograder calibrate hw0`." in said
    row = next(line for line in said.splitlines() if line.startswith("wrong-shift"))
    assert row.split()[2:4] == ["·", "X"]
    print_audit_json(audit)
    document = json.loads(capsys.readouterr().out)
    assert document["clean"] is True
    assert document["notes"] == audit.notes
    assert document["runs"]["wrong-shift"][0] == {"earned": 2.0, "lost": ["line"]}


def test_an_unfair_check_is_found_by_the_right_variant_it_fails(repository):
    unfair = "from autograder.student import type_name; assert type_name(student.double) == 'function'\n    answer ="
    plant(checks(repository), "answer =", unfair)
    (sentence,) = found(audit_of(repository))["right-object"]
    assert sentence.startswith(
        "loses `double`, which it does not break (1 of 1 runs): `test_double_of_noise[shape0]`: "
    )


def test_a_toothless_check_and_the_wrong_answer_it_lets_pass_are_found(repository):
    plant(checks(repository, public=True), ORIGIN, "answer is not None")
    plant(checks(repository), SLOPE, "assert slope is not None")
    sentences = found(audit_of(repository))
    assert sentences["wrong-shift"] == ["keeps all of `line`, which it breaks (1 of 1 runs)"]
    assert [sentence for sentence in sentences["all"] if "test_line_is_zero_at_zero" in sentence]
    assert [sentence for sentence in sentences["all"] if "test_trained_slope_is_three" in sentence]
    assert sentences.keys() == {"wrong-shift", "all"}


def test_a_toothless_check_is_found_also_where_others_catch_the_wrong_answer(repository):
    plant(checks(repository, public=True), ORIGIN, "answer is not None")
    assert found(audit_of(repository)) == {
        "all": ["the check `test_line_is_zero_at_zero` of `line` failed no wrong variant: it can not fail"]
    }


def test_a_wrong_variant_that_claims_another_cell_is_found(repository):
    plant(repository.files.variants / "wrong.yaml", "loses: [double]", "loses: [line]")
    loses, keeps = found(audit_of(repository))["wrong-factor"]
    assert loses.startswith("loses `double`, which it does not break (1 of 1 runs): `test_double")
    assert keeps == "keeps all of `line`, which it breaks (1 of 1 runs)"


def test_a_claim_on_what_no_check_grades_is_refused_before_anything_runs(repository, provider):
    plant(repository.files.variants / "wrong.yaml", "loses: [double]", "loses: [double-answer]")
    with pytest.raises(UserError, match="`wrong-factor` is to lose `double-answer`, which no check grades; there are"):
        audit_of(repository)
    assert not provider.started


def test_a_blank_template_that_stops_is_found_with_the_cell(repository):
    text = repository.files.solution.read_text()
    repository.files.solution.write_text(text + "\n\n# %%\nprint(double(torch.ones(1)))\n")
    for _ in ("graded", "as before"):
        (sentence,) = found(audit_of(repository))["blank"]
        assert sentence.startswith("the cell that begins with `print(double(torch.ones(1)))` fails (1 of 1 runs): NotI")


def test_of_a_check_that_fails_the_solution_nobody_says_that_it_can_not_fail(repository):
    plant(checks(repository), SLOPE, 'raise NotImplementedError("this check is still to be written")')
    sentences = found(audit_of(repository))
    assert "still to be written" in sentences["solution"][0]
    assert not [sentence for sentence in sentences.get("all", []) if "test_trained_slope" in sentence]


def test_a_cheat_that_earns_is_found_and_one_with_an_honest_part_may_keep_that(repository):
    path = repository.files.variants / "cheat_twos.py"
    plant(path, "2.5", "2")
    (sentence,) = found(audit_of(repository))["cheat-twos"]
    assert sentence.startswith("earns 0.5 points instead of 0 (1 of 1 runs), for `test_")
    plant(path, 'number."""', 'number."""\nEARNS = 0.5')
    assert found(audit_of(repository)) == {}


def test_a_flaky_check_is_found_by_its_changing_outcome(repository):
    plant(checks(repository), SLOPE, f"{SLOPE} and seed % 2 == 0")
    plant(checks(repository), "slope_is_three(student)", "slope_is_three(student, seed)")
    audit = audit_of(repository, seeds=12)
    (sentence,) = found(audit)["solution"]
    assert sentence.startswith("loses `line`, which it does not break (")
    assert " of 12 runs): `test_trained_slope_is_three`" in sentence
    quality = next(quality for quality in audit.checks if quality.check == "test_trained_slope_is_three")
    assert {"solution", "right-object"} <= set(quality.flaky)


def test_what_could_not_be_graded_is_found(repository, monkeypatch):
    use(monkeypatch, FailingProvider(Infrastructure("no engine")))
    sentences = found(audit_of(repository, only=["solution"]))
    assert sentences == {"solution": ["could not be graded: no engine (1 of 1 runs)"]}
    stumbles = Trouble("solution", "the judge's process died twice; grade again")
    monkeypatch.setattr(module, "run_jobs", lambda jobs, workers, work: ((job, stumbles) for job in jobs))
    assert found(audit_of(repository, only=["solution"])) == {"solution": [stumbles.sentence]}


def test_the_notebook_runs_once_for_all_seeds_or_anew_for_each(repository, provider):
    audit_of(repository, seeds=3, only=["solution"])
    assert len(provider.started) == 1
    audit_of(repository, seeds=3, only=["solution"], retrain=True)
    assert len(provider.started) == 4


def test_a_variant_is_graded_again_only_if_something_changed_that_could_move_its_marks(repository, provider):
    def graded(**options: object) -> int:
        before = len(provider.started)
        assert found(audit_of(repository, **options)) == {}
        return len(provider.started) - before

    assert graded(seeds=2, only=["solution", "wrong-shift"]) == 2
    assert graded(seeds=2) == 4  # the others
    told: list[str] = []
    again = audit_of(repository, seeds=2, say=told.append)
    assert found(again) == {}
    assert again.reports["wrong-shift"][1].earned == 2.0
    assert [line.endswith("as before") for line in told] == [True] * 6
    assert graded(seeds=3) == 6
    plant(checks(repository), SLOPE, f"{SLOPE}  # as it was")
    assert graded(seeds=3) == 0
    plant(checks(repository), SLOPE, SLOPE.replace("0.1", "0.11"))
    assert graded(seeds=3) == 6
    assert graded(seeds=3, anew=True) == 6


def test_what_was_kept_of_an_earlier_audit_and_can_not_be_read_is_graded_again(repository, provider):
    audit_of(repository, only=["solution"])
    (kept,) = (repository.solutions / NAME / ".audit").glob("*.json")
    for text in ("", "[]", '{"key": 1}', kept.read_text().replace('"seconds"', '"minutes"')):
        kept.write_text(text)
        before = len(provider.started)
        assert found(audit_of(repository, only=["solution"])) == {}
        assert len(provider.started) == before + 1


def test_what_a_wrong_answer_keeps_is_looked_at_under_the_first_seeds_and_all_if_asked_for(repository):
    def cells(audit):
        reports = audit.reports["wrong-shift"]
        return [{c.cell for c in report.cells if not c.manual} for report in reports], [
            {check.cell for check in report.checks} for report in reports
        ]

    audit = audit_of(repository, seeds=5)
    assert found(audit) == {}
    whole = {"double", "line"}
    assert cells(audit) == ([whole] * 3 + [{"line"}] * 2,) * 2
    assert {len(report.checks) for report in audit.reports["right-object"]} == {6}
    assert cells(audit_of(repository, seeds=5, only=["wrong-shift"], thorough=True)) == ([whole] * 5,) * 2


def test_cheats_of_all_homeworks_run_in_the_blank_template_and_harmful_ones_only_in_containers(repository):
    folder = repository.solutions / "cheats"
    folder.mkdir()
    (folder / "exits_early.py").write_text('"""Leaves with success."""\nSECONDS = 30\nimport os\nos._exit(0)\n')
    (folder / "too_slow.py").write_text('"""Takes its time."""\nSECONDS = 0.1\nimport time\ntime.sleep(0.3)\n')
    (folder / "fork_bomb.py").write_text('"""Forks."""\nHARMFUL = True\nraise SystemError("this must not run")\n')
    audit = audit_of(repository)
    assert "fork-bomb" not in audit.reports
    sentences = found(audit)
    assert "took" in sentences.pop("too-slow")[0]
    assert sentences == {}
    assert [report.earned for report in audit.reports["exits-early"]] == [0.0]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("find: x + x", "find: y + y", "where it stands 0 times"),
        ("find: self.slope * x", "find: x", "times"),
        ("cell: double-answer", "cell: dubble", "`dubble`, which the solution does not have"),
        ("name: wrong-shift", "name: wrong-factor", "two variants are called `wrong-factor`"),
        ("name: wrong-shift", "name: wrong factor", "two variants are called `wrong-factor`"),
        ("loses: [line]", "lose: [line]", "loses"),
    ],
)
def test_a_broken_list_of_variants_is_a_sentence(repository, old, new, sentence):
    plant(repository.files.variants / "wrong.yaml", old, new)
    with pytest.raises(UserError, match=sentence):
        audit_of(repository)


def test_a_variant_that_is_not_there_is_a_sentence(repository):
    with pytest.raises(UserError, match="no variant called nonesuch"):
        audit_of(repository, only=["nonesuch"])
    names = [variant.name for variant in load_variants(repository.files)]
    assert names == ["solution", "blank", "right-object", "wrong-factor", "wrong-shift", "cheat-twos"]
