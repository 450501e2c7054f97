"""The log of what people decided: appended to, never changed, whole after a kill at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest

from autograder.errors import UserError
from autograder.records.log import MarksGiven, Override, append, read_log

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
KILLS = 24
WRITER = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from autograder.records.log import Override, append
now = datetime(2026, 10, 1, tzinfo=UTC)
for number in range(int(sys.argv[2]), 10**9):
    entry = Override(at=now, by="ta", why="x" * 3000, student="ada", homework="hw1", cell=f"c{number}", points=1.0)
    append(Path(sys.argv[1]), entry)
    os.write(1, f"{number}\\n".encode())  # whole, or not at all
"""


def override(cell: str = "mask", points: float | None = 1.0, **changes: object) -> Override:
    values = {"at": NOW, "by": "leo", "why": "it is right", "student": "ada", "homework": "hw1", "cell": cell}
    return Override(**(values | {"points": points} | changes))


def test_what_was_said_last_counts_and_can_be_taken_back(tmp_path):
    path = tmp_path / "log.jsonl"
    for entry in (override(points=0.5), override(points=1), override("masks", 2), override("masks", None)):
        append(path, entry)
    decided = read_log(path)
    assert {cell: one.points for cell, one in decided.of("ada", "hw1").items()} == {"mask": 1.0}
    assert decided.withdrawn("hw1") == {"ada": {"masks": 2.0}}
    assert len(decided.entries) == 4
    assert decided.of("ada", "hw2") == {}


def test_marks_are_exact_and_later_ones_take_the_place_of_earlier_ones(tmp_path):
    path = tmp_path / "log.jsonl"
    append(path, MarksGiven(at=NOW, by="leo", component="exam", marks={"ada": ["1/3", None], "bob": ["7", "8"]}))
    append(path, MarksGiven(at=NOW, by="leo", component="exam", marks={"ada": ["1/3", "5/2"]}))
    assert read_log(path).marks["exam"] == {
        "ada": (Fraction(1, 3), Fraction(5, 2)), "bob": (Fraction(7), Fraction(8))
    }  # fmt: skip


def test_there_is_nothing_where_there_is_no_log(tmp_path):
    assert read_log(tmp_path / "log.jsonl").entries == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"points": -1}, ("line 2", "`override.points`".removeprefix("`override."), "greater")),
        ({"points": "1"}, ("line 2", "points")),
        ({"cell": None}, ("line 2", "cell")),
        ({"extra": 1}, ("line 2", "extra")),
        ({"at": "yesterday"}, ("line 2", "at")),
        ({"what": "gift"}, ("line 2", "what")),
    ],
)
def test_a_line_that_is_none_is_refused_with_file_line_and_key(tmp_path, change, words):
    path = tmp_path / "log.jsonl"
    append(path, override())
    good = path.read_text()
    path.write_text(good + json.dumps(json.loads(good) | change) + "\n")
    with pytest.raises(UserError) as refused:
        read_log(path)
    for word in (str(path), *words):
        assert word in str(refused.value)


@pytest.mark.parametrize("line", ["", "not json", "[]", '{"what": "marks", "at": "2026-10-01T00:00:00Z", "by": "x", '
                                  '"component": "exam", "marks": {"ada": ["many"]}}'])  # fmt: skip
def test_other_text_in_the_log_is_refused(tmp_path, line):
    path = tmp_path / "log.jsonl"
    append(path, override())
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match="line 2"):
        read_log(path)


def test_a_line_that_a_kill_left_half_written_is_read_by_nobody_and_cut_off_by_the_next(tmp_path):
    path = tmp_path / "log.jsonl"
    append(path, override())
    whole = path.read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole + whole[:cut])
        assert len(read_log(path).entries) == 1
        append(path, override("masks", 2))
        assert len(read_log(path).entries) == 2
        path.write_bytes(whole)


def test_no_kill_loses_an_entry_that_was_said_to_be_there(tmp_path):
    """A process that appends without end is killed at random moments; what it said is there, and it goes on."""
    path, said = tmp_path / "log.jsonl", -1
    rng = random.Random(5)
    root = Path(__file__).resolve().parents[3]
    starter = (
        "import os, sys\nimport autograder.records.log\n"
        "while True:\n"
        "    line = sys.stdin.readline()\n"
        "    if not line:\n        break\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        os.setpgid(0, 0)\n"
        f"        sys.argv = ['w', {str(path)!r}, line.strip()]\n"
        f"        exec({WRITER!r}, {{'__name__': '__main__'}})\n"
        "    os.write(1, f'pid {child}\\n'.encode())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starter], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(KILLS):
            process.stdin.write(f"{said + 1}\n")
            process.stdin.flush()
            pid, target, before = 0, rng.randrange(1, 12), said
            while not pid or said < before + target:
                line = process.stdout.readline().split()
                if line[0] == "pid":
                    pid = int(line[1])
                else:
                    said = max(said, int(line[0]))
            time.sleep(rng.random() * 0.003)
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
            cells = [entry.cell for entry in read_log(path).entries]
            assert cells[: said + 1] == [f"c{number}" for number in range(said + 1)]
            said = len(cells) - 1
        process.stdin.close()
    assert said > KILLS
