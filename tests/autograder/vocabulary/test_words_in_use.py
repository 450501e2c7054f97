"""Tasks of the second and third homework, asked with the kit's words in a worker: right answers pass, mistakes fail."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from autograder.checks import (
    Student,
    assert_batch_consistent,
    assert_bound,
    assert_close,
    assert_inverse,
    assert_log_det,
    assert_mean,
    assert_step_changes_only,
    cell_log_probability,
    cell_mean_log_density,
    encoder_near,
    exact_encoder,
    exponential_bias,
    linear_gaussian_law,
    orthogonal_columns,
    parameters,
    records,
    triangular_pair,
)
from tests.autograder.vocabulary.forked import notebook
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=F64)


SOURCE = """
import math
import torch
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, Normal


def planar(x, u, w, b, error=""):
    a = w @ u
    u = u if error == "no u hat" else u + (torch.nn.functional.softplus(a) - 1 - a) * w / (w @ w)
    h = torch.tanh(x @ w + b)
    slope = h if error == "tanh" else 1 - h ** 2
    return x + u * h[:, None], (1 + (w @ u) * slope).log()


def gaussianise(x, weights, means, stds, error=""):
    law = MixtureSameFamily(Categorical(weights), Normal(means, stds))
    z = torch.special.ndtri(law.cdf(x))
    logdet = law.log_prob(x) - Normal(0.0, 1.0).log_prob(x if error == "at x" else z)
    return z, -logdet if error == "sign" else logdet


def logit_forward(y, alpha=0.05, error=""):
    s = alpha + (1 - 2 * alpha) * y
    terms = math.log(1 - 2 * (0.05 if error == "ignored" else alpha)) - s.log() - (1 - s).log()
    if error == "no scale":
        terms = -s.log() - (1 - s).log()
    return s.log() - (1 - s).log(), terms.flatten(1).sum(1)


def logit_inverse(z, alpha=0.05, error=""):
    y = (torch.sigmoid(z) - alpha) / (1 - 2 * alpha)
    y = y.clamp(0, 1) if error == "clamped" else y
    s = alpha + (1 - 2 * alpha) * y
    return y, (s.log() + (1 - s).log() - math.log(1 - 2 * alpha)).flatten(1).sum(1)


class ActNorm(nn.Module):
    def __init__(self, channels, error=""):
        super().__init__()
        self.log_scale, self.shift = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("ready", torch.tensor(False))
        self.error = error

    def forward(self, x):
        dims = [0, *range(2, x.dim())]
        if self.training and (not self.ready or self.error == "every batch"):
            with torch.no_grad():
                log_scale = -x.std(dims).log()
                shift = -x.mean(dims) * log_scale.exp()
                if self.error == "new":
                    self.log_scale, self.shift = nn.Parameter(log_scale), nn.Parameter(shift)
                else:
                    self.log_scale.copy_(log_scale); self.shift.copy_(shift)
                self.ready.fill_(True)
        shape = [1, -1, *[1] * (x.dim() - 2)]
        z = x * self.log_scale.exp().to(x).reshape(shape) + self.shift.to(x).reshape(shape)
        pixels = 1 if self.error == "pixels" else x[0, 0].numel()
        return z, (pixels * self.log_scale.sum().to(x)).expand(len(x))

    def inverse(self, z):
        shape = [1, -1, *[1] * (z.dim() - 2)]
        x = (z - self.shift.to(z).reshape(shape)) * (-self.log_scale).exp().to(z).reshape(shape)
        return x, -(z[0, 0].numel() * self.log_scale.sum().to(z)).expand(len(z))


def one_step(layer, optimiser, x):
    optimiser.zero_grad()
    z, logdet = layer(x)
    (0.5 * z ** 2).flatten(1).sum(1).sub(logdet).mean().add(layer.shift.sum()).backward()
    optimiser.step()


def sgd(layer):
    return torch.optim.SGD(layer.parameters(), lr=0.1)


def iaf_inverse(z, net):
    mean, log_std = net(z)
    return z * log_std.exp() + mean, log_std.sum(1)


def iaf_forward(x, net):
    z = torch.zeros_like(x)
    for _ in range(x.shape[1]):
        mean, log_std = net(z)
        z = (x - mean) * (-log_std).exp()
    return z, -net(z)[1].sum(1)


