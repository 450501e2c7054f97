"""One training run: the progress bar while it lasts, then learning curve, samples, checkpoint and numbers on disk.

A run that is over, and one restored from its folder, gives its model back as `run.model`, whatever the family.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from reference_models.catalogue import Family, find
from reference_models.data import DataSet, load
from reference_models.figures import save_figure, save_learning_curve
from reference_models.recipes import Figure, History, Learner, Recipe, recipe_of, train

# made by `python -m reference_models train NAME… --out reference_models/weights`; its pictures are not kept
WEIGHTS = Path(__file__).with_name("weights")


@dataclass(frozen=True)
class Order:
    """A training run that can begin: everything a user asked for has been found and checked."""

    family: Family
    recipe: Recipe
    data: DataSet
    minutes: float
    steps: int | None
    seed: int
    device: str
    out: Path


@dataclass(frozen=True)
class Trained:
    """A run that is over: what it has learnt, `said`, which is what metrics.json says, and where to write it.

    figure: None when the run was stopped a second time, before there were samples.
    """

    order: Order
    learner: Learner
    history: History
    figure: Figure | None
    said: dict[str, Any]

    @property
    def model(self) -> Any:
        """The trained model, in evaluation mode."""
        return self.learner.trained().eval()

    def write(self) -> None:
        """Writes the files of a run, or raises OSError and leaves none."""
        out = self.order.out
        home = out if out.is_dir() else out.parent
        home.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=home))
        try:
            self._draw_up(part)
            _put(part, out)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _draw_up(self, folder: Path) -> None:
        title = f"{self.order.family.title} on {self.order.data.name}"
        save_learning_curve(self.history.losses, folder / "learning_curve.png", title)
        if self.figure is not None:
            save_figure(self.figure, folder / "samples.png", title)
        state = self.learner.state_dict()
        weights = {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}
        metadata = {key: str(self.said[key]) for key in ("family", "data", "seed", "steps")}
        (folder / "model.safetensors").write_bytes(save(weights, metadata))  # save_file would close it to others
        (folder / "metrics.json").write_text(json.dumps(self.said, indent=2, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Restored:
    """A run read back from its folder: its learner, and the data it has learnt from."""

    learner: Learner
    data: DataSet

    @property
    def model(self) -> Any:
        """The trained model, in evaluation mode."""
        return self.learner.trained().eval()


def run(order: Order, *, stopped: Callable[[], bool] = lambda: False) -> Trained:
    """Trains, measures and draws samples; writes nothing.

    Once `stopped()` is true, training ends at the next step, and what there is by then is measured; the numbers say
    that the run was interrupted. A KeyboardInterrupt during the measurement leaves out the numbers and the samples.

    Raises:
        DivergedError: a loss is not finite.
    """
    torch.manual_seed(order.seed)
    with torch.device(order.device):  # where its optimisers find its weights
        learner = order.recipe.build(order.data)
    generator = torch.Generator(order.device)
    with _bar(order) as bar:
        task = bar.add_task(f"{order.family.title} on {order.data.name}", total=60 * order.minutes, loss="")

        def on_step(history: History) -> None:
            loss = "  ".join(f"{name} {values[-1]:.4g}" for name, values in history.losses.items())
            bar.update(task, completed=learner.progress * 60 * order.minutes, loss=loss)

        history = train(
            learner,
            order.data,
            minutes=order.minutes,
            batch_size=order.recipe.batch_size,
            generator=generator.manual_seed(order.seed),
            steps=order.steps,
            on_step=on_step,
            stopped=stopped,
        )
        bar.update(task, completed=60 * order.minutes)
    interrupted = stopped()
    learner.eval()
    try:
        with Console(stderr=True).status("measuring"):
            metrics = learner.metrics(order.data, generator=generator.manual_seed(order.seed))
        with Console(stderr=True).status("drawing samples"):
            figure = learner.figure(order.data, generator=generator.manual_seed(order.seed))
    except KeyboardInterrupt:
        return Trained(order, learner, history, None, _said(order, history, {}, interrupted=True))
    return Trained(order, learner, history, figure, _said(order, history, metrics, interrupted))


def restore(folder: Path | str, *, path: Path | str | None = None, device: str = "cpu") -> Restored:
    """The run whose `model.safetensors` lies in the folder; `restore(folder).model` is in evaluation mode.

    path: the folder with the files of MNIST or CIFAR-10, for a run on them.
    Raises FileNotFoundError without that file, ValueError for one that no run of these recipes has written.
    """
    file = Path(folder) / "model.safetensors"
    try:
        with safe_open(file, "pt") as stored:
            said = stored.metadata() or {}
        recipe, seed = recipe_of(find(said["family"])), int(said["seed"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{file} was not written by python -m reference_models train: {error}") from None
    if recipe is None:
        raise ValueError(f"{file} names the family {said['family']}, which has nothing to train")
    data = load(said["data"], path=path, seed=seed, device=device)
    with torch.random.fork_rng(), torch.device(device):
        learner = recipe.build(data)
    try:
        learner.load_state_dict(load_file(file, device=device))
    except RuntimeError as error:
        raise ValueError(f"{file} does not fit the recipe of {said['family']}: {error}") from None
    return Restored(learner.eval(), data)


def shipped() -> tuple[str, ...]:
    """The families whose trained weights come with the library, for checks and pictures."""
    return tuple(sorted(folder.name for folder in WEIGHTS.iterdir() if folder.is_dir())) if WEIGHTS.is_dir() else ()


@cache
def yardstick(name: str) -> Restored:
    """The run of a family whose weights are shipped, on the CPU; ValueError for another family."""
    if name not in shipped():
        raise ValueError(f"weights are shipped of {', '.join(shipped())}, not of {name}")
    return restore(WEIGHTS / name)


def _put(part: Path, out: Path) -> None:
    """Moves a folder to its place at once, or its files one by one where there is one, the numbers last."""
    part.chmod(0o755)
    if not out.exists():
        part.rename(out)
        return
    if not (part / "samples.png").exists():  # those of an earlier run would be taken for this one's
        (out / "samples.png").unlink(missing_ok=True)
    for file in sorted(part.iterdir(), key=lambda file: file.name == "metrics.json"):
        file.replace(out / file.name)


def _bar(order: Order) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[loss]}"))
    return Progress(*columns, console=Console(stderr=True))


def _said(order: Order, history: History, metrics: dict[str, float], interrupted: bool) -> dict[str, Any]:
    device = torch.device(order.device)
    threads = torch.get_num_threads()
    cpu = f"CPU, {threads} thread{'s' * (threads != 1)}"
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu
    goals = order.recipe.goals if order.data.name == order.recipe.data[0] else ()
    return {
        "family": order.family.name,
        "data": order.data.name,
        "device": where,
        "minutes": round(history.seconds / 60, 2),
        "steps": history.steps,
        "seed": order.seed,
        "interrupted": interrupted,
        "metrics": {name: float(value) for name, value in metrics.items()},
        "goals": [{"metric": g.metric, "goal": str(g), "reached": g.reached(metrics)} for g in goals],
    }
