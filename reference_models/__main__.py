"""The catalogue on the terminal, and training: python -m reference_models [train NAME]."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from reference_models.catalogue import Family, families, find

if TYPE_CHECKING:  # torch takes a second to import, and the catalogue needs none of it
    from reference_models.data import DataSet
    from reference_models.recipes import History, Learner, Recipe

app = typer.Typer(
    help="The reference models: what there is, and training.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
talk = Console(stderr=True)
HERE = Path(__file__).parent
MARKERS = ("<!-- models -->", "<!-- /models -->")
HEADINGS = ("name", "family", "paper", "module", "named by", "homework", "verified against", "reached here")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context, markdown: bool = typer.Option(False, "--markdown", help="As the README's table.")
) -> None:
    """Without a command, prints the catalogue."""
    if context.invoked_subcommand is None:
        catalogue(markdown, None)


@app.command("list")
def catalogue(
    markdown: bool = typer.Option(False, "--markdown", help="As the README's table."),
    into: Annotated[Path | None, typer.Option(help="Write that table into this file, between its markers.")] = None,
) -> None:
    """Print the catalogue: one row a family."""
    if into is not None:
        _put_table(into)
    elif markdown:
        typer.echo(markdown_table())
    else:
        out = Console()
        out = out if out.is_terminal else Console(width=240)
        table = Table()
        for heading in HEADINGS:
            table.add_column(heading, overflow="fold", no_wrap=heading == "name")
        for family in families():
            paper = f"{family.paper.authors} {family.paper.year} {family.paper.url}"
            table.add_row(*(cell.replace("[", r"\[") for cell in _cells(family, paper)))
        out.print(table)


def _put_table(file: Path) -> None:
    """Replaces what stands between the two markers of a Markdown file."""
    text = file.read_text() if file.is_file() else ""
    before, found, rest = text.partition(MARKERS[0] + "\n")
    _, closed, after = rest.partition(MARKERS[1])
    if not (found and closed):
        raise _refuse(f"{file} does not hold the markers {MARKERS[0]} and {MARKERS[1]}")
    file.write_text(f"{before}{found}{markdown_table()}\n{closed}{after}")


def markdown_table() -> str:
    """The catalogue as the README shows it."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    for family in families():
        paper = f"[{family.paper.authors}, {family.paper.year}]({family.paper.url})"
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in _cells(family, paper)) + " |")
    return "\n".join(lines)


def _cells(family: Family, paper: str) -> tuple[str, ...]:
    module = family.module.removeprefix("reference_models.")
    homework = "" if family.homework is None else str(family.homework)
    verified = family.verified_against
    return family.name, family.title, paper, module, family.programmes, homework, verified, _reached(family)


def _reached(family: Family) -> str:
    """What the recorded run of the recipe reached, with the data, the device, the time and the seed."""
    run = _results(family).get(family.name)
    if run is None:
        return ""
    metrics = run["metrics"]
    numbers = ", ".join(f"{g['metric']} {metrics[g['metric']]:.3g}" for g in run["goals"] if g["metric"] in metrics)
    return f"{numbers} on {run['data']} ({run['device']}, {run['minutes']:g} min, seed {run['seed']})"


def _results(family: Family) -> dict[str, Any]:
    file = HERE / family.folder / "results.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return results


# --- training


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


@app.command()
def train(
    name: str = typer.Argument(help="A name of the catalogue: realnvp, ddpm, …"),
    data: str | None = typer.Option(None, help="A data set by name; by default the recipe's first."),
    path: Annotated[Path | None, typer.Option(help="The folder with the files of MNIST or CIFAR-10.")] = None,
    minutes: float | None = typer.Option(None, help="How long; by default what the recipe says."),
    steps: int | None = typer.Option(None, help="At most so many steps, however long they take."),
    seed: int = typer.Option(0, help="Of initialisation, batches and noise."),
    device: str = typer.Option("cpu", help="cpu, cuda, cuda:1, …"),
    out: Annotated[Path | None, typer.Option(help="The folder to fill; by default build/NAME.")] = None,
    record: bool = typer.Option(False, "--record", help="Keep the numbers in the folder's results.json."),
) -> None:
    """Train a family: learning curve, samples, checkpoint and numbers; exit 1 when a goal is missed."""
    order = _order(name, data, path, minutes, steps, seed, device, out)
    try:
        said = _run(order)
    except KeyboardInterrupt:
        talk.print("stopped; nothing was written")
        raise typer.Exit(130) from None
    _show(said)
    if record:
        _record(order.family, said)
    raise typer.Exit(0 if all(goal["reached"] for goal in said["goals"]) else 1)


