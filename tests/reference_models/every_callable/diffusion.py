"""How to call what stands in `reference_models/diffusion`."""

from __future__ import annotations

import torch
from torch import nn

from reference_models.diffusion import (
    D3PM,
    DDIM,
    DDPM,
    NCSN,
    SR3,
    VE,
    VP,
    ClassifierFree,
    ClassifierGuided,
    DiT,
    GaussianDiffusion,
    GuidedAncestral,
    KLAutoencoder,
    LangevinCorrector,
    LatentDiffusion,
    ProbabilityFlow,
    ReverseDiffusion,
    Schedule,
    ScoreSDE,
    SubVP,
    TokenTransformer,
    Transitions,
    classifier_guidance,
    d3pm,
    ddim,
    dit,
    score_matching,
)
from reference_models.parts.networks import TimeMLP
from tests.reference_models.every_callable.foundations import ONE
from tests.reference_models.every_callable.rows import Row, With, built, fixed, gen

X, NOISE, T = fixed(6, 2), fixed(6, 2, seed=11), torch.tensor([0, 1, 2, 3, 4, 4])
EIGHTHS = torch.randint(-3, 4, (6, 2), generator=gen(3)).double() / 4
TIME = torch.linspace(0.1, 0.9, 6, dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 0, 1, 2])
GIVEN = {"t": T, "noise": NOISE}
IMAGES, NOISES = fixed(6, 1, 4, 4), fixed(6, 1, 4, 4, seed=1)


def schedule():
    return Schedule(torch.tensor([0.05, 0.1, 0.3, 0.2, 0.5], dtype=torch.float64))


def network(out=2, classes=None):
    return built(TimeMLP, 2, (6,), out, time_scale=1.0, num_classes=classes)


def ddpm(classes=None, **k):
    return DDPM(network(classes=classes), schedule(), (2,), **k)


def free(**k):
    return ClassifierFree(network(classes=4), schedule(), (2,), 3, **k)


def guided():
    return ClassifierGuided(ddpm(), network(3))


