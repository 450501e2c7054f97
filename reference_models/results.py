"""What the recipes reached, one `results.json` a folder by `train NAME --record`; trivial models, in `baselines.json`.

The catalogue reads them without loading torch.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from reference_models.catalogue import Family

HERE = Path(__file__).parent
BASELINES = "baselines.json"


def results(folder: str, records: Path | None = None) -> dict[str, Any]:
    """The recorded runs of a folder by the family's name; none where nothing was recorded. records: another place."""
    file = (records or HERE) / folder / "results.json"
    return json.loads(file.read_text()) if file.exists() else {}


def keep(family: Family, said: dict[str, Any], records: Path | None = None) -> None:
    """Puts the numbers of a run in place of the family's last ones; records: another place."""
    runs = {
        **results(family.folder, records),
        family.name: {key: value for key, value in said.items() if key != "family"},
    }
    file = (records or HERE) / family.folder / "results.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".results-{os.getpid()}.json")
    part.write_text(json.dumps(dict(sorted(runs.items())), indent=2, ensure_ascii=False) + "\n")
    part.replace(file)


def reached(family: Family) -> str:
    """The numbers of the recorded run that have goals, with their intervals, and what the run was."""
    run = results(family.folder).get(family.name)
    if run is None:
        return ""
    numbers = ", ".join(_number(goal["metric"], run["metrics"]) for goal in run["goals"])
    took = f"{run['device']}, {run['minutes']:g} min, {run['steps']} steps, seed {run['seed']}"
    return f"{numbers} on {run['data']} ({took})"


def trivial(family: Family) -> str:
    """What the trivial models of `baselines` reach on the family's data, in the numbers its goals name."""
    run = results(family.folder).get(family.name)
    if run is None:
        return ""
    named = [goal["metric"] for goal in run["goals"]]
    said = []
    for row in baselines():
        numbers = [_number(name, row["metrics"]) for name in named if name in row["metrics"]]
        if row["data"] == run["data"] and numbers:
            said.append(f"{row['model']}: {', '.join(numbers)}")
    return "; ".join(said)


def baselines(records: Path | None = None) -> list[dict[str, Any]]:
    """The recorded trivial models: their data, what they are, and their numbers by name. records: another place."""
    file = (records or HERE) / BASELINES
    found: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    return found


def _number(name: str, metrics: dict[str, float]) -> str:
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    interval = "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
    return f"{name} {metrics[name]:.3g}{interval}"
