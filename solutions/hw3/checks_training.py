"""Homework 3, hidden checks of part 3: what the trained VAE knows of pictures that nobody has seen."""

from __future__ import annotations

import pytest
import torch

from autograder.checks import Wrong, assert_score, call, mutual_distance, vae_figures


def judged(student, course_data, rng, n):
    """The trained VAE and its figures on n pictures, drawn for this check, asked among training pictures."""
    vae, given = student.trained("digits").get("digits_vae"), course_data("digits")
    train = given.tensors["digits_train"]
    among = train[torch.randperm(len(train), generator=rng)[: n // 2]]
    held_out = given.law.held_out(n, rng)
    return vae, vae_figures(vae.encoder, vae.decoder, held_out, among, generator=rng, what="`digits_vae`")


def gated(figures, gate):
    """Samples and reconstructions count for a model that has a bound."""
    if not figures.score < gate:
        raise Wrong(f"this counts where the score is below {gate:g} nats; it is {figures.score:.2f}")
    return figures


@pytest.mark.graded("train-vae-bound", points=0.9, trains="digits", seconds=60)
def test_vae_knows_held_out_digits(student, rng, course_data, data):
    """On 2,000 fresh pictures by other writers the bound, and what the decoder knows without the encoder, are good."""
    line = data["bound"]
    found = judged(student, course_data, rng, 2000)[1]
    if not found.kl >= line["collapsed"]:
        raise Wrong(f"the posterior has collapsed: its mean KL to the prior is {found.kl:.2g} nats")
    assert_score(
        found.score, line["floor"], line["target"], "the score of `digits_vae`", unit="nats a held-out picture"
    )


@pytest.mark.graded("train-vae-samples", points=0.2, trains="digits", seconds=60)
def test_samples_are_like_fresh_digits(student, rng, course_data, data):
    """2,000 pictures drawn from the prior lie near as many fresh digits, these near them, and few are copies."""
    vae, found = judged(student, course_data, rng, 600)
    line, given = data["samples"], course_data("digits")
    codes = torch.randn(2000, gated(found, line["gate"]).latent, generator=rng)
    samples = torch.bernoulli(call(vae.decoder, codes, mode="eval").sigmoid().float(), generator=rng)
    train = given.tensors["digits_train"].flatten(1)
    near = torch.cdist(samples.flatten(1), train, p=1.0).amin(1)
    copied = float((near <= 1.5).float().mean())
    if copied > line["copies"]:
        raise Wrong(f"{copied:.0%} of the samples lie within one pixel of a training picture: they are copies")
    distance = mutual_distance(samples, given.law.by_training_writers(2000, rng))
    assert_score(
        distance, line["floor"], line["target"], "the distance of 2,000 samples to fresh digits", unit="pixels"
    )


@pytest.mark.graded("train-vae-samples", points=0.4, trains="digits", seconds=60)
def test_reconstructions_of_held_out_digits(student, rng, course_data, data):
    """Near the mean of its code a picture by another writer is likely."""
    line = data["reconstructions"]
    found = gated(judged(student, course_data, rng, 1000)[1], data["samples"]["gate"])
    what = "the reconstruction of held-out digits, ln p(x | z) near the mean,"
    assert_score(found.reconstruction, line["floor"], line["target"], what, unit="nats")
