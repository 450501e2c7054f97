"""The report: metrics agree on what is wrong with sets whose fault is known."""

from __future__ import annotations

import pytest
import torch

from reference_models.data import load
from reference_models.evaluation.features import digit_features
from reference_models.evaluation.frechet import frechet_distance
from reference_models.evaluation.report import main, report, stand_ins


@pytest.fixture
def digits(device):
    return load("digits", dtype=torch.float64, device=device)


def test_each_fault_shows_where_it_should(digits, generator):
    """Recited digits give themselves away by copying alone, half the classes by recall, noise by precision."""
    real, held_out = digits.train[180:700], digits.held_out[180:]
    said = {
        name: report(fake, real, train=digits.train, held_out=held_out, resamples=30, generator=generator)
        for name, fake in stand_ins(digits, generator=generator).items()
    }
    fresh, recited, half, blurred = (said[name] for name in ("fresh", "recited", "half", "blurred"))
    assert recited["copying"].low > 0.95
    assert fresh["copying"].low < 0.5 < fresh["copying"].high
    assert abs(recited["precision"].value - fresh["precision"].value) < 0.1
    assert half["recall"].high < fresh["recall"].low
    assert half["coverage"].high < fresh["coverage"].low
    assert half["inception score"].high < fresh["inception score"].low
    assert abs(half["precision"].value - fresh["precision"].value) < 0.1
    assert blurred["precision"].value < fresh["precision"].value
    assert half["frechet"].low > fresh["frechet"].high
    assert blurred["frechet"].value > 2 * fresh["frechet"].value  # its interval is wide: noise hides in 32 features
    assert half["kid"].low > fresh["kid"].high
    assert blurred["kid"].value > fresh["kid"].high


def test_the_stand_ins_are_what_they_are_called(digits, generator):
    """Where a pixel is neither dark nor bright, noise of deviation 0.15 is seldom cut: 350 pixels tell it to 0.0057."""
    sets = stand_ins(digits, generator=generator)
    assert torch.equal(sets["fresh"], digits.held_out[:180])
    assert torch.equal(sets["recited"], digits.train[:180])
    assert torch.equal(sets["half"], digits.held_out[digits.held_out_labels <= 4])
    inside = (sets["blurred"] > 0) & (sets["blurred"] < 1) & (sets["fresh"] > 0.45) & (sets["fresh"] < 0.55)
    deviation = (sets["blurred"] - sets["fresh"])[inside].std()
    assert 0.12 < float(deviation) < 0.18


def test_any_network_may_give_the_features_and_parts_may_be_left_out(digits, generator):
    """Features by a fixed linear map: the number is the distance on those."""
    project = torch.randn(64, 4)

    def features(images):
        return images.flatten(1) @ project

    fake, real = digits.held_out[:50], digits.train[:60]
    said = report(fake, real, features=features, logits=None, resamples=5, generator=generator)
    assert sorted(said) == ["coverage", "density", "frechet", "kid", "precision", "recall"]
    assert said["frechet"].value == pytest.approx(float(frechet_distance(features(real), features(fake))))


def test_real_comes_second(digits, generator):
    """Half the classes as data and all of them as samples: precision suffers, not recall."""
    few = digits.train[digits.train_labels < 5][:200]
    said = report(digits.held_out[:200], few, logits=None, resamples=5, generator=generator)
    assert said["precision"].value < 0.7 < said["recall"].value
    assert digit_features(few).shape == (200, 32)


def test_the_command_prints_every_metric_of_every_set(capsys, monkeypatch):
    from reference_models.evaluation import report as module

    whole = module.report
    monkeypatch.setattr(module, "report", lambda *sets, **options: whole(*sets, **options, resamples=3))
    before = torch.get_default_device()
    torch.set_default_device("cpu")
    try:
        assert main() == 0
    finally:
        torch.set_default_device(before)
    printed = capsys.readouterr().out
    for word in ("fresh", "recited", "half", "blurred", "frechet", "kid", "inception score", "copying"):
        assert word in printed
