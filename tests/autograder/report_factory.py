"""Reports made by hand, as realistic as the engine's, for tests of everything that reads a report.

Nothing here runs a submission. `typical()` is an ordinary student, `every_reason()` fails in each way there is,
`hostile()` holds an attack in every string, `a_class(n)` is a class; same arguments, equal reports.
"""

from __future__ import annotations

import math
import random
from typing import Any, get_args

from autograder.errors import Reason
from autograder.report import CellResult, CellRun, CheckResult, Environment, Figure, Report, exact

TITLE = "Homework 1: Autoregressive models"

# cell, title of the cell, points, checks as (id, title, points, public); a manual cell has no checks
TASKS: list[tuple[str, str, float, list[tuple[str, str, float, bool]]]] = [
    ("theory-chain-rule", "The chain rule and its cost", 2, []),
    (
        "made-masks",
        "MADE: masks",
        1.5,
        [
            ("test_masks_have_the_shapes_of_the_weights", "Each mask has the shape of its weight.", 0.5, True),
            ("test_made_is_causal", "Output i of the network depends on the inputs before i only.", 1, False),
        ],
    ),
    (
        "made-log-prob",
        "MADE: log-likelihood",
        1,
        [
            ("test_log_prob_has_batch_shape", "`log_prob` returns one number, in nats, for each image.", 0.25, True),
            ("test_made_sums_to_one", "The probabilities of all 2⁹ images of 9 pixels sum to one.", 0.75, False),
        ],
    ),
    (
        "pixelcnn-mask",
        "PixelCNN: masked convolution",
        1.5,
        [
            (
                "test_type_a_hides_the_centre",
                "A type-A mask lets pixel i depend only on pixels before it in raster order.",
                0.5,
                True,
            ),
            (
                "test_type_b_keeps_the_centre",
                "A type-B mask lets pixel i depend on itself and on pixels before it.",
                0.5,
                True,
            ),
            ("test_no_blind_spot", "The receptive field of five layers has no blind spot.", 0.5, False),
        ],
    ),
    (
        "pixelcnn-sample",
        "PixelCNN: sampling",
        1.5,
        [
            ("test_samples_follow_the_model", "Samples follow the law of the network they come from.", 1, False),
            ("test_sampling_draws_afresh", "Two calls with different seeds return different images.", 0.5, True),
        ],
    ),
    (
        "pixelcnn-trained",
        "PixelCNN: a trained model",
        2,
        [
            ("test_excess_over_entropy[bars]", "The trained model is close to the entropy of the data.", 1.5, False),
            ("test_samples_are_bars", "Samples of the trained model look like the data.", 0.5, False),
        ],
    ),
    ("theory-receptive-field", "How the receptive field grows", 2, []),
]


def images(count: int, seed: int, size: int = 8) -> list:
    """`count` images of horizontal or vertical bars, nested lists of shape (count, size, size)."""
    rng = random.Random(seed)
    batch = []
    for _ in range(count):
        lines = [float(rng.random() < 0.4) for _ in range(size)]
        across = rng.random() < 0.5
        batch.append([[lines[r] if across else lines[c] for c in range(size)] for r in range(size)])
    return batch


def samples_beside_data() -> Figure:
    """Two grids of 16 images."""
    return Figure(
        title="16 samples of your model beside 16 images of the data",
        kind="images",
        panels={"your samples": images(16, 1), "data": images(16, 2)},
    )


def receptive_field() -> Figure:
    """The gradient of one pixel with a blind spot."""
    field = [[math.exp(-0.12 * ((r - 7) ** 2 + (c - 7) ** 2)) for c in range(15)] for r in range(15)]
    for r in range(15):
        for c in range(15):
            if r > 7 or (r == 7 and c >= 7) or c - 7 > 7 - r:
                field[r][c] = 0.0
    title = "How strongly the logit in the middle depends on each pixel"
    return Figure(title=title, kind="heatmap", panels={"|∂ logit / ∂ x|": field})


def learning_curve() -> Figure:
    """Two curves of 120 steps."""
    rng = random.Random(3)
    train = [[float(s), 4.16 + 40 * math.exp(-s / 18) + rng.gauss(0, 0.4)] for s in range(0, 600, 5)]
    test = [[float(s), 4.9 + 39 * math.exp(-s / 20)] for s in range(0, 600, 20)]
    return Figure(title="Nats per image while training", kind="curve", panels={"training": train, "held out": test})


