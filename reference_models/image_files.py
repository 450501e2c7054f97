"""The files in which MNIST and CIFAR-10 are given out, read without running anything that stands in them.

    MNIST      IDX files, as they are or packed by gzip: a magic number, the sizes, the bytes
               https://yann.lecun.com/exdb/mnist/
    CIFAR-10   five batches and a test batch, of the binary version (a label, then 3072 bytes of red, green and blue, an
               image) or of the one for Python (pickled dictionaries)
               https://www.cs.toronto.edu/~kriz/cifar.html

Both give training images, held-out images, training labels, held-out labels: images as bytes, shape (N, C, H, W),
labels long, shape (N,), 0 to 9. Raises ValueError for a file that is missing, cut off, or not of its kind.
"""

from __future__ import annotations

import gzip
import math
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Parts", "cifar10", "mnist"]

Parts = tuple[Tensor, Tensor, Tensor, Tensor]


def mnist(folder: Path) -> Parts:
    """The four IDX files of MNIST in this folder: 60000 and 10000 images (1, 28, 28)."""
    images, labels = [], []
    for stem in ("train", "t10k"):
        name = f"{stem}-images-idx3-ubyte"
        pixels = _idx(folder, name, dimensions=3)
        if pixels.shape[1:] != (28, 28):
            raise ValueError(f"{folder / name} should hold images of 28×28, got {pixels.shape[1]}×{pixels.shape[2]}")
        images.append(pixels[:, None])
        name = f"{stem}-labels-idx1-ubyte"
        labels.append(_classes(_idx(folder, name, dimensions=1), folder / name))
    return images[0], images[1], labels[0], labels[1]


def _idx(folder: Path, name: str, *, dimensions: int) -> Tensor:
    """The array of bytes in an IDX file: 0, 0, 8 for bytes, the number of dimensions, then each size in four bytes."""
    raw = _read(folder, name)
    start = 4 + 4 * dimensions
    if len(raw) < start or raw[:4] != bytes((0, 0, 8, dimensions)):
        raise ValueError(
            f"{folder / name} is no IDX file of {dimensions} dimensions: it begins with {raw[:4].hex(' ')}"
        )
    sizes = [int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4)]
    return _bytes(raw[start:], folder / name, *sizes)


def cifar10(folder: Path) -> Parts:
    """The six batches of CIFAR-10 in this folder, of either version: 50000 and 10000 images (3, 32, 32)."""
    read = _binary_batch if (folder / "data_batch_1.bin").is_file() else _pickled_batch
    batches = [read(folder, f"data_batch_{i}") for i in range(1, 6)]
    held_out, held_out_labels = read(folder, "test_batch")
    return torch.cat([x for x, _ in batches]), held_out, torch.cat([y for _, y in batches]), held_out_labels


def _binary_batch(folder: Path, stem: str) -> tuple[Tensor, Tensor]:
    raw = _read(folder, f"{stem}.bin")
    file = folder / f"{stem}.bin"
    if len(raw) % 3073:
        raise ValueError(f"{file} should hold a multiple of 3073 bytes, got {len(raw)}")
    rows = _bytes(raw, file, len(raw) // 3073, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32), _classes(rows[:, 0], file)


def _pickled_batch(folder: Path, stem: str) -> tuple[Tensor, Tensor]:
    file = folder / stem
    if not file.is_file():
        raise ValueError(f"{folder} holds neither {stem} nor {stem}.bin")
    try:
        with file.open("rb") as stream:
            batch = _PlainUnpickler(stream, encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), torch.tensor(batch[b"labels"], device="cpu")
    except (pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{file} is no batch of CIFAR-10: {error!r}") from None
    if pixels.dtype != np.uint8 or labels.is_floating_point():
        raise ValueError(f"{file} should hold bytes and whole labels, got {pixels.dtype} and {labels.dtype}")
    return _bytes(pixels.tobytes(), file, len(labels), 3072).reshape(-1, 3, 32, 32), _classes(labels, file)


class _PlainUnpickler(pickle.Unpickler):
    """Makes NumPy's arrays, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = ("_reconstruct", "ndarray", "dtype", "encode", "scalar")
        if name in allowed and module.split(".")[0] in ("numpy", "_codecs"):
            return super().find_class(module, name)
        raise ValueError(f"a batch of CIFAR-10 does not hold a {module}.{name}")


def _read(folder: Path, name: str) -> bytes:
    plain, packed = folder / name, folder / f"{name}.gz"
    if plain.is_file():
        return plain.read_bytes()
    if not packed.is_file():
        raise ValueError(f"{folder} holds neither {name} nor {name}.gz")
    try:
        return gzip.decompress(packed.read_bytes())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{packed} cannot be unpacked: {error}") from None


def _classes(labels: Tensor, file: Path) -> Tensor:
    if bool(((labels < 0) | (labels > 9)).any()):
        raise ValueError(f"{file} should hold labels from 0 to 9, got {int(labels.min())} to {int(labels.max())}")
    return labels.long()


def _bytes(raw: bytes, file: Path, *shape: int) -> Tensor:
    if not raw or len(raw) != math.prod(shape):
        raise ValueError(f"{file} should hold {math.prod(shape) or 'some'} bytes, got {len(raw)}")
    return torch.as_tensor(np.frombuffer(raw, dtype=np.uint8).reshape(shape).copy(), device="cpu")
