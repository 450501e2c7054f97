"""Pairs of submissions by how much they share beyond the task.

What stands in the template is taken out first, and so is what half the class has: a way of writing that the task
suggests is nobody's. Of the rest a pair's share is that of its smaller part, weighted by how rare each piece is: what
only these two have counts most.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from autograder.similarity.fingerprints import RUN, Mark, every_run, fingerprints
from autograder.similarity.tokens import Unit

COMMON = 0.5  # a run that more than this share of a class has is the task's
LEAST_COMMON = 4  # submissions a class must have before anything counts as common
FEWEST = 3  # fingerprints of its own a submission must have to be compared


@dataclass(frozen=True)
class Work:
    """One submission, ready to be compared."""

    who: str
    units: Sequence[Unit]
    marks: Mapping[int, Sequence[Mark]] = field(repr=False)  # by digest, without the template's
    earlier: bool = False  # of a year before


@dataclass(frozen=True)
class Pair:
    """Two submissions that share something."""

    one: Work
    other: Work
    share: float  # from 0 to 1, of the smaller of the two
    runs: int  # fingerprints that are shared
    shared: frozenset[int] = field(repr=False)  # digests


def work_of(who: str, units: Sequence[Unit], template: Iterable[Unit], *, earlier: bool = False) -> Work:
    """A submission without what the template has."""
    given = {digest for unit in template for digest in every_run(unit.tokens)}
    marks: dict[int, list[Mark]] = defaultdict(list)
    for mark in fingerprints([unit.tokens for unit in units]):
        if mark.digest not in given:
            marks[mark.digest].append(mark)
    return Work(who, units, dict(marks), earlier)


def pairs_of(works: Sequence[Work]) -> list[Pair]:
    """Every pair that shares something, most first; two of an earlier year are no pair."""
    seen = Counter(digest for work in works if not work.earlier for digest in work.marks)
    number = sum(not work.earlier for work in works)
    most = max(COMMON * number, 2) if number >= LEAST_COMMON else number
    holders: dict[int, list[int]] = defaultdict(list)
    for index, work in enumerate(works):
        for digest in work.marks:
            if seen[digest] <= most:
                holders[digest].append(index)
    weight = {digest: 1.0 / math.log2(1 + len(found)) for digest, found in holders.items()}
    whole = [sum(weight.get(digest, 0.0) for digest in work.marks) for work in works]
    own = [sum(digest in weight for digest in work.marks) for work in works]
    shared: dict[tuple[int, int], set[int]] = defaultdict(set)
    for digest, found in holders.items():
        for pair in combinations(found, 2):
            if not (works[pair[0]].earlier and works[pair[1]].earlier):
                shared[pair].add(digest)
    pairs = []
    for (a, b), digests in shared.items():
        if min(own[a], own[b]) >= FEWEST:
            share = sum(weight[digest] for digest in digests) / min(whole[a], whole[b])
            pairs.append(Pair(works[a], works[b], min(share, 1.0), len(digests), frozenset(digests)))
    return sorted(pairs, key=lambda pair: (-pair.share, -pair.runs, pair.one.who, pair.other.who))


def parts_of(work: Work, shared: frozenset[int]) -> dict[int, int]:
    """Shared digest -> number of the part it lies in: runs whose lines touch in this submission are one part."""
    numbers: dict[int, int] = {}
    part = -1
    marks = sorted((mark.unit, mark.start, digest) for digest in shared for mark in work.marks[digest])
    before, end = -1, -1
    for unit, start, digest in marks:
        lines = work.units[unit].lines
        if unit != before or lines[start] > end + 1:
            part += 1
        before, end = unit, max(lines[start + RUN - 1], end if unit == before else -1)
        numbers.setdefault(digest, part)
    return numbers


def matched_lines(work: Work, parts: Mapping[int, int]) -> dict[int, dict[int, int]]:
    """Unit -> line -> number of the shared part it lies in."""
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for digest, part in sorted(parts.items(), key=lambda item: item[1]):
        for mark in work.marks[digest]:
            lines = work.units[mark.unit].lines
            for line in range(lines[mark.start], lines[mark.start + RUN - 1] + 1):
                found[mark.unit].setdefault(line, part)
    return found