def point_clouds() -> Figure:
    """Eight Gaussians, and a sampler that lost three of them."""
    rng = random.Random(4)

    def cloud(modes: range, count: int) -> list:
        picks = [rng.choice(modes) for _ in range(count)]
        return [
            [2 * math.cos(k * math.pi / 4) + rng.gauss(0, 0.15), 2 * math.sin(k * math.pi / 4) + rng.gauss(0, 0.15)]
            for k in picks
        ]

    return Figure(
        title="500 samples beside 500 points of the data",
        kind="points",
        panels={"your samples": cloud(range(5), 500), "data": cloud(range(8), 500)},
    )


def every_figure() -> list[Figure]:
    """One figure of each kind."""
    return [samples_beside_data(), receptive_field(), learning_curve(), point_clouds()]


def not_finite() -> Figure:
    """A figure that holds NaN: it must be refused by a sentence, not drawn."""
    return Figure(
        title="A diverged run", kind="curve", panels={"training": [[0.0, 1.0], [1.0, math.nan], [2.0, math.inf]]}
    )


FAILURES: dict[str, dict[str, Any]] = {
    "wrong": {
        "message": "Pixel (3, 3) changes when pixel (3, 4) does: the largest change of a logit is 0.82, at most 1e-6 "
        "is allowed. 12 of 36 pixels see a pixel that comes after them.",
        "hint": "The mask of the first layer has a 1 right of its centre.",
        "detail": "AssertionError: assert 0.8213 <= 1e-06\n  expected mask row [1, 1, 0, 0, 0]",
    },
    "missing": {
        "message": "`MaskedConv2d` is not defined when cell `pixelcnn-mask` ends.",
        "hint": "The cell above it failed while running; see below how the notebook ran.",
    },
    "crash": {
        "message": "your code raised RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x64 and 36x128)",
        "where": "cell 12, line 3: h = F.relu(self.fc1(x.flatten(1)))",
        "detail": 'Traceback (most recent call last):\n  File "<cell 12>", line 3, in forward\nRuntimeError: mat1',
    },
    "timeout": {"message": "the check was stopped after 20 s without an answer.", "where": "cell 19, line 7: while 1:"},
    "memory": {"message": "your code used more than the 2048 MB it may use and was stopped."},
    "output": {"message": "your code printed more than 1 MB, or returned more than 256 MB; the answer was not read."},
    "tampered": {"message": "the answer did not come from the call that was made, so it was not counted."},
}


def failed(reason: str, fraction: float = 0.0, **changes: Any) -> dict[str, Any]:
    """The fields of a failed check, or of a partial one when `fraction` is positive."""
    return {
        "outcome": "partial" if fraction else "failed",
        "reason": reason,
        "fraction": fraction,
        **FAILURES[reason],
        **changes,
    }


INFRASTRUCTURE: dict[str, Any] = {
    "outcome": "infrastructure",
    "fraction": 0.0,
    "message": "the container engine went away while this check ran.",
    "detail": "docker.errors.APIError: 500 Server Error: no space left on device",
}


def report(
    student: str = "ada",
    *,
    outcomes: dict[str, dict[str, Any]] | None = None,
    runs: list[CellRun] | None = None,
    notes: list[str] | None = None,
    sandbox: str = "docker",
    seconds: float = 9.4,
) -> Report:
    """A report in which every check passes except those named in `outcomes`, with the fields given there."""
    outcomes = outcomes or {}
    checks, cells = [], []
    for cell, title, points, listed in TASKS:
        earned = exact(0)
        for check, what, worth, public in listed:
            fields = {"outcome": "passed", "fraction": 1.0, **outcomes.get(check, {})}
            took = round(0.02 + worth / 10, 3)
            result = CheckResult(id=check, cell=cell, title=what, public=public, points=worth, seconds=took, **fields)
            checks.append(result)
            earned += exact(worth) * exact(result.fraction)
        cells.append(
            CellResult(
                cell=cell, title=title, max_points=points, manual=not listed, earned=float(earned) if listed else None
            )
        )
    digest = f"{sum(student.encode('utf-8', 'replace')) * 2654435761 % 2**64:016x}" * 4
    return Report(
        assignment="hw1",
        student=student,
        submission_sha256=digest,
        basis="9f2c" * 16,
        environment=Environment(
            sandbox=sandbox,
            image="sha256:" + "4e1b" * 16 if sandbox == "docker" else None,
            device="cpu",
            versions={"python": "3.11.2", "torch": "2.6.0", "numpy": "1.26.4", "engine": "0.1.0"},
            limits={"memory_mb": 2048.0, "cpus": 1.0, "wall_seconds": 600.0},
            seed=20260921,
        ),
        checks=checks,
        cells=cells,
        runs=runs if runs is not None else [CellRun(index=i, status="ok", seconds=0.05) for i in range(1, 25)],
        notes=notes or [],
        started="2026-11-21T03:44:28Z",
        timings={
            "sandbox": 0.2,
            "notebook": round(seconds * 0.3, 2),
            "checks": round(seconds * 0.6, 2),
            "total": seconds,
        },
    )


