"""The worker's operations on the student's objects; the oracle is torch itself, called directly."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from autograder.worker.calling import Fault
from autograder.worker.objects import LIVE_LIMIT, Objects
from autograder.worker.replies import reply_to
from autograder.worker.wire import Ref, encode

F64 = torch.float64


class Net(nn.Module):
    def __init__(self, n: int = 3, dtype: torch.dtype = F64) -> None:
        super().__init__()
        self.inner = nn.Linear(n, n, dtype=dtype)
        self.unused = nn.Parameter(torch.ones(2, dtype=dtype))
        self.drop = nn.Dropout(0.5)
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x).tanh()

    def log_prob(self, x: torch.Tensor, y: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        return (scale * self(x) * y).sum(1)

    def noisy(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(x) + torch.randn_like(x)

    def is_training(self) -> list[bool]:
        return [part.training for part in self.modules()]

    @property
    def broken(self) -> int:
        return self.inner.nothing_of_this_name


class Box:
    """A small world: objects by name, with the handle of each."""

    def __init__(self, **names: Any) -> None:
        self.objects = Objects({"early": {"only_early": 1}}, names)

    def do(self, op: str, **fields: Any) -> Any:
        return self.objects.handle(op, fields)

    def call(self, name: str, *args: Any, method: str | None = None, **options: Any) -> Any:
        target = {"scope": None, "name": name}
        return self.do("call", target=target, method=method, args=args, **options)


def named(name: str) -> dict[str, Any]:
    return {"scope": None, "name": name}


def test_resolve_gives_data_as_data_and_objects_as_references() -> None:
    box = Box(n=3, net=Net())
    assert box.do("resolve", scope=None, name="n") == 3
    ref = box.do("resolve", scope=None, name="net")
    assert (type(ref), ref.type, ref.callable, ref.module) == (Ref, "Net", True, True)


def test_resolve_looks_into_the_snapshot_it_is_given() -> None:
    box = Box(n=3)
    assert box.do("resolve", scope="early", name="only_early") == 1
    with pytest.raises(Fault, match="`n` is not defined when cell `early` ends"):
        box.do("resolve", scope="early", name="n")
    with pytest.raises(Fault, match="cell `late` is not in the notebook or never ran"):
        box.do("resolve", scope="late", name="n")
    with pytest.raises(Fault, match="`only_early` is not defined at the end of the notebook"):
        box.do("resolve", scope=None, name="only_early")


def test_references_in_arguments_are_exchanged_for_their_objects_however_deep() -> None:
    net = Net()
    box = Box(net=net, found=lambda nested: nested["a"][0][1] is net)
    ref = box.do("resolve", scope=None, name="net")
    assert box.call("found", {"a": ([0, ref],)}) is True


def test_objects_inside_containers_come_back_as_references() -> None:
    box = Box(make=lambda: {"nets": [Net(), (1, Net())], "law": torch.distributions.Normal(0.0, 1.0), "f": len})
    value = box.call("make")
    kinds = [value["nets"][0].type, value["nets"][1][1].type, value["law"].type, value["f"].callable]
    assert kinds == ["Net", "Net", "Normal", True]
    assert value["nets"][1][0] == 1


def test_calls_record_no_gradient_unless_asked() -> None:
    box = Box(net=Net(), mode=lambda: torch.is_grad_enabled())
    assert box.call("mode") is False
    assert box.call("mode", grad=True) is True


def test_a_kept_result_keeps_its_graph_until_released() -> None:
    net = Net()
    box = Box(net=net)
    loss = box.call("net", torch.ones(2, 3, dtype=F64), grad=True, keep=True)
    total = box.do("call", target=loss, method="sum", grad=True, keep=True)
    box.do("call", target=total, method="backward")
    assert net.inner.weight.grad is not None
    box.do("release", ids=[total.id])
    with pytest.raises(LookupError, match="not held here any more"):
        box.do("call", target=total, method="item")


def test_mode_is_set_for_a_method_and_every_part_is_restored() -> None:
    net = Net()
    net.drop.eval()
    before = net.is_training()
    box = Box(net=net)
    assert box.call("net", method="is_training", mode="eval") == [False] * len(before)
    assert box.call("net", method="is_training", mode="train") == [True] * len(before)
    assert net.is_training() == before
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        box.call("net", torch.ones(1, 99, dtype=F64), mode="eval")
    assert net.is_training() == before


def test_a_seed_fixes_torch_numpy_and_random_and_leaves_no_trace() -> None:
    box = Box(draw=lambda: (torch.rand(()).item(), float(np.random.rand()), random.random()))
    torch.manual_seed(0)
    undisturbed = torch.rand(3)
    torch.manual_seed(0)
    first, second, other = box.call("draw", seed=5), box.call("draw", seed=5), box.call("draw", seed=6)
    assert first == second
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert torch.equal(torch.rand(3), undisturbed)


def test_echo_shows_what_the_call_did_to_its_arguments() -> None:
    def spoil(x: torch.Tensor, y: torch.Tensor) -> int:
        x.add_(1)
        return 0

    out = Box(spoil=spoil).call("spoil", torch.zeros(2), torch.zeros(2), echo=True)
    assert out["value"] == 0
    assert [a.tolist() for a in out["args"]] == [[1.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("name", "method", "args", "kwargs", "sentence"),
    [
        ("net", "log_prob", (1,), {}, "`Net.log_prob` takes (x, y, *, scale=1.0); it was called with (x)"),
        ("net", None, (1, 2), {}, "`Net` takes (x); it was called with (x, another int)"),
        ("Net", None, (1, 2), {"w": 1}, "`Net` takes (n=3, dtype=…); it was called with (n, dtype, w=…)"),
        ("f", None, (), {"b": 1}, "`f` takes (a, *rest, **more); it was called with (b=…)"),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    name: str, method: str | None, args: Any, kwargs: Any, sentence: str
) -> None:
    def f(a: int, *rest: int, **more: int) -> None: ...

    with pytest.raises(Fault) as fault:
        Box(net=Net(), Net=Net, f=f).call(name, *args, method=method, kwargs=kwargs)
    assert (fault.value.kind, fault.value.message) == ("signature", sentence)


def test_a_type_error_from_inside_is_an_exception_of_the_students() -> None:
    def f(x: int) -> Any:
        return x + "a"  # type: ignore[operator]

    box = Box(f=f)
    reply = reply_to(box.objects.handle, "call", {"target": named("f"), "args": [1]})
    assert (reply["error"]["kind"], reply["error"]["type"]) == ("exception", "TypeError")
    assert 'return x + "a"' in reply["error"]["where"]


class Where(nn.Module):
    """Says where its arguments lie; "meta" stands for a GPU, which has no data here either."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, device=device))

    def forward(self, x: torch.Tensor, *more: Any, **named: Any) -> list[str]:
        tensors = [x, *(m for m in more if isinstance(m, torch.Tensor)), *(t for ts in named.values() for t in ts)]
        return [t.device.type for t in tensors]


