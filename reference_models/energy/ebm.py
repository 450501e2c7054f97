"""Energy-based model: any function is a density once it is divided by its integral.

A network E gives each point an energy; low energy is high density. Nobody can integrate exp(-E), and learning does
not need it: the likelihood's gradient compares the energy's slope on data with its slope on the model's own
samples, which Langevin dynamics draws from E alone.

    p(x) = exp(-E(x)) / Z,                Z = ∫ exp(-E(x)) dx
    ∇ log p(x) = -∇E(x) + E_{x' ~ p} ∇E(x')                  (gradients in the parameters)
    x_{k+1} = x_k - η/2 ∂E/∂x + √η ε,     ε ~ N(0, I)        (Langevin, keeps p as η -> 0)

Where the chains begin is a choice: at the data (contrastive divergence), at noise each time (`EBM.sample`), or where
the last update left them (`persistent.PersistentChains`, which is what training wants).

On a `Support` (all the states of a finite space, or a fine grid over a box) Z is a sum, and `log_prob` is exact: the
oracle of everything else here.

"Training Products of Experts by Minimizing Contrastive Divergence" (Hinton, 2002),
https://www.cs.toronto.edu/~hinton/absps/nccd.pdf
"Implicit Generation and Modeling with Energy-Based Models" (Du, Mordatch, 2019), algorithm 1,
https://arxiv.org/abs/1903.08689
"Learning Non-Convergent Non-Persistent Short-Run MCMC Toward Energy-Based Model" (Nijkamp et al., 2019) for the
convolutional network, https://arxiv.org/abs/1904.09770
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from reference_models.parts.distributions import standard_normal
from reference_models.parts.enumeration import binary_states
from reference_models.parts.networks import MLP
from reference_models.parts.require import at_least, has_event_shape, positive
from reference_models.parts.shapes import flatten_batch, restore_batch
from reference_models.parts.training import evaluating, freeze


@dataclass(frozen=True)
class Support:
    """Points that stand for the whole space, each for the same volume: a sum over them replaces the integral.

    points: shape (P, *event). log_volume: log of the volume of one point's cell, 0 for the states of a finite space.
    """

    points: Tensor
    log_volume: float

    @classmethod
    def binary(cls, n: int) -> Support:
        """All 2^n vectors of zeros and ones."""
        return cls(binary_states(n, torch.empty(0)), log_volume=0.0)

    @classmethod
    def box(cls, low: float, high: float, dim: int = 2, cells: int = 200) -> Support:
        """The midpoints of cells^dim equal cells of [low, high]^dim (midpoint rule).

        Raises ValueError when the box is empty or the grid has more than 10^7 cells.
        """
        if not low < high:
            raise ValueError(f"a box needs low < high, got low = {low}, high = {high}")
        if cells**dim > 10**7:
            raise ValueError(f"a grid of at most 10^7 cells is summed, got {cells}^{dim}")
        width = (high - low) / cells
        axis = low + width * (torch.arange(cells, dtype=torch.get_default_dtype()) + 0.5)
        return cls(torch.cartesian_prod(*[axis] * dim).reshape(-1, dim), log_volume=dim * math.log(width))


class EBM(nn.Module):
    """A density p(x) = exp(-E(x)) / Z with a network for E.

    net: maps points (N, *event_shape) to energies (N,) or (N, 1).
    event_shape: the shape of one point.
    support: where Z is summed; without it `log_prob` is refused and `-energy` is log p up to a constant.
    """

    support_points: Tensor | None

    def __init__(self, net: nn.Module, event_shape: Sequence[int], support: Support | None = None) -> None:
        super().__init__()
        self.net = net
        self.event_shape = tuple(event_shape)
        if support is not None:
            has_event_shape("support.points", support.points, self.event_shape)
        self.register_buffer("support_points", None if support is None else support.points.clone(), persistent=False)
        self.log_volume = 0.0 if support is None else support.log_volume

    @classmethod
    def of_vectors(cls, dim: int, hidden: Sequence[int] = (64, 64), support: Support | None = None) -> EBM:
        """An energy over vectors of length `dim`, by a multilayer perceptron."""
        return cls(MLP(dim, hidden, 1), (dim,), support)

    @classmethod
    def of_images(cls, image_shape: Sequence[int], features: int = 16) -> EBM:
        """An energy over images (C, H, W), by `ConvEnergy`."""
        return cls(ConvEnergy(image_shape, features), image_shape)

    @classmethod
    def cifar10(cls) -> EBM:
        """The network of Nijkamp et al. at 32×32, 128 features wide."""
        return cls.of_images((3, 32, 32), features=128)

    def energy(self, x: Tensor) -> Tensor:
        """E(x) in nats, up to the constant log Z. x: (*B, *event). Returns shape (*B,)."""
        has_event_shape("x", x, self.event_shape)
        points, batch = flatten_batch(x, len(self.event_shape))
        energies: Tensor = self.net(points)
        return restore_batch(energies.reshape(points.shape[0]), batch)

    def score(self, x: Tensor) -> Tensor:
        """The gradient in x of log p, -∂E/∂x, which needs no Z. x: (*B, *event). Returns the shape of x."""
        with torch.enable_grad(), freeze(self):
            point = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.energy(point).sum(), point)
        return -slope

    def log_partition(self) -> Tensor:
        """log Z over the support, a scalar that carries gradients. Raises ValueError without a support."""
        if self.support_points is None:
            raise ValueError("log Z needs a support: EBM(net, event_shape, support=Support.box(...)), got None")
        return torch.logsumexp(-self.energy(self.support_points), dim=0) + self.log_volume

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, exact on the support. x: (*B, *event). Returns shape (*B,)."""
        return -self.energy(x) - self.log_partition()

    def sample(
        self,
        n: int,
        *,
        generator: Generator | None = None,
        steps: int = 500,
        step_size: float = 0.01,
        low: float = 0.0,
        high: float = 1.0,
    ) -> Tensor:
        """The ends of n Langevin chains that start uniformly in [low, high]: draws from p only as steps grow.

        Returns shape (n, *event).
        """
        start = uniform_noise(n, self.event_shape, next(self.parameters()), low, high, generator)
        return langevin(self, start, steps, step_size, generator=generator)


