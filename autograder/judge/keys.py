"""What a run of checks is seeded with: one keyed hash for each purpose.

notebook        cells and training       salt, homework, student
law             a task's own law         salt, homework, student, check
data            what is handed over      salt, homework, student, its name
inputs, calls   what a check asks        salt, homework, student, submission, check

A changed comment thus draws other inputs but no other task, and a seed that student code meets tells it of no other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from autograder.seeds import derived, generator_from, key_of, seed_from


@dataclass(frozen=True)
class Keys:
    """The keys of one run.

    Args:
        task: the same for everything a student hands in of a homework.
        laws: what is drawn for the student; that of `task` but in a calibration.
        run: of this submission alone.
        number: by which a report names the run; nothing is seeded with it.
    """

    task: bytes
    laws: bytes
    run: bytes
    number: int

    @classmethod
    def of(
        cls, salt: int, homework: str, student: str, submission: str | int, round: int = 0, law: int | None = None
    ) -> Keys:
        """The keys of a submission, or of a number of an audit in its place.

        Args:
            round: of an audit that plays the notebook anew.
            law: the round whose laws are drawn; by default this one.
        """
        task = key_of(salt, "task", homework, student, round)
        laws = task if law is None else key_of(salt, "task", homework, student, law)
        run = key_of(salt, "run", homework, student, round, submission)
        return cls(task, laws, run, submission if isinstance(submission, int) else seed_from(run, "number"))

    @classmethod
    def local(cls, seed: int) -> Keys:
        """For a notebook on its author's own machine."""
        return cls.of(seed, "", "", "")

    @property
    def notebook(self) -> int:
        """The seed under which cells run."""
        return seed_from(self.task, "notebook")

    def law(self, check: str) -> torch.Generator:
        """What draws a check's task: the same for everything a student hands in."""
        return generator_from(self.laws, "law", check)

    def data(self, name: str) -> tuple[torch.Generator, torch.Generator]:
        """What draws a law and what draws data of it for a notebook: who sees the data can not compute the law."""
        return generator_from(self.laws, "data, law", name), generator_from(self.laws, "data, shown", name)

    def inputs(self, check: str) -> torch.Generator:
        """What draws the inputs of a check."""
        return generator_from(self.run, "inputs", check)

    def calls(self, check: str) -> bytes:
        """The key of the seeds that a check's calls are made under."""
        return derived(self.run, "calls", check)
