r"""Fisher divergence: how far apart two laws are in their scores, which needs neither of their normalising constants.

    F(p ‖ q) = E_p |∇ log p(x) − ∇ log q(x)|²

(without the ½ that score matching puts before it). Three facts, each of which the tests use:

- Gaussians: F = tr P⁻¹ − 2 tr Q⁻¹ + tr Q⁻¹ P Q⁻¹ + |Q⁻¹(m_p − m_q)|²;
- integration by parts: F = E_p [|s_q|² + 2 ∇·s_q] + E_p |s_p|², so it can be minimised over q without knowing s_p
  (score matching);
- de Bruijn: d/dt KL(p ∗ N(0, tI) ‖ q ∗ N(0, tI)) = −½ F(p_t ‖ q_t): KL is what Fisher divergences along a path of
  noise add up to.

NOTE: it hardly sees the weights of modes far apart: between them, where weights show in the score, p has no mass.

Estimation of Non-Normalized Statistical Models by Score Matching (Hyvärinen, 2005), sec. 2,
https://jmlr.org/papers/v6/hyvarinen05a.html
Interpretation and Generalization of Score Matching (Lyu, 2009), thm. 1,
https://arxiv.org/abs/1205.2629
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from reference_models.parts.autodiff import divergence
from reference_models.parts.shapes import flatten_batch, restore_batch

__all__ = ["divergence_of", "fisher_divergence", "gaussian_fisher_divergence", "score_matching_terms", "score_of"]

Score = Callable[[Tensor], Tensor]  # (N, D) to (N, D), each row depending on its own row only


def score_of(log_prob: Callable[[Tensor], Tensor]) -> Score:
    """∇ log p by autograd, log p up to a constant: a function of x (*B, *event), differentiable where gradients are on.

    log_prob maps (*B, *event) to (*B,) and treats examples apart.
    """

    def score(x: Tensor) -> Tensor:
        with torch.enable_grad():
            at = x if x.requires_grad else x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(log_prob(at).sum(), at, create_graph=True)
        return gradient if torch.is_grad_enabled() else gradient.detach()

    return score


def fisher_divergence(x: Tensor, score_p: Score, score_q: Score) -> Tensor:
    """F(p ‖ q) averaged over samples x (N, D) of p, a scalar, per squared unit of x. ValueError for another shape."""
    _require_points(x)
    return ((score_p(x) - score_q(x)) ** 2).sum(-1).mean()


def divergence_of(score: Score, x: Tensor) -> Tensor:
    """∇·s = Σ_i ∂s_i/∂x_i at x (*B, D), exactly, by D backward passes: shape (*B,).

    Gradients reach the parameters of s, not x.
    """
    flat, batch = flatten_batch(x, 1)
    with torch.enable_grad():
        at = flat.detach().requires_grad_()
        total = divergence(score(at), at, create_graph=True)
    return restore_batch(total, batch)


def score_matching_terms(x: Tensor, score_q: Score) -> Tensor:
    """E_p [|s_q|² + 2 ∇·s_q] over samples x (N, D) of p, a scalar: F(p ‖ q) less E_p |s_p|², which q cannot change."""
    _require_points(x)
    return (score_q(x) ** 2).sum(-1).mean() + 2 * divergence_of(score_q, x).mean()


def gaussian_fisher_divergence(mean_p: Tensor, cov_p: Tensor, mean_q: Tensor, cov_q: Tensor) -> Tensor:
    """F(N(m_p, P) ‖ N(m_q, Q)): means (D,), covariances (D, D), positive definite; a scalar.

    The scores differ by the affine map (Q⁻¹ − P⁻¹)(x − m_p) + Q⁻¹(m_p − m_q), whose mean square under p is the sum
    of two terms.
    """
    for name, cov in (("cov_p", cov_p), ("cov_q", cov_q)):
        if not bool((torch.linalg.eigvalsh(cov) > 0).all()):
            least = float(torch.linalg.eigvalsh(cov).min())
            raise ValueError(f"{name} must be positive definite, got an eigenvalue of {least:g}")
    slope = torch.linalg.inv(cov_q) - torch.linalg.inv(cov_p)
    offset = torch.linalg.solve(cov_q, mean_p - mean_q)
    return (slope @ cov_p @ slope.T).trace() + (offset**2).sum()


def _require_points(x: Tensor) -> None:
    if x.ndim != 2 or x.numel() == 0:
        raise ValueError(f"x must have shape (N, D), got {tuple(x.shape)}")