def typical() -> Report:
    """An ordinary student: most right, one partly, two wrong, figures of every kind, a Colab habit, a broken cell."""
    runs = [CellRun(index=i, status="ok", seconds=0.04 * (i % 5), stdout="") for i in range(1, 25)]
    runs[0] = CellRun(index=1, status="ok", seconds=0.0, notes=["`!pip install einops` was not run"])
    runs[4] = CellRun(index=5, status="ok", seconds=0.3, notes=["`.cuda()` ran on the CPU: this machine has no GPU"])
    runs[15] = CellRun(
        index=16,
        begins="sns.set_theme()",
        status="error",
        seconds=0.01,
        error="NameError: name 'sns' is not defined (line 4: sns.heatmap(mask))",
        stdout="epoch 1: 12.81 nats\nepoch 2: 7.33 nats\nepoch 3: 5.20 nats\n",
    )
    runs[20] = CellRun(index=21, status="skipped", seconds=0.0, notes=["training runs only when a check asks for it"])
    return report(
        "Ada Lovelace",
        outcomes={
            "test_no_blind_spot": failed("wrong", figures=[receptive_field()]),
            "test_samples_follow_the_model": failed("crash"),
            "test_excess_over_entropy[bars]": failed(
                "wrong",
                0.6,
                message="your model is 0.74 nats per image above the entropy of the data; full points at 0.30 or less, "
                "none at 1.40 or more.",
                hint=None,
                figures=[learning_curve()],
            ),
            "test_samples_are_bars": {"figures": [samples_beside_data(), point_clouds()]},
        },
        runs=runs,
        notes=["Cell `made-masks` was there twice; the first one was graded."],
    )


def every_reason() -> Report:
    """A report with one check for each reason code, one partial and one infrastructure outcome."""
    names = [check for _, _, _, listed in TASKS for check, *_ in listed]
    outcomes = {name: failed(reason) for name, reason in zip(names, get_args(Reason), strict=False)}
    outcomes[names[7]] = failed("wrong", 0.25)
    outcomes[names[8]] = INFRASTRUCTURE
    return report("Emmy Noether", outcomes=outcomes, notes=["The sandbox was replaced 4 times."])


def infrastructure() -> Report:
    """A report in which the machine failed from the fourth check on."""
    names = [check for _, _, _, listed in TASKS for check, *_ in listed]
    return report("Grace Hopper", outcomes=dict.fromkeys(names[3:], INFRASTRUCTURE))


def blank() -> Report:
    """The template handed in as it was."""
    names = [check for _, _, _, listed in TASKS for check, *_ in listed]
    return report("nobody", outcomes={name: failed("missing") for name in names}, seconds=2.0)


