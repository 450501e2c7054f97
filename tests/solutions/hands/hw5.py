"""Homework 5 beside the reference models: each answer of the solution notebook, and who says the same.

What draws random numbers draws them here in the order of the reference, so one seed makes both alike.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace as Notebook

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from reference_models.diffusion.classifier_free import ClassifierFree
from reference_models.diffusion.ddim import DDIM
from reference_models.diffusion.ddpm import DDPM
from reference_models.diffusion.gaussian_diffusion import GaussianDiffusion
from reference_models.diffusion.ncsn import NCSN
from reference_models.diffusion.parametrisation import from_epsilon
from reference_models.diffusion.schedule import Schedule
from reference_models.diffusion.score_matching import denoising_loss, sliced_loss
from reference_models.energy.ebm import EBM, contrastive_loss, langevin
from reference_models.exact.sampler_laws import law_of_sampler
from reference_models.foundations import langevin as walks
from reference_models.parts.distributions import GaussianMixture

UNPAIRED = {
    "dsm_floor": "a closed form of the theory, which no model holds",
    "guided_gaussian": "a closed form of the theory, which no model holds",
    "PlaneDenoiser": "a network of the student's own",
    "make_mixture_denoiser": "a choice of sizes for `PlaneDenoiser`",
    "fit_ddpm": "a loop of `ddpm_loss` and an optimiser of PyTorch",
    "DigitsDenoiser": "a network of the student's own",
    "make_digits_denoiser": "a choice of sizes for `DigitsDenoiser`",
}
BETAS = torch.tensor([0.05, 0.2, 0.1, 0.35, 0.3], dtype=torch.float64)
SHAPES = ((3,), (1, 2, 2))


class Net(nn.Module):
    """A network of points, times and, perhaps, labels that no formula makes simple."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.A = torch.randn(2, torch.Size(shape).numel(), torch.Size(shape).numel())

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        shift = torch.cos(t.double()) + (0 if y is None else y)
        flat = torch.tanh(x.flatten(1) @ self.A[0] + shift[:, None]) @ self.A[1]
        return flat.view_as(x)


def alike(ours: Callable[[], Tensor], theirs: Callable[[], Tensor]) -> None:
    """Both give the same under one seed."""
    found = []
    for run in (ours, theirs):
        torch.manual_seed(3)
        found.append(run())
    assert_close(found[0], found[1].detach())


def check_langevin_variance(notebook: Notebook) -> None:
    for sigma2, eta, n, start in ((1.0, 0.4, 7, 0.3), (0.6, 2.0, 3, 1.5)):
        std = law_of_sampler([(1 - eta / (2 * sigma2), 0.0, eta**0.5)] * n, std=start**0.5).std
        assert abs(notebook.langevin_variance(sigma2, eta, n, start) - std**2) < 1e-10


def check_posterior(notebook: Notebook) -> None:
    process = GaussianDiffusion(Schedule.from_alpha_bars(torch.tensor([0.8, 0.3])))
    x_0, x_t = torch.randn(4, 2), torch.randn(4, 2)
    for s, abar_s, t, abar_t in ((0, 0.8, 1, 0.3), (-1, 1.0, 1, 0.3)):
        theirs, (mean, variance) = process.posterior(x_0, x_t, t, s), notebook.posterior(x_0, x_t, abar_s, abar_t)
        assert_close(mean, theirs.mean)
        assert abs(variance - float(theirs.variance)) < 1e-12


def check_mixture_score(notebook: Notebook) -> None:
    means, stds, weights = torch.randn(3, 2), torch.rand(3) + 0.3, torch.tensor([0.2, 0.5, 0.3])
    theirs = GaussianMixture(weights, means, stds.square()[:, None, None] * torch.eye(2))
    x = 2 * torch.randn(6, 2)
    assert_close(notebook.mixture_score(x, means, stds, weights), theirs.score(x))


def check_langevin_chain(notebook: Notebook) -> None:
    for shape in SHAPES:
        x = torch.randn(5, *shape)
        alike(
            lambda x=x: notebook.langevin_chain(x, torch.sin, 0.3, 4),
            lambda x=x: walks.langevin(torch.sin, x, step_size=0.3, steps=4),
        )


