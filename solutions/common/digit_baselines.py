"""What simple models make of digits drawn anew: python -m solutions.common.digit_baselines

A score that rests on these pictures has its floor where none of these earns anything. Binary pictures in nats a
picture; grey ones by the error of the noise that a DDPM would predict, mean (ε − ε̂)², over six times. A memoriser knows
the training pictures, a cheat may also know every original in scikit-learn, or rebuild the generator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from reference_models.baselines import fit_bernoulli
from solutions.common.digits import draw_digits, originals

TRAINING, HELD_OUT = 6000, 2000  # pictures
FLIPS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15)  # tables are allowed the best of these
SIGNAL = (0.95, 0.8, 0.6, 0.4, 0.2, 0.05)  # ᾱ


def table_nll(table: Tensor, x: Tensor) -> float:
    """Nats a picture of x (M, D) under a uniform choice of a row of `table` (K, D) with each pixel flipped."""
    flipped = torch.cdist(x, table, p=1.0)
    tried = [flipped * math.log(e) + (x.shape[1] - flipped) * math.log(1 - e) for e in FLIPS]
    return min(-float((log_p.logsumexp(1) - math.log(len(table))).mean()) for log_p in tried)


def mixture_nll(train: Tensor, x: Tensor, components: int, generator: Generator) -> float:
    """Nats a picture of x under a mixture of `components` pixel models; one is independent pixels."""
    return -float(fit_bernoulli(train, components, steps=60, generator=generator).log_prob(x).mean())


def noise_error(parts: list[tuple[float, Tensor, Tensor]], x: Tensor, generator: Generator) -> float:
    """Mean (ε − E[ε ∣ x_t])² over times for x (M, D), of data drawn from Gaussians (weight, mean, covariance)."""
    errors = []
    for signal in SIGNAL:
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        x_t = math.sqrt(signal) * x + math.sqrt(1 - signal) * noise
        log_joint, guess = [], []
        for weight, mean, covariance in parts:
            total = signal * covariance + (1 - signal) * torch.eye(x.shape[1], dtype=x.dtype)
            solved = torch.linalg.solve(total, (x_t - math.sqrt(signal) * mean).T).T
            distance = ((x_t - math.sqrt(signal) * mean) * solved).sum(1)
            log_joint.append(math.log(weight) - (distance + torch.logdet(total)) / 2)
            guess.append(math.sqrt(1 - signal) * solved)
        posterior = torch.stack(log_joint).softmax(0)
        errors.append(((posterior.unsqueeze(2) * torch.stack(guess)).sum(0) - noise).square().mean())
    return float(torch.stack(errors).mean())


def memoriser_error(train: Tensor, x: Tensor, generator: Generator) -> float:
    """The same if the data were nothing but the training pictures."""
    errors = []
    for signal in SIGNAL:
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        x_t = math.sqrt(signal) * x + math.sqrt(1 - signal) * noise
        weights = (-torch.cdist(x_t, math.sqrt(signal) * train).square() / (2 * (1 - signal))).softmax(1)
        errors.append(((x_t - math.sqrt(signal) * weights @ train) / math.sqrt(1 - signal) - noise).square().mean())
    return float(torch.stack(errors).mean())


def binary_rows(generator: Generator) -> Iterator[tuple[str, float]]:
    """A line for each simple model of binary 8 × 8 pictures, nats a held-out picture."""
    train, held_out, fresh, rebuilt = (
        draw_digits(n, writers, generator).images.flatten(1).double()
        for n, writers in ((TRAINING, "training"), (HELD_OUT, "held out"), (HELD_OUT, "training"), (6000, "held out"))
    )
    files = originals().images.flatten(1).double()
    yield "independent pixels", mixture_nll(train, held_out, 1, generator)
    yield "independent pixels, on fresh pictures of the training writers", mixture_nll(train, fresh, 1, generator)
    yield "a table of the held-out writers' originals, with flips", table_nll(files[1545:], held_out)
    yield "a table of all 1,797 originals, with flips", table_nll(files, held_out)
    yield "a table of the 6,000 training pictures, with flips (memoriser)", table_nll(train, held_out)
    for components in (10, 20, 40, 80, 160):
        yield f"a mixture of {components} pixel models", mixture_nll(train, held_out, components, generator)
    yield "a table of 6,000 pictures of the held-out writers, the generator rebuilt", table_nll(rebuilt, held_out)


def grey_rows(generator: Generator) -> Iterator[tuple[str, float]]:
    """A line for each simple model of grey 8 × 8 pictures, scaled to −1 … 1: error of the predicted noise."""
    train, held_out = (
        draw_digits(n, writers, generator, threshold=None) for n, writers in ((TRAINING, "training"), (600, "held out"))
    )
    seen, x = (2 * digits.images.flatten(1).double() - 1 for digits in (train, held_out))
    classes = [seen[train.labels == label] for label in range(10)]
    gaussians = [(len(part) / len(seen), part.mean(0), torch.cov(part.T)) for part in classes]
    pixels = [(1.0, seen.mean(0), torch.diag(seen.var(0)))]
    yield "independent Gaussian pixels", noise_error(pixels, x, generator)
    yield "one Gaussian (Wiener)", noise_error([(1.0, seen.mean(0), torch.cov(seen.T))], x, generator)
    yield "a Gaussian a class", noise_error(gaussians, x, generator)
    yield "the 6,000 training pictures and no others (memoriser)", memoriser_error(seen, x, generator)


def main() -> None:
    """Print both tables."""
    generator = Generator().manual_seed(0)
    print("binary, nats a held-out picture")
    for name, nats in binary_rows(generator):
        print(f"  {nats:6.2f}  {name}", flush=True)
    print("grey, error of the noise on held-out pictures")
    for name, error in grey_rows(generator):
        print(f"  {error:6.4f}  {name}", flush=True)


if __name__ == "__main__":
    main()
