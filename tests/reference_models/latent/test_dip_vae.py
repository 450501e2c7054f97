"""DIP-VAE's covariances against numpy and against sampling; SAP against numpy's correlations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reference_models.latent.dip_vae import DIPVAE, covariance, dip_penalty, sap_score
from reference_models.latent.vae import VAE, GaussianPosterior, mlp_vae
from tests.reference_models.helpers import binary_states, close, numpy, perturb, standard_errors


def posteriors(n: int = 30, d: int = 3) -> GaussianPosterior:
    return GaussianPosterior(torch.randn(n, d) @ torch.randn(d, d) + 1.0, 0.5 * torch.randn(n, d))


def test_covariance_is_numpys() -> None:
    x = posteriors().mean
    assert close(covariance(x), torch.as_tensor(np.cov(numpy(x), rowvar=False, bias=True)).to(x), 1e-12)


@pytest.mark.parametrize("version", ["I", "II"])
def test_penalty_sums_off_diagonal_and_diagonal(version: str) -> None:
    """Entry by entry in numpy: Σ_{i≠j} C_ij² counts both triangles, Σ_i (C_ii − 1)²; II adds the mean variances."""
    q = posteriors()
    C = np.cov(numpy(q.mean), rowvar=False, bias=True)
    if version == "II":
        C = C + np.diag(np.exp(2 * numpy(q.log_std)).mean(axis=0))
    penalty = dip_penalty(q, version)  # type: ignore[arg-type]
    assert abs(float(penalty.off_diagonal) - sum(C[i, j] ** 2 for i in range(3) for j in range(3) if i != j)) < 1e-9
    assert abs(float(penalty.diagonal) - sum((C[i, i] - 1) ** 2 for i in range(3))) < 1e-9


def test_second_version_is_the_covariance_of_the_aggregate(generator: torch.Generator) -> None:
    """Law of total covariance: 20000 draws from a random example's posterior, each moment within 5 standard errors."""
    q = posteriors()
    z = q.draw(20000, generator=generator).z[torch.arange(20000), torch.randint(30, (20000,), generator=generator)]
    centred = z - q.mean.mean(0)
    C = covariance(q.mean) + torch.diag((2 * q.log_std).exp().mean(0))
    assert standard_errors(centred[:, :, None] * centred[:, None, :], C) < 5
    off = (C - torch.diag(C.diagonal())).square().sum()
    assert close(dip_penalty(q, "II").off_diagonal, off)


def test_whitened_codes_are_free_and_others_are_not() -> None:
    """Means with identity covariance cost nothing under I; with covariance ½ and posterior variance ½, under II."""
    x = torch.randn(40, 3)
    x = x - x.mean(0)
    white = (
        x @ torch.linalg.inv(torch.linalg.cholesky(torch.as_tensor(np.cov(numpy(x), rowvar=False, bias=True)).to(x))).T
    )
    first = dip_penalty(GaussianPosterior(white, torch.zeros(40, 3)), "I")
    half = GaussianPosterior(white / 2**0.5, torch.full((40, 3), 0.5 * float(np.log(0.5))))
    second = dip_penalty(half, "II")
    for part in (first.off_diagonal, first.diagonal, second.off_diagonal, second.diagonal):
        assert close(part, 0.0)
    assert float(dip_penalty(half, "I").diagonal) > 0.5