PAYLOADS: list[str] = [
    "<script>document.title='PWNED'</script>",
    "<img src=x onerror=\"document.title='PWNED'\">",
    "<svg onload=\"document.title='PWNED'\"><script>document.title='PWNED'</script></svg>",
    "\"><script>document.title='PWNED'</script>",
    "' onmouseover='document.title=\"PWNED\"' autofocus onfocus='document.title=\"PWNED\"' x='",
    "</style><script>document.title='PWNED'</script>",
    "</title></textarea></pre></code></svg><script>document.title='PWNED'</script>",
    "javascript:document.title='PWNED'",
    "[click](javascript:document.title='PWNED')",
    "`<script>document.title='PWNED'</script>`",
    "<iframe srcdoc=\"<script>parent.document.title='PWNED'</script>\"></iframe>",
    "<meta http-equiv=refresh content=\"0;url=javascript:document.title='PWNED'\">",
    "<base href='https://attacker.invalid/'><link rel=stylesheet href='https://attacker.invalid/a.css'>",
    "<style>*{background:url(https://attacker.invalid/beacon)}</style>",
    "{{7*7}}{% for c in ''.__class__.__mro__ %}{{c}}{% endfor %}",
    "${7*7}#{7*7}<%= 7*7 %>",
    "]]><!--<script>document.title='PWNED'</script>-->",
    "\x1b]0;PWNED\x07\x1b[2J\x1b[1;31mred\x1b[0m\x9b31m\x00\x08\x7f",
    "abc\u202egnp.exe\u202c\u2066x\u2069\u200f\ufeff",
    "=cmd()|'/c calc'!A1",
    "../../etc/passwd",
    "[bold red]not markup[/bold red][link=javascript:1]x[/link]",
    "$\\frac{1}{0",
    "\ud800 lone surrogate",
]


def hostile(student: str | None = None) -> Report:
    """A report in which every string a student could have chosen is an attack."""
    attack = "\n".join(PAYLOADS)
    figures = [
        figure.model_copy(update={"title": attack, "panels": {f"{p} {attack}": v for p, v in figure.panels.items()}})
        for figure in [*every_figure(), not_finite()]
    ]
    names = [check for _, _, _, listed in TASKS for check, *_ in listed]
    bad = {"message": attack, "hint": attack, "where": attack, "detail": attack}
    outcomes = {name: failed("crash", **bad) for name in names}
    outcomes[names[0]] = failed("wrong", **bad, figures=figures)
    outcomes[names[1]] = {**INFRASTRUCTURE, "message": attack, "detail": attack}
    runs = [CellRun(index=1, status="error", seconds=0.1, error=attack, notes=[attack], stdout=attack)]
    made = report(attack if student is None else student, outcomes=outcomes, runs=runs, notes=[attack])
    cells = [cell.model_copy(update={"cell": f"{cell.cell}{attack}", "title": attack}) for cell in made.cells]
    checks = [
        check.model_copy(update={"cell": f"{check.cell}{attack}", "title": attack, "id": f"{check.id}{attack}"})
        for check in made.checks
    ]
    world = made.environment.model_copy(update={"device": attack, "image": attack, "versions": {attack: attack}})
    return made.model_copy(
        update={
            "cells": cells,
            "checks": checks,
            "environment": world,
            "submission_sha256": attack,
            "started": attack,
            "assignment": attack,
        }
    )


def a_class(count: int = 24, seed: int = 0) -> list[Report]:
    """A class of `count` students of all kinds, from all points to none."""
    rng = random.Random(seed)
    names = "Abel Agnesi Bayes Borel Cantor Cauchy Dedekind Euler Fermat Galois Gauss Germain Hilbert Hypatia Jacobi"
    names += (
        " Klein Kovalevskaya Lagrange Laplace Markov Mirzakhani Noether Pascal Poisson Ramanujan Riemann Sobolev Turing"
    )
    listed = [check for _, _, _, checks in TASKS for check, *_ in checks]
    reports = []
    for i in range(count):
        skill = rng.betavariate(3, 1.6)
        outcomes: dict[str, dict[str, Any]] = {}
        for j, check in enumerate(listed):
            if rng.random() > skill + 0.25 - 0.035 * j:
                reason = rng.choices(list(get_args(Reason)), [8, 3, 3, 1, 0.5, 0.2, 0.3])[0]
                outcomes[check] = failed(reason, 0.5 if reason == "wrong" and rng.random() < 0.3 else 0.0)
        if i == 5:
            outcomes = dict.fromkeys(listed[4:], INFRASTRUCTURE)
        name = names.split()[i % 28] + (f" {i // 28 + 1}" if i >= 28 else "")
        reports.append(report(name, outcomes=outcomes, seconds=round(rng.lognormvariate(2.2, 0.5), 1)))
    return reports


REJECTED: dict[str, str] = {
    "dijkstra": "hw1.ipynb is not a notebook: it is empty.",
    "knuth": "two notebooks were handed in (hw1.ipynb, hw1 (1).ipynb); one is needed.",
}
