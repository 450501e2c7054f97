"""The catalogue on the terminal, and training: python -m reference_models [show NAME | train NAME]."""

from __future__ import annotations

import difflib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from reference_models import pages
from reference_models.catalogue import Family, families, find
from reference_models.results import keep

if TYPE_CHECKING:  # torch takes a second to import, and the catalogue needs none of it
    from reference_models.runs import Order

app = typer.Typer(
    help="The reference models: what there is, and training.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
talk = Console(stderr=True)


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Without a command, prints the catalogue."""
    if context.invoked_subcommand is None:
        catalogue(False)


@app.command("list")
def catalogue(markdown: bool = typer.Option(False, "--markdown", help="All that is known, as docs/models.md.")) -> None:
    """Print the catalogue: one line a family."""
    typer.echo(pages.document() if markdown else pages.lines(), nl=False)


@app.command()
def show(name: str = typer.Argument(help="A name of the catalogue: realnvp, ddpm, …")) -> None:
    """Print what is known of one family: paper, classes, who names it, what verifies it, what its recipe reached."""
    family = _find(name)
    from reference_models.recipes import recipe_of

    typer.echo(pages.page(family, recipe_of(family)), nl=False)


@app.command()
def baselines(
    data: str | None = typer.Option(None, help="Only those of one data set."),
    jobs: int = typer.Option(1, help="How many data sets at a time, each in a process on one thread."),
    record: bool = typer.Option(False, "--record", help="Keep the numbers in baselines.json."),
    records: Annotated[Path | None, typer.Option(help="The folder where --record keeps that file.")] = None,
) -> None:
    """Measure what a trivial model reaches on each data set: mixtures, n-grams, class Gaussians, recited examples."""
    from reference_models.baselines import SWEEPS, every_baseline, keep

    if data not in (None, *SWEEPS):
        raise _refuse(f"there are trivial models of {', '.join(SWEEPS)}, not of {data}")
    if jobs < 1:
        raise _refuse(f"jobs must be at least 1, got {jobs}")
    for found in every_baseline(tuple(SWEEPS) if data is None else (data,), jobs):
        for one in found:
            numbers = ", ".join(f"{metric} {value:.4g}" for metric, value in one.metrics.items())
            typer.echo(f"{one.data}: {one.model}: {numbers}")
        if record:
            keep(found, records)


# --- training


@app.command()
def train(
    names: Annotated[list[str] | None, typer.Argument(help="Names of the catalogue: realnvp, ddpm, …")] = None,
    every: bool = typer.Option(False, "--all", help="Every family that has a recipe."),
    jobs: int = typer.Option(1, help="Of several families, how many at a time, each in a process on one thread."),
    data: str | None = typer.Option(None, help="A data set by name; by default the recipe's first."),
    path: Annotated[Path | None, typer.Option(help="The folder with the files of MNIST or CIFAR-10.")] = None,
    minutes: float | None = typer.Option(None, help="How long; by default what the recipe says."),
    steps: int | None = typer.Option(
        None, help="At most so many: with enough minutes, and --seed, the same numbers again."
    ),
    seed: int = typer.Option(0, help="Of initialisation, batches and noise."),
    device: str = typer.Option("cpu", help="cpu, cuda, cuda:1, …"),
    out: Annotated[
        Path | None,
        typer.Option(help="The folder to fill, build/NAME by default; of several families, its parent."),
    ] = None,
    record: bool = typer.Option(False, "--record", help="Keep the numbers in results.json, if all goals are reached."),
    records: Annotated[
        Path | None, typer.Option(help="Where --record keeps them; by default, with the models.")
    ] = None,
) -> None:
    """Train families: learning curve, samples, checkpoint and numbers; exit 1 when a goal is missed."""
    chosen = _chosen(names or [], every)
    if len(chosen) == 1 and not every:
        _train_one(_order(chosen[0], data, path, minutes, steps, seed, device, out), record, records)
        return
    given = {"data": data, "path": path, "minutes": minutes, "steps": steps, "seed": seed, "device": device}
    options = [text for key, value in given.items() if value is not None for text in (f"--{key}", str(value))]
    _train_many(chosen, Path("build") if out is None else out, jobs, options, record, records)


def _chosen(names: list[str], every: bool) -> list[str]:
    if bool(names) == every:
        raise _refuse("name the families to train, or say --all for those that have a recipe")
    if not every:
        return [_find(name).name for name in dict.fromkeys(names)]
    from reference_models.recipes import recipe_of

    return [family.name for family in families() if recipe_of(family) is not None]


def _train_many(names: list[str], out: Path, jobs: int, options: list[str], record: bool, records: Path | None) -> None:
    from reference_models.many_runs import longest_first, train_many
    from reference_models.recipes import recipe_of

    if jobs < 1:
        raise _refuse(f"jobs must be at least 1, got {jobs}")
    recipes = {name: recipe_of(_find(name)) for name in names}
    untrained = [name for name, recipe in recipes.items() if recipe is None]
    if untrained:
        raise _refuse(f"nothing to train: {', '.join(untrained)}")
    worst = 0
    for run in train_many(
        longest_first(names, lambda name: getattr(recipes[name], "minutes", 0.0)), out, jobs, options
    ):
        worst = max(worst, run.code)
        if run.said is None:
            typer.echo(f"{run.name}: ended with {run.code}: {run.talk}")
            continue
        goals = [f"{goal['goal']} {'reached' if goal['reached'] else 'MISSED'}" for goal in run.said["goals"]]
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in run.said["metrics"].items())
        typer.echo(f"{run.name}: {'; '.join(goals) or 'no goals'}: {numbers}")
        if record and run.code == 0 and goals:
            keep(_find(run.name), run.said, records)
    raise typer.Exit(worst)


def _train_one(order: Order, record: bool, records: Path | None) -> None:
    if record and order.data.name != order.recipe.data[0]:
        raise _refuse(f"goals are stated for {order.recipe.data[0]}: --record keeps no numbers on {order.data.name}")
    from reference_models.recipes import DivergedError
    from reference_models.runs import run

    stop = Stop()
    try:
        with _signals(stop):
            done = run(order, stopped=stop.asked)
    except DivergedError as error:
        _say(f"{order.family.title} diverged: {error}; nothing was written")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        _say("stopped before the first step; nothing was written")
        raise typer.Exit(130) from None
    try:
        with _signals(signal.SIG_IGN):  # all files or none
            done.write()
    except OSError as error:
        raise _refuse(f"{order.out} could not be written: {error}") from None
    said = done.said
    _show(said)
    _say(f'{order.out} is filled; reference_models.runs.restore("{order.out}").model gives the model back')
    if said["interrupted"]:
        _say(f"interrupted after {said['steps']} steps: {order.out} says so" + "; nothing was recorded" * record)
        raise typer.Exit(130)
    missed = [goal["metric"] for goal in said["goals"] if not goal["reached"]]
    if record and missed:
        _say(f"nothing was recorded: {', '.join(missed)} missed the goal")
    elif record:
        keep(order.family, said, records)
    raise typer.Exit(1 if missed else 0)


class Stop:
    """What a signal does during a run: the first asks training to end at its next step, the second ends what runs."""

    def __init__(self) -> None:
        self.calls = 0

    def asked(self) -> bool:
        """Whether a signal has come."""
        return self.calls > 0

    def __call__(self, number: int, frame: object) -> None:
        self.calls += 1
        if self.calls > 1:
            raise KeyboardInterrupt
        _say("stopping at the next step, to measure what there is; once more, and it is not measured")


@contextmanager
def _signals(handler: Any) -> Iterator[None]:
    """What an interrupt and a request to end do in here; outside of the main thread, what they did before."""
    both = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, handler) for number in both}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _say(sentence: str) -> None:
    talk.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _refuse(sentence: str) -> typer.Exit:
    _say(sentence)
    return typer.Exit(2)


def _find(name: str) -> Family:
    try:
        return find(name)
    except KeyError:
        near = difflib.get_close_matches(name, [family.name for family in families()], n=3, cutoff=0.4)
        hint = f"; near it: {', '.join(near)}" if near else ", see python -m reference_models"
        raise _refuse(f"no family is called {name}{hint}") from None


def _order(
    name: str,
    data: str | None,
    path: Path | None,
    minutes: float | None,
    steps: int | None,
    seed: int,
    device: str,
    out: Path | None,
) -> Order:
    family = _find(name)
    from reference_models.data import load
    from reference_models.recipes import recipe_of
    from reference_models.runs import Order

    recipe = recipe_of(family)
    if recipe is None:
        raise _refuse(f"{family.title} has nothing to train")
    chosen = recipe.data[0] if data is None else data
    if chosen not in recipe.data:
        raise _refuse(f"{family.title} trains on {', '.join(recipe.data)}, not on {chosen}")
    minutes = recipe.minutes if minutes is None else minutes
    if not 0 < minutes < float("inf"):
        raise _refuse(f"minutes must be positive, got {minutes:g}")
    if steps is not None and steps < 1:
        raise _refuse(f"steps must be at least 1, got {steps}")
    if not 0 <= seed < 2**63:
        raise _refuse(f"seed must be a number from 0 to 2⁶³ − 1, got {seed}")
    _check_device(device)
    target = Path("build") / family.name if out is None else out
    _check_out(target)
    try:
        loaded = load(chosen, path=path, seed=seed, device=device)
    except (ValueError, OSError) as error:
        raise _refuse(str(error)) from None
    return Order(family, recipe, loaded, minutes, steps, seed, device, target)


def _check_device(device: str) -> None:
    import torch

    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise _refuse(f"device {device} cannot be used: {reason}") from None


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise _refuse(f"{out} is a file; give a folder")
    standing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not standing.is_dir() or not os.access(standing, os.W_OK):
        raise _refuse(f"{out} cannot be made: {standing} is not a folder one may write to")


def _show(said: dict[str, Any]) -> None:
    """The numbers on stdout, each goal with its verdict."""
    goals = {goal["metric"]: goal for goal in said["goals"]}
    for name, value in said["metrics"].items():
        verdict = ""
        if name in goals:
            verdict = f"   goal {goals[name]['goal']}: {'reached' if goals[name]['reached'] else 'MISSED'}"
        typer.echo(f"{name:<20} {value:>10.4g}{verdict}")
    for metric in goals.keys() - said["metrics"].keys():
        typer.echo(f"{metric:<20} {'?':>10}   goal {goals[metric]['goal']}: MISSED, it was not measured")


if __name__ == "__main__":
    app(prog_name="python -m reference_models")