def test_tensors_follow_the_model_they_are_for_to_its_device() -> None:
    def first_argument(model: nn.Module, x: torch.Tensor) -> str:
        return x.device.type

    there, here = Where("meta"), Where("cpu")
    box = Box(there=there, here=here, bound=there.forward, function=first_argument, apart=lambda x: x.device.type)
    x = torch.ones(2)
    assert box.call("there", x, 3, x, kwargs={"a": [x], "b": (x, x)}) == ["meta"] * 5
    assert box.call("there", x, method="forward") == box.call("bound", x) == ["meta"]
    assert box.call("function", box.do("resolve", scope=None, name="there"), x) == "meta"
    assert box.call("here", x, kwargs={"a": [x]}) == ["cpu"] * 2
    assert box.call("apart", x) == "cpu"


def test_builtins_without_a_signature_are_just_called() -> None:
    assert Box(dict=dict, max=max).call("max", 1, 2) == 2
    assert Box(dict=dict).call("dict", [("a", 1)]) == {"a": 1}


def test_a_missing_method_and_a_property_that_fails_inside_are_told_apart() -> None:
    box = Box(net=Net(), plain=PlainBroken())
    with pytest.raises(Fault, match="`Net` has no attribute `sample`") as fault:
        box.call("net", method="sample")
    assert fault.value.kind == "missing"
    with pytest.raises(AttributeError, match="nothing_here"):
        box.do("getattr", target=named("plain"), name="broken")


