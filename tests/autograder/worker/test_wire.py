"""Frames: what is sent arrives exactly, everything else is refused."""

from __future__ import annotations

import enum
import json
import math
import socket
import struct
import threading
import time
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch

from autograder.worker.decoding import _Decoder
from autograder.worker.layout import CAPS, DTYPES
from autograder.worker.wire import PREFIX, Caps, Deadline, Ref, Truncated, WireError, at, decode, encode, receive, send
from tests.fuzz_wire import alike, fuzz


def round_trip(value: Any, caps: Caps = CAPS) -> Any:
    prefix, *body = encode({"value": value}, caps)
    return decode(bytes(prefix)[PREFIX.size :], b"".join(body), caps)["value"]


def header(value: Any, table: Any = ()) -> bytes:
    return json.dumps({"v": {"d": [["value", value]]}, "t": list(table)}).encode()


def refused(head: bytes, body: bytes = b"", caps: Caps = CAPS) -> str:
    with pytest.raises(WireError) as caught:
        decode(head, body, caps)
    return str(caught.value)


PLAIN = [
    *(None, True, False, 0, -1, 2**63 - 1, -(2**63), "", "λ → \n \x00 ‮", [], (), {}),
    *(0.1, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, math.nan, math.inf, -math.inf),
    [1, (2, [3, {"a": (4,), 5: None}])],
    {"b": 1, "a": 2, 7: {}},
    torch.float16,
    torch.bfloat16,
    torch.device("cuda:1"),
    Ref(7, "MADE", True, True),
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_arrive_with_their_types_and_bits(value):
    assert alike(round_trip(value), value)


def test_the_comparison_of_these_tests_tells_neighbours_apart():
    pairs = [(0.0, -0.0), (1, 1.0), (1, True), ((1,), [1]), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (math.nan, 0.0)]
    pairs += [(torch.zeros(1), torch.zeros(1, dtype=torch.float64)), (torch.zeros(1), torch.zeros(()))]
    pairs += [(torch.tensor([0.0]), torch.tensor([-0.0])), (torch.zeros(1), torch.nn.Parameter(torch.zeros(1)))]
    assert not any(alike(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 5)])
def test_tensors_of_every_dtype_and_shape_arrive_bit_for_bit(name, shape):
    generator = torch.Generator().manual_seed(1)
    sent = torch.randint(0, 256, (math.prod(shape) * DTYPES[name][1],), dtype=torch.uint8, generator=generator)
    sent = (sent > 127).reshape(shape) if name == "bool" else sent.view(DTYPES[name][0]).reshape(shape)
    got = round_trip([sent, sent])[1]
    assert got.dtype == sent.dtype
    assert got.shape == sent.shape
    if sent.numel():
        assert torch.equal(got.flatten().view(torch.uint8), sent.flatten().view(torch.uint8))  # NaN payloads too


def test_views_conjugates_graphs_and_expanded_tensors_arrive_by_value():
    base = torch.arange(12.0).reshape(3, 4)
    z = torch.tensor([1 + 2j, 3 - 1j])
    sent = [
        base.t(),
        base[:, 1],
        base.flip(0),
        z.conj(),
        z.conj().imag,
        base.requires_grad_() * 2,
        torch.ones(1).expand(5),
    ]
    for got, value in zip(round_trip(sent), sent, strict=True):
        assert type(got) is torch.Tensor
        assert not got.requires_grad
        assert torch.equal(got, value.detach())


@pytest.mark.parametrize("name", DTYPES)
def test_one_number_arrives_whatever_its_strides(name):
    """A batch of one: `logdet.expand(1)` and slices with a step are contiguous to torch, and yet have odd strides."""
    one = torch.ones(12).to(getattr(torch, name))
    odd = [
        one[3].expand(1),
        one[3].expand(1, 1, 1),
        one[::12],
        one[4:5].as_strided((1, 1), (5, 7)),
        one[7].expand(1)[None],
    ]
    for value in odd:
        assert alike(round_trip(value), torch.ones(value.shape).to(value.dtype))
    if name != "bfloat16":
        for array in [value.numpy() for value in odd]:
            assert alike(round_trip(array), torch.ones(array.shape).to(one.dtype))


