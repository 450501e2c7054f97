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


class WireError(Exception):
    """What arrived, or what should be sent, is not a message."""


class Truncated(WireError):  # noqa: N818 (says what happened)
    """The peer closed the channel in the middle of a frame."""


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


def measure(name: str, shape: Sequence[int], caps: Caps) -> int:
    """Bytes of a tensor. Raises WireError for shapes beyond the caps, also where a zero hides them."""
    if len(shape) > caps.ndim:
        raise WireError(f"a tensor of {len(shape)} dimensions, more than {caps.ndim}")
    itemsize = DTYPES[name][1]
    if math.prod([max(size, 1) for size in shape]) * itemsize > caps.body_bytes:
        raise WireError(f"a tensor of shape {tuple(shape)} takes more than {caps.body_bytes} bytes")
    return math.prod(shape) * itemsize