class PlainBroken:
    @property
    def broken(self) -> int:
        return self.nothing_here  # type: ignore[attr-defined,no-any-return]


def test_attributes_are_read_and_written() -> None:
    net = Net()
    box = Box(net=net)
    box.do("setattr", target=named("net"), name="flag", value=(1, "a"))
    assert box.do("getattr", target=named("net"), name="flag") == (1, "a")
    box.do("setattr", target=named("net"), name="unused", value=torch.zeros(2, dtype=F64))
    assert isinstance(net.unused, nn.Parameter)
    assert net.unused.tolist() == [0.0, 0.0]


def test_state_goes_out_and_in() -> None:
    one, two = Net(), Net()
    state = Box(net=one).do("state_dict", target=named("net"))
    Box(net=two).do("load_state_dict", target=named("net"), state=dict(state))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    with pytest.raises(RuntimeError, match="Missing key"):
        Box(net=two).do("load_state_dict", target=named("net"), state={})
    with pytest.raises(Fault, match=r"torch\.nn\.Module was expected, `int` is none"):
        Box(n=1).do("state_dict", target=named("n"))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_perturbing_moves_every_parameter_by_the_same_noise_each_time_and_no_buffer(dtype: torch.dtype) -> None:
    one, two = Net(dtype=dtype), Net(dtype=dtype)
    two.load_state_dict(one.state_dict())
    before = [p.clone() for p in one.parameters()]
    for net in (one, two):
        Box(net=net).do("perturb", target=named("net"), std=0.2, seed=7)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert all((a != b).all() for a, b in zip(one.parameters(), before, strict=True))
    assert one.count == 0
    wide = nn.Linear(200, 200)
    nn.init.zeros_(wide.weight)
    Box(net=wide).do("perturb", target=named("net"), std=0.2, seed=7)
    assert abs(wide.weight.std().item() - 0.2) < 4 * 0.2 / (2 * 40_000) ** 0.5


def test_perturbing_leaves_a_frozen_mask_alone_unless_everything_is_frozen() -> None:
    net = nn.Linear(3, 3)
    net.mask = nn.Parameter(torch.ones(3, 3).tril(), requires_grad=False)
    Box(net=net).do("perturb", target=named("net"), std=0.2, seed=7)
    assert torch.equal(net.mask, torch.ones(3, 3).tril())
    frozen = nn.Linear(3, 3).requires_grad_(False)
    before = frozen.weight.clone()
    Box(net=frozen).do("perturb", target=named("net"), std=0.2, seed=7)
    assert (frozen.weight != before).all()


