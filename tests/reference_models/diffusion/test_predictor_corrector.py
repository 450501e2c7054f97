"""Predictors and correctors: the paper's discrete formulas by hand, exact laws of recursions, a stationary law."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reference_models.diffusion.predictor_corrector import LangevinCorrector, ReverseDiffusion
from reference_models.diffusion.score_sde import ScoreSDE
from reference_models.diffusion.sde import VE, VP, SubVP
from reference_models.exact import ContinuousNoise, law_of_sampler, off_by, reverse_diffusion_steps
from tests.reference_models.helpers import close

M, S2 = 1.5, 0.36
SDES = [VP(0.3, 9.0), SubVP(0.3, 9.0), VE(0.2, 6.0)]


def test_the_predictor_of_vp_is_that_of_ddpm():
    """Eq. 46 with β = 1 − ᾱ_t/ᾱ_s: x_s = (2 − √(1−β)) x + β s + √β z."""
    sde, t, s = SDES[0], torch.tensor(0.5), torch.tensor(0.4)
    x, score, z = torch.randn(3, 2), torch.randn(3, 2), torch.randn(3, 2)
    beta = 1 - float(sde.a(t) / sde.a(s)) ** 2
    expected = (2 - (1 - beta) ** 0.5) * x + beta * score + beta**0.5 * z
    assert close(ReverseDiffusion().step(sde, lambda x, t: score, x, t, s, z), expected, 1e-10)


def test_the_predictor_of_ve_is_that_of_smld():
    """x_s = x + (ν_t² − ν_s²) s + √(ν_t² − ν_s²) z."""
    sde, t, s = SDES[2], torch.tensor(0.5), torch.tensor(0.4)
    x, score, z = torch.randn(3, 2), torch.randn(3, 2), torch.randn(3, 2)
    q = 0.2**2 * (30 ** (2 * 0.5) - 30 ** (2 * 0.4))
    expected = x + q * score + q**0.5 * z
    assert close(ReverseDiffusion().step(sde, lambda x, t: score, x, t, s, z), expected, 1e-10)


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("steps", [10, 100])
def test_samples_follow_the_law_of_the_recursion(sde, steps, generator):
    """Mean and deviation of 20000 samples within 5 standard errors; by chance 1e-6."""
    model = ScoreSDE(ContinuousNoise(sde, M, S2), sde, (1,), t_min=0.02)
    x = model.sample(20000, steps=steps, predictor=ReverseDiffusion(), generator=generator)
    assert off_by(x, *law_of_sampler(reverse_diffusion_steps(sde, steps, 0.02, M, S2), 0.0, sde.prior_std)) < 5


def test_the_step_size_is_twice_the_squared_ratio_of_norms():
    """Algorithm 4, with norms over all dimensions of each sample."""
    score, noise = torch.randn(2, 1, 2, 2), torch.randn(2, 1, 2, 2)
    expected = [2 * (0.1 * noise[i].norm() / score[i].norm()) ** 2 for i in range(2)]
    assert close(LangevinCorrector(0.1).step_size(score, noise), torch.stack(expected), 1e-12)


def test_one_correction_by_hand(device):
    x = torch.randn(4, 3)

    def score(v: Tensor, t: Tensor) -> Tensor:
        return torch.sin(v) * t

    t = torch.tensor(0.5)
    z = torch.randn(4, 3, generator=torch.Generator(device).manual_seed(7))
    delta = 2 * (0.16 * z.norm(dim=1) / score(x, t).norm(dim=1)).square().unsqueeze(1)
    expected = x + delta * score(x, t) + (2 * delta).sqrt() * z
    corrected = LangevinCorrector().correct(VP(), score, x, t, torch.Generator(device).manual_seed(7))
    assert close(corrected, expected, 1e-12)


def test_the_corrector_settles_near_its_target(generator):
    """In many dimensions |z|/|x| is nearly 1/√v, and v = (1−δ)² v + 2δ with δ = 2ρ²/v gives v = 1 + ρ².

    40 chains of 1000 dimensions, 300 steps: v within 2%, twenty times its standard error with the noise of δ.
    """
    x = 1.3 * torch.randn(40, 1000, generator=generator)
    corrected = LangevinCorrector(0.2, steps=300).correct(VP(), lambda v, t: -v, x, torch.ones(()), generator)
    assert abs(float(corrected.square().mean()) / 1.04 - 1) < 0.02


def test_each_sample_is_corrected_by_itself(device):
    """One sample gets the same correction alone as first of a batch, whatever the others are."""
    x = torch.randn(1, 3)

    def score(v: Tensor, t: Tensor) -> Tensor:
        return -v

    both = torch.cat([x, 100 * torch.randn(1, 3)])
    alone = LangevinCorrector().correct(VP(), score, x, torch.ones(()), torch.Generator(device).manual_seed(1))
    first = LangevinCorrector().correct(VP(), score, both, torch.ones(()), torch.Generator(device).manual_seed(1))
    if device.type == "cpu":  # a CUDA generator lays the same numbers out differently
        assert close(first[:1], alone, 1e-12)


def test_corrections_repair_coarse_prediction(generator):
    """Ten steps of prediction alone spread the data too little or too much; corrections after each bring them nearer.

    Deviations of 20000 samples; the error without is 0.056, and the standard error 0.004.
    """
    sde = SDES[0]
    model = ScoreSDE(ContinuousNoise(sde, M, S2), sde, (1,), t_min=0.02)
    t = torch.tensor(0.02)
    truth = float(sde.a(t) ** 2 * S2 + sde.sigma(t) ** 2) ** 0.5
    predicted = law_of_sampler(reverse_diffusion_steps(sde, 10, 0.02, M, S2)).std

    class Small:  # a fixed small step, for in one dimension |z|/|s| is wild
        def correct(self, sde, score, x, t, generator):
            for _ in range(20):
                x = x + 0.01 * score(x, t) + 0.02**0.5 * torch.randn(x.shape, generator=generator, device=x.device)
            return x

    x = model.sample(20000, steps=10, predictor=ReverseDiffusion(), corrector=Small(), generator=generator)
    assert abs(float(x.std()) - truth) < abs(predicted - truth)


def test_images_in_float32_work(generator):
    x = torch.randn(3, 1, 2, 2, dtype=torch.float32)
    t, s = torch.tensor(0.5, dtype=torch.float32), torch.tensor(0.4, dtype=torch.float32)
    for sde in SDES:
        moved = ReverseDiffusion().step(sde, lambda v, t: -v, x, t, s, torch.zeros_like(x))
        moved = LangevinCorrector().correct(sde, lambda v, t: -v, moved, s, generator)
        assert moved.dtype == torch.float32
        assert moved.shape == x.shape
        assert bool(torch.isfinite(moved).all())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="ratio must be positive, got 0"):
        LangevinCorrector(0.0)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        LangevinCorrector(steps=0)


def test_a_score_that_vanishes_moves_nothing(generator):
    """One sample has no score and stays; the other moves as it would alone."""
    x = torch.tensor([[3.0, 4.0], [1.0, 2.0]])
    corrector = LangevinCorrector(0.2)
    out = corrector.correct(VP(), lambda x, t: torch.tensor([[0.0], [1.0]]) * x, x, torch.tensor(0.5), generator)
    assert out[0].tolist() == [3.0, 4.0]
    assert bool(torch.isfinite(out[1]).all())
    assert not close(out[1], x[1], 1e-3)
