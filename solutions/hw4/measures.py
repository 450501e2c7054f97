"""Measures of samples by their definitions, and a student's `evaluate_ring` beside them."""

from __future__ import annotations

import torch

from autograder.checks import StudentFault, Wrong, assert_number, contents

from ..common.draws import F64

NEIGHBOURS = 5
NAMES = {"frechet": "the Fréchet distance", "precision": "the precision", "recall": "the recall", "modes": "`modes`"}
ACCEPTED = {"frechet": 1e-5, "precision": 2e-3, "recall": 2e-3, "modes": 0.0}  # one point of 600 may count as near


def definitions(real, fake, law):
    """The four numbers of task 3.2."""
    near = (torch.cdist(fake, law.centres) <= 3 * law.sigma).double().mean(0)
    good, covered = inside(fake, real), inside(real, fake)
    return {"frechet": frechet(real, fake), "precision": good, "recall": covered, "modes": int((near >= 0.02).sum())}


def frechet(real, fake):
    """By the singular values of the product of both roots."""
    roots = [torch.linalg.cholesky(x.T.cov()) for x in (real, fake)]
    cross = torch.linalg.svdvals(roots[0].T @ roots[1]).sum()  # tr (C₁C₂)^½
    variances = sum(x.var(0).sum() for x in (real, fake))
    return float((real.mean(0) - fake.mean(0)).square().sum() + variances - 2 * cross)


def inside(points, centres):
    """The share of the points within the distance of some centre to its fifth nearest other one."""
    radius = apart(centres, centres).sort(1).values[:, NEIGHBOURS]  # the nearest is itself: no two points coincide
    return float((apart(points, centres) <= radius).any(1).to(F64).mean())


def apart(a, b):
    return (a[:, None] - b[None]).norm(dim=2)


def assert_measures(student, real, fake, law, asked):
    """`evaluate_ring` gives the four numbers, by the definitions or by the student's own functions of part 2.

    Returns the numbers by the definitions.
    """
    found = contents(student.evaluate_ring(real, fake, law.centres, law.sigma))
    if not isinstance(found, dict) or not NAMES.keys() <= found.keys():
        raise Wrong(f"`evaluate_ring` should return a dictionary with {', '.join(NAMES)}")
    right = definitions(real, fake, law)
    for key, accepted in ACCEPTED.items():
        try:
            assert_number(found[key], right[key], NAMES[key], tolerance=accepted, asked=asked)
        except Wrong as wrong:
            if key == "modes":
                raise
            try:
                assert_own(student, real, fake, key, found[key])
            except (StudentFault, Wrong, TypeError, ValueError, IndexError):
                raise wrong from None
    return right


def assert_own(student, real, fake, key, value):
    """A number is what the student's own function of part 2 gives."""
    if key == "frechet":
        both = [contents(student.feature_statistics(x)) for x in (real, fake)]
        own = float(student.frechet_distance(*both[0], *both[1]))
    else:
        own = float(contents(student.precision_recall(real, fake, NEIGHBOURS))[key == "recall"])
    assert_number(value, own, NAMES[key], tolerance=1e-6 * (1 + abs(own)))