def test_signature_lists_what_can_be_given() -> None:
    found = Box(net=Net()).do("signature", target=named("net"), method="log_prob")
    assert [(p["name"], p["kind"], p["default"]) for p in found["parameters"]] == [
        ("x", "positional_or_keyword", False),
        ("y", "positional_or_keyword", False),
        ("scale", "keyword_only", True),
    ]
    assert Box(f=lambda *a, **k: 0).do("signature", target=named("f")) == {
        "parameters": [],
        "var_args": True,
        "var_kwargs": True,
    }
    assert Box(max=max).do("signature", target=named("max")) is None


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_gradients_are_those_of_autograd(dtype: torch.dtype) -> None:
    net = Net(dtype=dtype)
    x, y = torch.randn(4, 3, dtype=dtype), torch.randn(4, 3, dtype=dtype)
    cotangent = torch.randn(4, dtype=dtype)
    box = Box(net=net)
    of = box.do("resolve", scope=None, name="net")
    found = box.do(
        "gradient", target=of, method="log_prob", args=(x,), kwargs={"y": y}, wrt=[0, "y"], cotangent=cotangent,
        parameters_of=of,
    )  # fmt: skip
    leaf, leaf_y = x.clone().requires_grad_(), y.clone().requires_grad_()
    output = net.log_prob(leaf, leaf_y)
    wanted = torch.autograd.grad(output, [leaf, leaf_y, *net.inner.parameters()], cotangent)
    for got, want in zip([*found["inputs"], *found["parameters"].values()][:2], wanted[:2], strict=True):
        assert got.dtype == dtype
        assert torch.equal(got, want)
    assert list(found["parameters"]) == ["unused", "inner.weight", "inner.bias"]
    assert found["parameters"]["unused"] is None
    assert torch.equal(found["parameters"]["inner.weight"], wanted[2])
    assert torch.equal(found["value"], output)
    assert all(p.grad is None for p in net.parameters())


def test_an_output_without_a_graph_gives_no_gradient_and_no_error() -> None:
    found = Box(f=lambda x: x.detach(), net=Net()).do("gradient", target=named("f"), args=(torch.ones(2),), wrt=[0])
    assert found["inputs"] == [None]
    found = Box(f=lambda x, y: y).do("gradient", target=named("f"), args=(torch.ones(2), torch.ones(2)), wrt=[0, 1])
    assert found["inputs"][0] is None
    assert found["inputs"][1].tolist() == [1.0, 1.0]


def test_a_frozen_parameter_gets_no_gradient() -> None:
    net = Net()
    net.inner.bias.requires_grad_(False)
    box = Box(net=net)
    of = box.do("resolve", scope=None, name="net")
    found = box.do("gradient", target=of, args=(torch.ones(1, 3, dtype=F64),), parameters_of=of)
    assert found["parameters"]["inner.bias"] is None
    assert found["parameters"]["inner.weight"] is not None


def test_gradients_are_found_where_a_notebook_switched_them_off_for_good() -> None:
    torch.set_grad_enabled(False)
    try:
        box = Box(f=lambda x: x.square())
        found = box.do("gradient", target=named("f"), args=(torch.ones(2),), wrt=[0])
        matrix = box.do("jacobian", target=named("f"), args=(torch.ones(2),))
    finally:
        torch.set_grad_enabled(True)
    assert found["inputs"][0].tolist() == [2.0, 2.0]
    assert matrix.tolist() == [[2.0, 0.0], [0.0, 2.0]]


def test_second_order_gradients_reach_through_a_gradient_the_student_takes() -> None:
    def penalty(x: torch.Tensor) -> torch.Tensor:
        (slope,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
        return slope.sum()

    found = Box(f=penalty).do("gradient", target=named("f"), args=(torch.tensor([2.0]),), wrt=[0])
    assert found["inputs"][0].tolist() == [12.0]  # d(3x²)/dx = 6x


class Result:
    def __init__(self, z: torch.Tensor) -> None:
        self.z = z


@pytest.mark.parametrize(
    ("make", "output"),
    [
        (lambda x: (1, x * 3), 1),
        (lambda x: {"loss": x * 3}, "loss"),
        (lambda x: {0: x * 3}, 0),
        (lambda x: Result(x * 3), "z"),
        (lambda x: [0, x * 3], -1),
    ],
)
def test_the_part_of_a_result_that_is_differentiated_can_be_chosen(make: Any, output: Any) -> None:
    found = Box(f=make).do("gradient", target=named("f"), args=(torch.ones(2),), wrt=[0], output=output)
    assert found["inputs"][0].tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("make", "options", "sentence"),
    [
        (lambda x: x.tolist(), {}, "returned a list where a tensor was expected"),
        (lambda x: (x,), {"output": 1}, "returned a tuple without the part 1"),
        (lambda x: x, {"cotangent": torch.ones(3)}, "returned another shape: (3,) was expected, got (2,)"),
        (lambda x: x, {"wrt": ["y"]}, "was called without an argument 'y'"),
        (lambda x: {"z": 1}, {"output": "z"}, "returned a int as its part 'z' where a tensor was expected"),
    ],
)
def test_a_result_that_can_not_be_differentiated_is_described(make: Any, options: Any, sentence: str) -> None:
    with pytest.raises(Fault) as fault:
        Box(f=make).do("gradient", target=named("f"), args=(torch.ones(2),), **{"wrt": [0], **options})
    assert sentence in fault.value.message


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_the_jacobian_is_that_of_jacrev(dtype: torch.dtype) -> None:
    net = Net(dtype=dtype)
    x = torch.randn(2, 3, dtype=dtype)
    got = Box(net=net).do("jacobian", target=named("net"), args=(x,))
    assert got.shape == (2, 3, 2, 3)
    torch.testing.assert_close(got, torch.func.jacrev(net)(x), rtol=0, atol=0 if dtype == F64 else 1e-6)


