"""Homework 3, hidden checks of tasks 2.3 to 2.5: bounds on a model whose evidence is known, and the VampPrior."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal

from autograder.checks import (
    GaussianEncoder,
    Wrong,
    assert_close,
    assert_dtype,
    assert_finite,
    assert_gradient_equals,
    assert_samples_follow,
    assert_shape,
    assert_standard_normal,
    call,
    contents,
    exact_encoder,
    linear_gaussian_law,
    orthogonal_columns,
    parameter_gradients,
)

from ..common.draws import F64, normal
from .laws import Model, closed_entropy, closed_kl

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
MANY, BATCHES = 4000, 4  # rows on which the law of the noise is tested, and in how many calls


def sizes(rng):
    """Vectors, images and a batch of one: D, L, shape, B."""
    yield 5, 2, None, 4
    yield 6, 3, (1, 2, 3), 5
    yield 3, 4, None, 1


def forms(model, z):
    """The three legal draws of the ELBO at codes z (B, L)."""
    mean, log_std = model.code()
    like, prior = model.log_likelihood(model.x, z), Normal(0.0, 1.0).log_prob(z).sum(1)
    return (
        like - closed_kl(mean, log_std),
        like + prior - Normal(mean, log_std.exp()).log_prob(z).sum(1),
        like + prior + closed_entropy(log_std),
    )


@pytest.mark.graded("elbo", points=0.4)
def test_elbo_at_the_codes_it_draws(student, rng):
    """The bound of every image is one of its three forms at the code drawn for it, and codes have the law of q."""
    for D, L, shape, B in sizes(rng):
        model = Model(student, rng, D, L, shape=shape, B=B)
        found = assert_shape(student.elbo(model.x, model.encoder, model.recorder), (B,), "`elbo`")
        legal = forms(model, model.asked(1)[0])
        error = min(float((found.double() - right).abs().max()) for right in legal)
        if not error <= 1e-4 * max(1.0, float(legal[0].abs().max())):
            raise Wrong(
                f"`elbo` is none of its three forms at the codes that it draws: off by {error:.3g} from the nearest, "
                f"for D = {D}, L = {L} and a batch of {B}"
            )
        assert_dtype(found, F64, "`elbo` of float64")
    assert_fresh_codes(student, rng, "elbo")


def assert_fresh_codes(student, rng, name, *more, per_image=1):
    """Over several batches, small enough for one who asks `log_likelihood` row by row."""
    drawn = []
    for _ in range(BATCHES):
        model = Model(student, rng, 3, 2, B=MANY // BATCHES // per_image)
        call(student.get(name), model.x, model.encoder, model.recorder, *more)
        drawn.append(model.noise(model.asked(per_image)).transpose(0, 1).reshape(model.B, -1))
    assert_standard_normal(drawn, what=f"the noise (z − mean)/σ of `{name}`")
    noise = torch.cat(drawn)
    products = (noise[0::2] * noise[1::2]).sum() / math.sqrt(noise[0::2].numel())
    if not abs(float(products)) <= 6:
        raise Wrong(f"the noise of `{name}` is not independent from row to row")


def parts_of(answer):
    parts = contents(answer)
    if not isinstance(parts, dict) or not {"loss", "reconstruction", "kl"} <= set(parts):
        raise Wrong("`vae_loss` should return a dictionary with loss, reconstruction and kl")
    return {name: assert_shape(parts[name], (), f"`{name}` of `vae_loss`") for name in ("loss", "reconstruction", "kl")}


@pytest.mark.graded("elbo", points=0.3)
def test_vae_loss_at_the_codes_it_draws(student, rng):
    """Reconstruction, kl and loss for several β, from the codes drawn, means over the batch of sums."""
    for (D, L, shape, B), more in zip(sizes(rng), ((2.5,), (), (0.0,)), strict=True):
        model = Model(student, rng, D, L, shape=shape, B=B)
        found = parts_of(student.vae_loss(model.x, model.encoder, model.recorder, *more))
        z, (mean, log_std) = model.asked(1)[0], model.code()
        like, kl = model.log_likelihood(model.x, z).mean(), closed_kl(mean, log_std).mean()
        beta = more[0] if more else 1.0
        right = {"reconstruction": like, "kl": kl, "loss": beta * kl - like}
        for name, value in right.items():
            counted = {"images": B, "latent dimensions": L} if B > 1 else None
            words = f"`{name}` for β = {beta:g}, D = {D}, L = {L}, a batch of {B}"
            assert_close(found[name], value, words, **CLOSE, sizes=counted)
    assert_fresh_codes(student, rng, "vae_loss")


def assert_gradients(model, function, more, right, value, *, seed, output=None):
    """The gradients of a value in the parameters of both probes, the same noise drawn as before."""
    for module, names in ((model.encoder, "AbCd"), (model.decoder, "W")):
        given = (model.x, model.encoder, model.decoder, more)
        found = parameter_gradients(function, *given, of=module, output=output, seed=seed)
        for name in names:
            what = f"the gradient of {value} in `{name}` of the {'encoder' if name != 'W' else 'decoder'}"
            if found.get(name) is None:
                raise Wrong(f"{what} is missing: the graph is cut")
            assert_close(found[name], right[name], what, **CLOSE, sizes={"images": model.B})


def leaves_of(model, noise):
    """The parameters of both probes as leaves, the code made of them, and z with the noise held fixed."""
    A, b, C, d, W = leaves = [value.clone().requires_grad_() for value in (*model.weights, model.W)]
    mean, log_std = model.x @ A.T + b, model.x @ C.T + d
    z = mean + log_std.exp() * noise
    return leaves, mean, log_std, z, Normal(z @ W.T + model.mu, model.sigma).log_prob(model.x).sum(-1)


@pytest.mark.graded("elbo", points=0.2)
def test_gradients_of_the_vae_loss(student, rng, seed):
    """The gradients of loss, with the noise held fixed, in the parameters of encoder and decoder."""
    beta, model = 1.7, Model(student, rng, 5, 3, B=4)
    call(student.vae_loss, model.x, model.encoder, model.recorder, beta, seed=seed)
    leaves, mean, log_std, _, like = leaves_of(model, model.noise(model.asked(1)[0]))
    loss = (beta * closed_kl(mean, log_std) - like).mean()
    right = dict(zip("AbCdW", torch.autograd.grad(loss, leaves), strict=True))
    assert_gradients(model, student.vae_loss, beta, right, "loss", seed=seed, output="loss")


@pytest.mark.graded("elbo", points=0.25)
def test_bernoulli_likelihood(student, rng):
    """Sums over all pixels of images of any shape, exact at logits of ±800."""
    for shape in ((7,), (2, 3, 4), (1, 8, 8)):
        logits, x = 3 * normal(rng, 5, *shape), torch.randint(0, 2, (5, *shape), generator=rng).to(F64)
        right = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
        what = f"`bernoulli_log_likelihood` of images {shape}"
        pixels = math.prod(shape)
        assert_close(student.bernoulli_log_likelihood(logits, x), right, what, **CLOSE, sizes={"pixels": pixels})
    single = student.bernoulli_log_likelihood(logits.float(), x.float())
    assert_dtype(single, torch.float32, "`bernoulli_log_likelihood` of float32")
    x = torch.randint(0, 2, (4, 6), generator=rng).to(F64)
    wrong = torch.randint(0, 2, (4, 6), generator=rng).to(F64)
    logits = 800 * (2 * x - 1) * (1 - 2 * wrong)
    cost = -800.0 * wrong.sum(1)
    what = "`bernoulli_log_likelihood` at logits of ±800, where a wrong pixel costs 800 nats,"
    assert_close(student.bernoulli_log_likelihood(logits, x), cost, what, rtol=1e-5, atol=1e-3)


@pytest.mark.graded("iwae", points=0.25)
def test_exact_posterior_gives_the_evidence(student, rng):
    """With the exact posterior as encoder every draw is ln p(x), for every k."""
    for (D, L, shape, B), k in zip(((5, 2, (5,), 3), (6, 3, (1, 2, 3), 4), (3, 3, (3,), 1)), (1, 4, 7), strict=True):
        W, mu = orthogonal_columns(D, L, rng), normal(rng, D)
        encoder = student.probe("GaussianEncoder", *exact_encoder(W, mu, 0.7))
        decoder = student.probe("GaussianDecoder", W, mu, 0.7)
        x = 1.5 * normal(rng, B, *shape)
        bound = student.iwae_bound(x, encoder, decoder, k)
        right = linear_gaussian_law(W, mu, 0.7).evidence(x)
        other = {"ln k is not subtracted": right + math.log(k)} if k > 1 else None
        assert_close(
            bound, right, f"`iwae_bound` with the exact posterior, k = {k},", rtol=1e-5, atol=1e-5, alternatives=other
        )
        assert_dtype(bound, F64, "`iwae_bound` of float64")
    assert_bound_of_its_codes(student, rng, 4, 3, None, 3, 3)  # the evidence itself is no bound


def assert_bound_of_its_codes(student, rng, D, L, shape, B, k):
    model = Model(student, rng, D, L, shape=shape, B=B)
    bound = student.iwae_bound(model.x, model.encoder, model.recorder, k)
    weights = model.log_weights(model.asked(k))
    other = {
        "the mean is taken of logarithms: take the logarithm of the mean": weights.mean(0),
        "ln k is not subtracted": weights.logsumexp(0),
    }
    what = f"`iwae_bound` for k = {k} and {B} images, from the codes that it draws,"
    assert_close(bound, weights.logsumexp(0) - math.log(k), what, **CLOSE, alternatives=other)


@pytest.mark.graded("iwae", points=0.3)
def test_wrong_posterior_by_the_codes_it_draws(student, rng):
    """Every image is shown with k fresh codes, and the answer is the log-mean of the weights at exactly these."""
    for D, L, shape, B, k in ((5, 2, None, 3, 8), (6, 3, (1, 2, 3), 4, 5), (4, 2, None, 6, 2)):
        assert_bound_of_its_codes(student, rng, D, L, shape, B, k)
    assert_fresh_codes(student, rng, "iwae_bound", 4, per_image=4)


@pytest.mark.graded("iwae", points=0.2)
def test_gradients_and_far_images(student, rng, seed):
    """The gradient of the bound, the noise held fixed; with k = 64 images far from the model stay finite."""
    k, model = 6, Model(student, rng, 5, 2, B=3)
    call(student.iwae_bound, model.x, model.encoder, model.recorder, k, seed=seed)
    leaves, mean, log_std, z, like = leaves_of(model, model.noise(model.asked(k)))
    ratio = Normal(0.0, 1.0).log_prob(z) - Normal(mean, log_std.exp()).log_prob(z)
    bound = (like + ratio.sum(2)).logsumexp(0).sum()
    right = dict(zip("AbCdW", torch.autograd.grad(bound, leaves), strict=True))
    assert_gradients(model, student.iwae_bound, k, right, "`iwae_bound`", seed=seed)
    far = model.x + 60 * normal(rng, 3, 5)
    what = "`iwae_bound` with k = 64, far from the model"
    bound = assert_finite(
        assert_shape(student.iwae_bound(far, model.encoder, model.decoder, 64), (3,), what), what
    ).double()
    law = linear_gaussian_law(model.W, model.mu, model.sigma)
    above = float((bound - law.evidence(far)).max())
    if not above <= 20:  # Markov's inequality: e^20 times the evidence is less likely than 1e-8
        raise Wrong(f"{what}, lies {above:.3g} nats above ln p(x)")


def vamp_case(student, rng, K, L, shape):
    D = math.prod(shape)
    weights = (normal(rng, L, D), normal(rng, L), 0.3 * normal(rng, L, D) / D**0.5, 0.2 * normal(rng, L))
    return student.probe("GaussianEncoder", *weights), GaussianEncoder(*weights), normal(rng, K, *shape)


def vamp(z, mean, log_std):
    return Normal(mean, log_std.exp()).log_prob(z[:, None]).sum(2).logsumexp(1) - math.log(len(mean))


@pytest.mark.graded("vamp", points=0.4)
def test_vamp_density_and_gradients(student, rng):
    """The log-mean of the encoder's Gaussians, finite far away, with its gradients."""
    for K, L, shape, B in ((3, 2, (5,), 4), (7, 3, (1, 2, 3), 5), (1, 4, (3,), 2)):
        encoder, known, u = vamp_case(student, rng, K, L, shape)
        z = 2 * normal(rng, B, L)
        right = vamp(z, *known(u))
        other = {"ln K is not subtracted": right + math.log(K)} if K > 1 else None
        words = f"`vamp_log_prob` for K = {K}, L = {L}, B = {B}"
        assert_close(student.vamp_log_prob(z, encoder, u), right, words, **CLOSE, alternatives=other)
    encoder, known, u = vamp_case(student, rng, 3, 2, (1, 2, 2))
    z = 200 * normal(rng, 4, 2)
    found = assert_finite(student.vamp_log_prob(z, encoder, u), "`vamp_log_prob` far away")
    assert_close(found, vamp(z, *known(u)), "`vamp_log_prob` far away", **CLOSE)
    z = 2 * normal(rng, 5, 2)
    z_leaf, u_leaf = z.clone().requires_grad_(), u.clone().requires_grad_()
    value = vamp(z_leaf, *known(u_leaf)).sum()
    names = [name for name, _ in known.named_parameters()]
    right = torch.autograd.grad(value, [z_leaf, u_leaf, *known.parameters()])
    for wrt, expected, name in ((0, right[0], "z"), (2, right[1], "the pseudo-inputs")):
        what = f"`vamp_log_prob` in {name}"
        assert_gradient_equals(student.vamp_log_prob, z, encoder, u, wrt=wrt, expected=expected, what=what, **CLOSE)
    found = parameter_gradients(student.vamp_log_prob, z, encoder, u, of=encoder)
    for name, expected in zip(names, right[2:], strict=True):
        what = f"the gradient of `vamp_log_prob` in `{name}` of the encoder"
        if found.get(name) is None:
            raise Wrong(f"{what} is missing: the graph is cut")
        assert_close(found[name], expected, what, **CLOSE)


