"""What a frame looks like, for both ends: prefix, caps, dtypes, the arithmetic of the body."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import torch

Buffer = bytes | bytearray | memoryview

MAGIC = b"AGW1"
PREFIX = struct.Struct("<4sIQ")
ALIGN = 64  # torch's own allocation alignment on CPU
INT64 = 1 << 63
TYPE_TEXT = 200  # characters of a type's name
VALUE_BYTES = 256  # what a value outside of tensors counts as: parsing and keeping it takes about this
NUMBER_BYTES = 4  # what a number of a tensor counts as at least: bits grow when something is computed with them


class WireError(Exception):
    """What arrived, or what should be sent, is not a message."""


class Truncated(WireError):  # noqa: N818 (says what happened)
    """The peer closed the channel in the middle of a frame."""


class TooLarge(WireError):  # noqa: N818 (says what happened)
    """More is in a frame than was asked for."""


@dataclass(frozen=True)
class Ref:
    """An object that stays in the worker, named by number."""

    id: int
    type: str
    callable: bool
    module: bool


@dataclass(frozen=True)
class Caps:
    """Most of everything one frame may hold; checked before anything of that size is allocated."""

    header_bytes: int = 4 << 20
    body_bytes: int = 256 << 20
    tensors: int = 4096
    depth: int = 64
    items: int = 200_000
    ndim: int = 16
    text: int = 1 << 20
    weight: int | None = None  # of all values together, as `VALUE_BYTES` and `NUMBER_BYTES` count; None: not counted
    words: str = ""  # how much is asked for, for the sentence that says it was more

    @classmethod
    def of_reply(cls, weight: int, words: str) -> Caps:
        """Caps of one reply, as its request has them."""
        return cls(body_bytes=weight, weight=weight, words=words)


CAPS = Caps()

DTYPES: dict[str, tuple[torch.dtype, int]] = {
    name: (getattr(torch, name), getattr(torch, name).itemsize)
    for name in (
        *("bool", "uint8", "int8", "int16", "int32", "int64"),
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    )
}


def aligned(offset: int) -> int:
    """Where a tensor that may not begin before `offset` begins."""
    return -(-offset // ALIGN) * ALIGN


def weight_of(name: str, shape: Sequence[int]) -> int:
    """What a tensor counts as."""
    return math.prod(shape) * max(DTYPES[name][1], NUMBER_BYTES)


def megabytes(size: int) -> str:
    """A size in words: 16 MB, 0.3 MB."""
    return f"{size / 2**20:.1f}".removesuffix(".0") + " MB"


def measure(name: str, shape: Sequence[int], caps: Caps) -> int:
    """Bytes of a tensor. Raises WireError for shapes beyond the caps, also where a zero hides them."""
    if len(shape) > caps.ndim:
        raise WireError(f"a tensor of {len(shape)} dimensions, more than {caps.ndim}")
    itemsize = DTYPES[name][1]
    if math.prod([max(size, 1) for size in shape]) * itemsize > caps.body_bytes:
        raise WireError(f"a tensor of shape {tuple(shape)} takes more than {caps.body_bytes} bytes")
    return math.prod(shape) * itemsize