def test_the_jacobian_of_in_place_and_branching_code_is_right() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        x.mul_(2)  # writes into its argument
        out = torch.zeros(2, dtype=x.dtype)
        out[0] = x[0] * x[1] if x[0].item() > 0 else x[1]
        return out

    got = Box(f=f).do("jacobian", target=named("f"), args=(torch.tensor([1.0, 3.0], dtype=F64),))
    assert got.tolist() == [[12.0, 4.0], [0.0, 0.0]]  # out_0 = 4 x_0 x_1


def test_the_jacobian_of_an_operation_without_a_batching_rule_is_right() -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            return torch.from_numpy(grad.numpy()) * 3 * x**2  # NumPy knows no batched tensors

    got = Box(f=Cube.apply).do("jacobian", target=named("f"), args=(torch.tensor([1.0, 2.0], dtype=F64),))
    assert got.tolist() == [[3.0, 0.0], [0.0, 12.0]]


def test_a_jacobian_of_something_constant_is_zero_and_a_huge_one_is_refused() -> None:
    box = Box(f=lambda x: torch.ones(3), g=lambda x: x.expand(5000, 2))
    assert box.do("jacobian", target=named("f"), args=(torch.ones(2),)).tolist() == [[0.0, 0.0]] * 3
    with pytest.raises(Fault, match="at most 4096 rows and columns, asked for 10000 × 2"):
        box.do("jacobian", target=named("g"), args=(torch.ones(2),))


def test_more_rows_than_one_pass_takes_come_out_in_order() -> None:
    x = torch.arange(700, dtype=F64)
    got = Box(f=lambda x: x * x).do("jacobian", target=named("f"), args=(x,))
    assert torch.equal(got, torch.diag(2 * x))


def test_recorders_report_what_they_saw_and_nothing_else_is_a_recorder() -> None:
    box = Box(net=Net(), use=lambda f, x: f(x, t=[torch.ones(1)]).add_(1))
    recorder = box.do("probe", name="Recorder")
    box.call("use", recorder, torch.ones(2))
    (call,) = box.do("records", target=recorder)
    assert call["args"][0].tolist() == [1.0, 1.0]
    assert call["kwargs"]["t"][0].tolist() == [1.0]
    with pytest.raises(Fault, match="a Net is not a recorder"):
        box.do("records", target=named("net"))


def test_the_number_of_live_references_is_bounded() -> None:
    box = Box()
    box.objects._live = dict.fromkeys(range(LIVE_LIMIT), (None, None))
    with pytest.raises(Fault, match="still in use"):
        box.objects.ref(object())


