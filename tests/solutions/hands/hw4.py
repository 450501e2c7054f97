"""Homework 4 beside the reference models: each answer of the solution notebook, and who says the same."""

from __future__ import annotations

import math
from types import SimpleNamespace as Notebook

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from reference_models.adversarial.cyclegan import CycleGAN
from reference_models.adversarial.f_gan import Variational
from reference_models.adversarial.gan import Minimax, NonSaturating, optimal_logit
from reference_models.adversarial.lsgan import LeastSquares
from reference_models.adversarial.spectral_norm import SpectralNorm, spectral_norm
from reference_models.adversarial.wgan import Wasserstein
from reference_models.adversarial.wgan_gp import gradient_penalty
from reference_models.evaluation.frechet import frechet_distance
from reference_models.evaluation.inception_score import inception_score
from reference_models.evaluation.mode_coverage import mode_coverage
from reference_models.evaluation.precision_recall import precision_recall
from reference_models.foundations import f_divergences
from reference_models.foundations.divergences import entropy, kl_divergence
from reference_models.foundations.wasserstein import gaussian_w2_squared, wasserstein_1d
from reference_models.parts.distributions import GaussianMixture
from reference_models.parts.residual_gan import ResNetCritic
from reference_models.parts.truncation import truncate_towards, truncated_normal

UNPAIRED = {
    "conjugate": "of a divergence that the table of the reference models does not have",
    "optimal_critic": "of a divergence that the table of the reference models does not have",
    "penalised_critic": "a closed form of the theory, which no model holds",
    "frechet_bias": "a closed form of the theory, which no model holds",
    "clip_parameters": "changes a network in place and returns nothing; the hidden check holds it to `Tensor.clamp`",
    "make_generator": "a choice of sizes",
    "make_critic": "a choice of sizes",
    "fit_wgan_gp": "a loop of `critic_step` and an optimiser of PyTorch",
}
RATE = 0.1


def check_optimal_discriminator(notebook: Notebook) -> None:
    for prior in (0.5, 0.3):
        p, q = torch.rand(2, 5).softmax(1)
        d, value = notebook.optimal_discriminator(p, q, prior)
        logit = optimal_logit(p.log(), q.log()) + math.log(prior / (1 - prior))
        assert_close(d, logit.sigmoid())
        m, sides = prior * p + (1 - prior) * q, torch.tensor([prior, 1 - prior])
        assert_close(value, prior * kl_divergence(p, m) + (1 - prior) * kl_divergence(q, m) - entropy(sides))


def check_discriminator_loss(notebook: Notebook) -> None:
    real, fake = torch.randn(6), torch.randn(4)
    assert_close(notebook.discriminator_loss(real, fake), Minimax().discriminator_loss(real, fake))


def check_generator_loss(notebook: Notebook) -> None:
    fake = torch.randn(4)
    for kind, theirs in {"minimax": Minimax(), "non-saturating": NonSaturating()}.items():
        assert_close(notebook.generator_loss(fake, kind), theirs.generator_loss(fake))


def check_lsgan_losses(notebook: Notebook) -> None:
    real, fake = torch.randn(6), torch.randn(4)
    for codes in ((0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)):
        theirs = LeastSquares(*codes)
        both = theirs.discriminator_loss(real, fake), theirs.generator_loss(fake)
        assert_close(notebook.lsgan_losses(real, fake, *codes), both)


def pair() -> tuple[nn.Module, nn.Module]:
    return nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))


def check_steps(notebook: Notebook, which: str) -> None:
    generator, judge = pair()
    copies = pair()
    for copy, network in zip(copies, (generator, judge), strict=True):
        copy.load_state_dict(network.state_dict())
    moved, own = (generator, copies[0]) if which == "generator" else (judge, copies[1])
    before = {name: value.detach().clone() for name, value in own.named_parameters()}
    optimizer = torch.optim.SGD(moved.parameters(), lr=RATE)
    real, noise = torch.randn(5, 3), torch.randn(5, 2)
    scores, fake = copies[1](real), copies[1](copies[0](noise))
    if which == "generator":
        value, loss = notebook.generator_step(generator, judge, optimizer, noise), NonSaturating().generator_loss(fake)
    elif which == "discriminator":
        value = notebook.discriminator_step(generator, judge, optimizer, real, noise)
        loss = NonSaturating().discriminator_loss(scores, fake)
    else:
        value = notebook.critic_step(generator, judge, optimizer, real, noise, 0.0)
        loss = Wasserstein().discriminator_loss(scores, fake)
    assert_close(torch.as_tensor(value), loss.detach())
    slopes = torch.autograd.grad(loss, list(own.parameters()))
    for (name, now), slope in zip(moved.named_parameters(), slopes, strict=True):
        assert_close(now.detach(), before[name] - RATE * slope)


