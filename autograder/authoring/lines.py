"""Where floor and target of a trained figure belong, from figures that honest trainings reached.

The estimator is the one-sided tolerance bound of a normal law: mean + k·s of n values, where

    k = t'_{n−1}(0.95; δ) / √n,    δ = Φ⁻¹(content)·√n

with the quantile of the noncentral t law, lies beyond a share `content` of the law with probability 0.95. With m
figures the content of each is 1 − 0.001/m, so that all together stay within with probability 0.999. The bound is never
better than the worst value seen, which covers what a normal law does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MISSES = 0.001  # of a training like the solution's: the probability of losing anything, over all figures
CONFIDENCE = 0.95
LEAST = 4  # values that a bound is computed from
DIGITS = 2  # significant digits of the distance between floor and target that a proposal keeps


@dataclass(frozen=True)
class Spread:
    """Values of one figure, as many as were measured."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """Standard deviation, unbiased variance; 0 of a single value."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0


@dataclass(frozen=True)
class Line:
    """A floor, which earns nothing, and a target, which earns everything."""

    floor: float
    target: float

    @property
    def sign(self) -> int:
        """+1 where a larger value is worse, as of a loss; −1 where it is better."""
        return 1 if self.target < self.floor else -1

    def worst(self, values: Sequence[float]) -> float:
        return max(values) if self.sign > 0 else min(values)

    def best(self, values: Sequence[float]) -> float:
        return min(values) if self.sign > 0 else max(values)


def tolerance_factor(n: int, content: float, confidence: float = CONFIDENCE) -> float:
    """k of n values: mean + k·s covers the share `content` of a normal law with probability `confidence`.

    Source: Natrella, Experimental Statistics (1963), section 2-3, exactly by the noncentral t law.
    """
    delta = float(stats.norm.ppf(content)) * math.sqrt(n)
    return float(stats.nct.ppf(confidence, n - 1, delta)) / math.sqrt(n)


def bound(spread: Spread, line: Line, figures: int, *, good: bool = False) -> float:
    """The value that a training like these stays within with probability 1 − MISSES over all figures.

    Args:
        line: says which direction is worse.
        figures: how many are judged.
        good: bound the values on their better side instead.
    """
    sign = -line.sign if good else line.sign
    k = tolerance_factor(len(spread.values), 1 - MISSES / figures)
    normal = spread.mean + sign * k * spread.deviation
    return max(normal, *spread.values) if sign > 0 else min(normal, *spread.values)


def chance_of_all(spread: Spread, line: Line) -> float:
    """Estimated probability of reaching the target: that of a normal law of the same mean and deviation."""
    distance = line.sign * (line.target - spread.mean)
    if not spread.deviation:
        return float(distance >= 0)
    return float(stats.norm.cdf(distance / spread.deviation))


def same_law_share(pairs: Sequence[tuple[float, float]]) -> float:
    """The share of the variance that lies between drawn laws, from two trainings on each: Fisher's intraclass
    correlation, 0 where it is negative.

    Source: Fisher, Statistical Methods for Research Workers (1925), section 38.
    """
    both = np.asarray(pairs, dtype=float)
    centred = both - both.mean()
    variance = float((centred**2).mean())
    return max(float((centred[:, 0] * centred[:, 1]).mean()) / variance, 0.0) if variance else 0.0


def looks_normal(spread: Spread) -> bool:
    """False where a normal law is refuted at the level 0.01 (Shapiro and Wilk)."""
    return len(spread.values) < 8 or not spread.deviation or float(stats.shapiro(spread.values).pvalue) > 0.01


def proposed(spread: Spread, baselines: Sequence[Spread], line: Line, figures: int) -> Line:
    """Floor and target that hold: the target from the solution, the floor from the best baseline.

    The target is the solution's bound, rounded to its worse side. The floor is where no baseline earns anything,
    rounded to its better side; the present one where no baseline was trained often enough.
    """
    target = bound(spread, line, figures)
    enough = [baseline for baseline in baselines if len(baseline.values) >= LEAST]
    floor = line.best([bound(baseline, line, figures, good=True) for baseline in enough]) if enough else line.floor
    step = 10.0 ** (math.floor(math.log10(abs(floor - target) or 1.0)) - DIGITS + 1)
    worse, better = (math.ceil, math.floor) if line.sign > 0 else (math.floor, math.ceil)
    rounded = round(better(floor / step) * step, 9) if enough else floor
    return Line(rounded, round(worse(target / step) * step, 9))
