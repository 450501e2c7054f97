"""A goal says something only where a trivial model misses it, by more than chance."""

from __future__ import annotations

import math
import re

import pytest

from reference_models.catalogue import families
from reference_models.recipes import Goal, Recipe, recipe_of
from reference_models.results import baselines

RECIPES = {family.name: recipe for family in families() if (recipe := recipe_of(family)) is not None}
JUDGED = {name: recipe for name, recipe in RECIPES.items() if not recipe.apart}
DRAWS = 1000  # samples of a trivial model, at least


def trivially(metric: str) -> str:
    """The name under which trivial models have the number: theirs are likelihoods, whatever the steps of a sampler."""
    return re.sub(r"_in_\d+_steps?$", "", "nll_nats" if metric in ("nelbo_nats", "iw_nll_nats") else metric)


def error_of(metric: str, metrics: dict[str, float]) -> float:
    """The standard error of a trivial model's number."""
    if f"{metric}_error" in metrics:
        return metrics[f"{metric}_error"]
    if f"{metric}_low" in metrics:
        return (metrics[f"{metric}_high"] - metrics[f"{metric}_low"]) / (2 * 1.96)
    if metric == "copying":
        return 1 / math.sqrt(12 * DRAWS)  # of an honest one: that of the Mann–Whitney statistic
    share = metrics[metric]
    return math.sqrt(share * (1 - share) / DRAWS) if 0 <= share <= 1 else 0.1 * abs(share)


def beaten(goal: Goal, metrics: dict[str, float]) -> bool:
    """Whether the number lies three standard errors outside of the goal, or the model has no such number."""
    metric = trivially(goal.metric)
    if metric not in metrics:
        return True
    value, margin = metrics[metric], 3 * error_of(metric, metrics)
    too_high = goal.at_most is not None and value >= goal.at_most + margin
    return too_high or (goal.at_least is not None and value <= goal.at_least - margin)


def unbeaten(recipe: Recipe) -> list[str]:
    """The trivial models of a recipe's data that miss none of its goals by three standard errors."""
    rows = [row for row in baselines() if row["data"] == recipe.data[0]]
    return [row["model"] for row in rows if not any(beaten(goal, row["metrics"]) for goal in recipe.goals)]


@pytest.mark.parametrize("name", JUDGED)
def test_every_trivial_model_misses_a_goal_by_three_standard_errors(name: str):
    recipe = JUDGED[name]
    measured = {metric for row in baselines() if row["data"] == recipe.data[0] for metric in row["metrics"]}
    assert {trivially(goal.metric) for goal in recipe.goals} & measured, "no goal has a baseline"
    assert unbeaten(recipe) == []


def test_a_goal_that_a_trivial_model_meets_is_noticed():
    bars = Recipe(lambda data: None, ("bars",), (Goal("excess_nats", at_most=0.5),))  # as it was
    assert any("Bernoulli" in model for model in unbeaten(bars))
    near = next(row["metrics"]["excess_nats"] for row in baselines() if row["data"] == "bars")
    within_chance = Recipe(lambda data: None, ("bars",), (Goal("excess_nats", at_most=0.9 * near),))
    assert unbeaten(within_chance) != []


def test_who_is_not_judged_says_why():
    assert all(len(recipe.apart) > 10 for name, recipe in RECIPES.items() if name not in JUDGED)
    assert len(RECIPES) - len(JUDGED) < 25
