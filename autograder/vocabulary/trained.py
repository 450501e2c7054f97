"""Whether an answer comes out of weights that training has moved.

A figure reached by a trained network proves no training: a table of the training data, a fitted closed form or a typed
formula reach it too. These words ask by behaviour. `ask` is always a function of the judge's, of a network to a tensor:

    ask = lambda net: call(net, x, t, mode="eval")

What each of them sees, and what none of them does, is in `docs/writing-checks.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autograder.errors import Wrong
from autograder.student import load_state_dict, parameters, state_dict
from autograder.vocabulary.tensors import Tolerance, agree, as_double, assert_real, assert_shape

Ask = Callable[[Any], Any]


def transplanted(trained: Any, fresh: Any, what: str = "the trained network") -> Any:
    """A fresh network that holds the weights and buffers of a trained one; returns `fresh`.

    Raises:
        Wrong: the two have other names or shapes, so one is not what the other was before training.
    """
    state, known = state_dict(trained), state_dict(fresh)
    if {n: v.shape for n, v in state.items()} != {n: v.shape for n, v in known.items()}:
        odd = sorted(n for n in state.keys() | known.keys() if n not in state or n not in known) or [
            n for n in state if state[n].shape != known[n].shape
        ]
        raise Wrong(f"{what} is another network than is built for it: they differ in `{odd[0][:80]}`")
    load_state_dict(fresh, state)
    return fresh


def assert_answers_from_weights(
    trained: Any, fresh: Any, ask: Ask, *, tolerance: float | None = None, what: str = "the trained network"
) -> Any:
    """A fresh network answers otherwise at first, and as the trained one does once it holds its weights.

    Whatever else a trained object carries, an attribute, a closure, does not come along.

    Args:
        fresh: built by the notebook's function; holds the trained weights afterwards.
        ask: of a network, on questions that no earlier call has seen.
        tolerance: relative to the typical size of the answer; 1e-4 where none is given.

    Returns:
        The fresh network, to be judged in the place of the trained one.
    """
    before, expected = _answer(ask, fresh, what), _answer(ask, trained, what)
    if before.shape == expected.shape and _same(before, expected, tolerance):
        raise Wrong(f"a network that is built anew answers as {what} does: training has changed nothing")
    found = _answer(ask, transplanted(trained, fresh, what), what)
    if found.shape != expected.shape or not _same(found, expected, tolerance):
        far = "" if found.shape != expected.shape else f", by up to {_distance(found, expected):.3g}"
        raise Wrong(f"the answers of {what} do not come from its weights: a new network that holds them differs{far}")
    return fresh


def assert_fresh(error: float, at_least: float, *, what: str = "the network", unit: str = "") -> None:
    """A network that nobody has trained does not know the answer: its error is not below that of a trivial one.

    Args:
        error: of the fresh network, asked before anything was trained.
        at_least: some way below what the trivial answer reaches, so that no start by chance falls under it.
    """
    error = _number(error, f"the error of {what}")
    if not error >= at_least:
        raise Wrong(
            f"{what} knows the answer before it is trained: as built its error is {error:.4g}{unit and ' ' + unit}, "
            f"where one that has learned nothing stays above {at_least:.4g}"
        )


def assert_learns(
    error: Callable[[], float], train: Callable[[], Any], *, share: float, what: str = "the network"
) -> tuple[float, float]:
    """A training lowers an error to a share of what it was; returns the error before and after.

    Args:
        error: computed by the judge on data withheld, from what the network answers now.
        train: runs the training: `lambda: run_fit(student.fit, net, x, steps=100)` or `train_network`.
        share: the largest share of the first error that counts as learned.
    """
    before = _number(error(), f"the error of {what}")
    if not (math.isfinite(before) and before > 0):
        raise Wrong(f"{what} has an error of {before:.4g} before it is trained")
    train()
    after = _number(error(), f"the error of {what}")
    if not after <= share * before:
        raise Wrong(
            f"{what} does not learn: trained anew, its error goes from {before:.4g} to {after:.4g}, and should fall to "
            f"{share * before:.4g} at least"
        )
    return before, after


def assert_teaches_only(
    train: Callable[[], Any], bystander: Any, ask: Ask, *, what: str = "`fit`", tolerance: float | None = None
) -> None:
    """Training one network teaches no other: a fresh one that stood by answers as before.

    Args:
        train: trains another network.
        bystander: a fresh network, built before.
    """
    before = _answer(ask, bystander, "a fresh network")
    train()
    after = _answer(ask, bystander, "a fresh network")
    if after.shape != before.shape or not _same(after, before, tolerance):
        raise Wrong(f"{what} keeps what it has seen outside of the weights: it changes what another network answers")


def assert_weights_matter(
    network: Any,
    ask: Ask,
    *,
    share: float = 0.8,
    least: float = 0.02,
    generator: torch.Generator | None = None,
    what: str = "the network",
) -> None:
    """Most parameters, by count, move the answers: each tensor is altered alone and put back.

    To every entry a normal number of the tensor's own size is added (0.1 where all are zero). Buffers are left as they
    are, so a table in one shows: nothing else matters then.

    Args:
        share: of all numbers in parameters that must belong to tensors that matter.
        least: the move of the answers that counts, relative to how they spread over the questions.
    """
    state, tensors = state_dict(network), parameters(network)
    answers = _answer(ask, network, what)
    spread = float((answers - answers.mean(0)).square().mean().sqrt()) if answers.dim() else 0.0
    if not (tensors and spread > 0):
        raise Wrong(f"{what} {'gives the same answer to every question' if tensors else 'has no parameters'}")
    idle = {}
    try:
        for name, value in tensors.items():
            load_state_dict(network, {**state, name: _altered(value, generator)})
            moved = _answer(ask, network, what)
            distance = math.inf if moved.shape != answers.shape else float((moved - answers).square().mean().sqrt())
            if distance < least * spread:  # NaN has moved
                idle[name] = value.numel()
    finally:
        load_state_dict(network, state)
    numbers = sum(value.numel() for value in tensors.values())
    live = 1 - sum(idle.values()) / numbers
    if not live >= share:
        most = max(idle, key=lambda name: idle[name])
        raise Wrong(
            f"of the {numbers} numbers in parameters of {what} only {live:.0%} move its answers when they are altered, "
            f"at least {share:.0%} should: `{most[:80]}` does not"
        )


def assert_learned_in_weights(
    network: Any,
    fresh: Any,
    error: Callable[[Any], float],
    at_least: float,
    *,
    share: float = 0.8,
    what: str = "the network",
) -> None:
    """Without the training of its largest tensors, `share` of all numbers, a network knows no longer what it knew.

    `fresh` gets all that `network` holds, but keeps its own numbers in those tensors. Who has a fitted formula or a
    table in buffers or in few parameters, beside a network of little weight, still answers well then.

    Args:
        fresh: a new network, which is changed.
        error: of such a network, computed by the judge; of `fresh` it is asked once.
        at_least: some way below what a network answers that has learned nothing.
    """
    state, own, named = state_dict(network), state_dict(fresh), parameters(network)
    numbers, count, new = sum(value.numel() for value in named.values()), 0, dict[str, Tensor]()
    for name in sorted(named, key=lambda name: -named[name].numel()):
        if count < share * numbers and name in state and name in own:
            new[name], count = own[name], count + named[name].numel()
    for name, value in state.items():  # a tensor that stands under two names is new under both
        same = next((other for other in new if name not in new and torch.equal(value, state[other])), None)
        state[name] = value if same is None else own[same]
    load_state_dict(fresh, {**state, **new})
    left = _number(error(fresh), f"the error of {what}")
    if not left >= at_least:
        raise Wrong(
            f"{what} knows too much without its weights: with new numbers in its largest tensors, {share:.0%} of all, "
            f"its error is {left:.4g}, where one that has learned nothing stays above {at_least:.4g}"
        )


def _altered(value: Tensor, generator: torch.Generator | None) -> Tensor:
    size = float(as_double(value).square().mean().sqrt()) or 0.1
    return value + (size * torch.randn(value.shape, generator=generator)).to(value.dtype)


def _answer(ask: Ask, network: Any, what: str) -> Tensor:
    found = assert_real(ask(network), f"the answer of {what}")
    if found.numel() == 0:
        raise Wrong(f"{what} answers with nothing: shape {tuple(found.shape)}")
    return as_double(found)


def _number(value: Any, what: str) -> float:
    return float(as_double(assert_real(assert_shape(value, (), what), what)))


def _same(a: Tensor, b: Tensor, tolerance: float | None) -> bool:
    accepted = (tolerance or 1e-4) * max(float(b.abs().mean()), 1e-12)
    return agree(a, b, Tolerance(0.0, accepted))


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())