def _refuse(sentence: str) -> typer.Exit:
    talk.print(sentence, markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(2)


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
    try:
        family = find(name)
    except KeyError:
        near = difflib.get_close_matches(name, [family.name for family in families()], n=3, cutoff=0.4)
        hint = f"; near it: {', '.join(near)}" if near else ", see python -m reference_models"
        raise _refuse(f"no family is called {name}{hint}") from None
    from reference_models.data import load
    from reference_models.recipes import recipe_of

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
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise _refuse(f"device {device} cannot be used: {reason}") from None


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise _refuse(f"{out} is a file; give a folder")
    standing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not standing.is_dir() or not os.access(standing, os.W_OK):
        raise _refuse(f"{out} cannot be made: {standing} is not a folder one may write to")


def _run(order: Order) -> dict[str, Any]:
    """Trains, measures and writes the four files; a run that fails or is stopped leaves none of them."""
    import torch

    from reference_models.recipes import DivergedError
    from reference_models.recipes import train as loop

    torch.manual_seed(order.seed)
    learner = order.recipe.build(order.data).to(order.device)
    generator = torch.Generator(order.device)
    with _bar(order) as bar:
        task = bar.add_task(f"{order.family.title} on {order.data.name}", total=60 * order.minutes, loss="")

        def on_step(history: History) -> None:
            loss = "  ".join(f"{name} {values[-1]:.4g}" for name, values in history.losses.items())
            bar.update(task, completed=learner.progress * 60 * order.minutes, loss=loss)

        try:
            history = loop(
                learner,
                order.data,
                minutes=order.minutes,
                batch_size=order.recipe.batch_size,
                generator=generator.manual_seed(order.seed),
                steps=order.steps,
                on_step=on_step,
            )
        except DivergedError as error:
            bar.stop()
            talk.print(f"{order.family.title} diverged: {error}; nothing was written", markup=False, soft_wrap=True)
            raise typer.Exit(1) from None
        bar.update(task, completed=60 * order.minutes)
    learner.eval()
    said = _said(order, history, learner.metrics(order.data, generator=generator.manual_seed(order.seed)))
    order.out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{order.out.name}-", dir=order.out.parent))
    try:
        _write(part, order, learner, history, said)
        _put(part, order.out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return said


def _put(part: Path, out: Path) -> None:
    """Moves a folder to its place at once, or its files one by one where there are others already."""
    part.chmod(0o755)
    try:
        part.rename(out)
    except OSError:
        for file in part.iterdir():
            file.replace(out / file.name)


def _bar(order: Order) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[loss]}"))
    return Progress(*columns, console=talk)


def _said(order: Order, history: History, metrics: dict[str, float]) -> dict[str, Any]:
    import torch

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
        "metrics": {name: float(value) for name, value in metrics.items()},
        "goals": [{"metric": g.metric, "goal": str(g), "reached": g.reached(metrics)} for g in goals],
    }


def _write(folder: Path, order: Order, learner: Learner, history: History, said: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import save_file

    from reference_models.figures import save_figure, save_learning_curve

    generator = torch.Generator(order.device).manual_seed(order.seed)
    title = f"{order.family.title} on {order.data.name}"
    save_learning_curve(history.losses, folder / "learning_curve.png", title)
    save_figure(learner.figure(order.data, generator=generator), folder / "samples.png", title)
    weights = {name: value.detach().cpu().clone().contiguous() for name, value in learner.state_dict().items()}
    metadata = {key: str(said[key]) for key in ("family", "data", "seed", "steps")}
    save_file(weights, folder / "model.safetensors", metadata=metadata)
    (folder / "metrics.json").write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n")


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


def _record(family: Family, said: dict[str, Any]) -> None:
    results = {**_results(family), family.name: {key: value for key, value in said.items() if key != "family"}}
    file = HERE / family.folder / "results.json"
    part = file.with_name(f".results-{os.getpid()}.json")
    part.write_text(json.dumps(dict(sorted(results.items())), indent=2, ensure_ascii=False) + "\n")
    part.replace(file)


if __name__ == "__main__":
    app(prog_name="python -m reference_models")