def test_loss_is_minus_bound_plus_weighted_penalties() -> None:
    """Both versions, with weights that differ; the penalty's gradient reaches the encoder."""
    x, noise = binary_states(4), torch.randn(1, 16, 2)
    for version in ("I", "II"):
        vae = perturb(mlp_vae((4,), 2, (5,)), 0.5)
        model = DIPVAE(vae, version, lambda_od=3.0, lambda_d=7.0)  # type: ignore[arg-type]
        q = vae.posterior(x)
        assert isinstance(q, GaussianPosterior)
        penalty = dip_penalty(q, version)  # type: ignore[arg-type]
        expected = -vae.elbo(x, noise=noise).value.mean() + 3 * penalty.off_diagonal + 7 * penalty.diagonal
        loss = model.loss(x, noise=noise)
        assert close(loss, expected)
        with_penalty = torch.autograd.grad(loss, list(vae.parameters()))
        without = torch.autograd.grad(-vae.elbo(x, noise=noise).value.mean(), list(vae.parameters()))
        assert any(float((a - b).abs().max()) > 1e-3 for a, b in zip(with_penalty, without, strict=True))


def test_default_weights_are_the_papers() -> None:
    """λ_d = 10 λ_od for version I and λ_d = λ_od for II."""
    assert DIPVAE.mlp((4,), 2, "I").lambda_d == 10 * DIPVAE.mlp((4,), 2, "I").lambda_od
    assert DIPVAE.mlp((4,), 2, "II").lambda_d == DIPVAE.mlp((4,), 2, "II").lambda_od


def test_separated_score_is_one_for_axes_and_by_correlations_else() -> None:
    """Squared correlations by numpy: best minus second best for each factor; one for codes that are the factors."""
    factors = torch.randn(200, 2)
    codes = factors @ torch.randn(2, 3) + 0.3 * torch.randn(200, 3)
    R2 = np.corrcoef(numpy(codes), numpy(factors), rowvar=False)[:3, 3:] ** 2
    ordered = np.sort(R2, axis=0)
    assert abs(float(sap_score(codes, factors)) - (ordered[-1] - ordered[-2]).mean()) < 1e-9
    u, _ = torch.linalg.qr(factors - factors.mean(0))
    assert close(sap_score(torch.cat([u, torch.zeros(200, 1)], 1), u), 1.0)


@pytest.mark.parametrize("batch", [(), (64,)])
def test_bound_shapes_and_single_precision(batch: tuple[int, ...]) -> None:
    model = perturb(DIPVAE.mlp((1, 2, 2), 2))
    x = (torch.rand(*batch, 1, 2, 2) < 0.5).double()
    assert model.elbo(x).value.shape == batch
    assert model.sample(3).shape == (3, 1, 2, 2)
    if batch:
        noise = torch.randn(1, 64, 2)
        double = model.loss(x, noise=noise)
        assert double.shape == ()
        assert close(model.float().loss(x.float(), noise=noise.float()).double(), double, 1e-3)


def test_paper_size() -> None:
    """The networks of β-VAE: 4096-1200-1200 to 10 latents, 10-1200-1200-1200-4096 back."""
    with torch.device("meta"):
        model = DIPVAE.paper("I")
    expected = 4097 * 1200 + 1201 * 1200 + 1201 * 20 + 11 * 1200 + 2 * 1201 * 1200 + 1201 * 4096
    assert sum(p.numel() for p in model.parameters()) == expected


def test_bad_input_is_refused() -> None:
    vae = mlp_vae((4,), 2, (5,))
    with pytest.raises(ValueError, match="batch size must be at least 2, got 1"):
        DIPVAE(vae).loss(torch.zeros(4))
    with pytest.raises(ValueError, match="version must be one of 'I', 'II', got 'III'"):
        DIPVAE(vae, "III")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lambda_od must be at least 0, got -1"):
        DIPVAE(vae, lambda_od=-1.0)
    with pytest.raises(ValueError, match=r"codes must be \(N, d >= 2\), factors \(N, F\), got \(5, 1\)"):
        sap_score(torch.zeros(5, 1), torch.zeros(5, 2))
    with pytest.raises(ValueError, match="needs a Gaussian posterior, got Tensor"):
        DIPVAE(VAE(lambda x: x, torch.nn.Identity(), vae.prior, vae.likelihood, event_shape=(4,))).loss(
            torch.zeros(2, 4)
        )  # type: ignore[arg-type, return-value]
