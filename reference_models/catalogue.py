"""The catalogue: one row a family, with its paper and what its tests verify it against.

The rows stand in `catalogue.csv`, in the order of the course; a new family is one file of code and one row there.
Nothing in this file loads torch, so the catalogue prints at once.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("catalogue.csv")

# the order of the course
FOLDERS = (
    "foundations",
    "autoregressive",
    "latent",
    "flows",
    "energy",
    "adversarial",
    "evaluation",
    "diffusion",
    "flow_matching",
)
# letters of `Family.programmes`
PROGRAMMES = {
    "M": "MIPT",
    "S": "Skoltech",
    "A": "AI Masters 2025",
    "P": "MIPT 2021",
    "K": "lectures on machine learning in science",
}


@dataclass(frozen=True)
class Paper:
    """Where a family was published; `authors` is short: "Dinh, Sohl-Dickstein, Bengio" or "van den Oord et al."."""

    authors: str
    year: int
    title: str
    url: str


@dataclass(frozen=True)
class Family:
    """A row of the catalogue.

    name: a slug, unique, what `train` takes.
    module: full name of the module that implements the family.
    programmes: the course programmes that name it, letters of `PROGRAMMES`; "" when none does.
    homeworks: those whose hidden checks, or whose second hand, import it; made by `python -m tests.documents`.
    verified_against: the outside oracles of its tests.
    """

    name: str
    title: str
    paper: Paper
    module: str
    programmes: str
    homeworks: tuple[int, ...]
    verified_against: str

    @property
    def folder(self) -> str:
        """The folder of the family, one of `FOLDERS`."""
        return self.module.split(".")[1]


@cache
def families() -> tuple[Family, ...]:
    """Every family, in the order of the course."""
    with TABLE.open(newline="") as rows:
        return tuple(_family(row) for row in csv.DictReader(rows))


def _family(row: dict[str, str]) -> Family:
    return Family(
        name=row["name"],
        title=row["title"],
        paper=Paper(row["authors"], int(row["year"]), row["paper"], row["url"]),
        module=f"reference_models.{row['module']}",
        programmes=row["programmes"],
        homeworks=tuple(map(int, row["homework"].split())),
        verified_against=row["verified_against"],
    )


def find(name: str) -> Family:
    """The family of this name; KeyError when there is none."""
    return {family.name: family for family in families()}[name]
