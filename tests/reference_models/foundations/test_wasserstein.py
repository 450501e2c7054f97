"""Wasserstein distances, against SciPy, POT, all permutations, closed forms, and duality itself."""

from __future__ import annotations

from itertools import permutations

import ot
import pytest
import torch
from scipy.stats import wasserstein_distance

from reference_models.foundations.wasserstein import (
    DistancePotential,
    assignment,
    dual_value,
    gaussian_w2_squared,
    kantorovich_potential,
    transport,
    wasserstein_1d,
    wasserstein_samples,
)
from tests.reference_models.helpers import close, numpy, perturb


def law(n: int) -> torch.Tensor:
    return torch.rand(n).softmax(0)


def distances(x: torch.Tensor, y: torch.Tensor, p: float) -> torch.Tensor:
    return (x[:, None] - y).norm(dim=-1) ** p


def test_on_the_line_it_is_the_mean_difference_of_sorted_samples():
    x, y = torch.randn(9), torch.randn(9) + 1
    gap = (x.sort().values - y.sort().values).abs()
    assert float(wasserstein_1d(x, y)) == pytest.approx(float(gap.mean()), abs=1e-12)
    assert float(wasserstein_1d(x, y, 2)) == pytest.approx(float((gap**2).mean()) ** 0.5, abs=1e-12)


def test_on_the_line_with_weights_and_unequal_numbers_it_is_scipys_and_pots():
    x, y, a, b = torch.randn(7), torch.randn(4), law(7), law(4)
    theirs = wasserstein_distance(numpy(x), numpy(y), numpy(a), numpy(b))
    assert float(wasserstein_1d(x, y, weights_x=a, weights_y=b)) == pytest.approx(theirs, abs=1e-10)
    assert float(wasserstein_1d(x, y)) == pytest.approx(wasserstein_distance(numpy(x), numpy(y)), abs=1e-10)
    for p in (2, 3):
        cost = ot.wasserstein_1d(numpy(x), numpy(y), numpy(a), numpy(b), p=p)  # to the power p
        assert float(wasserstein_1d(x, y, p, weights_x=a, weights_y=b)) == pytest.approx(cost ** (1 / p), abs=1e-10)


def test_on_the_line_points_of_no_weight_do_not_matter():
    x, y = torch.tensor([0.0, 5.0, 1.0]), torch.tensor([2.0, -7.0])
    weighted = wasserstein_1d(x, y, weights_x=torch.tensor([0.5, 0.0, 0.5]), weights_y=torch.tensor([1.0, 0.0]))
    assert float(weighted) == pytest.approx(1.5, abs=1e-12)


def test_on_the_line_gradients_are_signs_over_the_number_of_points():
    x = torch.tensor([0.0, 3.0], requires_grad=True)
    wasserstein_1d(x, torch.tensor([1.0, 2.0])).backward()
    assert x.grad.tolist() == pytest.approx([-0.5, 0.5])


@pytest.mark.parametrize("p", [1, 2])
def test_the_assignment_is_the_best_of_all_permutations(p):
    x, y = torch.randn(6, 2), torch.randn(6, 2)
    cost = distances(x, y, p)
    best = min(sum(float(cost[i, j]) for i, j in enumerate(order)) for order in permutations(range(6)))
    assert float(wasserstein_samples(x, y, p)) == pytest.approx((best / 6) ** (1 / p), abs=1e-10)
    assert sorted(assignment(cost).tolist()) == list(range(6))


def test_a_shift_moves_every_point_by_itself():
    x, shift = torch.randn(8, 3), torch.tensor([1.0, -2.0, 2.0])
    assert float(wasserstein_samples(x, x.flip(0) + shift, 2)) == pytest.approx(3, abs=1e-10)


def test_gradients_of_the_assignment_distance_are_finite_differences():
    x, y = torch.randn(5, 2, requires_grad=True), torch.randn(5, 2)
    assert torch.autograd.gradcheck(lambda at: wasserstein_samples(at, y, 2), (x,))


def test_transport_between_weighted_points_is_pots_and_its_plan_has_the_marginals():
    x, y, a, b = torch.randn(6, 2), torch.randn(4, 2), law(6), law(4)
    cost = distances(x, y, 2)
    found = transport(cost, a, b)
    assert float(found.cost) == pytest.approx(float(ot.emd2(numpy(a), numpy(b), numpy(cost))), abs=1e-9)
    assert close(found.plan.sum(1), a, 1e-9)
    assert close(found.plan.sum(0), b, 1e-9)
    assert bool((found.plan >= -1e-12).all())


def test_the_potentials_prove_the_plan_optimal():
    """f + g ≤ cost everywhere, = cost where mass moves, and Σ a f + Σ b g is the cost: strong duality."""
    x, y, a, b = torch.randn(5, 2), torch.randn(7, 2), law(5), law(7)
    cost = distances(x, y, 1)
    found = transport(cost, a, b)
    slack = cost - found.potential_x[:, None] - found.potential_y
    assert float(slack.min()) > -1e-9
    assert float((slack * found.plan).sum()) == pytest.approx(0, abs=1e-9)
    assert float(a @ found.potential_x + b @ found.potential_y) == pytest.approx(float(found.cost), abs=1e-9)


def test_the_kantorovich_potential_reaches_the_distance_and_is_1_lipschitz_everywhere():
    x, y = torch.randn(8, 2), torch.randn(8, 2) + torch.tensor([1.0, 0.0])
    critic = kantorovich_potential(x, y).requires_grad_(False)
    w1 = float(wasserstein_samples(x, y))
    assert float(dual_value(critic, x, y)) == pytest.approx(w1, abs=1e-9)
    points = 3 * torch.randn(64, 2)
    rise = (critic(points)[:, None] - critic(points)).abs()
    assert bool((rise <= (points[:, None] - points).norm(dim=-1) + 1e-12).all())
    assert close(critic(points[0]), critic(points)[0], 1e-12)


