"""What follows, for a linear Gaussian model, from the codes that a recorder saw."""

from __future__ import annotations

import math

import torch
from torch.distributions import Normal

from autograder.checks import (
    GaussianDecoder,
    GaussianEncoder,
    Wrong,
    assert_finite,
    assert_shape,
    encoder_near,
    records,
)

from ..common.draws import normal


class Model:
    """A decoder, an encoder near its posterior, and both as probes in the sandbox."""

    def __init__(self, student, rng, D, L, *, sigma=0.8, shape=None, B=5):
        self.W, self.mu, self.sigma = normal(rng, D, L), normal(rng, D), sigma
        self.weights = encoder_near(self.W, self.mu, sigma, generator=rng)
        self.shape = shape or (D,)
        z = normal(rng, B, L)
        self.x = (z @ self.W.T + self.mu + sigma * normal(rng, B, D)).reshape(B, *self.shape)
        self.encoder = student.probe("GaussianEncoder", *self.weights)
        self.decoder = student.probe("GaussianDecoder", self.W, self.mu, sigma)
        self.recorder = student.probe("Recorder", self.decoder)
        self.B, self.L = B, L

    def code(self, x=None):
        """mean and log_std of q for each row."""
        return GaussianEncoder(*self.weights)(self.x if x is None else x)

    def log_likelihood(self, x, z):
        """ln p(x | z), row by row."""
        return GaussianDecoder(self.W, self.mu, self.sigma)(x, z)

    def asked(self, per_image):
        """The recorded codes of every image, (per_image, B, L), whatever order and number of calls they came in."""
        rows = [_two(record) for record in records(self.recorder)]
        if not rows:
            raise Wrong("`log_likelihood` was never asked")
        x = torch.cat([assert_shape(x, (-1, *self.shape), "the images that `log_likelihood` gets") for x, _ in rows])
        z = torch.cat([assert_shape(z, (-1, self.L), "the codes that `log_likelihood` gets") for _, z in rows])
        if len(x) != per_image * self.B or len(z) != len(x):
            raise Wrong(
                f"`log_likelihood` gets {len(x)} images and {len(z)} codes, expected {per_image * self.B} of each"
            )
        apart, image = torch.cdist(x.double().flatten(1), self.x.flatten(1)).min(1)
        counts = torch.bincount(image, minlength=self.B)
        if not float(apart.max()) <= 1e-4 or bool((counts != per_image).any()):
            raise Wrong(
                f"`log_likelihood` should get every image of the batch {per_image} times: it gets other images, or "
                "some more often than others"
            )
        z = assert_finite(z, "the codes that `log_likelihood` gets").double()
        return z[image.argsort(stable=True)].reshape(self.B, per_image, self.L).transpose(0, 1)

    def noise(self, z):
        """ε of codes (k, B, L)."""
        mean, log_std = self.code()
        return (z - mean) / log_std.exp()

    def log_weights(self, z):
        """ln p(x | z) + ln p(z) − ln q(z | x) of codes (k, B, L), (k, B)."""
        mean, log_std = self.code()
        like = torch.stack([self.log_likelihood(self.x, row) for row in z])
        return like + Normal(0.0, 1.0).log_prob(z).sum(2) - Normal(mean, log_std.exp()).log_prob(z).sum(2)


def _two(record):
    given = [*record["args"], *record["kwargs"].values()]
    if len(given) != 2:
        raise Wrong(f"`log_likelihood(x, z)` takes two arguments, it gets {len(given)}")
    return given


def closed_kl(mean, log_std):
    """KL to N(0, I), (B,)."""
    return (0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std).sum(1)


def closed_entropy(log_std):
    """Entropy of q, (B,)."""
    return (log_std + 0.5 * (1 + math.log(2 * math.pi))).sum(1)