class Symbols(nn.Module):
    """Logits (N, 2, 3) of two symbols in three classes, of four states."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.time = nn.Embedding(4, 3), nn.Embedding(3, 3)

    def forward(self, x, t):
        return self.table(x) + self.table(x.flip(-1)) + self.time(t).reshape(-1, 1, 3)


def symbols(**k):
    return D3PM(built(Symbols, scale=1.0), Transitions.absorbing(3, 3), (2,), 3, **k)


class Images(nn.Module):
    def __init__(self, given=2, out=1) -> None:
        super().__init__()
        self.net = nn.Conv2d(given, out, 3, padding=1)

    def forward(self, x, t, y=None):
        return self.net(x) * (1 + 0.1 * torch.as_tensor(t).reshape(-1, 1, 1, 1))


def sr3(**k):
    return SR3(built(Images), schedule(), (1, 4, 4), 2, **k)


def autoencoder(**k):
    return built(KLAutoencoder, 1, 2, **{"base": 4, "multipliers": (1, 2)} | k)


def latent():
    return LatentDiffusion(autoencoder(), DDPM(built(Images, 2, 2), schedule(), (2, 2, 2)))


class Score(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 2)

    def forward(self, x, level):
        return torch.tanh(self.net(x)) * (1 + level.reshape(-1, 1))


def ncsn():
    return NCSN(built(Score), torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64), (2,))


def sde(**k):
    return ScoreSDE(network(), VP(0.5, 4.0), (2,), **k)


def flow(**k):
    return ProbabilityFlow(sde().score, VP(0.5, 4.0), (2,), **{"steps": 3, "like": X} | k)


def langevin(**k):
    return LangevinCorrector(**k).correct(VP(0.5, 4.0), lambda x, t: -x, X, TIME[0], generator=gen())


LOWS = sr3().reduce(fixed(6, 1, 4, 4, seed=9))
SD = {"t": TIME, "noise": NOISE}
SYMBOLS = torch.randint(0, 3, (6, 2), generator=gen(3))
NOISY = torch.tensor([[3, 0], [1, 3], [2, 2], [3, 3], [0, 1], [3, 1]])
STEP = torch.tensor([0, 1, 2, 2, 1, 2])
GUESS = torch.softmax(fixed(6, 2, 3), -1)
TOKENS = {"dim": 8, "heads": 2, "depth": 1}
PATCHES = {"dim": 8, "heads": 2, "depth": 1}
MID = torch.tensor([2, 3, 4, 3, 4, 4])
ROWS = [
    Row(
        "diffusion.classifier_free.ClassifierFree",
        lambda **k: free(**k).loss(X, condition=Y, **GIVEN, generator=gen()),
        drop=0.9,
    ),
    Row("diffusion.classifier_free.ClassifierFree.output", lambda **k: free().output(X, T, **k), condition=Y),
    Row(
        "diffusion.classifier_free.ClassifierFree.loss",
        lambda **k: free(drop=0.1).loss(X, **{"condition": Y} | k),
        condition=Y.flip(0),
        u=With(torch.ones(6, dtype=torch.float64), u=torch.zeros(6, dtype=torch.float64)),
        **GIVEN,
    ),
    Row(
        "diffusion.classifier_free.ClassifierFree.predict",
        lambda **k: free().predict(X, T, **{"condition": Y} | k),
        condition=Y.flip(0),
        weight=3.0,
    ),
    Row(
        "diffusion.classifier_guidance.classifier_loss",
        lambda **k: classifier_guidance.classifier_loss(network(3), GaussianDiffusion(schedule()), X, Y, **k),
        **GIVEN,
    ),
    Row(
        "diffusion.classifier_guidance.ClassifierGuided.predict",
        lambda **k: guided().predict(X, T, **{"condition": Y} | k),
        condition=Y.flip(0),
        scale=3.0,
    ),
    Row(
        "diffusion.classifier_guidance.GuidedAncestral",
        lambda **k: ddpm().sample(6, sampler=GuidedAncestral(network(3), Y, **k), noise=NOISE, generator=gen()),
        scale=5.0,
    ),
    Row("diffusion.d3pm.D3PM", lambda **k: symbols(**k).loss(SYMBOLS, t=STEP, generator=gen()), auxiliary=1.0),
    Row(
        "diffusion.d3pm.D3PM.reverse",
        lambda **k: symbols().reverse(NOISY, torch.ones(6, dtype=torch.long), **k),
        guess=GUESS,
    ),
    Row("diffusion.d3pm.D3PM.diffuse", lambda **k: symbols().diffuse(SYMBOLS, torch.ones(6, dtype=torch.long), **k)),
    Row(
        "diffusion.d3pm.D3PM.term",
        lambda **k: symbols().term(SYMBOLS, torch.where(NOISY == 3, 3, SYMBOLS), torch.ones(6, dtype=torch.long), **k),
        guess=GUESS,
    ),
    Row("diffusion.d3pm.D3PM.loss", lambda **k: symbols().loss(SYMBOLS, **k), t=STEP),
    Row("diffusion.d3pm.D3PM.bound", lambda **k: symbols().bound(SYMBOLS, **k)),
    Row("diffusion.d3pm.D3PM.elbo", lambda **k: symbols().elbo(SYMBOLS, **k)),
    Row("diffusion.d3pm.D3PM.sample", lambda **k: symbols().sample(9, **k)),
    Row("diffusion.d3pm.draw", lambda **k: d3pm.draw(GUESS, **k)),
    Row("diffusion.ddim.DDIM", lambda **k: ddpm().sample(6, sampler=DDIM(**k), noise=NOISE, generator=gen()), eta=1.0),
    Row("diffusion.ddim.strided", lambda **k: ddim.strided(50, 5, **k), spacing="quadratic"),
    Row("diffusion.ddim.encode", lambda **k: ddim.encode(ddpm(), X, **k), times=[0, 2, 4]),
    Row(
        "diffusion.ddpm.DDPM",
        lambda **k: ddpm(**k).sample(6, generator=gen()),
        parametrisation="v",
        variance="large",
        clip=0.1,
    ),
    Row("diffusion.ddpm.DDPM", lambda **k: ddpm(**k).elbo(EIGHTHS, generator=gen()), levels=9, variance="large"),
    Row("diffusion.ddpm.DDPM.output", lambda **k: ddpm(3).output(X, T, **{"condition": Y} | k), condition=Y.flip(0)),
    Row("diffusion.ddpm.DDPM.predict", lambda **k: ddpm(3).predict(X, T, **{"condition": Y} | k), condition=Y.flip(0)),
    Row("diffusion.ddpm.DDPM.draw_time", lambda **k: ddpm().draw_time(torch.Size([9]), X, **k)),
    Row("diffusion.ddpm.DDPM.loss", lambda **k: ddpm(3).loss(X, **{"condition": Y} | k), condition=Y.flip(0), **GIVEN),
    Row("diffusion.ddpm.DDPM.sample", lambda **k: ddpm().sample(6, **k), sampler=DDIM(), times=[0, 2, 4], noise=NOISE),
    Row("diffusion.ddpm.DDPM.bound", lambda **k: ddpm().bound(X, **k)),
    Row("diffusion.ddpm.DDPM.elbo", lambda **k: ddpm().elbo(X, **k)),
    Row("diffusion.dit.DiTBlock", lambda **k: built(dit.DiTBlock, 8, 2, **k), mlp_ratio=2),
    Row(
        "diffusion.dit.DiT",
        lambda **k: built(DiT, 4, 1, **PATCHES | k),
        patch=1,
        dim=12,
        depth=2,
        channels_out=2,
        num_classes=3,
    ),
    Row("diffusion.dit.DiT", lambda **k: built(DiT, 4, 1, **PATCHES | k)(IMAGES, TIME), heads=4, time_scale=10.0),
    Row(
        "diffusion.dit.DiT.forward",
        lambda **k: built(DiT, 4, 1, num_classes=3, **PATCHES)(IMAGES, TIME, **{"y": Y} | k),
        y=Y.flip(0),
    ),
    Row(
        "diffusion.gaussian_diffusion.GaussianDiffusion",
        lambda **k: GaussianDiffusion(schedule(), **k).reverse(X, NOISE, MID),
        variance="large",
    ),
    Row(
        "diffusion.gaussian_diffusion.GaussianDiffusion",
        lambda **k: GaussianDiffusion(schedule(), **k).bound(EIGHTHS, lambda x, t: x, 1, generator=gen()),
        levels=9,
    ),
    Row(
        "diffusion.gaussian_diffusion.GaussianDiffusion.transition",
        lambda **k: GaussianDiffusion(schedule()).transition(X, MID, **k),
        s=MID - 2,
    ),
    Row(
        "diffusion.gaussian_diffusion.GaussianDiffusion.posterior",
        lambda **k: GaussianDiffusion(schedule()).posterior(X, NOISE, MID, **k),
        s=MID - 2,
    ),
    Row(
        "diffusion.gaussian_diffusion.GaussianDiffusion.reverse",
        lambda **k: GaussianDiffusion(schedule()).reverse(X, NOISE, MID, **k),
        s=MID - 2,
    ),
    Row(
        "diffusion.gaussian_diffusion.GaussianDiffusion.reverse",
        lambda **k: GaussianDiffusion(schedule(), variance="large").reverse(X, NOISE, MID, **k).variance,
        s=MID - 2,
    ),
    Row(
        "diffusion.gaussian_diffusion.GaussianDiffusion.bound",
        lambda **k: GaussianDiffusion(schedule()).bound(X, lambda x, t: x, 1, **k),
    ),
    Row("diffusion.latent_diffusion.KLAutoencoder", autoencoder, base=6, multipliers=(1, 1, 2), blocks=2),
    Row(
        "diffusion.latent_diffusion.KLAutoencoder.loss",
        lambda **k: autoencoder().loss(IMAGES, **k),
        weight=0.5,
        noise=fixed(6, 2, 2, 2),
    ),
    Row(
        "diffusion.latent_diffusion.LatentDiffusion.sample",
        lambda **k: latent().sample(3, **k),
        sampler=DDIM(),
        times=[0, 2, 4],
        noise=fixed(3, 2, 2, 2),
    ),
    Row(
        "diffusion.ncsn.NCSN.loss", lambda **k: ncsn().loss(X, **k), level=torch.tensor([0, 1, 2, 0, 1, 2]), noise=NOISE
    ),
    Row(
        "diffusion.ncsn.NCSN.sample",
        lambda **k: ncsn().sample(6, **{"steps_per_level": 2, "step": 0.01} | k),
        step=0.02,
        steps_per_level=3,
        initial=X,
        denoise=True,
    ),
    Row("diffusion.predictor_corrector.LangevinCorrector", langevin, ratio=0.5, steps=2),
    Row(
        "diffusion.predictor_corrector.LangevinCorrector.correct",
        lambda **k: LangevinCorrector().correct(VP(), lambda x, t: -x, X, TIME[0], **k),
    ),
    Row(
        "diffusion.probability_flow.ProbabilityFlow",
        lambda **k: flow(**k).log_prob(X),
        base=ONE,
        steps=4,
        method="euler",
        t_min=0.3,
    ),
    Row(
        "diffusion.probability_flow.ProbabilityFlow",
        lambda **k: flow(**k).sample(4, generator=gen()),
        base=ONE,
        steps=4,
        method="euler",
        t_min=0.3,
    ),
    Row(
        "diffusion.probability_flow.ProbabilityFlow",
        lambda **k: flow(**k).log_prob(X, generator=gen()),
        divergence="hutchinson",
    ),
    Row(
        "diffusion.probability_flow.ProbabilityFlow",
        lambda **k: ProbabilityFlow(lambda x, t: -x, VP(), (2,), steps=2, **k).sample(2, generator=gen()),
        like=X.float(),
    ),
    Row(
        "diffusion.probability_flow.ProbabilityFlow.forward", lambda **k: flow(divergence="hutchinson").forward(X, **k)
    ),
    Row(
        "diffusion.probability_flow.ProbabilityFlow.inverse", lambda **k: flow(divergence="hutchinson").inverse(X, **k)
    ),
    Row(
        "diffusion.probability_flow.ProbabilityFlow.log_prob",
        lambda **k: flow(divergence="hutchinson").log_prob(X, **k),
    ),
    Row("diffusion.probability_flow.ProbabilityFlow.sample", lambda **k: flow(base=ONE).sample(6, **k)),
    Row("diffusion.probability_flow.ProbabilityFlow.sample", lambda **k: flow().sample(6, **k), noise=NOISE),
    Row("diffusion.schedule.Schedule.linear", lambda **k: Schedule.linear(**k).betas, steps=10, start=0.001, end=0.1),
    Row(
        "diffusion.schedule.Schedule.cosine", lambda **k: Schedule.cosine(**k).betas, steps=10, offset=0.1, largest=0.5
    ),
    Row("diffusion.schedule.Schedule.pairs", lambda **k: list(schedule().pairs(**k)), times=[0, 2, 4]),
    Row(
        "diffusion.score_matching.sliced_loss",
        lambda **k: score_matching.sliced_loss(built(nn.Linear, 2, 2), X, **k),
        directions=NOISE,
        variance_reduced=False,
    ),
    Row(
        "diffusion.score_matching.denoising_loss",
        lambda **k: score_matching.denoising_loss(built(nn.Linear, 2, 2), X, 0.5, **k),
        noise=NOISE,
    ),
    Row("diffusion.score_sde.ScoreSDE", lambda **k: sde(**k).loss(X, noise=NOISE, t=TIME), weighting="likelihood"),
    Row("diffusion.score_sde.ScoreSDE", lambda **k: sde(**k).sample(3, steps=3, generator=gen()), t_min=0.3),
    Row("diffusion.score_sde.ScoreSDE.loss", lambda **k: sde().loss(X, **k), **SD),
    Row(
        "diffusion.score_sde.ScoreSDE.sample",
        lambda **k: sde().sample(6, **{"steps": 3} | k),
        steps=4,
        predictor=ReverseDiffusion(),
        corrector=LangevinCorrector(),
        noise=NOISE,
    ),
    Row("diffusion.sde.VP", lambda **k: (VP(**k).a(TIME), VP(**k).sigma(TIME)), beta_0=0.5, beta_1=10.0),
    Row("diffusion.sde.SubVP", lambda **k: (SubVP(**k).a(TIME), SubVP(**k).sigma(TIME)), beta_0=0.5, beta_1=10.0),
    Row("diffusion.sde.VE", lambda **k: VE(**k).sigma(TIME), nu_0=0.1, nu_1=10.0),
    Row("diffusion.sr3.SR3", lambda **k: sr3(**k).loss(IMAGES, generator=gen()), norm=1),
    Row("diffusion.sr3.SR3", lambda **k: sr3(**k).sample(6, condition=LOWS, generator=gen()), clip=0.1),
    Row(
        "diffusion.sr3.SR3.output",
        lambda **k: sr3().output(IMAGES, T, **{"condition": LOWS} | k),
        condition=LOWS.flip(0),
    ),
    Row(
        "diffusion.sr3.SR3.loss",
        lambda **k: sr3().loss(IMAGES, **k),
        condition=LOWS,
        t=T,
        noise=NOISES,
        u=torch.full((6,), 0.5, dtype=torch.float64),
    ),
    Row(
        "diffusion.tokens.TokenTransformer",
        lambda **k: built(TokenTransformer, (2,), 4, 3, **TOKENS | k),
        dim=12,
        depth=2,
    ),
    Row(
        "diffusion.tokens.TokenTransformer",
        lambda **k: built(TokenTransformer, (2,), 4, 3, **TOKENS | k)(NOISY, STEP),
        heads=4,
    ),
]
APART = {}
