"""The threat model holds: every class of attack has a wall, and every test it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "threat-model.md"
CLASSES = 30
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`|`cheats/(\w+)`")


def rows() -> dict[int, tuple[str, str, str]]:
    """Number of a class -> the attack, its wall, the tests that show it."""
    return {int(number): (attack, wall, tests) for number, attack, wall, tests in ROW.findall(DOCUMENT.read_text())}


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_class_of_attack_has_a_row_with_a_wall_and_a_test():
    found = rows()
    assert sorted(found) == list(range(1, CLASSES + 1))
    for number, (attack, wall, tests) in found.items():
        assert attack.strip(), number
        assert wall.strip(), number
        assert NAMED.search(tests), number


def test_every_test_that_is_named_is_there():
    for number, (_, _, tests) in rows().items():
        for file, function, cheat in NAMED.findall(tests):
            if cheat:
                assert (ROOT / "tests/autograder/containers/cheats" / f"{cheat}.py").is_file(), (number, cheat)
                continue
            assert (ROOT / file).is_file(), (number, file)
            assert not function or function in functions(ROOT / file), (number, file, function)


def test_every_cheat_of_the_suite_is_named_in_the_row_it_says():
    from tests.autograder.containers.attacks import cheats

    found = rows()
    for cheat in cheats():
        assert f"`cheats/{cheat.name}`" in found[cheat.row][2], (cheat.name, cheat.row)


def test_it_says_who_is_trusted_and_what_remains():
    text = DOCUMENT.read_text()
    assert "## Who is trusted with what" in text
    assert "## What remains possible" in text
    for who in ("student", "TA", "instructor", "judge", "worker", "engine"):
        assert who in text.split("## What remains possible")[0]
