"""Fuzzes the trusted decoder: `python -m tests.fuzz_wire --cases 100000`.

Hypothesis draws messages of every kind the format knows, and ways to damage their frames: bytes put in and cut out,
header values replaced by ones of other types, tables that lie, frames of random JSON; a plain random generator adds
small damages to each. Undamaged frames must come back exactly; a damaged one must be decoded into plain values or end
in `WireError`. Anything else is a crash of the judge.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import struct
import time
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st

from autograder.worker.layout import DTYPES
from autograder.worker.wire import PREFIX, Caps, Ref, WireError, decode, encode

INTEGERS = st.integers(-(2**63), 2**63 - 1)
SCRATCHES = 14  # small damages of each frame, on top of one that hypothesis chooses
PIECES = [
    *(b"", b"-", b"0", b"-0", b"1e999", b"-1e999", b"1e-999", b"NaN", b"Infinity", b"9" * 30, b"9" * 5000),
    *(
        b"18446744073709551616",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"4294967297",
        b"0.5",
        b"true",
        b"null",
    ),
    *(b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\\ud800", b"\xff", b"\x00", b"[[[[", b'{"t":0}', b'{"u":[]}'),
    *(
        b'"float64"',
        b'"bool"',
        b'"object"',
        b"[0,9223372036854775807]",
        b"[4294967296,4294967296]",
        b'{"d":[[1,1],[1,1]]}',
    ),
]
SMALL = Caps(header_bytes=1 << 16, body_bytes=1 << 16, tensors=16, depth=12, items=500, ndim=5, text=2000)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    name = draw(st.sampled_from(sorted(DTYPES)))
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    dtype, itemsize = DTYPES[name]
    size = math.prod(shape) * itemsize
    data = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if not size:
        return torch.empty(shape, dtype=dtype)
    flat = torch.frombuffer(data, dtype=torch.uint8)
    return (flat > 127 if name == "bool" else flat.view(dtype)).reshape(shape)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LEAVES = st.one_of(
    *(st.none(), st.booleans(), INTEGERS, st.floats(), TEXT, tensors()),
    st.sampled_from([dtype for dtype, _ in DTYPES.values()]),
    st.sampled_from(["cpu", "cuda", "cuda:3", "meta"]).map(torch.device),
    st.builds(Ref, st.integers(0, 2**63 - 1), TEXT, st.booleans(), st.booleans()),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.one_of(TEXT, INTEGERS), inner, max_size=4),
    ),
    max_leaves=12,
)
MESSAGES = st.dictionaries(TEXT, VALUES, max_size=4)

# What a liar would put in the place of an honest header value.
ODD = st.one_of(
    st.sampled_from(
        [
            2**63,
            2**64,
            -(2**63) - 1,
            10**30,
            10**400,
            1e308,
            -1,
            0,
            1,
            True,
            None,
            "",
            "nan",
            "t",
            "\ud800",
            [],
            {},
            {"t": 0},
            {"t": 1},
            {"t": -1},
            {"u": 1},
            {"d": [[1, 2], [1, 3]]},
            {"f": "inf"},
            {"f": 1},
            {"e": "cpu:9999"},
            {"r": [0, "", 0, 0]},
            {"y": "object"},
            {"t": 0, "u": []},
            [["float32", [2**40]]],
            ["uint8", [0, 2**62]],
            ["bool", [1]],
            ["float32", []],
            [2**31, 2**31, 4],
            [0],
            [-1],
        ]
    ),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
        max_leaves=8,
    ),
)


def alike(a: Any, b: Any) -> bool:
    """Same type and same bits, all the way down."""
    if type(a) is not type(b):
        return False
    if type(a) is float:
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    if type(a) is torch.Tensor:
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return a.numel() == 0 or torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
    if type(a) in (list, tuple):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    if type(a) is dict:
        return list(a) == list(b) and all(alike(k, j) and alike(a[k], b[j]) for k, j in zip(a, b, strict=True))
    return bool(a == b)


def plain(value: Any) -> bool:
    """Whether a value is made of nothing but what the format knows, within its bounds."""
    kind = type(value)
    if kind in (list, tuple):
        return all(plain(item) for item in value)
    if kind is dict:
        return all(type(key) in (int, str) and plain(key) and plain(item) for key, item in value.items())
    if kind is torch.Tensor:
        return value.dtype in [dtype for dtype, _ in DTYPES.values()] and value.device.type == "cpu"
    if kind is int:
        return -(2**63) <= value < 2**63
    if kind is str:
        return value.isascii() or value.encode("utf-8", "replace").decode() == value
    return value is None or kind in (bool, float, Ref, torch.dtype, torch.device)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a JSON document."""
    found = [path]
    if isinstance(document, (list, dict)):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        for key, item in items:
            found += places(item, (*path, key))
    return found