def energies() -> tuple[EBM, Tensor, Tensor]:
    return EBM.of_vectors(3), torch.randn(5, 3), torch.randn(7, 3)


def check_contrastive_loss(notebook: Notebook) -> None:
    model, data, samples = energies()
    for reg in (0.0, 0.2):
        theirs = contrastive_loss(model, data, samples, reg).value
        assert_close(notebook.contrastive_loss(model.energy, data, samples, reg), theirs)


def check_negative_samples(notebook: Notebook) -> None:
    model, x, _ = energies()
    alike(lambda: notebook.negative_samples(model.energy, x, 0.1, 4), lambda: langevin(model, x, 4, 0.1))


def check_dsm_loss(notebook: Notebook) -> None:
    for shape in SHAPES:
        x, noise = torch.randn(5, *shape), torch.randn(5, *shape)
        theirs = 2 * denoising_loss(torch.sin, x, 0.7, noise=noise)  # Vincent halves it
        assert_close(notebook.dsm_loss(torch.sin, x, 0.7, noise), theirs)


def check_sliced_loss(notebook: Notebook) -> None:
    for shape in SHAPES:
        net, x, v = Net(shape), torch.randn(5, *shape), torch.randn(5, *shape)
        score = lambda y, net=net: net(y, torch.zeros(len(y)))  # noqa: E731
        theirs = sliced_loss(score, x, directions=v, variance_reduced=False)
        assert_close(notebook.sliced_loss(score, x, v), theirs)


SIGMAS = [2.0, 0.9, 0.4]


def check_ncsn_loss(notebook: Notebook) -> None:
    table = torch.tensor(SIGMAS)
    for shape in SHAPES:
        net, x = Net(shape), torch.randn(6, *shape)

        class Scaled(nn.Module):
            def forward(self, x: Tensor, level: Tensor, net: Net = net) -> Tensor:
                sigma = table[level]
                return sigma.view(-1, *[1] * (x.dim() - 1)) * net(x, sigma)

        theirs = NCSN(Scaled(), table, shape)
        alike(lambda x=x, net=net: notebook.ncsn_loss(net, x, SIGMAS), lambda x=x, t=theirs: 2 * t.loss(x))


def check_annealed_langevin(notebook: Notebook) -> None:
    for shape in SHAPES:
        net, x = Net(shape), torch.randn(4, *shape)
        score = lambda x, sigma, net=net: net(x, sigma.expand(len(x)))  # noqa: E731
        alike(
            lambda x=x, net=net: notebook.annealed_langevin(net, x, SIGMAS, 3, 0.1),
            lambda x=x, s=score: walks.annealed_langevin(s, x, torch.tensor(SIGMAS), smallest_step=0.1, steps=3),
        )


def times(n: int) -> Tensor:
    return torch.randint(0, len(BETAS), (n,))


def check_abar_at(notebook: Notebook) -> None:
    t = torch.tensor([4, -1, 0, 2])
    for shape in SHAPES:
        x = torch.randn(4, *shape)
        assert_close(notebook.abar_at(BETAS, t, x), Schedule(BETAS).alpha_bar(t, x))


def check_cosine_betas(notebook: Notebook) -> None:
    assert_close(notebook.cosine_betas(30), Schedule.cosine(30).betas)
    assert_close(notebook.cosine_betas(9, 0.02, 0.7), Schedule.cosine(9, 0.02, 0.7).betas)


def check_q_sample(notebook: Notebook) -> None:
    for shape in SHAPES:
        x_0, t, noise = torch.randn(6, *shape), times(6), torch.randn(6, *shape)
        theirs = GaussianDiffusion(Schedule(BETAS)).diffuse(x_0, t, noise)
        assert_close(notebook.q_sample(x_0, t, BETAS, noise), theirs)


