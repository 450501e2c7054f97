"""MNIST and CIFAR-10 in small: random images in files of the format in which the real ones are given out."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np

Part = tuple[np.ndarray, np.ndarray]  # images as bytes, labels


def write_mnist(folder: Path, *, packed: bool, sizes: tuple[int, int] = (6, 4), cut: int = 0) -> Iterator[Part]:
    """Training, then held-out images (N, 28, 28) with labels; `cut` bytes are missing at the end of the images."""
    rng = np.random.default_rng(0)
    for stem, n in zip(("train", "t10k"), sizes, strict=True):
        pixels, labels = rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)
        images = b"".join(k.to_bytes(4, "big") for k in (2051, n, 28, 28)) + pixels.tobytes()
        files = {
            f"{stem}-images-idx3-ubyte": images[: len(images) - cut],
            f"{stem}-labels-idx1-ubyte": b"".join(k.to_bytes(4, "big") for k in (2049, n)) + labels.tobytes(),
        }
        for name, raw in files.items():
            (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(raw) if packed else raw)
        yield pixels, labels


def write_cifar10(folder: Path, *, binary: bool, size: int = 2) -> Iterator[Part]:
    """Five training batches and the test batch, each of `size` images (3072,) with labels."""
    rng = np.random.default_rng(0)
    for stem in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        pixels, labels = rng.integers(0, 256, (size, 3072), np.uint8), rng.integers(0, 10, size, np.uint8)
        if binary:
            rows = np.concatenate([labels[:, None], pixels], axis=1)
            (folder / f"{stem}.bin").write_bytes(rows.tobytes())
        else:
            batch = {b"data": pixels, b"labels": labels.tolist()}
            (folder / stem).write_bytes(pickle.dumps(batch, protocol=2))
        yield pixels, labels
