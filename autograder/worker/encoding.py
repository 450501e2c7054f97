"""From values to a frame. Values are read through the base types' own slots, captured when this is imported.

A student's object can override `__eq__`, `__array__`, `__iter__`, `__torch_function__`, `__torch_dispatch__`,
`__class__`; none of these is asked. What is not data is refused by its type.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import torch

from .layout import (
    ALIGN,
    CAPS,
    DTYPES,
    INT64,
    MAGIC,
    PREFIX,
    TYPE_TEXT,
    VALUE_BYTES,
    Buffer,
    Caps,
    Ref,
    TooLarge,
    WireError,
    aligned,
    measure,
    megabytes,
    weight_of,
)

_PAD = bytes(ALIGN)
_DTYPE_NAMES = {dtype: name for name, (dtype, _) in DTYPES.items()}
_NUMPY = {  # numpy kind and item size -> dtype on the wire; unsigned types torch barely supports go as int64
    **{"b1": "bool", "u1": "uint8", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64"},
    **{"f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64", "c16": "complex128"},
    **{"u2": "int64", "u4": "int64", "u8": "int64"},
}

_Base: Any = torch._C.TensorBase
_shape, _dtype, _device, _layout = (getattr(_Base, name).__get__ for name in ("shape", "dtype", "device", "layout"))
_detach, _cpu, _contiguous, _as_strided = _Base.detach, _Base.cpu, _Base.contiguous, _Base.as_strided
_resolve_conj, _resolve_neg, _data_ptr = _Base.resolve_conj, _Base.resolve_neg, _Base.data_ptr
_view, _numpy = _Base.view, _Base.numpy
_Dtype, _Device, _strided, _uint8 = torch.dtype, torch.device, torch.strided, torch.uint8
_no_subclass, _no_dispatch = torch._C.DisableTorchFunction, torch._C._DisableTorchDispatch
_ndarray, _generic, _np_uint8 = np.ndarray, np.generic, np.uint8
_np_shape, _np_dtype, _np_number_dtype = (
    getattr(np.ndarray, "shape").__get__,  # noqa: B009 (a descriptor, which type checkers take for the value)
    getattr(np.ndarray, "dtype").__get__,  # noqa: B009
    getattr(np.generic, "dtype").__get__,  # noqa: B009
)
_np_view, _np_astype, _np_item, _np_max = np.ndarray.view, np.ndarray.astype, np.generic.item, np.ndarray.max
_np_reshape, _np_contiguous, _np_array = np.ndarray.reshape, np.ascontiguousarray, np.array
_type_name = type.__dict__["__name__"].__get__
_to_json: Any = getattr(json.encoder, "c_make_encoder")(  # noqa: B009 (json.dumps is Python code that can be patched)
    None, None, json.encoder.encode_basestring, None, ":", ",", False, False, False
)


def encode(message: dict[str, Any], caps: Caps = CAPS) -> list[Buffer]:
    """The buffers of one frame, prefix and header first; a contiguous CPU tensor is not copied.

    Raises:
        WireError: the message holds something that is not data, or is larger than `caps`; `TooLarge` where its weight
            is, which is counted to the end while nothing more is copied.
    """
    if type(message) is not dict:
        raise WireError("a message is a dict")
    encoder = _Encoder(caps)
    try:
        value = encoder.value(message, 0)
        if encoder.overweight:
            raise TooLarge(f"your code returned {megabytes(encoder.weight)}, {caps.words}")
        header = "".join(_to_json({"v": value, "t": encoder.table}, 0)).encode("utf-8")
    except WireError:
        raise
    except UnicodeEncodeError:
        raise WireError("text with lone surrogates cannot be sent") from None
    except Exception as error:
        raise WireError(f"a value could not be read: {type_name(type(error))}") from None
    if len(header) > caps.header_bytes:
        raise WireError(f"the header takes {len(header)} bytes, more than {caps.header_bytes}")
    return [PREFIX.pack(MAGIC, len(header), encoder.size) + header, *encoder.buffers]


class _Encoder:
    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self.items = 0
        self.size = 0  # of the body so far
        self.weight = 0
        self.table: list[list[Any]] = []
        self.buffers: list[Buffer] = []

    @property
    def overweight(self) -> bool:
        """More than was asked for, so that only the rest of the weight is of interest."""
        return self.caps.weight is not None and self.weight > self.caps.weight

    def value(self, v: Any, depth: int) -> Any:
        self.items += 1
        self.weight += VALUE_BYTES
        if self.items > self.caps.items:
            raise WireError(f"more than {self.caps.items} values")
        if depth > self.caps.depth:
            raise WireError(f"nested deeper than {self.caps.depth}")
        if v is None or v is True or v is False:
            return v
        kind = type(v)
        if kind is int or kind is float or kind is str:
            return self.scalar(v, kind)
        if kind is Ref:
            return {"r": [v.id, v.type[:TYPE_TEXT], v.callable, v.module]}
        if issubclass(kind, list):
            return [self.value(item, depth + 1) for item in list.__iter__(v)]
        if issubclass(kind, tuple):  # torch.Size and named tuples too
            return {"u": [self.value(item, depth + 1) for item in tuple.__iter__(v)]}
        if issubclass(kind, dict):
            return {"d": [[self.key(k), self.value(item, depth + 1)] for k, item in list(dict.items(v))]}
        if issubclass(kind, _Base):
            with _no_subclass(), _no_dispatch():
                return self.tensor(v)
        if issubclass(kind, _ndarray):
            return self.array(v)
        if issubclass(kind, _generic):
            return self.number(v)
        for base in (int, float, str):
            if issubclass(kind, base):
                return self.scalar(v, base)
        if kind is _Dtype:
            return {"y": _DTYPE_NAMES.get(v) or refuse(f"the dtype {v}")}
        if kind is _Device:
            return {"e": str(v)}
        refuse(f"an object of type {type_name(kind)}")

    def scalar(self, v: Any, base: type) -> Any:
        if base is int:
            v = int.__int__(v)
            return v if -INT64 <= v < INT64 else refuse("an integer beyond 64 bits")
        if base is float:
            v = float.__float__(v)
            return v if v - v == 0.0 else {"f": "nan" if v != v else "inf" if v > 0 else "-inf"}
        v = str.__str__(v)
        self.weight += len(v)
        return v if len(v) <= self.caps.text else refuse(f"text longer than {self.caps.text} characters")

    def key(self, k: Any) -> int | str:
        self.items += 1
        kind = type(k)
        if kind is bool or not issubclass(kind, (int, str)):
            refuse(f"a dict key of type {type_name(kind)}")
        key: int | str = self.scalar(k, int if issubclass(kind, int) else str)
        return key

    def number(self, v: Any) -> Any:
        item = _np_item(v) if _np_number_dtype(v).kind in "biufcU" else None
        if type(item) in (bool, int, float, str):
            return item if type(item) is bool else self.scalar(item, type(item))
        if type(item) is complex:
            return self.array(_np_array(item, _np_number_dtype(v)))
        refuse(f"an object of type {type_name(type(v))}")

    def tensor(self, v: Any) -> dict[str, int]:
        t = _detach(v)
        name = _DTYPE_NAMES.get(_dtype(t)) or refuse(f"a tensor of dtype {_dtype(t)}")
        if _layout(t) is not _strided or _device(t).type == "meta":
            refuse("a tensor without dense values")
        shape = [int(size) for size in _shape(t)]
        nbytes = self.room(name, shape)
        if nbytes is None:
            return {}
        if not nbytes:
            return self.append(name, shape, b"")
        if not _data_ptr(t):
            refuse("a tensor without values")
        dense = _contiguous(_resolve_neg(_resolve_conj(_cpu(t))))
        flat = _as_strided(dense, [nbytes // DTYPES[name][1]], [1])  # one number may keep a stride of 0 through reshape
        return self.append(name, shape, _numpy(_view(flat, _uint8)))

    def array(self, v: Any) -> dict[str, int]:
        a = _np_view(v, _ndarray)
        dtype = _np_dtype(a)
        name = _NUMPY.get(f"{dtype.kind}{dtype.itemsize}") or refuse(f"a numpy array of dtype {dtype}")
        shape = [int(size) for size in _np_shape(a)]
        nbytes = self.room(name, shape)
        if nbytes is None:
            return {}
        if not nbytes:
            return self.append(name, shape, b"")
        if dtype.kind == "u" and dtype.itemsize == 8 and int(_np_max(a)) >= INT64:
            refuse("an integer beyond 64 bits")
        a = _np_astype(a, "<i8" if name == "int64" else dtype.newbyteorder("<"), copy=False)
        return self.append(name, shape, _np_view(_np_reshape(_np_contiguous(a), -1), _np_uint8))

    def room(self, name: str, shape: Sequence[int]) -> int | None:
        """Bytes a tensor will take, within the caps, None past their weight; asked before anything is copied."""
        self.weight += weight_of(name, shape)
        if self.overweight:
            return None
        nbytes = measure(name, shape, self.caps)
        if len(self.table) >= self.caps.tensors:
            raise WireError(f"more than {self.caps.tensors} tensors")
        if aligned(self.size) + nbytes > self.caps.body_bytes:
            raise WireError(f"more than {self.caps.body_bytes} bytes of tensors")
        return nbytes

    def append(self, name: str, shape: list[int], data: Any) -> dict[str, int]:
        view = memoryview(data)
        if view.nbytes != measure(name, shape, self.caps):
            refuse("a tensor whose bytes do not match its shape")
        start = aligned(self.size)
        if start > self.size:
            self.buffers.append(_PAD[: start - self.size])
        self.buffers.append(view)
        self.size = start + view.nbytes
        self.table.append([name, shape])
        return {"t": len(self.table) - 1}


def type_name(kind: type) -> str:
    """A type's plain name, whatever its metaclass says."""
    return str.__str__(_type_name(kind))[:TYPE_TEXT]


def refuse(what: str) -> NoReturn:
    """Raises WireError: `what` cannot be sent."""
    raise WireError(f"{what} cannot be sent")
