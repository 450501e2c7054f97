"""From a frame to values: plain builtins, `torch.Tensor` and `Ref`, or `WireError`. This is the judge's side of trust.

Every byte of the frame was chosen by somebody else. Sizes are checked before memory is taken, what is built is counted,
and whatever a parser may raise ends as `WireError`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

import torch

from .layout import (
    ALIGN,
    CAPS,
    DTYPES,
    INT64,
    TYPE_TEXT,
    VALUE_BYTES,
    Buffer,
    Caps,
    Ref,
    TooLarge,
    WireError,
    aligned,
    measure,
    weight_of,
)

_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_DEVICE = re.compile(r"(?:cpu|cuda|mps|meta)(?::[0-9]{1,3})?")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_MARKS_PER_ITEM = 8  # brackets and commas; a Ref in a dict has the most
_SMALL = 1 << 20  # a smaller tensor is copied out of its frame, so that it does not keep a large body alive
_empty, _frombuffer, _uint8, _Tensor, _Device = torch.empty, torch.frombuffer, torch.uint8, torch.Tensor, torch.device
_no_subclass, _no_dispatch = torch._C.DisableTorchFunction, torch._C._DisableTorchDispatch


def decode(header: Buffer, body: Buffer | torch.Tensor, caps: Caps = CAPS) -> dict[str, Any]:
    """Rebuilds a message from the two parts of a frame; large tensors are views of `body`, small ones copies.

    Args:
        body: bytes, or a uint8 tensor of shape (n,) that nobody else writes to.

    Raises:
        WireError: for anything but a well-formed message within `caps`; nothing else is ever raised.
    """
    try:
        parsed = _parse(bytes(header), caps)
        tensors: list[torch.Tensor | None] = []
        if len(parsed["t"]) or len(body):
            with _no_subclass(), _no_dispatch():
                tensors = _tensors(parsed["t"], _flat(body), caps)
        decoder = _Decoder(caps, tensors)
        message: dict[str, Any] = decoder.value(parsed["v"], 0)
        if type(message) is not dict or not all(type(key) is str for key in message):
            raise WireError("a message is a dict with names")
        if any(tensor is not None for tensor in decoder.tensors):
            raise WireError("a tensor nobody refers to")
        return message
    except WireError:
        raise
    except Exception as error:  # RecursionError, ValueError of JSON, UnicodeDecodeError, MemoryError, ...
        raise WireError(f"malformed frame: {type(error).__name__}") from None


def _parse(header: bytes, caps: Caps) -> dict[str, Any]:
    if len(header) > caps.header_bytes:
        raise WireError(f"the header takes {len(header)} bytes, more than {caps.header_bytes}")
    if len(header) > 1 << 16:  # a small header cannot hold much; a large one is counted before it is built
        bare = _STRING.sub(b"", header)
        marks = sum(bare.count(mark) for mark in (b",", b"[", b"{"))
        if marks > _MARKS_PER_ITEM * caps.items + caps.tensors * (caps.ndim + 4):
            raise WireError(f"more than {caps.items} values")
    text = header.decode("utf-8")
    parsed, end = _scan(text, 0)
    if end != len(text) or type(parsed) is not dict or set(parsed) != {"v", "t"} or type(parsed["t"]) is not list:
        raise WireError("the header is not a message")
    return parsed


def _flat(body: Buffer | torch.Tensor) -> torch.Tensor:
    if isinstance(body, _Tensor):
        return body
    data = body if type(body) is bytearray else bytearray(body)
    return _frombuffer(data, dtype=_uint8) if data else _empty(0, dtype=_uint8, device="cpu")


def _tensors(table: list[Any], flat: torch.Tensor, caps: Caps) -> list[torch.Tensor | None]:
    """Cuts the body along the table; every byte belongs to a tensor or is zero padding between two."""
    weight = 0
    if len(table) > caps.tensors:
        raise WireError(f"more than {caps.tensors} tensors")
    total, end = flat.shape[0], 0
    spans = []
    for entry in table:
        if type(entry) is not list or len(entry) != 2 or type(entry[0]) is not str or entry[0] not in DTYPES:
            raise WireError("a tensor of an unknown dtype")
        name, shape = entry
        if type(shape) is not list or not all(type(size) is int and 0 <= size < INT64 for size in shape):
            raise WireError("a tensor without a proper shape")
        start = aligned(end)
        nbytes = measure(name, shape, caps)
        weight += weight_of(name, shape)
        if caps.weight is not None and weight > caps.weight:
            raise TooLarge(f"tensors that count as {weight} bytes")
        if start + nbytes > total:
            raise WireError(f"a tensor of shape {tuple(shape)} with fewer bytes than that")
        if start > end and flat[end:start].any():
            raise WireError("bytes between two tensors")
        spans.append((name, shape, start, nbytes))
        end = start + nbytes
    if end != total:
        raise WireError("bytes that belong to no tensor")
    return [_cut(flat, *span, alone=len(spans) == 1) for span in spans]


def _cut(flat: torch.Tensor, name: str, shape: list[int], start: int, nbytes: int, alone: bool) -> torch.Tensor:
    dtype = DTYPES[name][0]
    if not nbytes:
        return _empty(shape, dtype=dtype, device="cpu")
    part = flat[start : start + nbytes]
    if name == "bool":
        return part.ne(0).reshape(shape)  # any other bit pattern is undefined behaviour inside torch
    if flat.data_ptr() % ALIGN or (nbytes < _SMALL and not alone):
        part = part.clone()
    return part.view(dtype).reshape(shape)


class _Decoder:
    def __init__(self, caps: Caps, tensors: list[torch.Tensor | None]) -> None:
        self.caps = caps
        self.items = 0
        self.tensors = tensors
        self.tags: dict[str, Callable[[Any, int], Any]] = {
            **{"f": self.nonfinite, "u": self.tuple_of, "d": self.dict_of, "t": self.tensor},
            **{"y": self.dtype, "e": self.device, "r": self.ref},
        }

    def value(self, v: Any, depth: int) -> Any:
        self.items += 1
        if self.items > self.caps.items:
            raise WireError(f"more than {self.caps.items} values")
        if self.caps.weight is not None and self.items * VALUE_BYTES > self.caps.weight:
            raise TooLarge(f"{self.items} values outside of tensors")
        if depth > self.caps.depth:
            raise WireError(f"nested deeper than {self.caps.depth}")
        kind = type(v)
        if v is None or kind is bool:
            return v
        if kind is int or kind is str or kind is float:
            return self.scalar(v, kind)
        if kind is list:
            return [self.value(item, depth + 1) for item in v]
        if kind is dict and len(v) == 1:
            ((tag, content),) = v.items()
            if tag in self.tags:
                return self.tags[tag](content, depth)
        raise WireError("an unknown kind of value")

    def scalar(self, v: Any, kind: type) -> Any:
        if kind is int and not -INT64 <= v < INT64:
            raise WireError("an integer beyond 64 bits")
        if kind is float and v - v != 0.0:
            raise WireError("a number beyond 64 bits")
        if kind is str:
            if len(v) > self.caps.text:
                raise WireError(f"text longer than {self.caps.text} characters")
            v.encode("utf-8")  # a lone surrogate would crash whoever writes it down later
        return v

    def nonfinite(self, content: Any, depth: int) -> Any:
        return _FLOATS[content]

    def tuple_of(self, content: Any, depth: int) -> Any:
        if type(content) is not list:
            raise WireError("a tuple without items")
        return tuple([self.value(item, depth + 1) for item in content])

    def dict_of(self, content: Any, depth: int) -> Any:
        if type(content) is not list:
            raise WireError("a dict without items")
        out: dict[int | str, Any] = {}
        for pair in content:
            if type(pair) is not list or len(pair) != 2 or type(pair[0]) not in (int, str):
                raise WireError("a dict item that is not a key and a value")
            self.items += 1
            key = self.scalar(pair[0], type(pair[0]))
            if key in out:
                raise WireError("a dict key that comes twice")
            out[key] = self.value(pair[1], depth + 1)
        return out

    def tensor(self, content: Any, depth: int) -> Any:
        if type(content) is not int or not 0 <= content < len(self.tensors):
            raise WireError("a tensor that is not there")
        tensor, self.tensors[content] = self.tensors[content], None
        if tensor is None:
            raise WireError("a tensor that is used twice")
        return tensor

    def dtype(self, content: Any, depth: int) -> Any:
        return DTYPES[content][0]

    def device(self, content: Any, depth: int) -> Any:
        if type(content) is not str or not _DEVICE.fullmatch(content):
            raise WireError("an unknown device")
        return _Device(content)

    def ref(self, content: Any, depth: int) -> Any:
        if type(content) is not list or [type(part) for part in content] != [int, str, bool, bool]:
            raise WireError("a reference of unknown form")
        number, name, is_callable, is_module = content
        if not 0 <= number < INT64 or len(name) > TYPE_TEXT:
            raise WireError("a reference of unknown form")
        return Ref(number, self.scalar(name, str), is_callable, is_module)


def _parse_int(digits: str) -> int:
    if len(digits) > 20:  # before Python spends quadratic time on it
        raise WireError("an integer beyond 64 bits")
    return int(digits)


def _parse_constant(name: str) -> NoReturn:
    raise WireError(f"{name} is not JSON")


_scan: Any = getattr(json.JSONDecoder(parse_int=_parse_int, parse_constant=_parse_constant), "scan_once")  # noqa: B009