@pytest.mark.graded("vamp", points=0.35)
def test_vamp_samples(student, rng):
    """Components far apart come equally often and row by row afresh, each with its own mean and deviation."""
    K, L, n = 3, 2, 9000
    angle = 2 * math.pi * (torch.arange(K) + torch.rand((), generator=rng)) / K
    u = 30 * torch.stack([angle.cos(), angle.sin()], 1).to(F64)  # a pseudo-input is the mean of its component
    C = torch.eye(2, dtype=F64) * 0.02
    encoder = student.probe("GaussianEncoder", torch.eye(2, dtype=F64), 0.0, C, 0.0)
    mean, log_std = GaussianEncoder(torch.eye(2, dtype=F64), 0.0, C, 0.0)(u)
    z = assert_shape(student.vamp_sample(n, encoder, u), (n, L), "`vamp_sample`").double()
    component = torch.cdist(assert_finite(z, "`vamp_sample`"), mean).argmin(1)
    even = torch.full((K,), 1 / K, dtype=F64)
    assert_samples_follow(component, even, what="the components that `vamp_sample` draws from")
    pairs = K * component[0::2] + component[1::2]
    assert_samples_follow(pairs, even.repeat(K) / K, what="the components of neighbouring rows of `vamp_sample`")
    for k in range(K):
        noise = (z[component == k] - mean[k]) / log_std[k].exp()
        assert_standard_normal(noise, what="the noise of `vamp_sample` within a component")
    for few in (1, 2):
        assert_shape(student.vamp_sample(few, encoder, u), (few, L), f"`vamp_sample({few}, …)` with {K} components")