def test_a_call_first_looks_into_the_scope_its_target_came_from() -> None:
    looked = []

    class Watched(dict[str, Any]):
        def __init__(self, label: str, **names: Any) -> None:
            super().__init__(**names)
            self.label = label

        def __len__(self) -> int:
            looked.append(self.label)
            return super().__len__()

    objects = Objects({"a": Watched("a", net=Net())}, Watched("end", net=Net()))
    early = objects.handle("resolve", {"scope": "a", "name": "net"})
    inner = objects.handle("getattr", {"target": early, "name": "inner"})
    objects.handle("resolve", {"scope": None, "name": "net"})
    assert looked[-1] == "end"
    objects.handle("getattr", {"target": inner, "name": "in_features"})  # an object found through one of that scope
    assert looked[-1] == "a"


def test_a_reference_of_one_worker_means_nothing_in_the_next() -> None:
    one, two = Box(net=Net()), Box(net=Net())
    ref = one.do("resolve", scope=None, name="net")
    two.do("resolve", scope=None, name="net")
    with pytest.raises(LookupError):
        two.do("call", target=ref, method="is_training")


# hostile values


class EqualToAll:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __getattr__(self, name: str) -> Any:
        return self

    def __array__(self) -> Any:
        return np.ones(3)


class LyingTensor(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return True


class LyingFloat(float):
    def __float__(self) -> float:
        return 42.0

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class LyingDict(dict[Any, Any]):
    def items(self) -> Any:
        return [("score", 100)]

    def __iter__(self) -> Any:
        return iter(["score"])

    def keys(self) -> Any:
        return ["score"]


class LyingList(list[Any]):
    def __len__(self) -> int:
        return 10**9

    def __iter__(self) -> Any:
        while True:
            yield 1


class PretendsInt:
    @property
    def __class__(self) -> Any:
        return int


def crossed(value: Any) -> Any:
    """What arrives on the other side of the wire."""
    from autograder.worker.wire import PREFIX, decode

    reply = reply_to(Box(f=lambda: value).objects.handle, "call", {"target": named("f")})
    prefix, *body = encode(reply)
    return decode(bytes(prefix)[PREFIX.size :], b"".join(bytes(part) for part in body))["value"]


def test_hostile_values_arrive_as_plain_data_or_as_references() -> None:
    assert type(crossed(EqualToAll())) is Ref
    assert type(crossed(PretendsInt())) is Ref
    tensor = crossed(torch.Tensor._make_subclass(LyingTensor, torch.tensor([1.0, 2.0])))
    assert (type(tensor), tensor.tolist()) == (torch.Tensor, [1.0, 2.0])
    assert (type(crossed(LyingFloat(1.5))), crossed(LyingFloat(1.5))) == (float, 1.5)
    assert type(crossed(LyingDict(a=1))) is Ref
    assert type(crossed(LyingList([7, 8]))) is Ref
    assert type(crossed({(1, 2): 3})) is Ref
    assert type(crossed(np.array([object()]))) is Ref
    assert crossed((np.float64(0.5), np.int32(3), np.bool_(True))) == (0.5, 3, True)


class Cache(NamedTuple):
    keys: list[torch.Tensor]
    length: int


def test_a_container_of_the_students_own_class_comes_back_to_them_as_what_it_was() -> None:
    def step(cache: Cache | None = None) -> tuple[torch.Tensor, Cache]:
        return torch.ones(2), Cache([torch.ones(1)], 1 if cache is None else cache.length + 1)

    box = Box(step=step)
    _, cache = box.do("call", target=named("step"))
    assert (type(cache), cache.type) == (Ref, "Cache")
    _, cache = box.do("call", target=named("step"), args=[cache])
    assert box.do("getattr", target=cache, name="length") == 2


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Cache([], 3), ([], 3)),
        (LyingDict(a=1), {"a": 1}),
        (LyingList([7, [8]]), [7, [8]]),
    ],
)
def test_what_such_a_container_holds_can_be_asked_whatever_it_says_itself(value: Any, plain: Any) -> None:
    box = Box(value=value)
    ref = box.do("resolve", scope=None, name="value")
    assert box.do("contents", target=ref) == plain
    with pytest.raises(Fault, match="no tuple, list or dictionary"):
        Box(f=print).do("contents", target=named("f"))