def dequantised_log(log_density, x, n_levels, n_draws=1, error=""):
    noise = torch.rand(n_draws, *x.shape, dtype=x.dtype)
    noise = noise[..., :1].expand_as(noise) if error == "shared" else noise
    values = log_density(((x + noise) / n_levels).flatten(0, 1)).reshape(n_draws, len(x))
    inside = values.mean(0) if error == "mean of logs" else values.logsumexp(0) - math.log(n_draws)
    return inside - x.shape[1] * math.log(n_levels)


def iwae_bound(x, encoder, log_likelihood, k, error=""):
    mean, log_std = encoder(x)
    B, L = mean.shape
    z = mean + log_std.exp() * torch.randn(k, B, L, dtype=mean.dtype)
    q = Normal(mean, log_std.exp()).log_prob(z).sum(2)
    p = Normal(torch.zeros_like(mean), torch.ones_like(mean)).log_prob(z).sum(2)
    rows = x.repeat_interleave(k, 0) if error == "mixed" else x.repeat(k, *[1] * (x.dim() - 1))
    log_w = log_likelihood(rows, z.reshape(k * B, L)).reshape(k, B) + p - (0 if error == "no q" else q)
    return log_w.logsumexp(0) - (0 if error == "no ln k" else math.log(k))
"""


@pytest.fixture(scope="module")
def student() -> Iterator[Student]:
    with notebook(SOURCE) as names:
        yield names


def test_planar_flows(student: Student) -> None:
    for seed, D in ((0, 1), (1, 3), (2, 6)):
        x, w = normal(seed, 9, D), 0.8 * normal(seed + 10, D)
        b = torch.tensor(0.3, dtype=F64)
        for size in (-5.0, 2.0):
            u = size * w / (w @ w) + 0.2 * normal(seed + 20, D)
            assert_log_det(student.planar, x, u, w, b)
            fails(lambda x=x, u=u, w=w, b=b: assert_log_det(student.planar, x, u, w, b, "tanh"))
    u = -5 * w / (w @ w)
    near = -b * w / (w @ w) + 0.01 * normal(3, 9, 6)  # where the determinant without û is negative: ln of it is NaN
    fails(lambda: assert_log_det(student.planar, near, u, w, b, "no u hat"), says="NaN")


def test_a_flow_of_single_numbers(student: Student) -> None:
    law = [torch.tensor(q, dtype=F64) for q in ([0.2, 0.5, 0.3], [-2.0, 0.5, 2.0], [0.5, 1.0, 0.7])]
    x = torch.linspace(-3, 3, 64, dtype=F64)
    assert_log_det(student.gaussianise, x, *law)
    fails(lambda: assert_log_det(student.gaussianise, x, *law, "sign"), hint="the sign is flipped")
    fails(lambda: assert_log_det(student.gaussianise, x, *law, "at x"), says="off by")


@pytest.mark.parametrize("shape", [(7, 3), (5, 1, 2, 4)])
def test_logit_transforms(student: Student, shape: tuple[int, ...]) -> None:
    y, z = torch.rand(shape, generator=generator(), dtype=F64), 5 * normal(1, *shape)
    y[0].flatten()[:2] = torch.tensor([0.0, 1.0])
    for alpha in ((), (0.2,)):
        assert_inverse(student.logit_forward, student.logit_inverse, y, z, *alpha)
        assert_log_det(student.logit_forward, y, *alpha)
        assert_log_det(student.logit_inverse, z, *alpha)
    fails(
        lambda: assert_inverse(student.logit_forward, student.logit_inverse, y, z, 0.2, "clamped"),
        says="`forward` after",
    )
    fails(lambda: assert_log_det(student.logit_forward, y, 0.2, "no scale"), hint="a constant term is missing")
    fails(lambda: assert_log_det(student.logit_forward, y, 0.2, "ignored"), hint="a constant term is missing")
    assert_log_det(student.logit_forward, y, 0.05, "ignored")  # the default alone does not show it


def test_normalisation_by_the_first_batch(student: Student) -> None:
    x, again = 5 + 2 * normal(0, 32, 3, 2, 4), normal(1, 32, 3, 2, 4)
    layer = student.ActNorm(3)
    optimiser = student.sgd(layer)
    layer(x)
    kept = parameters(layer)
    layer(again)
    assert all(torch.equal(kept[name], value) for name, value in parameters(layer).items())
    assert_inverse(layer, layer.inverse, x, again)
    assert_log_det(layer, x)
    assert_log_det(layer.inverse, again)
    assert_step_changes_only(student.one_step, layer, optimiser, again, changes={"the layer": layer})
    new = student.ActNorm(3, "new")
    stale = student.sgd(new)
    new(x)
    step = lambda: assert_step_changes_only(student.one_step, new, stale, again, changes={"the layer": new})  # noqa: E731
    fails(step, says="2 of 2 parameters are as before")
    every = student.ActNorm(3, "every batch")
    fails(lambda: assert_batch_consistent(every, x, mode="train"), says="mixes the samples")
    uncounted = student.ActNorm(3, "pixels")
    uncounted(x)
    fails(lambda: assert_log_det(uncounted, x), hint="averaged over pixels")


def test_inverse_autoregressive_flows_and_their_calls(student: Student) -> None:
    for D in (1, 4, 6):
        net = student.probe("Recorder", student.probe("TriangularPair", *triangular_pair(D, generator(D))))
        z, x = normal(1, 8, D), normal(2, 7, D)
        assert_inverse(student.iaf_inverse, student.iaf_forward, z, x, net)
        assert_log_det(student.iaf_inverse, z, net)
        assert_log_det(student.iaf_forward, x, net)
        before = len(records(net))
        student.iaf_inverse(z, net)
        assert len(records(net)) == before + 1


def test_dequantised_probabilities(student: Student) -> None:
    """One draw has the mean of the logarithm, many approach the probability of the cell."""
    weight, levels = torch.tensor([12.0, -8.0], dtype=F64), 4
    density = student.probe("Linear", weight, exponential_bias(weight))
    x = torch.tensor([[1.0, 2.0]], dtype=F64)
    many = x.expand(4000, 2)
    volume = 2 * math.log(levels)
    mean = float(cell_mean_log_density(x, weight, levels)) - volume
    half = float((weight.abs() / levels / 2).sum())
    draws = student.dequantised_log(density, many, levels)
    assert_mean(draws, mean, bound=(mean - half, mean + half))
    shared = student.dequantised_log(density, many, levels, 64, "shared").mean()
    right = student.dequantised_log(density, many, levels, 64)
    assert_close(right.mean(), cell_log_probability(x, weight, levels)[0], atol=0.03)
    for wrong in (student.dequantised_log(density, many, levels, 64, "mean of logs").mean(), shared):
        fails(lambda wrong=wrong: assert_close(wrong, cell_log_probability(x, weight, levels)[0], atol=0.03))


def test_importance_weighted_bounds(student: Student) -> None:
    W, mu, sigma = orthogonal_columns(4, 2, generator(1)), normal(2, 4), 0.6
    law = linear_gaussian_law(W, mu, sigma)
    x = (law.mu + normal(3, 5, 4)).reshape(5, 1, 2, 2)
    decoder = student.probe("GaussianDecoder", W, mu, sigma)
    exact = student.probe("GaussianEncoder", *exact_encoder(W, mu, sigma))
    zero = torch.zeros(5, dtype=F64)

    def draws(encoder: Any, k: int, error: str = "", n: int = 3) -> Tensor:
        return torch.stack([student.iwae_bound(x, encoder, decoder, k, error) for _ in range(n)])

    for k in (1, 3, 8):
        assert_bound(draws(exact, k), law.evidence(x), gap=zero, deviation=0.0)
        for error in ("no q", "no ln k", "mixed") if k > 1 else ("no q",):
            wrong = draws(exact, k, error)
            fails(lambda wrong=wrong: assert_bound(wrong, law.evidence(x), gap=zero, deviation=0.0))
    near = encoder_near(W, mu, sigma, by=0.2, generator=generator(4))
    flat = x.flatten(1)
    q = (flat @ near[0].T + near[1], flat @ near[2].T + near[3])
    gap, spread = law.evidence(x) - law.elbo(x, *q), law.elbo_deviation(x, *q)
    encoder = student.probe("GaussianEncoder", *near)
    assert_bound(draws(encoder, 1, n=800), law.evidence(x), gap=gap, deviation=spread)
    tight = draws(encoder, 8, n=200)
    assert_bound(tight, law.evidence(x), deviation=spread)
    loose = draws(encoder, 8, "no ln k", n=200)
    fails(lambda: assert_bound(loose, law.evidence(x), deviation=spread), says="too large")