def check_reverse_mean_variance(notebook: Notebook) -> None:
    process = GaussianDiffusion(Schedule(BETAS))
    for shape in SHAPES:
        x, t, noise = torch.randn(6, *shape), torch.tensor([0, 1, 4, 2, 0, 3]), torch.randn(6, *shape)
        a, spread = process.schedule.alpha_bar(t, x).sqrt(), process.schedule.variance(t, x).sqrt()
        theirs = process.posterior(from_epsilon(x, a, spread, noise).x_0, x, t)
        assert_close(notebook.reverse_mean_variance(x, t, noise, BETAS), (theirs.mean, theirs.variance))


def check_ddpm_loss(notebook: Notebook) -> None:
    for shape in SHAPES:
        net, x = Net(shape), torch.randn(6, *shape)
        theirs = DDPM(net, Schedule(BETAS), shape)
        alike(lambda x=x, net=net: notebook.ddpm_loss(net, x, BETAS), lambda x=x, t=theirs: t.loss(x))


def check_ddpm_sample(notebook: Notebook) -> None:
    for shape in SHAPES:
        net, x = Net(shape), torch.randn(6, *shape)
        theirs = DDPM(net, Schedule(BETAS), shape)
        alike(lambda x=x, net=net: notebook.ddpm_sample(net, x, BETAS), lambda x=x, t=theirs: t.sample(6, noise=x))


def check_ddim_sample(notebook: Notebook) -> None:
    for steps, eta in (([1, 2, 4], 0.5), ([0, 3], 0.0), ([2], 1.0)):
        net, x = Net((3,)), torch.randn(6, 3)
        theirs, sampler = DDPM(net, Schedule(BETAS), (3,)), DDIM(eta)
        alike(
            lambda net=net, x=x, s=steps, eta=eta: notebook.ddim_sample(net, x, BETAS, s, eta),
            lambda t=theirs, x=x, s=steps, d=sampler: t.sample(6, noise=x, times=s, sampler=d),
        )


def guided(shape: tuple[int, ...]) -> tuple[Net, ClassifierFree, Tensor, Tensor]:
    net = Net(shape)
    theirs = ClassifierFree(net, Schedule(BETAS), shape, 3, drop=0.4)
    return net, theirs, torch.randn(6, *shape), torch.randint(0, 3, (6,))


def check_cfg_loss(notebook: Notebook) -> None:
    for shape in SHAPES:
        net, theirs, x, y = guided(shape)
        alike(
            lambda net=net, x=x, y=y: notebook.cfg_loss(net, x, y, BETAS, 3, 0.4),
            lambda t=theirs, x=x, y=y: t.loss(x, condition=y),
        )


def check_guided_noise(notebook: Notebook) -> None:
    for shape in SHAPES:
        net, theirs, x, y = guided(shape)
        t = times(6)
        for w in (0.0, 1.0, 2.5, -1.0):
            right = theirs.predict(x, t, condition=y, weight=w).epsilon
            assert_close(notebook.guided_noise(net, x, t, y, 3, w), right)


def check_cfg_sample(notebook: Notebook) -> None:
    for shape in SHAPES:
        net, theirs, x, y = guided(shape)
        alike(
            lambda net=net, x=x, y=y: notebook.cfg_sample(net, x, y, BETAS, 3, 2.5),
            lambda t=theirs, x=x, y=y: t.sample(6, noise=x, condition=y, weight=2.5),
        )


PAIRS = {
    "langevin_variance": check_langevin_variance,
    "posterior": check_posterior,
    "mixture_score": check_mixture_score,
    "langevin_chain": check_langevin_chain,
    "contrastive_loss": check_contrastive_loss,
    "negative_samples": check_negative_samples,
    "dsm_loss": check_dsm_loss,
    "sliced_loss": check_sliced_loss,
    "ncsn_loss": check_ncsn_loss,
    "annealed_langevin": check_annealed_langevin,
    "abar_at": check_abar_at,
    "cosine_betas": check_cosine_betas,
    "q_sample": check_q_sample,
    "reverse_mean_variance": check_reverse_mean_variance,
    "ddpm_loss": check_ddpm_loss,
    "ddpm_sample": check_ddpm_sample,
    "ddim_sample": check_ddim_sample,
    "cfg_loss": check_cfg_loss,
    "guided_noise": check_guided_noise,
    "cfg_sample": check_cfg_sample,
}
