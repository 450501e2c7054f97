"""Training in the sandbox while checks run: by the student's own `fit`, or by the judge's own loop.

Both are charged to the training budget, one for all that a check asks for, and to the time of the submission.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from autograder.errors import AuthorError
from autograder.student.answers import tampered
from autograder.student.handles import request
from autograder.student.local import as_handle

Loss = Literal["squared", "logits", "nll"]


def run_fit(fit: Any, *args: Any, seed: int | None = None, **kwargs: Any) -> Any:
    """`fit(*args, **kwargs)` with gradients recorded, under the training budget: a student's training, once more.

    Args:
        fit: the notebook's function that trains the network it is given: a fresh one of the student's, or a probe.
        seed: of torch, NumPy and `random`, as in `call`.

    Returns:
        What it returns, a list of losses say.
    """
    return request(as_handle(fit), "fit", args=args, kwargs=kwargs, seed=seed)


def train_network(
    network: Any,
    inputs: Sequence[Tensor],
    target: Tensor | None = None,
    *,
    steps: int,
    loss: Loss = "squared",
    method: str | None = None,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int | None = 0,
) -> list[float]:
    """Train a network in the sandbox in place by the judge's own loop: Adam on random batches, in training mode.

    Args:
        inputs: tensors with a row for each sample; a batch of rows of each is what the network is called with.
        target: a row for each sample, of the shape of the network's answer.
        loss: "squared", the mean of (answer − target)²; "logits", the binary cross-entropy of logits; "nll", minus the
            mean answer, of a log-density, without a target.
        method: of the network, in the place of calling it: "log_prob".

    Returns:
        The loss of each step.

    Raises:
        StudentFault: the network fails, has no parameters, or answers in another shape; the time is used up.
    """
    sizes = {len(x) for x in (*inputs, *(() if target is None else (target,)))}
    if not inputs or len(sizes) != 1 or 0 in sizes or (target is None) != (loss == "nll"):
        raise AuthorError("a training needs inputs, and a target except for `nll`, with as many rows each")
    fields = {"inputs": tuple(inputs), "label": target, "loss": loss, "method": method}
    schedule = {"steps": steps, "batch_size": batch_size, "lr": lr, "seed": seed}
    losses = request(as_handle(network), "descend", **fields, **schedule)
    if type(losses) is not list or len(losses) != steps or not all(type(value) is float for value in losses):
        tampered("the losses of a training did not come back as asked")
    return [value if math.isfinite(value) else math.nan for value in losses]
