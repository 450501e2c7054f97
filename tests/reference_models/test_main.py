"""`python -m reference_models`: what it prints, what training leaves on disk, and what it refuses in one sentence."""

from __future__ import annotations

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.image
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from safetensors.torch import load_file, safe_open, save_file
from typer.testing import CliRunner

import reference_models.__main__ as command
from reference_models import results
from reference_models.catalogue import FOLDERS, families, find
from reference_models.figures import save_figure, save_learning_curve
from reference_models.flow_matching import recipes
from reference_models.recipes import Curve, Goal, Images, Minimise, Recipe
from reference_models.runs import restore

README = Path(__file__).resolve().parents[2] / "README.md"
PAGE = README.parent / "docs" / "models.md"


@pytest.fixture(autouse=True)
def _as_a_user_runs_it(monkeypatch):
    """In single precision, on the CPU, torch's defaults."""
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


def invoke(*arguments: object):
    return CliRunner().invoke(command.app, [str(argument) for argument in arguments])


@pytest.fixture
def tiny(monkeypatch) -> dict[str, Recipe]:
    """In place of the recipe of `cfm`: a mean learnt by least squares, in a blink."""

    def build(data):
        model = torch.nn.Linear(1, 2)
        return Minimise(
            model,
            loss=lambda model, x, y, generator: ((model(torch.ones(len(x), 1)) - x) ** 2).mean(),
            metrics=lambda model, data, generator: {"distance": 0.25, "other": 3.0},
            figure=lambda model, data, generator: Curve(torch.arange(3.0), {"line": torch.rand(3)}),
        )

    made = {"cfm": Recipe(build, ("moons", "checkerboard", "mnist"), (Goal("distance", at_most=0.3),), 0.01, 16)}
    monkeypatch.setattr(recipes, "RECIPES", made)
    return made


# --- the catalogue


def test_without_a_command_it_prints_every_family():
    done = invoke()
    assert done.exit_code == 0
    for family in families():
        assert family.name in done.stdout
    assert invoke("list").stdout == done.stdout


def test_the_catalogue_is_one_line_a_family_on_a_narrow_terminal():
    lines = invoke().stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [family.name for family in families()]
    assert len(lines) == len(families()) + len(FOLDERS) + 2


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_show_says_all_that_is_known_of_a_family(family):
    done = invoke("show", family.name)
    said = re.sub(r"\s+", " ", done.stdout)
    assert done.exit_code == 0
    assert max(len(line) for line in done.stdout.splitlines() if "://" not in line) <= 80
    for part in (family.title, family.paper.title, family.paper.url, family.module, family.verified_against):
        assert part in said
    assert said.count("reached") == (results.reached(family) != "")


def test_show_names_the_classes_and_the_goals():
    said = re.sub(r"\s+", " ", invoke("show", "maf").stdout)
    assert "classes MAF, AffineAutoregressive" in said or "classes AffineAutoregressive, MAF" in said
    assert "excess_nats ≤" in said
    assert "no family is called mof; near it: maf" in invoke("show", "mof").stderr


def test_the_page_of_all_models_is_the_generated_one():
    generated = invoke("list", "--markdown").stdout
    assert generated == PAGE.read_text(), "run: python -m reference_models list --markdown > docs/models.md"
    rows = [line for line in generated.splitlines() if line.startswith("| ") and not line.startswith("| name")]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [family.name for family in families()]
    assert "docs/models.md" in README.read_text()


# --- training


def test_training_leaves_four_files(tiny, tmp_path):
    out = tmp_path / "deep" / "run"
    done = invoke("train", "cfm", "--steps", 5, "--seed", 3, "--out", out)
    assert done.exit_code == 0, done.stderr
    files = {file.name for file in out.iterdir()}
    assert files == {"learning_curve.png", "samples.png", "model.safetensors", "metrics.json"}
    said = json.loads((out / "metrics.json").read_text())
    assert (said["family"], said["data"], said["seed"], said["steps"]) == ("cfm", "moons", 3, 5)
    assert said["metrics"] == {"distance": 0.25, "other": 3.0}
    assert said["goals"] == [{"metric": "distance", "goal": "distance ≤ 0.3", "reached": True}]
    assert said["device"].startswith("CPU")
    weights = load_file(out / "model.safetensors")
    assert weights["model.weight"].shape == (2, 1)
    with safe_open(out / "model.safetensors", "pt") as stored:
        assert stored.metadata()["family"] == "cfm"
    for name in ("learning_curve.png", "samples.png"):
        pixels = matplotlib.image.imread(out / name)
        assert pixels.shape[:2] == (540, 720)
        assert pixels.std() > 0.01
    assert len({file.stat().st_mode for file in out.iterdir()}) == 1  # whoever may read one may read all
    assert said["interrupted"] is False
    assert list(out.parent.iterdir()) == [out]  # no traces
    assert "goal distance ≤ 0.3: reached" in done.stdout


