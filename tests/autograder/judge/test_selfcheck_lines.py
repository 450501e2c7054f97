"""What `check("…")` prints."""

from __future__ import annotations

from typing import Any

from autograder.judge.selfcheck import lines
from autograder.report import CheckResult


def test_a_trained_part_tells_its_figure_and_what_it_is_worth() -> None:
    known: dict[str, Any] = {"id": "test_a", "cell": "a", "title": "It is near.", "public": True, "points": 0.2}
    figure: dict[str, Any] = {"what": "the loss", "value": 1.25, "floor": 3.0, "target": 2.0, "unit": "nats"}
    passed = CheckResult(**known, fraction=1.0, outcome="passed", measures=[figure])
    assert lines([passed])[1].strip() == "the loss is 1.250 nats: 0.20 of 0.2 points"
    part = CheckResult(**known, fraction=0.5, outcome="partial", reason="wrong", message="it is 2.5", measures=[figure])
    assert [line.strip() for line in lines([part])[1:]] == ["it is 2.5", "this is worth 0.10 of 0.2 points"]
