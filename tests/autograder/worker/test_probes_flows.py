"""Flow probes have the properties their docstrings promise; the oracles are autograd, torch.distributions and SciPy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import integrate
from torch import Tensor, nn

from autograder.vocabulary.known_laws import (
    affine_flow_law,
    cell_log_probability,
    cell_mean_log_density,
    dense_pair,
    exponential_bias,
    invertible_matrix,
    triangular_pair,
)
from autograder.worker.probes import AffineFlow, AffinePair, Bend, Linear, Rotate, Scale, TriangularPair

F64 = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=F64).to(dtype)


def layers(n: int) -> dict[str, Any]:
    return {
        "affine": AffineFlow(invertible_matrix(n, generator(1)), normal(n, seed=2)),
        "scale": Scale(normal(n, seed=3).exp() * torch.tensor([1.0, -1.0]).repeat(n)[:n], normal(n, seed=4)),
        "one scale": Scale(torch.tensor(0.5, dtype=F64)),
        "rotate": Rotate(torch.tensor(0.7, dtype=F64)),
        "bend": Bend(torch.tensor(0.8, dtype=F64)),
    }


@pytest.mark.parametrize("name", list(layers(4)))
@pytest.mark.parametrize("shape", [(1, 5), (64, 5), (7, 1, 2, 3)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_a_layer_is_undone_by_its_inverse_and_counts_its_volume(
    name: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    n = torch.Size(shape[1:]).numel()
    layer = layers(n)[name]
    x = normal(*shape, dtype=dtype)
    close = {"rtol": 0, "atol": 1e-11 if dtype == F64 else 1e-4}
    for there, back in ((layer.forward, layer.inverse), (layer.inverse, layer.forward)):
        z, logdet = there(x)
        assert z.shape == x.shape
        assert z.dtype == logdet.dtype == dtype
        assert logdet.shape == (shape[0],)
        block = torch.func.vmap(torch.func.jacrev(lambda v, there=there: there(v[None])[0][0]))(x)
        torch.testing.assert_close(logdet, torch.linalg.slogdet(block.reshape(-1, n, n))[1], **close)
        again, other = back(z)
        torch.testing.assert_close(again, x, **close)
        torch.testing.assert_close(other, -logdet, **close)


def test_layers_do_not_commute_and_are_differentiable_in_their_weights() -> None:
    found = layers(4)
    x = normal(3, 4)
    for first, second in (("scale", "rotate"), ("rotate", "bend"), ("affine", "scale"), ("bend", "affine")):
        one, two = found[first], found[second]
        assert (two(one(x)[0])[0] - one(two(x)[0])[0]).abs().max() > 0.05
    for layer in found.values():
        layer(x)[0].sum().backward()
        assert all(p.grad is not None for name, p in layer.named_parameters())


def test_an_affine_flow_has_the_density_of_its_law_and_is_fitted_by_the_moments_of_data() -> None:
    A, b = invertible_matrix(3, generator(5)), normal(3, seed=6)
    mean, covariance = affine_flow_law(A, b)
    x = normal(64, 3, seed=7)
    wanted = torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)
    torch.testing.assert_close(AffineFlow(A, b).log_prob(x), wanted)
    centred = x - x.mean(0)
    root = torch.linalg.cholesky(torch.linalg.inv(centred.T @ centred / len(x))).T
    best = AffineFlow(root, -root @ x.mean(0))
    loss = -best.log_prob(x).mean()
    loss.backward()
    assert best.A.grad.abs().max() < 1e-12
    assert best.b.grad.abs().max() < 1e-12


def test_matrices_are_dense_do_not_commute_and_have_determinants_of_both_signs() -> None:
    signs = set()
    for seed in range(20):
        A, B = invertible_matrix(3, generator(seed)), invertible_matrix(3, generator(100 + seed))
        assert (A @ B - B @ A).abs().max() > 0.05
        assert 0.499 < torch.linalg.svdvals(A).min() <= torch.linalg.svdvals(A).max() < 2.001
        assert (A.T @ A - torch.eye(3, dtype=F64)).abs().max() > 0.05
        signs.add(float(torch.linalg.det(A).sign()))
    assert signs == {-1.0, 1.0}


@pytest.mark.parametrize("shape", [(5, 4), (64, 2, 1, 3)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_an_affine_pair_sees_everything_and_scales_everything(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    n = torch.Size(shape[1:]).numel()
    A, B, c, d = dense_pair(n, generator())
    pair = AffinePair(A, B, c, d)
    h = normal(*shape, dtype=dtype)
    log_s, t = pair(h, 0.3)
    assert log_s.shape == t.shape == shape
    assert log_s.dtype == t.dtype == dtype
    flat = h.double().flatten(1)
    wanted = (torch.tanh(flat @ A.T + d), flat @ B.T + c)
    for got, right in zip((log_s, t), wanted, strict=True):
        torch.testing.assert_close(got.double().flatten(1), right, rtol=0, atol=1e-12 if dtype == F64 else 1e-5)
    jacobian = torch.autograd.functional.jacobian(lambda v: torch.stack(pair(v)), h[:1])
    assert (jacobian.abs() > 1e-6).all()
    at_zero = AffinePair(A, B, c, d)(torch.zeros(shape, dtype=dtype))[0]
    assert (at_zero.abs() > 0.25).all()  # scales even where every entry is hidden
    size = torch.arange(1.0, n + 1)
    sized = AffinePair(A, B, c, d, size)(h)
    torch.testing.assert_close(sized[0].flatten(1), size.to(dtype) * log_s.flatten(1))
    torch.testing.assert_close(sized[1], t)


def test_a_pair_without_offsets_is_that_of_the_worked_number() -> None:
    pair = AffinePair(torch.zeros(2, 2), torch.zeros(2, 2), 3.0, torch.tensor(2.0).log().atanh())
    log_s, t = pair(torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(log_s.exp(), torch.full((1, 2), 2.0))
    assert t.tolist() == [[3.0, 3.0]]


def test_a_triangular_pair_sees_exactly_the_entries_before() -> None:
    pair = TriangularPair(*triangular_pair(6, generator()))
    v = normal(1, 6)
    for part in (0, 1):
        block = torch.autograd.functional.jacobian(lambda v, part=part: pair(v)[part], v)[0, :, 0]
        assert (block.triu() == 0).all()
        assert (block[torch.ones(6, 6).tril(-1).bool()].abs() > 1e-4).all()
    mean, log_std = pair(normal(64, 6, dtype=torch.float32))
    assert mean.dtype == log_std.dtype == torch.float32
    assert (log_std.abs() <= 1).all()
    wrong = torch.ones(3, 3)
    for L, K in ((wrong, wrong.tril(-1)), (wrong.tril(-1), wrong.tril()), (torch.zeros(3), wrong.tril(-1))):
        with pytest.raises(ValueError, match="strictly lower triangular"):
            TriangularPair(L, K)
    with pytest.raises(ValueError, match="k must not be 0"):
        Bend(0.0)


def test_a_worked_triangular_pair_gives_the_numbers_of_the_text() -> None:
    # mean(v) = (0, v0, v1), log_std = (0, ln 2, 0)
    L = torch.diag(torch.ones(2, dtype=F64), -1)
    d = torch.tensor([0.0, torch.tensor(2.0, dtype=F64).log().atanh(), 0.0], dtype=F64)
    mean, log_std = TriangularPair(L, torch.zeros(3, 3, dtype=F64), 0.0, d)(torch.ones(1, 3, dtype=F64))
    torch.testing.assert_close(log_std.exp() + mean, torch.tensor([[1.0, 3.0, 2.0]], dtype=F64))


def test_an_exponential_density_is_normalised_and_its_cells_are_known() -> None:
    weight = torch.tensor([3.0, -2.0], dtype=F64) * 4
    density = Linear(weight, exponential_bias(weight))
    at = lambda *y: density(torch.tensor([y], dtype=F64)).exp().item()  # noqa: E731
    assert integrate.dblquad(at, 0, 1, 0, 1)[0] == pytest.approx(1.0, abs=1e-9)
    x = torch.tensor([[0, 1], [3, 2]])
    for row, got in zip(x.tolist(), cell_log_probability(x, weight, 4).exp().tolist(), strict=True):
        box = (row[1] / 4, (row[1] + 1) / 4, row[0] / 4, (row[0] + 1) / 4)
        assert got == pytest.approx(integrate.dblquad(lambda b, a: at(a, b), *box[2:], *box[:2])[0], rel=1e-8)
    y = (x + torch.rand(200_000, 2, 2, generator=generator(), dtype=F64)) / 4
    drawn = density(y.reshape(-1, 2)).reshape(-1, 2).detach()
    error = drawn.mean(0) - cell_mean_log_density(x, weight, 4)
    assert (error.abs() < 5 * drawn.std(0) / 200_000**0.5).all()
    assert (
        cell_log_probability(x, weight, 4) > cell_mean_log_density(x, weight, 4) - 2 * torch.tensor(4.0).log() + 0.1
    ).all()
    every = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    assert cell_log_probability(every, weight, 4).exp().sum().item() == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(ValueError, match="no weight may be 0"):
        exponential_bias(torch.tensor([1.0, 0.0]))


def test_layers_are_modules_whose_weights_train() -> None:
    for layer in layers(4).values():
        assert isinstance(layer, nn.Module)
        assert any(p.requires_grad for p in layer.parameters())
