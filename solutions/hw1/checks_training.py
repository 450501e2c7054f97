"""Homework 1, hidden checks of part 5: what the trained models predict and draw."""

from __future__ import annotations

import pytest
import torch

from autograder.checks import (
    Wrong,
    assert_diverse,
    assert_excess,
    assert_not_memorised,
    assert_score,
    conditional_log_probs,
    sequential_log_likelihood,
)

from ..common.digits import originals
from ..common.draws import bits
from ..common.training import draw_losses
from .laws import draw
from .properties import causal_network


@pytest.mark.graded("train-bars", points=0.75, trains="bars", seconds=60)
def test_bars_model_is_near_the_entropy(student, rng, figures, course_data, data):
    """On fresh bars of your law the loss is near the entropy; below it is impossible without a leak."""
    trained, law = student.trained("bars"), course_data("bars").law
    x = law.draw(800, rng)
    net = causal_network(trained, "bars_model", torch.cat([x[:6], bits(rng, 2, 1, 4, 4).float()]))
    figures.images("Bars", {"data": x, "drawn from your network": draw(net, 36, 4, rng)})
    draw_losses(figures, trained, "bars_losses")
    nll = -sequential_log_likelihood(net, x, generator=rng)
    line = data["bars"]
    what = "the loss on fresh bars"
    assert_excess(nll, -law.log_prob(x), floor=line["floor"], target=line["target"], what=what)


@pytest.mark.graded("train-digits", points=0.5, trains="digits", seconds=60)
def test_digits_model_predicts_other_writers(student, rng, course_data, data):
    """The loss on digits of other writers, drawn when you are graded and asked among others in one order."""
    held_out, shown = course_data("digits").law, course_data("digits").tensors["digits_train"][:500]
    x = torch.cat([held_out, shown])
    order = torch.randperm(len(x), generator=rng)
    net = causal_network(student.trained("digits"), "digits_model", held_out[:4])
    nll = torch.cat([-conditional_log_probs(net(part), part).sum(1) for part in x[order].split(500)])
    again = torch.randperm(len(x), generator=rng)[:100]
    withheld = -sequential_log_likelihood(net, x[order][again], generator=rng)
    if not bool(((withheld - nll[again]).abs() <= 1e-3 * (1 + withheld.abs())).all()):
        raise Wrong("the loss is another one when later pixels are withheld: the network leaks")
    line, mean = data["digits"], float(nll[order < len(held_out)].mean())
    assert_score(mean, line["floor"], line["target"], "the loss on digits of other writers", unit="nats")


@pytest.mark.graded("train-digits", points=0.3, trains="digits", seconds=60)
def test_digits_drawn_from_the_model_are_new_and_diverse(student, rng, figures, course_data, data):
    """Images drawn from your network are as white, as diverse and as new as digits of other writers are."""
    held_out, pictures = course_data("digits").law, course_data("digits").tensors
    train, trained = pictures["digits_train"], student.trained("digits")
    net = causal_network(trained, "digits_model", held_out[:4])
    loss, line = float(-conditional_log_probs(net(held_out[:1000]), held_out[:1000]).sum(1).mean()), data["digits"]
    if not loss < line["by_heart"]:
        raise Wrong(
            f"the loss on digits of other writers is {loss:.2f} nats; images are looked at below {line['by_heart']:g}, "
            "which is out of reach for whoever recites training images"
        )
    samples = draw(net, 200, 8, rng)
    nearest = train[torch.cdist(samples.flatten(1), train.flatten(1), p=1).argmin(1)]
    panels = {"other writers": held_out, "drawn from your network": samples, "nearest training image": nearest}
    figures.images("Digits", panels)
    draw_losses(figures, trained, "digits_losses")
    white = float(samples.mean() - held_out.mean())
    if not abs(white) <= line["white"]:
        raise Wrong(
            f"the images drawn from your network are too {'white' if white > 0 else 'black'}: by {abs(white):.0%}"
        )
    what = "the images drawn from your network"
    assert_diverse(samples, held_out, at_least=0.8, what=what)
    for known in (train, torch.cat([pictures["digits_test"], originals().images])):
        assert_not_memorised(samples, known, held_out, copies=0.3, what=what)