def test_numpy_arrays_and_numbers_arrive_as_tensors_and_numbers():
    assert torch.equal(round_trip(np.arange(6).reshape(2, 3).T), torch.tensor([[0, 3], [1, 4], [2, 5]]))
    assert torch.equal(round_trip(np.array([1.5, -2.0], dtype=">f4")), torch.tensor([1.5, -2.0]))
    assert torch.equal(round_trip(np.array([7, 65535], dtype=np.uint16)), torch.tensor([7, 65535]))
    assert torch.equal(round_trip(np.ma.masked_array([1.0, 2.0], [0, 1])), torch.tensor([1.0, 2.0]).double())
    assert alike(
        round_trip([np.float64(0.1), np.float32(0.5), np.int8(-3), np.bool_(True), np.str_("a")]),
        [0.1, 0.5, -3, True, "a"],
    )
    assert torch.equal(round_trip(np.complex64(1 + 2j)), torch.tensor(1 + 2j))


def test_a_bool_byte_that_is_neither_zero_nor_one_is_true():
    got = decode(header({"t": 0}, [["bool", [3]]]), b"\x00\x02\xff")["value"]
    assert got.view(torch.uint8).tolist() == [0, 1, 1]


class Liar:
    """Answers every question with yes."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("asked")

    __float__ = __iter__ = __index__ = __len__ = __array__
    __class__ = property(lambda self: float)  # type: ignore[assignment]


def asked(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("a method of the student was called")


OVERRIDES = dict.fromkeys(
    ["__eq__", "__iter__", "__len__", "__getitem__", "__float__", "__int__", "__index__", "__str__"], asked
)
OVERRIDES |= dict.fromkeys(
    ["__repr__", "__hash__", "__bool__", "__array__", "__reduce__", "items", "keys", "values"], asked
)
OVERRIDES |= {"__class__": property(asked), "__getattribute__": asked}


@pytest.mark.parametrize(
    ("base", "value"), [(int, 3), (float, 0.5), (str, "x"), (list, [1, 2]), (tuple, (1, 2)), (dict, {"a": 1})]
)
def test_a_subclass_is_sent_as_what_it_inherits_and_none_of_its_methods_is_called(base, value):
    hostile = type("Hostile", (base,), OVERRIDES)
    assert alike(round_trip(base.__new__(hostile, value) if base not in (list, dict) else fill(hostile, value)), value)


def fill(hostile: Any, value: Any) -> Any:
    made = hostile.__new__(hostile)
    list.extend(made, value) if isinstance(value, list) else dict.update(made, value)
    return made


def test_a_tensor_subclass_is_sent_by_its_storage():
    class Equal(torch.Tensor):
        @classmethod
        def __torch_function__(cls, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("asked")

        __eq__ = numpy = detach = cpu = tolist = asked  # type: ignore[assignment]
        dtype = shape = data_ptr = property(asked)  # type: ignore[assignment]

    class Dispatching(torch.Tensor):
        @classmethod
        def __torch_dispatch__(cls, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("asked")

    for kind in (Equal, Dispatching, torch.nn.Parameter):
        got = round_trip(torch.arange(3.0).as_subclass(kind))
        assert type(got) is torch.Tensor
        assert got.tolist() == [0.0, 1.0, 2.0]


def test_modes_that_change_every_torch_call_do_not_change_what_is_sent():
    class Zero(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, *args: Any, **kwargs: Any) -> Any:
            return torch.zeros(1)

    sent = [torch.tensor([5.0, 6.0]), torch.tensor([True])]
    with Zero():
        got = round_trip(sent)
    assert got[0].tolist() == [5.0, 6.0]
    assert got[1].tolist() == [True]
    torch.set_default_device("meta")
    try:
        got = round_trip([torch.ones(2, device="cpu"), torch.ones(0, device="cpu")])
    finally:
        torch.set_default_device(None)
    assert [t.device.type for t in got] == ["cpu", "cpu"]


def test_named_tuples_and_ordered_dicts_arrive_as_their_plain_kind():
    point = namedtuple("point", "x y")
    assert alike(
        round_trip([point(1, 2), OrderedDict(b=1, a=2), torch.Size([2, 3])]), [(1, 2), {"b": 1, "a": 2}, (2, 3)]
    )
    assert alike(round_trip(enum.IntEnum("E", "A").A), 1)


def _wrapper() -> torch.Tensor:
    class Wrapper(torch.Tensor):
        @staticmethod
        def __new__(cls) -> Any:
            return torch.Tensor._make_wrapper_subclass(cls, (3,))  # type: ignore[attr-defined]

        __torch_dispatch__ = classmethod(asked)  # type: ignore[assignment]

    return Wrapper()


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [
        *(object(), Liar(), {1, 2}, b"bytes", 1j, 2**63, -(2**63) - 1, 10**4000, lambda: 0, int, "\ud800", CYCLE),
        *({1.5: 0}, {True: 0}, {(1,): 0}, {2**64: 0}, "x" * (1 << 21), [0] * 300_000),
        *(torch.ones(2).to_sparse(), torch.ones(2, device="meta"), torch.ones(2, dtype=torch.uint16), _wrapper()),
        *(torch.empty(1).expand(10**12), torch.empty((1,) * 17), torch.empty(0, 10**10), np.broadcast_to(0.0, 10**12)),
        *(np.array([object()]), np.array(["a"]), np.array(["2020"], dtype="M8[D]"), np.longdouble(1), np.ones(2, "g")),
        *(np.array([2**63], np.uint64), np.timedelta64(3, "ns"), torch.quint8),
        *(torch.zeros(3).untyped_storage(), [torch.zeros(1)] * 5000),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_is_not_data_or_too_much_is_refused_by_the_sender(value):
    with pytest.raises(WireError):
        round_trip(value)


TENSOR = b"\x00\x00\x80\x3f" * 2  # two ones
MALFORMED = {
    "empty": (b"", b""),
    "not JSON": (b"{", b""),
    "not an object": (b"[]", b""),
    "two values": (header(1) + b"{}", b""),
    "NaN": (b'{"v": {"d": [["value", NaN]]}, "t": []}', b""),
    "infinity": (b'{"v": {"d": [["value", Infinity]]}, "t": []}', b""),
    "an overflowing float": (b'{"v": {"d": [["value", 1e999]]}, "t": []}', b""),
    "an unknown float": (header({"f": "huge"}), b""),
    "an unhashable float": (header({"f": []}), b""),
    "an unknown tag": (header({"x": 1}), b""),
    "two tags": (header({"u": [], "d": []}), b""),
    "no tag": (header({}), b""),
    "a message that is a list": (b'{"v": [], "t": []}', b""),
    "a message with a number for a name": (b'{"v": {"d": [[1, 2]]}, "t": []}', b""),
    "no tensors": (b'{"v": {"d": []}}', b""),
    "more than two parts": (b'{"v": {"d": []}, "t": [], "x": 1}', b""),
    "a surrogate": (b'{"v": {"d": [["value", "\\ud800"]]}, "t": []}', b""),
    "bytes that are not UTF-8": (b'{"v": {"d": [["value", "\xff"]]}, "t": []}', b""),
    "an integer of 21 digits": (b'{"v": {"d": [["value", 100000000000000000000]]}, "t": []}', b""),
    "an integer of 64 bits and a sign": (header(2**63), b""),
    "an integer of 500,000 digits": (b'{"v": {"d": [["value", ' + b"9" * 500_000 + b']]}, "t": []}', b""),
    "10,000 lists in each other": (b'{"v": ' + b"[" * 10_000 + b"]" * 10_000 + b', "t": []}', b""),
    "10,000 objects in each other": (b'{"v": ' + b'{"u":[' * 10_000 + b"]}" * 10_000 + b', "t": []}', b""),
    "100 lists in each other": (header(json.loads("[" * 100 + "]" * 100)), b""),
    "a million values": (header([0] * 1_000_000), b""),
    "a million empty lists": (header([[]] * 1_000_000), b""),
    "text with a million quotes": (b'{"v":"' + b'\\"' * 1_500_000, b""),
    "a key that comes twice": (header({"d": [["a", 1], ["a", 2]]}), b""),
    "a key that is true": (header({"d": [[True, 1]]}), b""),
    "a key that is a list": (header({"d": [[[], 1]]}), b""),
    "a pair of three": (header({"d": [["a", 1, 2]]}), b""),
    "a tuple that is a number": (header({"u": 3}), b""),
    "a tuple that is text": (header({"u": "abc"}), b""),
    "a dict that is a dict": (header({"d": {}}), b""),
    "a tensor number that is text": (header({"t": "0"}, [["float32", [2]]]), TENSOR),
    "a tensor number that is true": (header({"t": True}, [["float32", [2]]] * 2), TENSOR),
    "a negative tensor number": (header({"t": -1}, [["float32", [2]]]), TENSOR),
    "a tensor that is not there": (header({"t": 1}, [["float32", [2]]]), TENSOR),
    "a tensor that is used twice": (header([{"t": 0}, {"t": 0}], [["float32", [2]]]), TENSOR),
    "a tensor nobody uses": (header(1, [["float32", [2]]]), TENSOR),
    "an unknown dtype": (header({"t": 0}, [["object", [1]]]), b"\x00" * 8),
    "a dtype that is a list": (header({"t": 0}, [[[], [1]]]), b"\x00" * 8),
    "a shape that is a number": (header({"t": 0}, [["float32", 2]]), TENSOR),
    "a negative size": (header({"t": 0}, [["float32", [-2, -1]]]), TENSOR),
    "a size that is a float": (header({"t": 0}, [["float32", [2.0]]]), TENSOR),
    "a size that is true": (header({"t": 0}, [["float32", [2, True]]]), TENSOR),
    "too few bytes": (header({"t": 0}, [["float32", [3]]]), TENSOR),
    "too many bytes": (header({"t": 0}, [["float32", [1]]]), TENSOR),
    "bytes and no tensor": (header(1), TENSOR),
    "an enormous shape and a tiny body": (header({"t": 0}, [["float32", [2**40, 2**40]]]), TENSOR),
    "a shape that overflows to the right size": (header({"t": 0}, [["uint8", [2**62, 4, 2]]]), b""),
    "an enormous shape hidden by a zero": (header({"t": 0}, [["uint8", [0, 2**62]]]), b""),
    "17 dimensions": (header({"t": 0}, [["float32", [1] * 16 + [2]]]), TENSOR),
    "a table that is an object": (b'{"v": {"d": []}, "t": {}}', b""),
    "5000 tensors": (header([{"t": i} for i in range(5000)], [["uint8", [0]]] * 5000), b""),
    "padding that is not zero": (header([{"t": 0}, {"t": 1}], [["uint8", [1]]] * 2), b"\x01" * 65),
    "an unknown dtype name": (header({"y": "object"}), b""),
    "a dtype that is a dict": (header({"y": {}}), b""),
    "an unknown device": (header({"e": "cuda:0; rm -rf /"}), b""),
    "a reference that is short": (header({"r": [1]}), b""),
    "a reference with a float": (header({"r": [1.0, "x", True, False]}), b""),
    "a reference with a long name": (header({"r": [1, "x" * 1000, True, False]}), b""),
    "a reference that is negative": (header({"r": [-1, "x", True, False]}), b""),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_frame_is_refused_quickly(name):
    begin = time.process_time()
    refused(*MALFORMED[name])
    assert time.process_time() - begin < 2.0


def test_a_frame_without_these_faults_is_accepted():
    got = decode(header([{"t": 0}, {"f": "nan"}, {"r": [1, "x", True, False]}], [["float32", [2]]]), TENSOR)["value"]
    assert got[0].tolist() == [1.0, 1.0]
    assert math.isnan(got[1])
    assert got[2] == Ref(1, "x", True, False)


@pytest.mark.parametrize(
    ("caps", "value"),
    [
        (Caps(depth=3), [[[[1]]]]),
        (Caps(items=4), [1, 2, 3]),
        (Caps(tensors=1), [torch.zeros(1), torch.zeros(1)]),
        (Caps(ndim=1), torch.zeros(1, 1)),
        (Caps(body_bytes=7), torch.zeros(2)),
        (Caps(text=2), "abc"),
        (Caps(header_bytes=64), "a" * 64),
    ],
)
def test_every_cap_holds_on_both_sides(caps, value):
    round_trip(value)
    with pytest.raises(WireError):
        encode({"value": value}, caps)
    prefix, *body = encode({"value": value})
    refused(bytes(prefix)[PREFIX.size :], b"".join(body), caps)


def test_two_tensors_of_a_frame_share_no_memory():
    first, second = round_trip([torch.zeros(3), torch.zeros(3)])
    first.resize_(100).fill_(1.0)
    assert second.tolist() == [0.0, 0.0, 0.0]


def test_random_damage_to_frames_is_decoded_or_refused():
    tally = fuzz(cases=2000, seed=0)
    assert tally["decoded"] > 0
    assert tally["refused"] > 0


@pytest.mark.parametrize("check", ["scalar", "tensor", "dict_of"])
def test_the_fuzzer_finds_a_check_that_is_missing(monkeypatch, check):
    careless = {
        "scalar": lambda self, v, kind: v,
        "tensor": lambda self, content, depth: self.tensors.pop(),
        "dict_of": lambda self, content, depth: {key: self.value(item, depth + 1) for key, item in content},
    }
    monkeypatch.setattr(_Decoder, check, careless[check])
    with pytest.raises((AssertionError, ExceptionGroup)):
        fuzz(cases=3000, seed=0)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def soon(seconds: float = 5.0) -> Deadline:
    return at(time.monotonic() + seconds)


def test_messages_cross_a_socket_in_order(pair):
    ours, theirs = pair
    for number in range(3):
        send(theirs, {"id": number, "x": torch.full((2,), float(number))}, soon())
    assert [receive(ours, Caps(), soon())["x"].tolist() for _ in range(3)] == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]


def test_an_end_between_frames_is_none_and_an_end_inside_one_is_an_error(pair):
    ours, theirs = pair
    blob = b"".join(bytes(part) for part in encode({"x": torch.ones(4)}))
    theirs.sendall(blob + blob[:-1])
    theirs.close()
    assert receive(ours, Caps(), soon())["x"].tolist() == [1.0] * 4
    with pytest.raises(Truncated):
        receive(ours, Caps(), soon())
    assert receive(ours, Caps(), soon()) is None


def test_a_slow_dribble_does_not_outlast_the_deadline(pair):
    ours, theirs = pair
    blob = b"".join(bytes(part) for part in encode({"x": "y" * 1000}))
    stop = threading.Event()

    def dribble() -> None:
        for byte in blob:
            if stop.wait(0.02):
                return
            theirs.send(bytes([byte]))

    thread = threading.Thread(target=dribble)
    thread.start()
    try:
        with pytest.raises(TimeoutError):
            receive(ours, Caps(), soon(0.3))
        assert thread.is_alive(), "the peer had more to say"
    finally:
        stop.set()
        thread.join()


def test_a_peer_that_does_not_read_does_not_outlast_the_deadline(pair):
    with pytest.raises(TimeoutError):
        send(pair[0], {"x": torch.zeros(4 << 20)}, soon(0.3))


def test_a_deadline_that_is_put_off_while_it_passes_is_obeyed(pair):
    ours, theirs = pair
    asked = []

    def put_off() -> float:
        asked.append(time.monotonic())
        if len(asked) == 3:
            send(theirs, {"x": 7})
        return asked[-1] + 0.05

    assert receive(ours, Caps(), put_off)["x"] == 7
    assert len(asked) >= 3
    with pytest.raises(TimeoutError):
        receive(ours, Caps(), lambda: asked[0])


def test_a_machine_that_is_slow_to_run_us_again_does_not_make_a_deadline_pass(pair):
    ours, theirs = pair
    send(theirs, {"x": 7})

    def slow() -> float:
        moment = time.monotonic() + 0.05
        time.sleep(0.1)  # somebody else is run meanwhile
        return moment

    assert receive(ours, Caps(), slow)["x"] == 7


@pytest.mark.parametrize(
    "prefix",
    [
        b"HTTP/1.1 200 OK\r\n",
        struct.pack("<4sIQ", b"AGW1", 0xFFFFFFFF, 0),
        struct.pack("<4sIQ", b"AGW1", 10, 0xFFFFFFFFFFFFFFFF),
        struct.pack("<4sIQ", b"AGW1", 10, (256 << 20) + 1),
    ],
)
def test_a_prefix_that_claims_too_much_is_refused_before_memory_is_taken(pair, prefix):
    pair[1].sendall(prefix[:16])
    with pytest.raises(WireError):
        receive(pair[0], Caps(), soon())


def test_64_megabytes_cross_without_an_error_and_without_being_copied_again_and_again(pair):
    ours, theirs = pair
    sent = torch.arange(16 << 20, dtype=torch.float32)
    thread = threading.Thread(target=send, args=(theirs, {"x": sent}, soon(100)))
    begin = time.process_time()
    thread.start()
    got = receive(ours, Caps(), soon(100))["x"]
    assert time.process_time() - begin < 5.0  # of CPU time; it takes a tenth
    thread.join()
    assert torch.equal(got, sent)
