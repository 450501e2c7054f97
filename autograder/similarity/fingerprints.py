"""Winnowing: from every window of neighbouring hashes the least one is kept.

Of two texts that share a run of at least `WINDOW + RUN - 1` tokens at least one fingerprint is the same, and none is of
a run shorter than `RUN`: "Winnowing: Local Algorithms for Document Fingerprinting" (Schleimer, Wilkerson, Aiken, 2003),
https://theory.stanford.edu/~aiken/publications/papers/sigmod03.pdf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

RUN = 18  # tokens, k of the paper: shorter things are shared by everybody who solves the task
WINDOW = 6  # hashes, w of the paper


@dataclass(frozen=True)
class Mark:
    """One fingerprint: a run of tokens."""

    digest: int
    unit: int
    start: int  # of the run in the unit


def fingerprints(units: Sequence[Sequence[str]]) -> list[Mark]:
    """The fingerprints of all units; a unit shorter than a run has none."""
    found: list[Mark] = []
    for number, tokens in enumerate(units):
        hashes = every_run(tokens)
        last = -1
        for start in range(max(len(hashes) - WINDOW + 1, min(len(hashes), 1))):
            window = hashes[start : start + WINDOW]
            least = start + max(i for i, value in enumerate(window) if value == min(window))  # the rightmost, once
            if least != last:
                found.append(Mark(hashes[least], number, least))
                last = least
    return found


def every_run(tokens: Sequence[str]) -> list[int]:
    """The hashes of all runs, kept or not."""
    return [_digest(tokens[i : i + RUN]) for i in range(len(tokens) - RUN + 1)]


def _digest(tokens: Sequence[str]) -> int:
    return int.from_bytes(hashlib.blake2b("\0".join(tokens).encode(), digest_size=8).digest(), "big")
