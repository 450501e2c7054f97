"""What a run is seeded with: what the sandbox sees of it, and what follows from what."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
import torch

from autograder.judge.grade import grade
from autograder.judge.job import Job
from autograder.judge.runner import Bench
from autograder.student import Student, call, perturb
from autograder.student.local import LocalChannel
from autograder.submission import Submission
from autograder.vocabulary.likelihood import sequential_log_likelihood
from tests.autograder.course_factory import ANSWERS, NAME, Repository, answered, make_repository, to_bytes
from tests.autograder.judge.test_runner import check, run

SALT = 2**140 + 12345


def keys(*, submission: str = "a" * 64, student: str = "ada", homework: str = NAME, salt: int = SALT, round: int = 0):
    from autograder.judge.keys import Keys

    return Keys.of(salt, homework, student, submission, round)


def first(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator))


def test_a_changed_comment_draws_other_inputs_and_no_other_task():
    one, two = keys(submission="a"), keys(submission="b")
    assert one.notebook == two.notebook
    assert first(one.law("test_x")) == first(two.law("test_x"))
    assert first(one.inputs("test_x")) != first(two.inputs("test_x"))
    assert one.calls("test_x") != two.calls("test_x")


@pytest.mark.parametrize("other", [{"student": "bob"}, {"homework": "hw9"}, {"salt": SALT + 1}, {"round": 1}])
def test_everything_depends_on_salt_homework_and_student(other):
    one, two = keys(), keys(**other)
    assert one.notebook != two.notebook
    for name in ("law", "inputs"):
        assert first(getattr(one, name)("test_x")) != first(getattr(two, name)("test_x"))
    assert one.calls("test_x") != two.calls("test_x")


def test_no_two_of_them_are_the_same_and_checks_differ():
    one = keys()
    drawn = [one.notebook, *(first(getattr(one, kind)(name)) for kind in ("law", "inputs") for name in ("a", "b"))]
    assert len(set(drawn)) == 5
    assert one.calls("a") != one.calls("b")


def test_inputs_come_from_another_stream_than_the_seed_that_a_check_hands_over(tmp_path):
    noted: list[int] = []
    body = "student.note(seed); student.note(int(torch.randint(2**40, (), generator=rng)))"
    run(tmp_path, check(body, arguments="student, seed, rng"), {"note": noted.append})
    seed, drawn = noted
    assert drawn != int(torch.randint(2**40, (), generator=torch.Generator().manual_seed(seed)))


def test_the_seed_that_reaches_the_notebook_is_none_that_the_check_named(tmp_path):
    noted: list[int] = []

    def note() -> None:
        noted.append(torch.initial_seed())

    body = "\n    ".join(f"call(student.note, seed={k})" for k in (3, 3, 4, 5))
    source = "from autograder.checks import call\n\n\n" + check(body)
    for n in range(2):
        folder = tmp_path / str(n)
        folder.mkdir()
        run(folder, source, {"note": note}, seed=n)
    assert noted[0] == noted[1]
    assert len(set(noted)) == 6
    assert not {3, 4, 5} & set(noted)


def test_perturbing_under_the_next_seed_can_not_be_told_from_this_one(tmp_path):
    noted: list[int] = []
    model = torch.nn.Linear(3, 3)

    class Spy(LocalChannel):
        def request(self, op: str, **fields: object):
            if op == "perturb":
                noted.append(fields["seed"])
            return super().request(op, **fields)

    source = "from autograder.checks import perturb\n\n\n"
    source += check(
        "perturb(student.model, seed=seed); perturb(student.model, seed=seed + 1)", arguments="student, seed"
    )
    (result,) = run(tmp_path, source, channel=Spy({"model": model}))
    assert result.outcome == "passed", result.message
    assert abs(noted[1] - noted[0]) > 1000


def test_bits_in_the_place_of_a_withheld_future_do_not_tell_it(tmp_path):
    """A network that saw every bit it was shown, and runs torch's generator on, does not know the next pixel."""
    seen: list[torch.Tensor] = []

    def logits(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.clone())
        return torch.zeros_like(x)

    rng = torch.Generator().manual_seed(11)
    x = torch.randint(0, 2, (40, 6), generator=rng).double()
    sequential_log_likelihood(logits, x, generator=rng)
    again = torch.Generator().manual_seed(11)
    torch.randint(0, 2, (40, 6), generator=again)
    assert not torch.equal(torch.randint(0, 2, (40, 6), generator=again).double(), seen[0])


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Repository:
    return make_repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture
def provider(monkeypatch) -> Iterator[object]:
    from autograder.judge import grade as module
    from tests.autograder.providers import ForkProvider

    source = ForkProvider()
    monkeypatch.setattr(module, "provider_of", lambda *arguments: source)
    yield source
    source.close()


REBUILDS = '''\
import hashlib
import torch

mine = torch.initial_seed()

def double(x):
    """Names the input before looking at it: what the old graders' seeds gave away."""
    for name in ("test_double_of_one_is_two", *(f"test_double_of_noise[shape{n}]" for n in range(3))):
        for seed in (mine, int.from_bytes(hashlib.sha256(f"{mine}:{name}".encode()).digest()[:6], "big")):
            guess = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
            if torch.equal(guess, x):
                return 2 * guess
    return torch.zeros_like(x)
'''


def test_a_notebook_that_knows_its_own_seed_knows_no_input(provider, repository):
    notebook = to_bytes(answered(repository.load().template, ANSWERS | {"double-answer": REBUILDS}))
    report = grade(Job(repository.files, Submission.of("ada", notebook), "process", salt=SALT))
    assert {c.id: c.outcome for c in report.checks if c.cell == "double" and not c.public} == {
        f"test_double_of_noise[shape{n}]": "failed" for n in range(3)
    }


def test_the_notebooks_seed_is_no_number_of_the_report(provider, repository):
    says = {"double-answer": "import torch\nprint('SEED', torch.initial_seed())\ndef double(x):\n    return 2 * x\n"}
    reports = []
    for comment in ("", "# a comment\n"):
        says = says | {"line-answer": comment + ANSWERS["line-answer"]}
        notebook = to_bytes(answered(repository.load().template, ANSWERS | says))
        reports.append(grade(Job(repository.files, Submission.of("ada", notebook), "process", salt=SALT)))
    seeds = [next(r.stdout for r in report.runs if "SEED" in r.stdout).split()[1] for report in reports]
    assert seeds[0] == seeds[1], "a changed comment draws no other training data"
    assert reports[0].environment.seed != reports[1].environment.seed
    assert not {int(seed) for seed in seeds} & {report.environment.seed for report in reports}
    old = hashlib.sha256(f"{SALT}:{reports[0].submission_sha256}".encode()).digest()
    assert int(seeds[0]) != int.from_bytes(old[:6], "big")


def test_calls_through_a_student_are_under_hashed_seeds_on_every_channel():
    channel = LocalChannel({"seed_of": torch.initial_seed, "model": torch.nn.Linear(2, 2)})
    from autograder.student.keyed import KeyedChannel

    student = Student(KeyedChannel(channel, b"k" * 32))
    assert call(student.seed_of, seed=1) != 1
    assert call(student.seed_of, seed=1) == call(student.seed_of, seed=1)
    perturb(student.model, seed=1)
    assert Bench is not None
