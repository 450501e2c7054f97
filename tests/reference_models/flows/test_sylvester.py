"""Sylvester layers: orthonormal Q, Sylvester's identity, and the planar flow as the case of one direction."""

from __future__ import annotations

import pytest
import torch

from reference_models.flows.sylvester import Sylvester, SylvesterFlow, householder_product
from tests.reference_models.helpers import close, log_abs_det, perturb

LAYERS = [(5, 2, "qr"), (4, 4, "qr"), (4, 2, "householder"), (3, 3, "householder"), (3, 3, "permutation")]


@pytest.mark.parametrize(("dim", "rank", "orthogonal"), LAYERS)
def test_the_columns_of_q_are_orthonormal(dim: int, rank: int, orthogonal: str) -> None:
    Q = perturb(Sylvester(dim, rank, orthogonal=orthogonal)).Q()
    assert Q.shape == (dim, rank)
    assert close(Q.T @ Q, torch.eye(rank), 1e-12)


def test_a_reflection_reverses_its_vector_and_keeps_what_is_orthogonal_to_it() -> None:
    v = torch.tensor([3.0, 4.0, 0.0])
    Q = householder_product(v[None])
    assert close(Q @ v, -v, 1e-12)
    assert close(Q @ torch.tensor([-4.0, 3.0, 2.0]), torch.tensor([-4.0, 3.0, 2.0]), 1e-12)
    assert close(torch.linalg.det(householder_product(torch.randn(3, 4))), -1.0, 1e-12)


@pytest.mark.parametrize(("dim", "rank", "orthogonal"), LAYERS)
def test_the_m_by_m_determinant_is_the_d_by_d_one(dim: int, rank: int, orthogonal: str) -> None:
    """Product of the triangular form, dense det(I_M + diag(h') R̃ R), and the Jacobian of the map."""
    layer = perturb(Sylvester(dim, rank, orthogonal=orthogonal), 0.4)
    R, R_tilde = layer.R_and_R_tilde()
    x = torch.randn(4, dim)
    z, logdet = layer(x)
    slope = 1 - torch.tanh(x @ layer.Q() @ R_tilde.T + layer.b) ** 2
    dense = torch.linalg.slogdet(torch.eye(rank) + torch.diag_embed(slope) @ R_tilde @ R)[1]
    assert close(logdet, dense, 1e-12)
    assert close(logdet, log_abs_det(lambda one: layer(one)[0], x), 1e-9)
    assert close(layer.inverse(z)[0], x, 1e-9)


def test_the_map_is_the_paper_s() -> None:
    """z + Q R tanh(R̃ Qᵀz + b), one matrix product after the other, for one z."""
    layer = perturb(Sylvester(4, 3), 0.4)
    R, R_tilde = layer.R_and_R_tilde()
    x = torch.randn(4)
    assert close(layer(x)[0], x + layer.Q() @ (R @ torch.tanh(R_tilde @ (layer.Q().T @ x) + layer.b)), 1e-12)
    assert close(R, R.triu(), 0.0)
    assert close(R_tilde, R_tilde.triu(), 0.0)


def test_one_direction_is_a_planar_map() -> None:
    """M = 1: u = Q r, w = Q r̃, det = 1 + uᵀψ."""
    layer = perturb(Sylvester(3, 1), 0.5)
    R, R_tilde = layer.R_and_R_tilde()
    u, w = (layer.Q() @ R)[:, 0], (layer.Q() @ R_tilde)[:, 0]
    x = torch.randn(6, 3)
    h = torch.tanh(x @ w + layer.b)
    z, logdet = layer(x)
    assert close(z, x + torch.outer(h, u), 1e-12)
    assert close(logdet, torch.log(1 + (1 - h**2) * (u @ w)), 1e-12)


def test_the_map_stays_invertible_for_extreme_parameters() -> None:
    """|r_mm r̃_mm| < 1 whatever the raw values."""
    layer = perturb(Sylvester(3, 2), 8.0)
    R, R_tilde = layer.R_and_R_tilde()
    assert bool((R.diag() * R_tilde.diag() > -1).all())
    x = torch.randn(64, 3)
    z, logdet = layer(x)
    assert bool(logdet.isfinite().all())
    assert close(layer.inverse(z)[0], x, 1e-5)


def test_permutations_take_turns() -> None:
    """T-SNF: Q is the identity, then the reversal, so that two triangular maps mix all places."""
    first, second = SylvesterFlow(3, 2, orthogonal="permutation").transform.transforms
    assert close(first.Q(), torch.eye(3), 0.0)
    assert close(second.Q() @ torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 2.0, 1.0]), 0.0)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="as many columns as the dimension, 3, got rank 2"):
        Sylvester(3, 2, orthogonal="permutation")
    with pytest.raises(ValueError, match="rank must be at most the dimension 3, got 4"):
        Sylvester(3, 4)
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        SylvesterFlow(3, 2, rank=0)
    with pytest.raises(ValueError, match="orthogonal must be one of"):
        Sylvester(3, 2, orthogonal="cayley")
