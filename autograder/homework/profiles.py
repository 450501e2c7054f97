"""Another way of grading the same homework: other budgets, other data, large data sets. And the limits in words."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autograder.errors import UserError
from autograder.homework.settings import AssignmentConfig, Budgets


def under(config: AssignmentConfig, profile: str | None, file: Path) -> AssignmentConfig:
    """The settings with those of a profile in their place; what the profile does not name stays.

    Raises:
        UserError: there is no such profile.
    """
    if profile is None:
        return config
    if profile not in config.profiles:
        known = ", ".join(config.profiles) or "none"
        raise UserError(f"{file} has no profile `{profile}`; there are {known}.")
    chosen = config.profiles[profile]
    changed = {
        "budgets": chosen.over(config.budgets),
        "data": _merged(config.data, chosen.data),
        "datasets": list(dict.fromkeys([*config.datasets, *chosen.datasets])),
    }
    return config.model_copy(update=changed)


def dataset_folders(config: AssignmentConfig, known: Mapping[str, Path]) -> dict[str, Path]:
    """The folder of each data set that a homework asks for.

    Args:
        known: where the course keeps them.

    Raises:
        UserError: one is not named, is no folder, or cannot be read by everybody, as a sandbox's user has to.
    """
    found = {}
    for name in config.datasets:
        if name not in known:
            raise UserError(
                f"{config.name} needs the data set `{name}`, and nothing says where it lies: add"
                f" `datasets: {{{name}: /path/of/its/folder}}` to course.yaml."
            )
        folder = known[name]
        if not folder.is_dir():
            raise UserError(f"the data set `{name}` should lie in {folder}, which is no folder.")
        closed = next(_closed(folder), None)
        if closed is not None:
            raise UserError(f"{closed} of the data set `{name}` cannot be read by everybody: `chmod -R a+rX {folder}`.")
        found[name] = folder.resolve()
    return found


def limits_text(config: AssignmentConfig) -> str:
    """The limits of grading as a notebook shows them, one line for each profile."""
    lines = [f"**Limits in grading.** {_in_words(config.budgets)}"]
    lines += [f"With the profile `{name}`: {_in_words(p.over(config.budgets))}" for name, p in config.profiles.items()]
    return "\n\n".join(lines)


def _in_words(budgets: Budgets) -> str:
    memory = f"{budgets.memory_mb / 1024:g} GB of memory"
    if budgets.gpu_memory_mb is not None:
        memory += f" and {budgets.gpu_memory_mb / 1024:g} GB of the GPU's"
    return (
        f"A cell may take {_seconds(budgets.cell_seconds)}, a check {_seconds(budgets.check_seconds)} unless it says"
        f" otherwise, a training {_seconds(budgets.train_seconds)}, everything together"
        f" {_seconds(budgets.submission_seconds)}, in {memory}. These are"
        " times of your own code on one core."
    )


def _seconds(value: float) -> str:
    minutes = value / 60
    return f"{minutes:g} minutes" if value >= 120 and minutes == round(minutes) else f"{value:g} s"


def _closed(folder: Path) -> Iterator[Path]:
    """What of a folder not everybody can read."""
    for root, _, files in os.walk(folder):
        needed = stat.S_IROTH | stat.S_IXOTH
        if Path(root).stat().st_mode & needed != needed:
            yield Path(root)
        yield from (path for name in files if not (path := Path(root, name)).stat().st_mode & stat.S_IROTH)


def _merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merged key by key; anything else of `change` takes the place of what was there."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