def test_a_run_is_restored_from_its_folder(tiny, tmp_path):
    done = invoke("train", "cfm", "--steps", 5, "--seed", 3, "--out", tmp_path / "run")
    assert f'reference_models.runs.restore("{tmp_path / "run"}").model' in done.stderr
    restored = restore(tmp_path / "run")
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert not restored.model.training
    assert torch.equal(restored.model.weight, weights["model.weight"])
    assert restored.data.name == "moons"
    before = torch.get_rng_state()
    restore(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(FileNotFoundError):
        restore(tmp_path)
    file, right = tmp_path / "model.safetensors", {"family": "cfm", "data": "moons", "seed": "0"}
    for said in (None, right | {"family": "nope"}, right | {"seed": "x"}):
        save_file(weights, file, metadata=said)
        with pytest.raises(ValueError, match=r"model\.safetensors was not written by python -m reference_models train"):
            restore(tmp_path)
    file.write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"model\.safetensors was not written by python -m reference_models train"):
        restore(tmp_path)
    save_file({"model.weight": torch.zeros(3)}, file, metadata=right)
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit the recipe of cfm"):
        restore(tmp_path)
    tiny.clear()
    with pytest.raises(ValueError, match="names the family cfm, which has nothing to train"):
        restore(tmp_path / "run")


def test_a_folder_that_is_there_is_filled_from_inside(tiny, tmp_path, monkeypatch):
    """Its parent may be closed to the user: nothing is made in it."""
    made = []
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix, dir: (made.append(dir), mkdtemp(prefix=prefix, dir=dir))[1])
    (tmp_path / "there").mkdir()
    for name in ("there", "new"):
        assert invoke("train", "cfm", "--steps", 1, "--out", tmp_path / name).exit_code == 0
        assert len(list((tmp_path / name).iterdir())) == 4
    assert made == [tmp_path / "there", tmp_path]


