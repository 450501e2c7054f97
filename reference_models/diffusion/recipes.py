"""How the diffusion models are trained here, and what they reach.

In the plane the noised law of the data is known, and so is the best network. Besides the metrics of
`reference_models.recipes`:

    excess_loss      mean of (ε_θ − ε*)² over times and dimensions: the loss above the best possible one
    score_error      E|s − s*|²/E|s*|², s* the true score
    right_class      share of samples nearest to the mode of the class they were drawn for
    consistency_l1   mean |low image − reduced sample| of super-resolution, pixels in [0, 1]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from reference_models.data import DataSet
from reference_models.diffusion import score_matching
from reference_models.diffusion.classifier_free import ClassifierFree
from reference_models.diffusion.classifier_guidance import ClassifierGuided, classifier_loss
from reference_models.diffusion.d3pm import D3PM, Transitions
from reference_models.diffusion.ddim import DDIM, strided
from reference_models.diffusion.ddpm import DDPM
from reference_models.diffusion.dit import DiT
from reference_models.diffusion.gaussian_diffusion import bits_per_dim
from reference_models.diffusion.latent_diffusion import KLAutoencoder, LatentDiffusion
from reference_models.diffusion.ncsn import NCSN, geometric_sigmas
from reference_models.diffusion.parametrisation import Kind
from reference_models.diffusion.predictor_corrector import LangevinCorrector, ReverseDiffusion
from reference_models.diffusion.probability_flow import ProbabilityFlow
from reference_models.diffusion.schedule import Schedule
from reference_models.diffusion.score_sde import ScoreSDE
from reference_models.diffusion.sde import SDE, VE, VP, SubVP
from reference_models.diffusion.sr3 import SR3
from reference_models.diffusion.tokens import TokenTransformer
from reference_models.evaluation.features import digit_features
from reference_models.evaluation.frechet import frechet_interval
from reference_models.evaluation.mode_coverage import mode_coverage
from reference_models.parts.networks import MLP, TimeMLP
from reference_models.parts.training import EMA, evaluating
from reference_models.parts.unet import UNet
from reference_models.recipes import Figure, Goal, Images, Learner, Minimise, Points, Recipe, cosine

PLANE = ("mixture", "eight-gaussians")
HIDDEN = (128, 128, 128)
STEPS = 50  # of diffusion in the plane
Draw = Callable[[Any, int, Generator], Tensor]


# --- in the plane


def _coverage(samples: Tensor, data: DataSet) -> dict[str, float]:
    assert data.target is not None
    found = mode_coverage(samples, data.target)
    return {"within_4_sigma": found.within_4_sigma, "modes_covered": float(found.modes_covered)}


def _plane(
    model: nn.Module,
    draw: Draw,
    metrics: Callable[[Any, DataSet, Generator], dict[str, float]] = lambda model, data, generator: {},
) -> Learner:
    """A model with `loss(x, generator=)`, trained by Adam, shown by what `draw` makes of it."""

    def measure(model: Any, data: DataSet, generator: Generator) -> dict[str, float]:
        return {**metrics(model, data, generator), **_coverage(draw(model, 2000, generator), data)}

    return Minimise(
        model,
        loss=lambda model, x, y, generator: model.loss(x, generator=generator),
        metrics=measure,
        figure=lambda model, data, generator: Points(draw(model, 2000, generator), data.held_out[:2000]),
        lr=2e-3,
        decay=True,
    )


def _ddpm(kind: Kind = "epsilon") -> DDPM:
    network = TimeMLP(2, HIDDEN, 2, time_scale=1.0)
    return DDPM(network, Schedule.scaled_linear(STEPS), (2,), parametrisation=kind)


@torch.no_grad()
def _ddpm_excess(model: DDPM, data: DataSet, generator: Generator) -> dict[str, float]:
    assert data.target is not None
    total = 0.0
    for t in range(model.schedule.steps):
        x_0 = data.held_out[t::STEPS]
        noise = torch.randn(x_0.shape, generator=generator, device=x_0.device, dtype=x_0.dtype)
        guess = model.predict(model.process.diffuse(x_0, t, noise), torch.full((len(x_0),), t, device=x_0.device))
        a, sigma = (v[0].squeeze() for v in (guess.a, guess.sigma))  # one time for all
        best = -sigma * data.target.noised(a, sigma).score(guess.x_t)
        total += float((guess.epsilon - best).square().mean())
    return {"excess_loss": total / model.schedule.steps}


@torch.no_grad()
def _sde_excess(model: ScoreSDE, data: DataSet, generator: Generator) -> dict[str, float]:
    assert data.target is not None
    total = 0.0
    for i in range(STEPS):
        x_0 = data.held_out[i::STEPS]
        t = torch.tensor(model.t_min + (1 - model.t_min) * (i + 0.5) / STEPS, device=x_0.device, dtype=x_0.dtype)
        noise = torch.randn(x_0.shape, generator=generator, device=x_0.device, dtype=x_0.dtype)
        a, sigma = model.sde.a(t), model.sde.sigma(t)
        x_t = a * x_0 + sigma * noise
        best = -sigma * data.target.noised(a, sigma).score(x_t)
        total += float((model.epsilon(x_t, t) - best).square().mean())
    return {"excess_loss": total / STEPS}


@torch.no_grad()
def _ncsn_excess(model: NCSN, data: DataSet, generator: Generator) -> dict[str, float]:
    assert data.target is not None
    total = 0.0
    for i, sigma in enumerate(model.sigmas):
        x_0 = data.held_out
        x = x_0 + sigma * torch.randn(x_0.shape, generator=generator, device=x_0.device, dtype=x_0.dtype)
        level = torch.full((len(x),), i, device=x.device)
        error = model.score(x, level) - data.target.noised(1.0, sigma).score(x)
        total += float((sigma * error).square().mean())
    return {"excess_loss": total / len(model.sigmas)}


def _langevin(score: Callable[[Tensor], Tensor], n: int, generator: Generator, like: Tensor) -> Tensor:
    """A thousand unadjusted steps from N(0, 4 I)."""
    x = 2.0 * torch.randn((n, 2), generator=generator, device=like.device, dtype=like.dtype)
    with torch.no_grad():
        for _ in range(1000):
            noise = torch.randn((n, 2), generator=generator, device=like.device, dtype=like.dtype)
            x = x + 0.005 * score(x) + 0.1 * noise
    return x


NOISE = 0.2  # of denoising score matching


def _score_matching(loss: Callable[[Any, Tensor, Generator], Tensor], std: float = 0.0) -> Learner:
    """A score network s(x) of the data noised by `std`."""

    def metrics(model: Any, data: DataSet, generator: Generator) -> dict[str, float]:
        assert data.target is not None
        noise = torch.randn(data.held_out.shape, generator=generator, device=data.held_out.device)
        x = data.held_out + std * noise
        best = data.target.noised(1.0, std).score(x)
        with torch.no_grad():
            return {"score_error": float((model(x) - best).square().mean() / best.square().mean())}

    return Minimise(
        MLP(2, HIDDEN, 2),
        loss=lambda model, x, y, generator: loss(model, x, generator),
        metrics=metrics,
        figure=lambda model, data, generator: Points(
            _langevin(model, 2000, generator, data.held_out), data.held_out[:2000]
        ),
        lr=2e-3,
        decay=True,
    )


def _sde(sde: SDE, sampling: dict[str, Any]) -> Learner:
    model = ScoreSDE(TimeMLP(2, HIDDEN, 2), sde, (2,))
    return _plane(model, lambda m, n, generator: m.sample(n, generator=generator, **sampling), _sde_excess)


def _flow_likelihood(model: ScoreSDE, data: DataSet, generator: Generator) -> dict[str, float]:
    assert data.entropy is not None
    with evaluating(model):
        nll = -float(_flow(model).log_prob(data.held_out[:2000]).mean())
    return {"nll_nats": nll, "excess_nats": nll - data.entropy}


def _flow(model: ScoreSDE) -> ProbabilityFlow:
    return ProbabilityFlow(model.score, model.sde, (2,), steps=60, t_min=model.t_min)


def _flow_samples(model: ScoreSDE, n: int, generator: Generator) -> Tensor:
    like = next(model.parameters())
    noise = torch.randn((n, 2), generator=generator, device=like.device, dtype=like.dtype)
    with evaluating(model):
        return _flow(model).sample(n, noise=model.sde.prior_std * noise)


class Guided(Learner):
    """Classes of the eight Gaussians, by a classifier of noised data or by dropping labels."""

    def __init__(self, data: DataSet, free: bool) -> None:
        super().__init__()
        assert data.target is not None
        self.classes = len(data.target.weights)
        if free:
            network = TimeMLP(2, HIDDEN, 2, time_scale=1.0, num_classes=self.classes)
            self.model: DDPM = ClassifierFree(network, Schedule.scaled_linear(STEPS), (2,), self.classes)
        else:
            classifier = TimeMLP(2, (64, 64), self.classes, time_scale=1.0)
            self.model = ClassifierGuided(_ddpm(), classifier)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=2e-3)

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        assert y is not None
        if isinstance(self.model, ClassifierGuided):
            loss = self.model.loss(x, generator=generator)
            loss = loss + classifier_loss(self.model.classifier, self.model.process, x, y, generator=generator)
        else:
            loss = self.model.loss(x, condition=y, generator=generator)
        _descend(self.optimiser, loss, 2e-3 * cosine(self.progress))
        return {"loss": loss.item()}

    def _draw(self, n: int, data: DataSet, generator: Generator) -> tuple[Tensor, Tensor]:
        y = torch.arange(n, device=data.held_out.device) % self.classes
        return self.model.sample(n, condition=y, generator=generator), y

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        assert data.target is not None
        x, y = self._draw(2000, data, generator)
        right = data.target.responsibilities(x).argmax(1) == y
        return {"right_class": float(right.float().mean()), **_coverage(x, data)}

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return Points(self._draw(2000, data, generator)[0], data.held_out[:2000])


# --- digits, pixels moved to [−1, 1]


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor, lr: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = lr
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def _pixels(x: Tensor) -> Tensor:
    return ((x + 1) / 2).clamp(0, 1)


def _frechet(images: Tensor, data: DataSet, generator: Generator) -> dict[str, float]:
    found = frechet_interval(digit_features(images), digit_features(data.held_out), generator=generator)
    return {"frechet_digits": found.value, "frechet_digits_low": found.low, "frechet_digits_high": found.high}


class Pixels(Learner):
    """DDPM on images, sampled by DDIM in fifty steps with averaged weights.

    The bound is measured on 128 held-out images, the Fréchet distance on digits alone.
    """

    def __init__(self, model: DDPM, *, decay: float = 0.995, lr: float = 2e-3) -> None:
        super().__init__()
        self.model = model
        self.average = EMA(model, decay)
        self.lr = lr
        self.optimiser = torch.optim.Adam(model.parameters(), lr=lr)

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        loss = self.model.loss(2 * x - 1, generator=generator)
        _descend(self.optimiser, loss, self.lr * cosine(self.progress))
        self.average.update(self.model)
        return {"loss": loss.item()}

    def _draw(self, n: int, generator: Generator) -> Tensor:
        times = strided(self.model.schedule.steps, 50)
        return _pixels(self.average.average.sample(n, sampler=DDIM(), times=times, generator=generator))

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        x = 2 * data.held_out[:128] - 1
        with torch.no_grad():
            nats = -self.average.average.elbo(x, generator=generator).value.mean()
        found = {"nelbo_nats": float(nats), "bits_per_dim": float(bits_per_dim(nats, x[0].numel()))}
        return found | (_frechet(self._draw(1000, generator), data, generator) if data.name == "digits" else {})

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return Images(self._draw(64, generator))


def _unet(data: DataSet) -> Learner:
    if data.name == "cifar10":
        return Pixels(DDPM.cifar10(), decay=0.9999, lr=2e-4)  # Ho et al., appendix B
    if data.name == "mnist":
        network = UNet(1, 1, base=32, multipliers=(1, 2, 2), blocks=2, attention_at=(2,))
        return Pixels(DDPM(network, Schedule.cosine(1000), data.event_shape, levels=256, clip=1.0), decay=0.999)
    network = UNet(1, 1, base=24, multipliers=(1, 2))
    return Pixels(DDPM(network, Schedule.cosine(200), data.event_shape, levels=17, clip=1.0))


def _dit(data: DataSet) -> Learner:
    network = DiT(8, 1, patch=2, dim=96, depth=4, heads=4)
    return Pixels(DDPM(network, Schedule.cosine(200), data.event_shape, levels=17, clip=1.0), lr=1e-3)


class SuperResolution(Learner):
    """SR3 from 4×4 to 8×8."""

    def __init__(self, data: DataSet, lr: float = 2e-3) -> None:
        super().__init__()
        network = UNet(2, 1, base=24, multipliers=(1, 2), time_scale=1000.0)
        self.model = SR3(network, Schedule.scaled_linear(100), data.event_shape, 2, clip=1.0)
        self.average = EMA(self.model, 0.995)
        self.lr, self.optimiser = lr, torch.optim.Adam(self.model.parameters(), lr=lr)

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        loss = self.model.loss(2 * x - 1, generator=generator)
        _descend(self.optimiser, loss, self.lr * cosine(self.progress))
        self.average.update(self.model)
        return {"loss": loss.item()}

    def _draw(self, high: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        low = self.model.reduce(2 * high - 1)
        return low, self.average.average.sample(len(low), condition=low, generator=generator)

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        low, x = self._draw(data.held_out, generator)
        off = (self.model.reduce(x) - low).abs().mean() / 2
        return {"consistency_l1": float(off), **_frechet(_pixels(x), data, generator)}

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        low, x = self._draw(data.held_out[:24], generator)
        rows = torch.stack([self.model.enlarge(low), x, 2 * data.held_out[:24] - 1], dim=1)  # (24, 3, C, H, W)
        return Images(_pixels(rows.flatten(0, 1)))


class Latent(Learner):
    """The first stage for a third of the time, the second for the rest.

    It predicts v: codes have no bounds to clip to, and a guess of ε says nothing of x_0 where ᾱ is nearly 0.
    """

    def __init__(self, data: DataSet, lr: float = 2e-3) -> None:
        super().__init__()
        autoencoder = KLAutoencoder(1, 4, base=16, multipliers=(1, 2))
        network = UNet(4, 4, base=24, multipliers=(1, 2), attention_at=())
        shape = (4, data.event_shape[1] // 2, data.event_shape[2] // 2)
        diffusion = DDPM(network, Schedule.cosine(200), shape, parametrisation="v")
        self.model = LatentDiffusion(autoencoder, diffusion)
        self.average = EMA(self.model.diffusion, 0.99)
        self.lr = lr
        self.first = torch.optim.Adam(autoencoder.parameters(), lr=lr)
        self.second = torch.optim.Adam(diffusion.parameters(), lr=lr)
        self.scaled = False

    def step(self, x: Tensor, y: Tensor | None, *, generator: Generator) -> dict[str, float]:
        if self.progress < 1 / 3:
            loss = self.model.autoencoder.loss(2 * x - 1, weight=1e-2, generator=generator)
            _descend(self.first, loss, self.lr * cosine(3 * self.progress))
            return {"autoencoder": loss.item()}
        if not self.scaled:
            self.model.fit_scale(2 * x - 1)
            self.scaled = True
        loss = self.model.loss(2 * x - 1, generator=generator)
        _descend(self.second, loss, self.lr * cosine(1.5 * self.progress - 0.5))
        self.average.update(self.model.diffusion)
        return {"diffusion": loss.item()}

    def _draw(self, n: int, generator: Generator) -> Tensor:
        z = self.average.average.sample(n, sampler=DDIM(), times=strided(200, 50), generator=generator)
        with evaluating(self.model):
            return _pixels(self.model.decode(z))

    def metrics(self, data: DataSet, *, generator: Generator) -> dict[str, float]:
        with evaluating(self.model):
            back = self.model.decode(self.model.encode(2 * data.held_out - 1))
        error = float((_pixels(back) - data.held_out).square().mean())
        return {"reconstruction_mse": error, **_frechet(self._draw(1000, generator), data, generator)}

    def figure(self, data: DataSet, *, generator: Generator) -> Figure:
        return Images(self._draw(64, generator))


# --- symbols


def _symbols(data: DataSet) -> int:
    return 17 if data.name == "digits" else 2


def _d3pm(data: DataSet, absorbing: bool) -> Learner:
    classes, steps = _symbols(data), 32
    if absorbing:
        transitions = Transitions.absorbing(steps, classes)
    else:
        transitions = Transitions.uniform(Schedule.cosine(steps).betas, classes)
    network = TokenTransformer(data.event_shape, transitions.states, classes, dim=64, heads=4, depth=2)

    def integers(x: Tensor) -> Tensor:
        return (x * (classes - 1)).round().long()

    def metrics(model: D3PM, data: DataSet, generator: Generator) -> dict[str, float]:
        with evaluating(model):
            x = integers(data.held_out[:1000])
            nats = -float(model.elbo(x, generator=generator).value.mean())
        excess = {} if data.entropy is None else {"excess_nats": nats - data.entropy}
        return {"nelbo_nats": nats, "bits_per_dim": float(bits_per_dim(torch.tensor(nats), x[0].numel())), **excess}

    return Minimise(
        D3PM(network, transitions, data.event_shape, classes),
        loss=lambda model, x, y, generator: model.loss(integers(x), generator=generator),
        metrics=metrics,
        figure=lambda model, data, generator: Images(
            model.sample(64, generator=generator).to(data.held_out.dtype) / (classes - 1)
        ),
        lr=1.5e-3,
        decay=True,
        clip=5.0,
    )


def _ancestral(model: DDPM, n: int, generator: Generator) -> Tensor:
    return model.sample(n, generator=generator)


def _ten_steps(model: DDPM, n: int, generator: Generator) -> Tensor:
    return model.sample(n, sampler=DDIM(), times=strided(STEPS, 10), generator=generator)


def _annealed(model: NCSN, n: int, generator: Generator) -> Tensor:
    return model.sample(n, step=2e-3, steps_per_level=60, generator=generator, denoise=True)


ON_MODES = Goal("within_4_sigma", at_least=0.97)
EXCESS = Goal("excess_loss", at_most=0.02)
PIXELS = ("digits",)
BINARY = ("bars", "digits-binary", "digits")

RECIPES: dict[str, Recipe] = {
    "implicit-score-matching": Recipe(
        build=lambda data: _score_matching(lambda s, x, g: score_matching.implicit_loss(s, x)),
        data=PLANE,
        goals=(Goal("score_error", at_most=0.1),),
        batch_size=256,
    ),
    "sliced-score-matching": Recipe(
        build=lambda data: _score_matching(lambda s, x, g: score_matching.sliced_loss(s, x, generator=g)),
        data=PLANE,
        goals=(Goal("score_error", at_most=0.1),),
        batch_size=256,
    ),
    "denoising-score-matching": Recipe(
        build=lambda data: _score_matching(
            lambda s, x, g: score_matching.denoising_loss(s, x, NOISE, generator=g), NOISE
        ),
        data=PLANE,
        goals=(Goal("score_error", at_most=0.05),),
        batch_size=256,
    ),
    "ncsn": Recipe(
        build=lambda data: _plane(
            NCSN(TimeMLP(2, HIDDEN, 2, time_scale=1.0), geometric_sigmas(4.0, 0.1, 10), (2,)), _annealed, _ncsn_excess
        ),
        data=PLANE,
        goals=(EXCESS, Goal("within_4_sigma", at_least=0.95)),
        batch_size=256,
    ),
    "diffusion-parametrisation": Recipe(
        build=lambda data: _plane(_ddpm("v"), _ancestral, _ddpm_excess),
        data=PLANE,
        goals=(EXCESS, ON_MODES),
        batch_size=256,
    ),
    "ddpm": Recipe(
        build=lambda data: _plane(_ddpm(), _ancestral, _ddpm_excess),
        data=PLANE,
        goals=(EXCESS, ON_MODES),
        batch_size=256,
    ),
    "ddim": Recipe(
        build=lambda data: _plane(_ddpm(), _ten_steps, _ddpm_excess),
        data=PLANE,
        goals=(EXCESS, Goal("within_4_sigma", at_least=0.9)),
        batch_size=256,
    ),
    "classifier-guidance": Recipe(
        build=lambda data: Guided(data, free=False),
        data=PLANE,
        goals=(Goal("right_class", at_least=0.97), Goal("within_4_sigma", at_least=0.95)),
        batch_size=256,
    ),
    "classifier-free-guidance": Recipe(
        build=lambda data: Guided(data, free=True),
        data=("eight-gaussians", "mixture"),
        goals=(Goal("right_class", at_least=0.97), Goal("within_4_sigma", at_least=0.9)),
        batch_size=256,
    ),
    "sr3": Recipe(
        build=SuperResolution,
        data=PIXELS,
        goals=(Goal("frechet_digits", at_most=8.0), Goal("consistency_l1", at_most=0.05)),
        minutes=1.0,
        batch_size=64,
    ),
    "vp-sde": Recipe(
        build=lambda data: _sde(VP(), {"steps": 500}), data=PLANE, goals=(EXCESS, ON_MODES), batch_size=256
    ),
    "ve-sde": Recipe(
        build=lambda data: _sde(VE(0.01, 10.0), {"steps": 500}), data=PLANE, goals=(EXCESS, ON_MODES), batch_size=256
    ),
    "subvp-sde": Recipe(
        build=lambda data: _sde(SubVP(), {"steps": 500}), data=PLANE, goals=(EXCESS, ON_MODES), batch_size=256
    ),
    "predictor-corrector": Recipe(
        build=lambda data: _sde(
            VP(), {"steps": 100, "predictor": ReverseDiffusion(), "corrector": LangevinCorrector(0.05)}
        ),
        data=PLANE,
        goals=(EXCESS, ON_MODES),
        batch_size=256,
    ),
    "probability-flow": Recipe(
        build=lambda data: _plane(ScoreSDE(TimeMLP(2, HIDDEN, 2), VP(), (2,)), _flow_samples, _flow_likelihood),
        data=PLANE,
        goals=(Goal("excess_nats", at_most=0.1), Goal("within_4_sigma", at_least=0.97)),
        batch_size=256,
    ),
    "d3pm-uniform": Recipe(
        build=lambda data: _d3pm(data, absorbing=False), data=BINARY, goals=(Goal("excess_nats", at_most=1.0),)
    ),
    "d3pm-absorbing": Recipe(
        build=lambda data: _d3pm(data, absorbing=True), data=BINARY, goals=(Goal("excess_nats", at_most=1.0),)
    ),
    "latent-diffusion": Recipe(
        build=Latent, data=PIXELS, goals=(Goal("frechet_digits", at_most=10.0),), minutes=1.0, batch_size=64
    ),
    "ddpm-unet": Recipe(
        build=_unet,
        data=("digits", "mnist", "cifar10"),
        goals=(Goal("frechet_digits", at_most=10.0),),
        minutes=1.0,
        batch_size=64,
    ),
    "dit": Recipe(
        build=_dit,
        data=PIXELS,
        goals=(Goal("frechet_digits", at_most=45.0),),
        minutes=1.0,
        batch_size=64,
    ),
}