def test_a_potential_of_any_anchors_and_heights_is_1_lipschitz_and_climbs_towards_the_distance():
    x, y = torch.randn(30, 2), 0.5 * torch.randn(30, 2) + torch.tensor([2.0, 0.0])
    critic = perturb(DistancePotential(torch.randn(8, 2)), 1.0)
    points = 3 * torch.randn(64, 2)
    values = critic(points).detach()
    rise = (values[:, None] - values).abs()
    assert bool((rise <= (points[:, None] - points).norm(dim=-1) + 1e-12).all())
    w1 = float(wasserstein_samples(x, y))
    optimiser = torch.optim.Adam(critic.parameters(), lr=0.05)
    reached = []
    for _ in range(300):
        optimiser.zero_grad()
        value = dual_value(critic, x, y)
        (-value).backward()
        optimiser.step()
        reached.append(float(value.detach()))
    assert max(reached) <= w1 + 1e-9
    assert reached[-1] > 0.97 * w1 > reached[0]


def test_any_other_1_lipschitz_critic_falls_short():
    x, y = torch.randn(20, 3), torch.randn(20, 3) + 0.5
    w1 = float(wasserstein_samples(x, y))
    for _ in range(20):
        direction = torch.nn.functional.normalize(torch.randn(3), dim=0)
        value = float(dual_value(lambda at, w=direction: at @ w, x, y))
        assert value <= w1 + 1e-9
    assert float(dual_value(lambda at: 2 * at.sum(-1), y, x)) > 0  # first argument less second


def test_the_gaussian_closed_form_is_pots():
    roots = torch.randn(2, 4, 4)
    cov = roots @ roots.mT
    mean = torch.randn(2, 4)
    theirs = ot.gaussian.bures_wasserstein_distance(*(numpy(t) for t in (mean[0], mean[1], cov[0], cov[1])))
    found = gaussian_w2_squared(mean[0], cov[0], mean[1], cov[1])
    assert float(found) == pytest.approx(float(theirs) ** 2, rel=1e-7)


def test_the_gaussian_form_of_commuting_covariances_is_the_difference_of_deviations():
    """Same axes, standard deviations (1, 2) and (3, 0): 4 + 4; a singular covariance is welcome."""
    turn, _ = torch.linalg.qr(torch.randn(2, 2))
    a = turn @ torch.tensor([1.0, 4.0]).diag() @ turn.T
    b = turn @ torch.tensor([9.0, 0.0]).diag() @ turn.T
    zero = torch.zeros(2)
    assert float(gaussian_w2_squared(zero, a, zero, b)) == pytest.approx(8, abs=1e-7)
    assert float(gaussian_w2_squared(zero, a, zero, a)) == pytest.approx(0, abs=1e-7)


def test_samples_of_gaussians_on_the_line_approach_the_closed_form(generator):
    """W₂² of N(0, 1) and N(1, 4) is 1 + 1; 4000 points of each: within 0.25 (the seed is fixed; spread about 0.05)."""
    x = torch.randn(4000, generator=generator, device=generator.device)
    y = 1 + 2 * torch.randn(4000, generator=generator, device=generator.device)
    assert float(wasserstein_1d(x, y, 2)) ** 2 == pytest.approx(2, abs=0.25)


def test_float32_agrees():
    x, y = torch.randn(6, 2), torch.randn(6, 2)
    assert wasserstein_samples(x.float(), y.float()).dtype == torch.float32
    assert float(wasserstein_samples(x.float(), y.float())) == pytest.approx(float(wasserstein_samples(x, y)), rel=1e-5)
    line = wasserstein_1d(x[:, 0].float(), y[:4, 0].float())
    assert float(line) == pytest.approx(float(wasserstein_1d(x[:, 0], y[:4, 0])), rel=1e-5)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"must have shapes \(N,\) and \(M,\), got \(2, 1\) and \(2,\)"):
        wasserstein_1d(torch.zeros(2, 1), torch.zeros(2))
    with pytest.raises(ValueError, match=r"p must be at least 1, got 0\.5"):
        wasserstein_1d(torch.zeros(2), torch.zeros(2), 0.5)
    with pytest.raises(ValueError, match=r"weights_x must not be negative and sum to 1, got least 0\.5, sum 1\.5"):
        wasserstein_1d(torch.zeros(3), torch.zeros(2), weights_x=torch.full((3,), 0.5))
    with pytest.raises(ValueError, match="both samples need the same size, got 3 and 4"):
        wasserstein_samples(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"an assignment needs a square cost, got shape \(2, 3\)"):
        assignment(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"anchors must have shape \(M, D\), got \(3,\)"):
        DistancePotential(torch.zeros(3))
    with pytest.raises(ValueError, match="cost must be finite"):
        transport(torch.full((2, 2), torch.nan))
    with pytest.raises(ValueError, match=r"means and covariances must have shapes \(D,\) and \(D, D\)"):
        gaussian_w2_squared(torch.zeros(2), torch.eye(3), torch.zeros(2), torch.eye(2))
    with pytest.raises(ValueError, match="a covariance must be symmetric, got one off by 1"):
        gaussian_w2_squared(torch.zeros(2), torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.zeros(2), torch.eye(2))


def test_one_point_on_either_side_is_enough():
    x, y = torch.tensor([[0.0, 1.0]]), torch.tensor([[3.0, 5.0]])
    assert close(wasserstein_samples(x, y), 5.0, 1e-12)
    for empty in ((x[:0], y), (x, y[:0])):
        with pytest.raises(ValueError, match="got"):
            wasserstein_samples(*empty)