def test_the_same_seed_gives_the_same_weights(tiny, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        invoke("train", "cfm", "--steps", 20, "--minutes", 1, "--seed", seed, "--out", tmp_path / name)
    a, b, c = (load_file(tmp_path / name / "model.safetensors")["model.weight"] for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_training_again_replaces_the_files(tiny, tmp_path):
    for steps in (2, 4):
        assert invoke("train", "cfm", "--steps", steps, "--minutes", 1, "--out", tmp_path).exit_code == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["steps"] == 4
    assert len(list(tmp_path.iterdir())) == 4


def test_several_families_train_at_once_and_their_numbers_are_kept_where_asked(tmp_path):
    """Each in a process of its own; one that cannot be trained is refused before any begins."""
    records = tmp_path / "records"
    done = invoke(
        *("train", "gaussian-mixture", "langevin", "--jobs", 2, "--steps", 60, "--record"),
        *("--out", tmp_path / "runs", "--records", records),
    )
    kept = json.loads((records / "latent" / "results.json").read_text())
    assert set(kept) == {"gaussian-mixture"}
    assert kept["gaussian-mixture"]["steps"] == 60
    lines = {line.split(":")[0]: line for line in done.stdout.splitlines()}
    assert set(lines) == {"gaussian-mixture", "langevin"}
    assert "MISSED" not in lines["gaussian-mixture"]
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"gaussian-mixture", "langevin"}
    assert done.exit_code == ("MISSED" in lines["langevin"])
    refused = invoke("train", "gaussian-mixture", "conjugate-bayes", "--out", tmp_path / "none")
    assert refused.exit_code == 2
    assert not (tmp_path / "none").exists()
    assert invoke("train").exit_code == 2
    assert invoke("train", "maf", "--all").exit_code == 2


def test_the_time_is_kept(tiny, tmp_path):
    done = invoke("train", "cfm", "--minutes", 0.005, "--out", tmp_path)
    assert done.exit_code == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["minutes"] <= 0.02


def test_a_missed_goal_is_exit_1_with_everything_written(tiny, tmp_path):
    tiny["cfm"] = Recipe(tiny["cfm"].build, ("moons",), (Goal("distance", at_most=0.1), Goal("gone", at_least=0)), 0.01)
    done = invoke("train", "cfm", "--steps", 2, "--out", tmp_path)
    assert done.exit_code == 1
    assert "goal distance ≤ 0.1: MISSED" in done.stdout
    assert "goal gone ≥ 0: MISSED, it was not measured" in done.stdout
    assert len(list(tmp_path.iterdir())) == 4


def test_goals_are_those_of_the_first_data_set(tiny, tmp_path):
    done = invoke("train", "cfm", "--data", "checkerboard", "--steps", 2, "--out", tmp_path)
    assert done.exit_code == 0
    assert "goal" not in done.stdout


def test_a_run_that_diverges_leaves_nothing(tiny, tmp_path):
    def build(data):
        learner = tiny_build(data)
        learner._loss = lambda model, x, y, generator: model.weight.sum() * float("nan")
        return learner

    tiny_build = tiny["cfm"].build
    tiny["cfm"] = Recipe(build, ("moons",), (Goal("distance", at_most=1),), 0.01)
    done = invoke("train", "cfm", "--out", tmp_path / "run")
    assert done.exit_code == 1
    assert "diverged: after 0 steps loss is nan; nothing was written" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def signalled(tiny):
    """Sends a signal in the midst of the third step of a training, and another in the midst of the measurement."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def order(in_training: int | None = None, in_measuring: int | None = None) -> None:
        def loss(model, x, y, generator):
            seen.append(len(x))
            if in_training is not None and len(seen) == 3:
                os.kill(os.getpid(), in_training)
            return ((model(torch.ones(len(x), 1)) - x) ** 2).mean()

        def metrics(model, data, generator):
            if in_measuring is not None:
                os.kill(os.getpid(), in_measuring)
            return {"distance": 0.25}

        def build(data):
            model = torch.nn.Linear(1, 2)
            return Minimise(model, loss=loss, metrics=metrics, figure=lambda *_, **__: Curve(x, {"line": x}))

        seen, x = [], torch.arange(3.0)
        tiny["cfm"] = Recipe(build, ("moons",), (Goal("distance", at_most=0.3),), 1)

    yield order
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_there_is_and_says_so(signalled, tmp_path, number):
    """The step that runs is ended, so that no half-updated weights are kept; the numbers are not recorded."""
    signalled(in_training=number)
    done = invoke("train", "cfm", "--steps", 50, "--out", tmp_path, "--record")
    assert done.exit_code == 130
    assert "interrupted after 3 steps" in done.stderr
    assert "nothing was recorded" in done.stderr
    said = json.loads((tmp_path / "metrics.json").read_text())
    assert (said["steps"], said["interrupted"], said["metrics"]) == (3, True, {"distance": 0.25})
    assert {file.name for file in tmp_path.iterdir()} == {
        *("learning_curve.png", "samples.png", "model.safetensors", "metrics.json")
    }
    kept = restore(tmp_path).model.weight
    signalled()
    invoke("train", "cfm", "--steps", 3, "--out", tmp_path)
    assert torch.equal(restore(tmp_path).model.weight, kept)


def test_a_second_signal_leaves_out_what_is_not_yet_measured(signalled, tmp_path):
    signalled()
    invoke("train", "cfm", "--steps", 5, "--out", tmp_path)
    signalled(in_training=signal.SIGINT, in_measuring=signal.SIGINT)
    done = invoke("train", "cfm", "--steps", 5, "--out", tmp_path)
    assert done.exit_code == 130
    said = json.loads((tmp_path / "metrics.json").read_text())
    assert (said["steps"], said["interrupted"], said["metrics"]) == (3, True, {})
    assert "MISSED" in done.stdout
    assert {file.name for file in tmp_path.iterdir()} == {"learning_curve.png", "model.safetensors", "metrics.json"}


def test_files_are_written_all_or_none(tiny, tmp_path, monkeypatch):
    """A request to end comes too late once writing has begun; a full disk leaves nothing."""

    def end(figure, path, title):
        os.kill(os.getpid(), signal.SIGTERM)
        path.touch()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reference_models.runs.save_figure", full)
    done = invoke("train", "cfm", "--steps", 1, "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "run could not be written: [Errno 28] No space left on device" in done.stderr
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("reference_models.runs.save_figure", end)
    for _ in range(2):
        assert invoke("train", "cfm", "--steps", 1, "--out", tmp_path / "run").exit_code == 0
        assert len(list((tmp_path / "run").iterdir())) == 4


def test_it_trains_outside_the_main_thread_too(tiny, tmp_path):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(invoke, "train", "cfm", "--steps", 1, "--out", tmp_path / "run").result().exit_code == 0


def test_record_keeps_the_numbers_beside_the_recipes(tiny, tmp_path, monkeypatch):
    (tmp_path / "flow_matching").mkdir()
    monkeypatch.setattr(results, "HERE", tmp_path)
    assert invoke("train", "cfm", "--steps", 2, "--out", tmp_path / "run", "--record").exit_code == 0
    kept = json.loads((tmp_path / "flow_matching" / "results.json").read_text())
    assert kept["cfm"]["metrics"]["distance"] == 0.25
    assert re.search(r"distance 0.25 on moons \(CPU.*, 2 steps, seed 0\)", results.reached(find("cfm")))
    assert [file.name for file in (tmp_path / "flow_matching").iterdir()] == ["results.json"]
    kept["cfm"]["metrics"] |= {"distance_low": 0.125, "distance_high": 0.5}
    (tmp_path / "flow_matching" / "results.json").write_text(json.dumps(kept))
    assert "distance 0.25 [0.125, 0.5] on moons (CPU" in results.reached(find("cfm"))


def test_record_keeps_no_numbers_that_miss_a_goal_or_have_none(tiny, tmp_path, monkeypatch):
    (tmp_path / "flow_matching").mkdir()
    monkeypatch.setattr(results, "HERE", tmp_path)
    done = invoke("train", "cfm", "--data", "checkerboard", "--steps", 2, "--out", tmp_path / "run", "--record")
    assert done.exit_code == 2
    assert "goals are stated for moons: --record keeps no numbers on checkerboard" in done.stderr
    assert not (tmp_path / "run").exists()
    tiny["cfm"] = Recipe(tiny["cfm"].build, ("moons",), (Goal("distance", at_most=0.1), Goal("gone", at_least=0)), 0.01)
    done = invoke("train", "cfm", "--steps", 2, "--out", tmp_path / "run", "--record")
    assert done.exit_code == 1
    assert "nothing was recorded: distance, gone missed the goal" in done.stderr
    assert list((tmp_path / "flow_matching").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("realnpv",), "no family is called realnpv; near it: realnvp"),
        (("qqqq",), "no family is called qqqq, see python -m reference_models"),
        (("cfm", "--data", "bars"), "Conditional flow matching trains on moons, checkerboard, mnist, not on bars"),
        (("cfm", "--minutes", "0"), "minutes must be positive, got 0"),
        (("cfm", "--minutes", "nan"), "minutes must be positive, got nan"),
        (("cfm", "--steps", "0"), "steps must be at least 1, got 0"),
        (("cfm", "--seed", "-1"), "seed must be a number from 0"),
        (("cfm", "--device", "toaster"), "device toaster cannot be used"),
        (("cfm", "--device", "meta"), "device meta cannot be used"),
        (("cfm", "--path", "FILE"), "moons is read from no files: leave out the path, got FILE"),
        (("cfm", "--data", "mnist"), "mnist is read from its standard files"),
        (("cfm", "--out", "FILE"), "FILE is a file; give a folder"),
        (("cfm", "--out", "FILE/below"), "cannot be made: FILE is not a folder one may write to"),
        (("cfm", "--minutes", "soon"), "unable to parse string as a number"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_2(tiny, tmp_path, arguments, sentence):
    file = tmp_path / "file"
    file.touch()
    done = invoke("train", *(argument.replace("FILE", str(file)) for argument in arguments))
    assert done.exit_code == 2
    said = re.sub(r"[│\n ]+", " ", done.stderr)
    assert sentence.replace("FILE", str(file)) in said
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == [file]


def test_a_curve_that_falls_at_once_is_shown_whole(tmp_path, monkeypatch):
    """EM is there after a few steps; after them there is rounding alone."""
    limits = []
    monkeypatch.setattr(Axes, "set", lambda axes, **options: limits.append(options["ylim"]))
    rounding = [1.0 + 1e-9 * (k % 2) for k in range(998)]
    slow = [900.0, *np.linspace(3.0, 1.0, 999)]
    losses = {"fast": [5.0, 2.0, *rounding], "slow": slow, "there": [1.0 + 1e-6, *rounding]}
    save_learning_curve(losses, tmp_path / "curve.png", "three losses")
    (low, high), (_, top), flat = limits
    assert low < 1.0
    assert high > 5.0
    assert top < 5.0
    assert flat[1] - flat[0] > 1e-3


def test_what_is_not_trained_says_so(monkeypatch):
    monkeypatch.setattr(recipes, "RECIPES", {})
    done = invoke("train", "cfm")
    assert done.exit_code == 2
    assert "Conditional flow matching has nothing to train" in done.stderr


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_drawn_as_a_sheet(tmp_path, channels):
    pixels = torch.zeros(5, channels, 4, 4)
    pixels[1] = 1.0
    save_figure(Images({"samples": pixels, "data": 1 - pixels}), tmp_path / "sheet.png", "images")
    drawn = matplotlib.image.imread(tmp_path / "sheet.png")
    assert drawn[..., :3].min() == pytest.approx(0.0, abs=0.02)
    assert drawn.std() > 0.1


# --- goals


def test_a_goal_is_met_within_its_limits_and_never_by_nan():
    between = Goal("x", at_least=1, at_most=2)
    assert all(between.reached({"x": value}) for value in (1.0, 1.5, 2.0))
    assert not any(between.reached({"x": value}) for value in (0.9, 2.1, float("nan")))
    assert not between.reached({})
    assert str(between) == "x ≥ 1 and ≤ 2"
    with pytest.raises(ValueError, match="the goal for x states no number"):
        Goal("x")