def replaced(document: Any, path: Sequence[Any], value: Any) -> Any:
    """The document with another value at `path`."""
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = replaced(document[path[0]], path[1:], value)
    return copy


@st.composite
def damaged(draw: st.DrawFn, frame: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """The two parts of a frame after one to three damages that hypothesis chooses and can shrink."""
    header, body = frame
    damages = st.sampled_from(["value", "value", "bytes", "body", "cut", "random"])
    for kind in draw(st.lists(damages, min_size=1, max_size=3)):
        if kind == "value":
            try:
                document = json.loads(header)
            except (ValueError, RecursionError):
                continue
            document = replaced(document, draw(st.sampled_from(places(document))), draw(ODD))
            header = json.dumps(document).encode()
        elif kind == "bytes":
            at = draw(st.integers(0, len(header)))
            header = header[:at] + draw(st.binary(max_size=6)) + header[at + draw(st.integers(0, 6)) :]
        elif kind == "body":
            at = draw(st.integers(0, len(body)))
            body = body[:at] + draw(st.binary(max_size=70)) + body[at + draw(st.integers(0, 70)) :]
        elif kind == "cut":
            header, body = header[: draw(st.integers(0, len(header)))], body[: draw(st.integers(0, len(body)))]
        else:
            header = json.dumps({"v": draw(ODD), "t": draw(ODD)}).encode()
    return header, body


def scratched(frame: tuple[bytes, bytes], random: Random) -> tuple[bytes, bytes]:
    """The frame after one small damage: a byte, a piece or a number in it changed, doubled or cut."""
    parts = list(frame)
    which = 1 if random.random() < 0.2 else 0
    data = parts[which]
    at, to = sorted(random.choices(range(len(data) + 1), k=2))
    to = min(to, at + random.choice([1, 1, 2, 8, 64]))
    kind = random.randrange(5)
    if kind == 0:
        data = data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
    elif kind == 1:
        data = data[:to] + data[at:]
    elif kind == 2:
        data = data[:at] + data[to:]
    elif kind == 3:
        data = data[:at] + random.choice(PIECES) + data[to:]
    else:
        numbers = list(re.finditer(rb"-?\d+", data)) or [None]
        found = random.choice(numbers)
        if found is not None:
            data = data[: found.start()] + random.choice(PIECES) + data[found.end() :]
    parts[which] = data
    return parts[0], parts[1]


def outcome_of(frame: tuple[bytes, bytes]) -> str:
    """ "decoded" or "refused"; an AssertionError if what came out is not plain."""
    outcome = "refused"
    for caps in (SMALL, Caps()):
        try:
            value = decode(*frame, caps)
        except WireError:
            continue
        assert type(value) is dict
        assert plain(value), f"not plain: {value!r}"
        outcome = "decoded"
    return outcome


def fuzz(cases: int, seed: int) -> Counter[str]:
    """Runs at least `cases` cases. Returns how many were exact, and how many damaged ones were decoded or refused.

    Raises:
        AssertionError, or whatever the decoder raised, for the smallest such case hypothesis finds.
    """
    tally: Counter[str] = Counter()

    @with_seed(seed)
    @settings(
        max_examples=-(-cases // (2 + SCRATCHES)),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(MESSAGES, st.data(), st.integers(0, 2**32))
    def survives(message: dict[Any, Any], data: st.DataObject, scratch: int) -> None:
        prefix, *parts = encode(message)
        _, header_bytes, body_bytes = PREFIX.unpack(bytes(prefix)[: PREFIX.size])
        frame = bytes(prefix)[PREFIX.size :], b"".join(bytes(part) for part in parts)
        assert (header_bytes, body_bytes) == (len(frame[0]), len(frame[1]))
        assert alike(decode(*frame), message)
        tally["exact"] += 1
        tally[outcome_of(data.draw(damaged(frame)))] += 1
        random = Random(scratch)
        for _ in range(SCRATCHES):
            tally[outcome_of(scratched(frame, random))] += 1

    survives()
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_wire", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given_arguments = parser.parse_args()
    begin = time.monotonic()
    tally = fuzz(given_arguments.cases, given_arguments.seed)
    seconds = time.monotonic() - begin
    total = sum(tally.values())
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in tally.items())
    print(f"{total} cases in {seconds:.0f} s ({total / seconds:.0f}/s): {outcomes}")


if __name__ == "__main__":
    main()
