"""Trains the classifiers behind `digit_features`.

    python -m reference_models.evaluation.train_digit_classifier [--data drawn-16]

Cross-entropy with label smoothing 0.05 on digits, each image moved by up to one pixel and blurred by
noise at every visit, so that features stay sensible on samples that are not quite digits. Adam, learning rate 3e-3
falling along half a cosine. A quarter of a minute on one core. The same seed on the same machine gives the same
weights.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from reference_models.data import DataSet, load
from reference_models.evaluation.features import WEIGHTS, DigitClassifier

EPOCHS = {"digits": 60, "drawn-16": 8}

__all__ = ["EPOCHS", "accuracy", "classification_loss", "main", "train", "vary"]


def vary(images: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Each image (N, 1, S, S) moved by −1, 0 or 1 pixels along each side, 0 moving in, plus noise of std 0.05."""
    n, _, _, side = images.shape
    shift = torch.randint(0, 3, (2, n), generator=generator, device=images.device)
    rows = shift[0, :, None] + torch.arange(side, device=images.device)  # (N, S), into the padded image
    columns = shift[1, :, None] + torch.arange(side, device=images.device)
    padded = nn.functional.pad(images, (1, 1, 1, 1))[:, 0]  # (N, S + 2, S + 2)
    which = torch.arange(n, device=images.device)[:, None, None]
    moved = padded[which, rows[:, :, None], columns[:, None, :]][:, None]  # (N, 1, S, S)
    noise = torch.randn(moved.shape, generator=generator, device=moved.device, dtype=moved.dtype)
    return moved + 0.05 * noise


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The part of images (N, 1, 8, 8) whose largest logit is that of their label (N,); the model's mode is restored."""
    training = model.training
    model.eval()
    with torch.no_grad():
        logits: Tensor = model(images)
    model.train(training)
    return float((logits.argmax(dim=1) == labels).double().mean())


def classification_loss(model: nn.Module, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Cross-entropy of varied images x (N, 1, 8, 8) and labels y (N,), smoothed by 0.05: nats, mean over the batch."""
    logits: Tensor = model(vary(x, generator=generator))
    return nn.functional.cross_entropy(logits, y, label_smoothing=0.05)


def train(data: DataSet, *, epochs: int = 60, batch_size: int = 64, seed: int = 0) -> DigitClassifier:
    """A classifier trained on data.train; data must have labels. Raises ValueError for epochs or batch_size below 1."""
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size must be at least 1, got {epochs} and {batch_size}")
    if data.train_labels is None:
        raise ValueError(f"a classifier needs labels, and {data.name} has none")
    device = data.train.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # for the initialisation, and for dropout below
        model = DigitClassifier(side=data.event_shape[-1]).to(data.train)
        generator = torch.Generator(device).manual_seed(seed)
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-5)
        steps = epochs * math.ceil(len(data.train) / batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(epochs):
            order = torch.randperm(len(data.train), generator=generator, device=device)
            for rows in order.split(batch_size):
                loss = classification_loss(model, data.train[rows], data.train_labels[rows], generator=generator)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    return model.eval()


def main(arguments: list[str] | None = None) -> int:
    """Trains, says the accuracy on the held-out digits, and writes the weights with that number in their metadata."""
    parser = argparse.ArgumentParser(description="Train the classifier of digits behind the evaluation metrics.")
    parser.add_argument("--data", choices=tuple(EPOCHS), default="digits")
    parser.add_argument("--epochs", type=int, help="passes over the data (default: 60 of digits, 8 of drawn-16)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the weights go (default: beside the code)")
    chosen = parser.parse_args(arguments)
    data = load(chosen.data)
    epochs = EPOCHS[chosen.data] if chosen.epochs is None else chosen.epochs
    out = WEIGHTS[data.event_shape[-1]] if chosen.out is None else chosen.out
    if data.held_out_labels is None:
        raise ValueError("the digits have no labels")
    model = train(data, epochs=epochs, seed=chosen.seed)
    reached = accuracy(model, data.held_out, data.held_out_labels)
    out.parent.mkdir(parents=True, exist_ok=True)
    said = {
        "held_out_accuracy": f"{reached:.4f}",
        "held_out_digits": str(len(data.held_out)),
        "epochs": str(epochs),
        "seed": str(chosen.seed),
    }
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, out, metadata=said)
    size = out.stat().st_size
    print(f"held-out accuracy {reached:.4f} on {len(data.held_out)} digits; {out} ({size} bytes)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
