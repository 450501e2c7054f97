"""What the catalogue looks like: one line a family on a terminal, one page of details, and docs/models.md.

maf                        Masked autoregressive flow             2017
"""

from __future__ import annotations

import textwrap
from importlib import import_module
from typing import TYPE_CHECKING

from reference_models.catalogue import FOLDERS, PROGRAMMES, Family, families
from reference_models.results import reached, trivial

if TYPE_CHECKING:  # torch takes a second to import, and the catalogue needs none of it
    from reference_models.recipes import Recipe

HEADINGS = (
    "name",
    "family",
    "paper",
    "module",
    "named by",
    "homework",
    "verified against",
    "reached here",
    "a trivial model",
)
PREFACE = """# The models

Written by `python -m reference_models list --markdown > docs/models.md`.

Every family of the course, its paper, what its tests verify it against, and what its recipe reached. "Named by": {by}.
"Reached here": by `train NAME --record`; minutes are those of one processor core. `excess_nats` is what held-out data
cost above their entropy. `frechet_digits` is the Fréchet distance to held-out digits on features of the shipped
classifier, and `coverage_digits` the part of these that have a sample near them, both of 1000 samples: on "drawn-16"
a Gaussian a class, fitted to pixels, reaches 6.6 and 0.54, training digits with noise of deviation 0.2 on their
pixels 8.0 and 0.49, training digits 0.6 and 0.85. The distance's 95 % interval takes the bias of small samples off
and may lie below it. `copying` is how often a sample lies nearer to the training examples than held-out data do: a
half for an honest model, one for training examples recited.

NOTE: a run on other data than its recipe's first (`show NAME`) was recorded before that had its goals, and is to be
recorded anew: so stand most models of "corners" and some of "crossed-bars" and "drawn-16".

"A trivial model": the best of each sweep of `python -m reference_models baselines` on the same data, in the numbers
the goals name: mixtures of up to 128 parts, n-grams, a Gaussian a class, the training set recited. Each misses a goal
of every recipe by three standard errors or more (`tests/reference_models/test_goals.py`); where there is none to be
beaten, the reason stands in its place.
"""


def lines() -> str:
    """The catalogue with a line a family, none longer than 80 columns, under a heading a folder."""
    said = []
    for folder in FOLDERS:
        said.append(f"{folder}\n")
        said += [_line(family) for family in families() if family.folder == folder]
    return "".join([*said, "\nDetails: python -m reference_models show NAME\n"])


def _line(family: Family) -> str:
    title = textwrap.shorten(family.title, 38, placeholder="…")
    homework = f"hw {_homeworks(family)}" if family.homeworks else ""
    return f"  {family.name:<27} {title:<38} {family.paper.year}  {homework}".rstrip() + "\n"


def _homeworks(family: Family) -> str:
    return ", ".join(map(str, family.homeworks))


def page(family: Family, recipe: Recipe | None) -> str:
    """All that is known of a family, a line or more for each thing."""
    paper = family.paper
    rows = {
        "paper": f"{paper.title} ({paper.authors}, {paper.year})",
        "url": paper.url,
        "module": family.module,
        "classes": ", ".join(_classes(family)),
        "named by": _programmes(family.programmes),
        "homework": _homeworks(family),
        "verified": family.verified_against,
        "train": "" if recipe is None else _training(recipe),
        "reached": reached(family),
        "trivial": trivial(family) or ("" if recipe is None else recipe.apart),
    }
    head = textwrap.fill(f"{family.name}: {family.title}", 80, break_on_hyphens=False)
    return "".join([f"{head}\n", *(_row(name, cell) for name, cell in rows.items() if cell)])


def _row(name: str, cell: str) -> str:
    rows = textwrap.wrap(cell, 68, break_long_words=False, break_on_hyphens=False)
    return textwrap.indent("\n".join(rows), " " * 12).replace(" " * 12, f"  {name:<10}", 1) + "\n"


def _classes(family: Family) -> list[str]:
    folder = import_module(f"reference_models.{family.folder}")
    return [name for name in folder.__all__ if getattr(folder, name).__module__ == family.module]


def _training(recipe: Recipe) -> str:
    goals, others = ", ".join(map(str, recipe.goals)), ", ".join(recipe.data[1:])
    return f"{recipe.minutes:g} min on {recipe.data[0]} to {goals}" + (f"; also takes {others}" if others else "")


def _programmes(letters: str) -> str:
    return ", ".join(PROGRAMMES[letter] for letter in letters)


def document() -> str:
    """The catalogue as docs/models.md: a table a folder."""
    by = ", ".join(f"{letter} {name}" for letter, name in PROGRAMMES.items())
    said = [PREFACE.format(by=by)]
    for folder in FOLDERS:
        said.append(f"\n## {folder}\n\n| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}\n")
        said += [_markdown(family) for family in families() if family.folder == folder]
    return "".join(said)


def _apart(family: Family) -> str:
    from reference_models.recipes import recipe_of  # loads torch, which the catalogue on the terminal does without

    recipe = recipe_of(family)
    return "" if recipe is None or not recipe.apart else f"({recipe.apart})"


def _markdown(family: Family) -> str:
    cells = (
        family.name,
        family.title,
        f"[{family.paper.authors}, {family.paper.year}]({family.paper.url})",
        family.module.removeprefix("reference_models."),
        family.programmes,
        _homeworks(family),
        family.verified_against,
        reached(family),
        trivial(family) or _apart(family),
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