def check_discriminator_step(notebook: Notebook) -> None:
    check_steps(notebook, "discriminator")


def check_generator_step(notebook: Notebook) -> None:
    check_steps(notebook, "generator")


def check_critic_step(notebook: Notebook) -> None:
    check_steps(notebook, "critic")


def check_fgan_losses(notebook: Notebook) -> None:
    for name in ("kl", "pearson"):
        theirs, known = Variational(name), f_divergences.get(name)
        v_real, v_fake = torch.randn(5), torch.randn(7)
        ours = notebook.fgan_losses(theirs.activation(v_real), theirs.activation(v_fake), known.conjugate)
        assert_close(ours, (theirs.discriminator_loss(v_real, v_fake), theirs.generator_loss(v_fake)))


def check_activation(notebook: Notebook) -> None:
    v = torch.randn(2, 5)
    for name in ("kl", "pearson", "reverse-kl", "gan"):
        assert_close(notebook.activation(v, name), f_divergences.get(name).activation(v))


def check_critic_losses(notebook: Notebook) -> None:
    real, fake = torch.randn(6), torch.randn(4)
    theirs = Wasserstein()
    both = theirs.discriminator_loss(real, fake), theirs.generator_loss(fake)
    assert_close(notebook.critic_losses(real, fake), both)


def check_wasserstein_1d(notebook: Notebook) -> None:
    for n, m in ((5, 5), (3, 7)):
        x, y = torch.randn(n), torch.randn(m) + 1
        assert_close(notebook.wasserstein_1d(x, y), wasserstein_1d(x, y))


def check_gradient_penalty(notebook: Notebook) -> None:
    """Both draw their t from the same state of the generator, in the same way."""
    critic = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    real, fake = torch.randn(5, 2, 3), torch.randn(5, 2, 3)
    torch.manual_seed(1)
    ours = notebook.gradient_penalty(critic, real, fake)
    torch.manual_seed(1)
    assert_close(ours, gradient_penalty(critic, real, fake))


def check_power_iteration(notebook: Notebook) -> None:
    for shape in ((4, 6), (3, 2, 3, 3)):
        weight, steps = torch.randn(shape), 3
        theirs = SpectralNorm(weight, steps)
        u = theirs.u.clone()
        theirs(weight)
        sigma, ours, v = notebook.power_iteration(weight, u, steps)
        assert_close((sigma, ours, v), (theirs.sigma(weight), theirs.u, theirs.v))


def check_spectral_linear(notebook: Notebook) -> None:
    ours, theirs = notebook.SpectralLinear(5, 3).to(torch.get_default_dtype()), nn.Linear(5, 3)
    theirs.load_state_dict({name: value for name, value in ours.state_dict().items() if name != "u"})
    spectral_norm(theirs)
    theirs.parametrizations["weight"][0].u = ours.u.clone()
    x = torch.randn(4, 5)
    for _ in range(3):
        assert_close(ours(x), theirs(x))


class Features(nn.Module):
    """The features of a reference critic as a module."""

    def __init__(self, critic: ResNetCritic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, x: Tensor) -> Tensor:
        return self.critic.features(x)


def check_projection_discriminator(notebook: Notebook) -> None:
    theirs = ResNetCritic((1, 8, 8), (3, 5), downsample=(True, False), num_classes=4)
    ours = notebook.ProjectionDiscriminator(Features(theirs), 5, 4)
    ours.psi.load_state_dict(theirs.linear.state_dict())
    ours.embedding.load_state_dict(theirs.project.state_dict())
    x, label = torch.randn(6, 1, 8, 8), torch.randint(0, 4, (6,))
    assert_close(ours(x, label), theirs(x, label))


def check_cycle_losses(notebook: Notebook) -> None:
    there, back, blind = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1)  # on the last axis of images
    a, b = torch.randn(4, 1, 2, 3), torch.randn(4, 1, 2, 3)
    theirs = CycleGAN(there, back, blind, blind, identity_share=0.5).generator_loss(a, b)
    ours = notebook.cycle_losses(there, back, a, b)
    assert_close((ours["cycle"], ours["identity"]), (theirs.cycle, theirs.identity))


