"""Training by the judge's own loop: plain Adam on batches of the judge's data, on whatever network it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from .calling import Fault, beside_model, in_mode, name_of, seeded

LOSSES: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "squared": mse_loss,
    "logits": binary_cross_entropy_with_logits,
    "nll": lambda log_prob, _: -log_prob.mean(),
}


def descend(
    network: nn.Module,
    function: Callable[..., Any],
    inputs: Sequence[Tensor],
    target: Tensor | None,
    *,
    loss: str,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int | None,
) -> list[float]:
    """Train the parameters of `network` in place, in training mode; the mean loss of each step.

    Args:
        function: the network, or a method of it, called with a batch of rows of each of `inputs`.
        target: one row for each of theirs.

    Raises:
        Fault: what `function` returns does not fit the target.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trained:
        raise Fault("wrong", f"`{name_of(network)}` has no parameters to train")
    optimiser = torch.optim.Adam(trained, lr=lr)
    losses: list[float] = []
    with seeded(seed), in_mode(network, "train"), torch.enable_grad():
        while len(losses) < steps:
            rows = torch.randint(len(inputs[0]), (batch_size,))
            named = {} if target is None else {"target": target[rows]}
            batch, named = beside_model(network, [x[rows] for x in inputs], named)
            value = _loss(loss, function(*batch), named.get("target"), function)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            losses.append(value.item())
    optimiser.zero_grad()  # nothing is left that another step would use
    return losses


def _loss(kind: str, answer: Any, target: Tensor | None, function: Any) -> Tensor:
    if not isinstance(answer, Tensor) or (target is not None and answer.shape != target.shape):
        got = f"shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        wanted = "a tensor" if target is None else f"shape {tuple(target.shape)}"
        raise Fault("wrong", f"`{name_of(function)}` returned {got} where {wanted} was expected")
    return LOSSES[kind](answer, None if target is None else target.to(answer.dtype))