@dataclass(frozen=True)
class ContrastiveLoss:
    """value: to minimise; energy_data, energy_model: mean energies of the two batches, detached. All scalars, nats."""

    value: Tensor
    energy_data: Tensor
    energy_model: Tensor


def contrastive_loss(model: EBM, x: Tensor, x_model: Tensor, penalty: float = 0.0) -> ContrastiveLoss:
    """E(x) - E(x_model), batch means: a number without meaning whose gradient is that of the mean NLL.

    x: data, shape (B, *event). x_model: samples of the current model, shape (M, *event); no gradient enters them.
    penalty: weight of mean E(x)² + mean E(x_model)², which keeps energies near zero (Du and Mordatch, algorithm 1).
    """
    energy_data, energy_model = model.energy(x), model.energy(x_model.detach())
    value = energy_data.mean() - energy_model.mean()
    value = value + penalty * (energy_data.square().mean() + energy_model.square().mean())
    return ContrastiveLoss(value, energy_data.detach().mean(), energy_model.detach().mean())


def exact_contrastive_loss(model: EBM, x: Tensor) -> Tensor:
    """`contrastive_loss` with the expectation over the model summed over its support: no sampling error.

    x: (B, *event). Returns a scalar whose gradient is exactly that of -mean log p(x).
    """
    if model.support_points is None:
        raise ValueError("the exact contrastive loss needs a model with a support, got None")
    energies = model.energy(model.support_points)
    probabilities = torch.softmax(-energies.detach(), dim=0)
    return model.energy(x).mean() - (probabilities * energies).sum()


def langevin(
    model: EBM,
    x: Tensor,
    steps: int,
    step_size: float,
    *,
    noise_std: float | None = None,
    clamp: tuple[float, float] | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Runs x <- x + η/2 · score(x) + noise for `steps` steps; x itself is left as it was.

    x: starting points, shape (B, *event). step_size: η > 0.
    noise_std: √η where None, which samples p. NOTE: Du and Mordatch take step and noise apart (10 and 0.005 on
        images in [0, 1]), which samples p at a temperature noise²/η far below one.
    clamp: bounds each value is cut to after every step.

    Returns the ends of the chains, shape (B, *event), detached. Raises ValueError for a step size that is not positive,
    a negative noise_std or fewer than 0 steps.
    """
    at_least("steps", steps, 0)
    positive("step_size", step_size)
    if noise_std is not None:
        at_least("noise_std", noise_std, 0)
    std = math.sqrt(step_size) if noise_std is None else noise_std
    with evaluating(model):
        for _ in range(steps):
            x = x + 0.5 * step_size * model.score(x) + std * standard_normal(x.shape, x, generator)
            x = x if clamp is None else x.clamp(*clamp)
    return x.detach()


def uniform_noise(
    n: int, event_shape: Sequence[int], like: Tensor, low: float, high: float, generator: Generator | None = None
) -> Tensor:
    """n points uniform in [low, high]^event, with the device and dtype of `like`. Returns (n, *event)."""
    at_least("n", n, 1)
    return low + (high - low) * torch.rand(n, *event_shape, generator=generator, device=like.device, dtype=like.dtype)


class ConvEnergy(nn.Sequential):
    """Nijkamp et al.: 3×3 convolution, then 4×4 of stride 2 doubling the width down to 4×4, then one number.

    image_shape: (C, H, H), H a power of two from 4. features: width of the first layer. Maps (N, C, H, H) to (N, 1).
    """

    def __init__(self, image_shape: Sequence[int], features: int = 16) -> None:
        channels, height, width = image_shape
        if height != width or height < 4 or height & (height - 1):
            raise ValueError(f"ConvEnergy takes square images with a side 4, 8, 16, .., got {tuple(image_shape)}")
        layers: list[nn.Module] = [nn.Conv2d(channels, features, 3, padding=1), nn.LeakyReLU(0.2)]
        while height > 4:
            layers += [nn.Conv2d(features, 2 * features, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            features, height = 2 * features, height // 2
        super().__init__(*layers, nn.Conv2d(features, 1, 4), nn.Flatten())
