"""What every test stands on."""

from __future__ import annotations

import signal

import pytest

LONGEST = (  # files that take minutes, begun first: else the last worker would be alone with one of them
    "solutions/test_every_homework.py",
    "solutions/test_audits_in_containers.py",
    "autograder/containers/test_attacks.py",
    "autograder/grading/test_batch.py",
    "autograder/grading/test_stale.py",
    "autograder/authoring/test_audit.py",
    "planted/test_planted.py",
    "odd_notebooks/test_in_containers.py",
)


def pytest_configure() -> None:
    """Listen to Ctrl-C even where the shell that started us does not (`nohup make test &`).

    A process started in the background may have been told to ignore it, and hands that on to every process it starts;
    tests of Ctrl-C would then wait for an end that never comes.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, each whole."""
    order = {name: number for number, name in enumerate(LONGEST)}

    def rank(item: pytest.Item) -> int:
        return next((n for name, n in order.items() if item.nodeid.partition("::")[0].endswith(name)), len(order))

    items.sort(key=rank)
