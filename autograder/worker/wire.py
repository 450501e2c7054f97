"""Frames between the judge and the worker: a JSON header and raw tensor bytes, nothing that can run.

    magic "AGW1" · header length u32 · body length u64 · header (JSON, UTF-8) · body

The header is `{"v": value, "t": [[dtype, shape], ...]}`. Tensors lie in the body in the order of `t`, little-endian,
each starting at a multiple of 64 bytes; their offsets and sizes follow from dtype and shape alone, so a header has no
number to lie with, and the body must have exactly the implied length. JSON's null, booleans, numbers, strings and
arrays stand for themselves; everything else is an object with one key:

    {"f": "nan"} float · {"u": [...]} tuple · {"d": [[key, value], ...]} dict · {"t": 3} tensor number 3
    {"y": "float32"} dtype · {"e": "cuda:0"} device · {"r": [id, type, callable, module]} object that stays

Both directions distrust: the decoder builds only plain builtins, `torch.Tensor` and `Ref`, or raises `WireError`; the
encoder reads values through the base types' own slots, captured at import, so nothing a student overrides is called.
"""

from __future__ import annotations

import json
import math
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch

Buffer = bytes | bytearray | memoryview

MAGIC = b"AGW1"
PREFIX = struct.Struct("<4sIQ")
ALIGN = 64  # torch's own allocation alignment on CPU
_PAD = bytes(ALIGN)


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


