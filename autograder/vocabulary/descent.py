"""Optimiser steps in a row: what each moves, by how much, and what stays where it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autograder.errors import AuthorError, Wrong
from autograder.student import state_dict
from autograder.vocabulary.numbers import assert_number
from autograder.vocabulary.tensors import as_double


@dataclass(frozen=True)
class Step:
    """One step of a sequence that `assert_displacement` watches.

    Args:
        what: names it, "the critic's step".
        run: carries it out: a call of the student's step, or `optimiser.step` of the judge's.
        trains: the network it moves, or None where nothing may move.
        loss: of the judge's copies by name: the right loss, a scalar with a graph.
        rate: of plain gradient descent.
        returns: the step returns the loss as it was before.
    """

    what: str
    run: Callable[[], Any]
    trains: str | None = None
    loss: Callable[[Mapping[str, nn.Module]], Tensor] | None = None
    rate: float = 0.0
    returns: bool = True


def assert_displacement(
    steps: Sequence[Step],
    networks: Mapping[str, Any],
    copies: Mapping[str, nn.Module],
    *,
    tolerance: float = 1e-7,
) -> None:
    """A sequence of steps on the same networks: each moves its own by −rate · ∇loss, exactly, and no other.

    A gradient that leaked into another network shows when the judge steps that one's optimiser, one that was left over
    in the next step: so ask steps in a row, and the judge's own between them.

    Args:
        networks: handles by name.
        copies: the same networks on the judge's side, float64; they take over the weights before every step.
        tolerance: accepted error of a displacement and of a loss, relative to 1 plus their size.
    """
    for number, step in enumerate(steps, 1):
        if (step.trains is None) != (step.loss is None) or (step.trains is not None and step.trains not in networks):
            raise AuthorError(f"step {number}: a network that trains has a loss, and is one of {list(networks)}")
        before = {name: _state(name, network, copies[name]) for name, network in networks.items()}
        expected, loss = _descent(step, copies, before)
        value = step.run()
        name = f"step {number} of {len(steps)}, {step.what}"
        for who, network in networks.items():
            _assert_moved(before[who], _state(who, network, copies[who]), expected.get(who, {}), who, name, tolerance)
        if loss is not None and step.returns:
            assert_number(value, loss, f"the loss that {name}, returns", tolerance=tolerance * (1 + abs(loss)))


def _state(who: str, network: Any, copy: nn.Module) -> dict[str, Tensor]:
    """A network's weights, with the names, shapes and dtypes that it was built with."""
    state, known = state_dict(network), copy.state_dict()
    if state.keys() != known.keys():
        raise Wrong(f"the parameters of the {who} were replaced by others")
    for name, value in state.items():
        if value.shape != known[name].shape or value.is_floating_point() != known[name].is_floating_point():
            raise Wrong(f"`{name}` of the {who} was replaced by another tensor")
    return state


def _descent(
    step: Step, copies: Mapping[str, nn.Module], state: Mapping[str, Mapping[str, Tensor]]
) -> tuple[dict[str, dict[str, Tensor]], float | None]:
    """The displacement of each parameter that trains, and the loss before the step."""
    if step.loss is None or step.trains is None:
        return {}, None
    for name, network in copies.items():
        network.load_state_dict(state[name])
        network.requires_grad_()
    loss = step.loss(copies)
    named = dict(copies[step.trains].named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    moved = {name: -step.rate * g for name, g in zip(named, found, strict=True) if g is not None}
    return {step.trains: moved}, float(loss.detach())


def _assert_moved(
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    who: str,
    step: str,
    tolerance: float,
) -> None:
    for name, start in before.items():
        right = as_double(expected.get(name, torch.zeros_like(start)))
        moved = as_double(after[name]) - as_double(start)
        error = (moved - right).abs()
        if bool((error <= tolerance * (1 + right.abs())).all()):
            continue
        if name not in expected:
            raise Wrong(f"{step}, moves `{name}` of the {who}, which should stay: by {float(moved.abs().max()):.3g}")
        if bool((moved == 0).all()):
            raise Wrong(f"{step}, does not move `{name}` of the {who}")
        raise Wrong(
            f"{step}, moves `{name}` of the {who} wrongly: off by {float(error.max()):.3g}, where it should move "
            f"by up to {float(right.abs().max()):.3g} (accepted error {tolerance:.1g})",
            hint=_direction(moved, right),
        )


def _direction(moved: Tensor, right: Tensor) -> str | None:
    """What is true of the whole displacement: uphill, or a multiple."""
    along = float((moved * right).sum() / right.square().sum())
    if not bool(((moved - along * right).abs() <= 1e-6 * right.abs().max()).all()):
        return None
    if abs(along + 1) < 1e-6:
        return "the step goes uphill: the sign of the loss is flipped"
    return f"the displacement is {along:.4g} times what it should be"