def test_containers_of_libraries_are_data() -> None:
    assert crossed(torch.ones(2, 3).shape) == (2, 3)
    largest, place = crossed(torch.tensor([1.0, 5.0, 2.0]).max(0))
    assert (largest.item(), place.item()) == (5.0, 1)
    assert crossed(OrderedDict(a=1)) == {"a": 1}
    assert crossed(defaultdict(list, a=[1])) == {"a": [1]}


class Masked(nn.Module):
    """A parametrization without an inverse."""

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.mask


class Doubled(nn.Module):
    """A parametrization with one."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / 2


@pytest.mark.parametrize("parametrization", [Masked(torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])), Doubled()])
def test_a_parametrized_layer_is_known_by_the_names_of_its_layer(parametrization: nn.Module) -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    register_parametrization(net[0], "weight", parametrization)
    box = Box(net=net)
    weight, bias, x = torch.randn(2, 3), torch.randn(2), torch.randn(4, 3)
    state = box.do("state_dict", target=named("net"))
    box.do("load_state_dict", target=named("net"), state=state | {"0.weight": weight, "0.bias": bias})
    effective = weight * parametrization.mask if isinstance(parametrization, Masked) else weight
    torch.testing.assert_close(net(x), torch.tanh(x @ effective.T + bias))
    ref = box.do("resolve", scope=None, name="net")
    found = box.do("gradient", target=ref, args=[x], parameters_of=ref)["parameters"]
    assert set(found) == {"0.weight", "0.bias"}
    layer = box.do("call", target=ref, method="__getitem__", args=[0])
    box.do("setattr", target=layer, name="weight", value=2 * weight)
    torch.testing.assert_close(net(x), torch.tanh(x @ (2 * effective).T + bias))


def test_a_lazy_layer_is_perturbed_when_its_first_call_has_given_it_values() -> None:
    def after(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
        box = Box(net=net)
        assert set(box.do("state_dict", target=named("net"))) == {"1.weight", "1.bias"}
        box.do("perturb", target=named("net"), std=0.5, seed=seed)
        first = box.do("call", target=named("net"), args=[torch.ones(1, 3)])
        assert torch.equal(first, box.do("call", target=named("net"), args=[torch.ones(1, 3)]))
        return first, net[0].weight.detach().clone(), net[1].weight.detach().clone()

    a, again, other = after(1), after(1), after(2)
    assert all(torch.equal(x, y) for x, y in zip(a, again, strict=True))
    assert not any(torch.equal(x, y) for x, y in zip(a, other, strict=True))


def test_a_gradient_does_not_make_torch_import_its_symbolic_algebra() -> None:
    program = (
        "import sys, torch\nfrom autograder.worker.gradients import gradient, jacobian\nf = torch.nn.Linear(3, 2)\n"
        "gradient(f, [torch.ones(4, 3)], {}, wrt=[0], cotangent=torch.ones(4, 2))\n"
        "jacobian(f, [torch.ones(3)], {}, wrt=0)\nassert 'sympy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_endless_and_huge_structures_are_refused_with_a_sentence() -> None:
    loop: list[Any] = []
    loop.append(loop)
    double: list[Any] = [0]
    for _ in range(50):
        double = [double, double]
    for value in (loop, double, [0] * 300_000):
        with pytest.raises(Fault, match="holds more than 200000 values or is nested too deep") as fault:
            Box(f=lambda value=value: value).call("f")
        assert fault.value.kind == "unsendable"


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "error", [UnreadableError(), SystemExit(0), KeyboardInterrupt(), GeneratorExit(), MemoryError()]
)
def test_whatever_the_student_raises_becomes_a_reply(error: BaseException) -> None:
    def f() -> None:
        raise error

    reply = reply_to(Box(f=f).objects.handle, "call", {"target": named("f")})
    assert (reply["ok"], reply["error"]["kind"], reply["error"]["type"]) == (False, "exception", type(error).__name__)
    assert "raise error" in reply["error"]["where"]
    encode(reply)