DTYPES: dict[str, tuple[torch.dtype, int]] = {
    name: (getattr(torch, name), getattr(torch, name).itemsize)
    for name in (
        *("bool", "uint8", "int8", "int16", "int32", "int64"),
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    )
}
_DTYPE_NAMES = {dtype: name for name, (dtype, _) in DTYPES.items()}
_DEVICE = re.compile(r"(?:cpu|cuda|mps|meta)(?::[0-9]{1,3})?")
_NUMPY = {  # numpy kind and item size -> dtype on the wire; unsigned types torch barely supports go as int64
    **{"b1": "bool", "u1": "uint8", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64"},
    **{"f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64", "c16": "complex128"},
    **{"u2": "int64", "u4": "int64", "u8": "int64"},
}
_INT64 = 1 << 63
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_TYPE_TEXT = 200

# Captured now: student code that patches these names later does not reach the channel.
_sendmsg, _recv_into, _settimeout = socket.socket.sendmsg, socket.socket.recv_into, socket.socket.settimeout
_monotonic = time.monotonic
_issubclass, _type, _len, _id = issubclass, type, len, id
_prod = math.prod
_empty, _uint8, _bool = torch.empty, torch.uint8, torch.bool
_Tensor, _ndarray, _Device, _Dtype = torch.Tensor, np.ndarray, torch.device, torch.dtype
_Base: Any = torch._C.TensorBase
_disable_function, _disable_dispatch = torch._C.DisableTorchFunction, torch._C._DisableTorchDispatch
_no_grad = torch.no_grad
_shape_of, _dtype_of = _Base.shape.__get__, _Base.dtype.__get__
_device_of, _layout_of = _Base.device.__get__, _Base.layout.__get__
_detach, _cpu, _contiguous, _reshape = _Base.detach, _Base.cpu, _Base.contiguous, _Base.reshape
_resolve_conj, _resolve_neg, _data_ptr = _Base.resolve_conj, _Base.resolve_neg, _Base.data_ptr
_view, _numpy, _ne, _clone = _Base.view, _Base.numpy, _Base.ne, _Base.clone
_strided = torch.strided
_np_view, _np_astype, _np_item = np.ndarray.view, np.ndarray.astype, np.generic.item
_np_shape, _np_dtype = np.ndarray.shape.__get__, np.ndarray.dtype.__get__
_np_contiguous = np.ascontiguousarray


@contextmanager
def plain_torch() -> Iterator[None]:
    """Torch without subclasses, modes, default devices or graphs that student code may have installed."""
    with _disable_function(), _disable_dispatch(), _no_grad():
        yield


# --- encoding ------------------------------------------------------------------------------------------------------


def encode(message: dict[str, Any], caps: Caps = Caps()) -> list[Buffer]:
    """Turns a message into the buffers of one frame, the prefix first; tensors are not copied if contiguous.

    Raises:
        WireError: it holds something that is not data, or is larger than `caps`.
    """
    if _type(message) is not dict:
        raise WireError("a message is a dict")
    try:
        with plain_torch():
            encoder = _Encoder(caps)
            value = encoder.value(message, 0)
        header = _to_json({"v": value, "t": encoder.table}).encode("utf-8")
    except WireError:
        raise
    except UnicodeEncodeError:
        raise WireError("text with lone surrogates is not text") from None
    except Exception as error:
        raise WireError(f"a value could not be read: {_type(error).__name__}") from None
    if _len(header) > caps.header_bytes:
        raise WireError(f"the header takes {_len(header)} bytes, more than {caps.header_bytes}")
    return [PREFIX.pack(MAGIC, _len(header), encoder.size) + header, *encoder.buffers]


class _Encoder:
    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self.items = 0
        self.size = 0
        self.table: list[list[Any]] = []
        self.buffers: list[Buffer] = []
        self.alive: list[Any] = []

    def value(self, v: Any, depth: int) -> Any:
        self.items += 1
        if self.items > self.caps.items:
            raise WireError(f"more than {self.caps.items} values")
        if depth > self.caps.depth:
            raise WireError(f"nested deeper than {self.caps.depth}")
        if v is None or v is True or v is False:
            return v
        kind = _type(v)
        if kind is int or kind is float or kind is str:
            return self.scalar(v, kind)
        if kind is Ref:
            return {"r": [v.id, v.type[:_TYPE_TEXT], v.callable, v.module]}
        if _issubclass(kind, list):
            return [self.value(item, depth + 1) for item in list.__iter__(v)]
        if _issubclass(kind, tuple):  # torch.Size and named tuples too
            return {"u": [self.value(item, depth + 1) for item in tuple.__iter__(v)]}
        if _issubclass(kind, dict):
            return {"d": [[self.key(k), self.value(item, depth + 1)] for k, item in list(dict.items(v))]}
        if _issubclass(kind, _Base):
            return self.tensor(v)
        if _issubclass(kind, _ndarray):
            return self.array(v)
        if _issubclass(kind, np.generic):
            return self.number(v)
        for base in (int, float, str):
            if _issubclass(kind, base):
                return self.scalar(v, base)
        if kind is _Dtype:
            return {"y": _DTYPE_NAMES[v]} if v in _DTYPE_NAMES else refuse(f"the dtype {v}")
        if kind is _Device:
            return {"e": str(v)}
        refuse(f"an object of type {type_name(kind)}")

    def scalar(self, v: Any, base: type) -> Any:
        if base is int:
            v = int.__int__(v)
            return v if -_INT64 <= v < _INT64 else refuse("an integer beyond 64 bits")
        if base is float:
            v = float.__float__(v)
            return v if v - v == 0.0 else {"f": "nan" if v != v else "inf" if v > 0 else "-inf"}
        v = str.__str__(v)
        return v if _len(v) <= self.caps.text else refuse(f"text longer than {self.caps.text} characters")

    def key(self, k: Any) -> int | str:
        self.items += 1
        kind = _type(k)
        if kind is bool or not _issubclass(kind, (int, str)):
            refuse(f"a dict key of type {type_name(kind)}")
        key: int | str = self.scalar(k, int if _issubclass(kind, int) else str)
        return key

    def number(self, v: Any) -> Any:
        item = _np_item(v)
        kind = _type(item)
        if kind is bool:
            return item
        if kind is int or kind is float or kind is str:
            return self.scalar(item, kind)
        if kind is complex:
            return self.array(_np_contiguous(v))
        refuse(f"an object of type {type_name(_type(v))}")

    def tensor(self, v: Any) -> dict[str, int]:
        t = _detach(v)
        name = _DTYPE_NAMES.get(_dtype_of(t)) or refuse(f"a tensor of dtype {_dtype_of(t)}")
        if _layout_of(t) is not _strided or _device_of(t).type == "meta":
            refuse("a tensor without dense values")
        shape = [int(d) for d in _shape_of(t)]
        nbytes = self.room(name, shape)
        if nbytes and not _data_ptr(t):
            refuse("a tensor without values")
        flat = _reshape(_contiguous(_resolve_neg(_resolve_conj(_cpu(t)))), -1)
        return self.append(name, shape, nbytes, _numpy(_view(flat, _uint8)) if nbytes else b"", flat)

    def array(self, v: Any) -> dict[str, int]:
        a = _np_view(v, _ndarray)
        dtype = _np_dtype(a)
        name = _NUMPY.get(f"{dtype.kind}{dtype.itemsize}") or refuse(f"a numpy array of dtype {dtype}")
        shape = [int(d) for d in _np_shape(a)]
        nbytes = self.room(name, shape)
        if dtype.kind == "u" and dtype.itemsize == 8 and nbytes and int(a.max()) >= _INT64:
            refuse("an integer beyond 64 bits")
        a = _np_contiguous(_np_astype(a, "<i8" if name == "int64" else dtype.newbyteorder("<"), copy=False))
        return self.append(name, shape, nbytes, a.reshape(-1).view(np.uint8) if nbytes else b"", a)

    def room(self, name: str, shape: Sequence[int]) -> int:
        """Bytes a tensor will take, after the caps; called before anything is copied."""
        nbytes = measure(name, shape, self.caps)
        if _len(self.table) >= self.caps.tensors:
            raise WireError(f"more than {self.caps.tensors} tensors")
        if aligned(self.size) + nbytes > self.caps.body_bytes:
            raise WireError(f"more than {self.caps.body_bytes} bytes of tensors")
        return nbytes

    def append(self, name: str, shape: list[int], nbytes: int, data: Any, owner: Any) -> dict[str, int]:
        start = aligned(self.size)
        if start > self.size:
            self.buffers.append(_PAD[: start - self.size])
        view = memoryview(data)
        if view.nbytes != nbytes:
            refuse("a tensor whose bytes do not match its shape")
        self.buffers.append(view)
        self.alive.append(owner)
        self.size = start + nbytes
        self.table.append([name, shape])
        return {"t": _len(self.table) - 1}


def type_name(kind: type) -> str:
    """A type's plain name, whatever its metaclass says."""
    return str.__str__(type.__dict__["__name__"].__get__(kind))[:_TYPE_TEXT]


def refuse(what: str) -> NoReturn:
    raise WireError(f"{what} cannot be sent")


def aligned(offset: int) -> int:
    return -(-offset // ALIGN) * ALIGN


def measure(name: str, shape: Sequence[int], caps: Caps) -> int:
    """Bytes of a tensor; refuses shapes beyond the caps, also when a zero hides them."""
    if _len(shape) > caps.ndim:
        raise WireError(f"a tensor of {_len(shape)} dimensions, more than {caps.ndim}")
    itemsize = DTYPES[name][1]
    if _prod([max(d, 1) for d in shape]) * itemsize > caps.body_bytes:
        raise WireError(f"a tensor of shape {tuple(shape)} takes more than {caps.body_bytes} bytes")
    return _prod(shape) * itemsize


# --- decoding ------------------------------------------------------------------------------------------------------


def decode(header: Buffer, body: Buffer | torch.Tensor, caps: Caps = Caps()) -> dict[str, Any]:
    """Rebuilds a message from the two parts of a frame; large tensors are views of `body`, small ones copies.

    Args:
        body: bytes, or a uint8 tensor of shape (n,) that nobody else writes to.

    Raises:
        WireError: for anything but a well-formed message within `caps`; nothing else is ever raised.
    """
    try:
        with plain_torch():
            return _decode(bytes(header), body, caps)
    except WireError:
        raise
    except Exception as error:  # RecursionError, ValueError of JSON, UnicodeDecodeError, MemoryError, ...
        raise WireError(f"malformed frame: {_type(error).__name__}") from None


def _decode(header: bytes, body: Buffer | torch.Tensor, caps: Caps) -> dict[str, Any]:
    if _len(header) > caps.header_bytes:
        raise WireError(f"the header takes {_len(header)} bytes, more than {caps.header_bytes}")
    if _len(header) > 1 << 16:  # a small header cannot hold much; a large one is counted before it is built
        bare = _STRING.sub(b"", header)
        if sum(bare.count(mark) for mark in (b",", b"[", b"{")) > 4 * (caps.items + caps.tensors * (caps.ndim + 2)):
            raise WireError(f"more than {caps.items} values")
    parsed = _from_json(header.decode("utf-8"))
    if _type(parsed) is not dict or set(parsed) != {"v", "t"} or _type(parsed["t"]) is not list:
        raise WireError("the header is not a message")
    decoder = _Decoder(caps, _tensors(parsed["t"], _flat(body), caps))
    message: dict[str, Any] = decoder.value(parsed["v"], 0)
    if _type(message) is not dict or not all(_type(key) is str for key in message):
        raise WireError("a message is a dict with names")
    if any(tensor is not None for tensor in decoder.tensors):
        raise WireError("a tensor nobody refers to")
    return message


def _flat(body: Buffer | torch.Tensor) -> torch.Tensor:
    if isinstance(body, _Tensor):
        return body
    data = body if _type(body) is bytearray else bytearray(body)
    return torch.frombuffer(data, dtype=_uint8) if data else _empty(0, dtype=_uint8, device="cpu")


def _tensors(table: list[Any], flat: torch.Tensor, caps: Caps) -> list[torch.Tensor | None]:
    """Cuts the body along the table; every byte belongs to a tensor or is zero padding between two."""
    if _len(table) > caps.tensors:
        raise WireError(f"more than {caps.tensors} tensors")
    total, end = flat.shape[0], 0
    spans = []
    for entry in table:
        if _type(entry) is not list or _len(entry) != 2 or _type(entry[0]) is not str or entry[0] not in DTYPES:
            raise WireError("a tensor of an unknown dtype")
        name, shape = entry
        if _type(shape) is not list or not all(_type(d) is int and 0 <= d < _INT64 for d in shape):
            raise WireError("a tensor without a proper shape")
        nbytes = measure(name, shape, caps)
        start = aligned(end)
        if start + nbytes > total:
            raise WireError(f"a tensor of shape {tuple(shape)} with fewer bytes than that")
        if start > end and flat[end:start].any():
            raise WireError("bytes between two tensors")
        spans.append((name, shape, start, nbytes))
        end = start + nbytes
    if end != total:
        raise WireError("bytes that belong to no tensor")
    return [_cut(flat, *span, alone=_len(spans) == 1) for span in spans]


def _cut(flat: torch.Tensor, name: str, shape: list[int], start: int, nbytes: int, alone: bool) -> torch.Tensor:
    dtype = DTYPES[name][0]
    if not nbytes:
        return _empty(shape, dtype=dtype, device="cpu")
    part = flat[start : start + nbytes]
    if name == "bool":
        return part.ne(0).reshape(shape)  # any other bit pattern is undefined behaviour inside torch
    if flat.data_ptr() % ALIGN or (not alone and nbytes < 1 << 20):  # one small tensor must not keep a large body alive
        part = part.clone()
    return part.view(dtype).reshape(shape)


class _Decoder:
    def __init__(self, caps: Caps, tensors: list[torch.Tensor | None]) -> None:
        self.caps = caps
        self.items = 0
        self.tensors = tensors
        self.tags: dict[str, Callable[[Any, int], Any]] = {
            **{"f": self.float, "u": self.tuple, "d": self.dict, "t": self.tensor},
            **{"y": self.dtype, "e": self.device, "r": self.ref},
        }

    def value(self, v: Any, depth: int) -> Any:
        self.items += 1
        if self.items > self.caps.items:
            raise WireError(f"more than {self.caps.items} values")
        if depth > self.caps.depth:
            raise WireError(f"nested deeper than {self.caps.depth}")
        kind = _type(v)
        if v is None or kind is bool:
            return v
        if kind is int or kind is str or kind is float:
            return self.scalar(v, kind)
        if kind is list:
            return [self.value(item, depth + 1) for item in v]
        if kind is dict and _len(v) == 1:
            ((tag, content),) = v.items()
            if tag in self.tags:
                return self.tags[tag](content, depth)
        raise WireError("an unknown kind of value")

    def scalar(self, v: Any, kind: type) -> Any:
        if kind is int and not -_INT64 <= v < _INT64:
            raise WireError("an integer beyond 64 bits")
        if kind is float and v - v != 0.0:
            raise WireError("a number beyond 64 bits")
        if kind is str:
            if _len(v) > self.caps.text:
                raise WireError(f"text longer than {self.caps.text} characters")
            v.encode("utf-8")  # a lone surrogate would crash whoever writes it down later
        return v

    def float(self, content: Any, depth: int) -> Any:
        return _FLOATS[content]

    def tuple(self, content: Any, depth: int) -> Any:
        if _type(content) is not list:
            raise WireError("a tuple without items")
        return tuple(self.value(item, depth + 1) for item in content)

    def dict(self, content: Any, depth: int) -> Any:
        if _type(content) is not list:
            raise WireError("a dict without items")
        out: dict[int | str, Any] = {}
        for pair in content:
            if _type(pair) is not list or _len(pair) != 2 or _type(pair[0]) not in (int, str):
                raise WireError("a dict item that is not a key and a value")
            self.items += 1
            key = self.scalar(pair[0], _type(pair[0]))
            if key in out:
                raise WireError("a dict key that comes twice")
            out[key] = self.value(pair[1], depth + 1)
        return out

    def tensor(self, content: Any, depth: int) -> Any:
        if _type(content) is not int or not 0 <= content < _len(self.tensors):
            raise WireError("a tensor that is not there")
        tensor, self.tensors[content] = self.tensors[content], None
        if tensor is None:
            raise WireError("a tensor that is used twice")
        return tensor

    def dtype(self, content: Any, depth: int) -> Any:
        return DTYPES[content][0]

    def device(self, content: Any, depth: int) -> Any:
        if _type(content) is not str or not _DEVICE.fullmatch(content):
            raise WireError("an unknown device")
        return _Device(content)

    def ref(self, content: Any, depth: int) -> Any:
        if _type(content) is not list or [_type(part) for part in content] != [int, str, bool, bool]:
            raise WireError("a reference of unknown form")
        number, name, is_callable, is_module = content
        if not 0 <= number < _INT64 or _len(name) > _TYPE_TEXT:
            raise WireError("a reference of unknown form")
        return Ref(number, self.scalar(name, str), is_callable, is_module)


def _parse_int(digits: str) -> int:
    if _len(digits) > 20:
        raise WireError("an integer beyond 64 bits")
    return int(digits)


def _parse_constant(name: str) -> NoReturn:
    raise WireError(f"{name} is not JSON")


_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_to_json = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode
_from_json = json.JSONDecoder(parse_int=_parse_int, parse_constant=_parse_constant).decode


# --- the socket ----------------------------------------------------------------------------------------------------


def send(sock: socket.socket, message: dict[str, Any], deadline: float | None = None, caps: Caps = Caps()) -> None:
    """Sends one frame.

    Args:
        deadline: a `time.monotonic()` value that covers the whole message.

    Raises:
        WireError: the message cannot be sent; nothing has been written.
        TimeoutError: the deadline passed; the channel is unusable.
        OSError: the peer is gone.
    """
    buffers = encode(message, caps)
    views = [memoryview(b) for b in buffers]
    first = 0
    while first < _len(views):
        _wait(sock, deadline)
        sent = _sendmsg(sock, views[first : first + 512])  # below IOV_MAX
        while first < _len(views) and sent >= _len(views[first]):
            sent -= _len(views[first])
            first += 1
        if sent:
            views[first] = views[first][sent:]


def receive(sock: socket.socket, caps: Caps = Caps(), deadline: float | None = None) -> dict[str, Any] | None:
    """Receives one frame, or None if the peer closed the channel before one began.

    Raises:
        WireError: what came is not a message within `caps`; `Truncated` if the channel closed in the middle.
        TimeoutError: the deadline passed before the whole message was there.
    """
    prefix = bytearray(PREFIX.size)
    if not _fill(sock, memoryview(prefix), deadline, starting=True):
        return None
    magic, header_bytes, body_bytes = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise WireError("not a frame")
    if header_bytes > caps.header_bytes or body_bytes > caps.body_bytes:
        raise WireError(f"a frame of {header_bytes} + {body_bytes} bytes is larger than allowed")
    header = bytearray(header_bytes)
    _fill(sock, memoryview(header), deadline)
    with plain_torch():  # pages of the body are committed as bytes arrive, not when a length is claimed
        body = _empty(body_bytes, dtype=_uint8, device="cpu")
        view = memoryview(_numpy(body)) if body_bytes else memoryview(b"")
    _fill(sock, view, deadline)
    return decode(header, body, caps)


def _fill(sock: socket.socket, view: memoryview, deadline: float | None, starting: bool = False) -> bool:
    done, size = 0, _len(view)
    while done < size:
        _wait(sock, deadline)
        try:
            got = _recv_into(sock, view[done:])
        except ConnectionError:
            got = 0
        if got == 0:
            if starting and done == 0:
                return False
            raise Truncated("the channel closed in the middle of a frame")
        done += got
    return True


def _wait(sock: socket.socket, deadline: float | None) -> None:
    """Sets the socket's own time-out to what is left of the deadline."""
    if deadline is None:
        _settimeout(sock, None)
        return
    left = deadline - _monotonic()
    if left <= 0:
        raise TimeoutError("the deadline passed")
    _settimeout(sock, left)