def check_inception_score(notebook: Notebook) -> None:
    logits = 2 * torch.randn(9, 4)
    assert_close(notebook.inception_score(logits.softmax(1)), inception_score(logits))


def check_feature_statistics(notebook: Notebook) -> None:
    real, fake = torch.randn(20, 3), torch.randn(15, 3) + 1
    statistics = [*notebook.feature_statistics(real), *notebook.feature_statistics(fake)]
    assert_close(gaussian_w2_squared(*statistics), frechet_distance(real, fake))
    assert_close(statistics[0], real.mean(0))


def check_frechet_distance(notebook: Notebook) -> None:
    roots = torch.randn(2, 4, 4)
    statistics = [torch.randn(4), roots[0] @ roots[0].T, torch.randn(4), roots[1] @ roots[1].T]
    assert_close(notebook.frechet_distance(*statistics), gaussian_w2_squared(*statistics))


def check_precision_recall(notebook: Notebook) -> None:
    real, fake = torch.randn(20, 2), 0.7 * torch.randn(15, 2) + 0.5
    for k in (1, 3):
        theirs = precision_recall(real, fake, k=k)
        expected = torch.tensor([theirs.precision, theirs.recall])
        assert_close(
            torch.stack([torch.as_tensor(value) for value in notebook.precision_recall(real, fake, k)]), expected
        )


def check_truncate(notebook: Notebook) -> None:
    w, mean = torch.randn(5, 3), torch.randn(3)
    assert_close(notebook.truncate(w, mean, 0.7), truncate_towards(w, mean, 0.7))


def check_truncated_normal(notebook: Notebook) -> None:
    """Mean and mean square of 40,000 draws of both: six standard errors."""
    for threshold in (0.5, 1.5):
        ours, theirs = (fn((40_000,), threshold) for fn in (notebook.truncated_normal, truncated_normal))
        for power in (1, 2):
            gap = abs(float((ours**power).mean() - (theirs**power).mean()))
            assert gap < 6 * float((theirs**power).std()) * (2 / 40_000) ** 0.5


def check_evaluate_ring(notebook: Notebook) -> None:
    angles = torch.arange(8) * math.pi / 4
    centres, sigma = 2 * torch.stack([angles.cos(), angles.sin()], 1), 0.1
    mixture = GaussianMixture(torch.full((8,), 1 / 8), centres, (sigma**2 * torch.eye(2)).expand(8, 2, 2))

    def draw(n, k):
        return centres[torch.randint(0, k, (n,))] + sigma * torch.randn(n, 2)

    real, fake = draw(200, 8), draw(150, 6)
    ours, both = notebook.evaluate_ring(real, fake, centres, sigma), precision_recall(real, fake, k=5)
    covered = mode_coverage(fake, mixture, sigmas=3.0, least=0.02 * 8).modes_covered  # the weights are equal
    right = [float(frechet_distance(real, fake)), both.precision, both.recall, float(covered)]
    found = [float(ours[name]) for name in ("frechet", "precision", "recall", "modes")]
    assert_close(torch.tensor(found), torch.tensor(right))


PAIRS = {
    "optimal_discriminator": check_optimal_discriminator,
    "discriminator_loss": check_discriminator_loss,
    "generator_loss": check_generator_loss,
    "lsgan_losses": check_lsgan_losses,
    "discriminator_step": check_discriminator_step,
    "generator_step": check_generator_step,
    "critic_step": check_critic_step,
    "fgan_losses": check_fgan_losses,
    "activation": check_activation,
    "critic_losses": check_critic_losses,
    "wasserstein_1d": check_wasserstein_1d,
    "gradient_penalty": check_gradient_penalty,
    "power_iteration": check_power_iteration,
    "SpectralLinear": check_spectral_linear,
    "ProjectionDiscriminator": check_projection_discriminator,
    "cycle_losses": check_cycle_losses,
    "inception_score": check_inception_score,
    "feature_statistics": check_feature_statistics,
    "frechet_distance": check_frechet_distance,
    "precision_recall": check_precision_recall,
    "truncate": check_truncate,
    "truncated_normal": check_truncated_normal,
    "evaluate_ring": check_evaluate_ring,
}
