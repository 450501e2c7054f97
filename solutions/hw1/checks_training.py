"""Homework 1, hidden checks of part 5: what the trained models predict and draw."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from autograder.checks import (
    Wrong,
    assert_diverse,
    assert_excess,
    assert_not_memorised,
    assert_score,
    conditional_log_probs,
    sequential_log_likelihood,
)

from ..common.data import digits
from ..common.draws import bits
from ..common.training import draw_losses
from .laws import bars_law, draw, draw_bars
from .properties import causal_network

_yaml = Path(__file__).parents[2] / "assignments" / Path(__file__).parent.name / "assignment.yaml"
LIMITS = yaml.safe_load(_yaml.read_text(encoding="utf-8"))["data"]


@pytest.mark.graded("train-bars", points=0.75, trains="bars", seconds=60)
def test_bars_model_is_near_the_entropy(student, rng, figures):
    """On fresh bars the loss is near the entropy of the data; below it is impossible without a leak."""
    trained = student.trained("bars")
    x = draw_bars(800, 4, 0.05, rng).float()
    net = causal_network(trained, "bars_model", torch.cat([x[:6], bits(rng, 2, 1, 4, 4).float()]))
    figures.images("Bars", {"data": x, "drawn from your network": draw(net, 36, 4, rng)})
    draw_losses(figures, trained, "bars_losses")
    nll = -sequential_log_likelihood(net, x, generator=rng)
    entropy = -bars_law(x, 0.05)
    line = LIMITS["bars"]
    assert_excess(nll, entropy, floor=line["floor"], target=line["target"], what="the loss on fresh bars")


@pytest.mark.graded("train-digits", points=0.5, trains="digits", seconds=60)
def test_digits_model_predicts_held_out_digits(student, rng):
    """The loss on held-out digits, recomputed pixel by pixel with the future withheld."""
    train, held_out = digits()
    order = torch.randperm(len(held_out), generator=rng)
    net = causal_network(student.trained("digits"), "digits_model", held_out[order[:4]])
    parts = held_out[order].split(99)
    nll = torch.cat([-conditional_log_probs(net(part), part).sum(1) for part in parts])
    again = torch.randperm(len(held_out), generator=rng)[:99]
    withheld = -sequential_log_likelihood(net, held_out[order][again], generator=rng)
    if not bool(((withheld - nll[again]).abs() <= 1e-3 * (1 + withheld.abs())).all()):
        raise Wrong("the loss on held-out digits is another one when later pixels are withheld: the network leaks")
    line, gap = LIMITS["digits"], float((-conditional_log_probs(net(train), train).sum(1)).mean() - nll.mean())
    if gap > 1.0 and float(nll.mean()) < line["floor"]:
        raise Wrong(
            f"the held-out digits are predicted better than the training digits, by {gap:.1f} nats: keep them apart"
        )
    assert_score(float(nll.mean()), line["floor"], line["target"], "the loss on held-out digits", unit="nats")


@pytest.mark.graded("train-digits", points=0.3, trains="digits", seconds=60)
def test_digits_drawn_from_the_model_are_new_and_diverse(student, rng, figures):
    """Images drawn from your network are as white, as diverse and as new as held-out digits are."""
    train, held_out = digits()
    trained = student.trained("digits")
    net = causal_network(trained, "digits_model", held_out[:4])
    samples = draw(net, 200, 8, rng)
    nearest = train[torch.cdist(samples.flatten(1), train.flatten(1), p=1).argmin(1)]
    panels = {"held-out data": held_out, "drawn from your network": samples, "nearest training image": nearest}
    figures.images("Digits", panels)
    draw_losses(figures, trained, "digits_losses")
    white = float(samples.mean() - held_out.mean())
    if not abs(white) <= LIMITS["digits"]["white"]:
        raise Wrong(
            f"the images drawn from your network are too {'white' if white > 0 else 'black'}: by {abs(white):.0%}"
        )
    assert_diverse(samples, held_out, at_least=0.8, what="the images drawn from your network")
    assert_not_memorised(samples, train, held_out, copies=0.3, what="the images drawn from your network")
