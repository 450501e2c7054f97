"""What a check sees of a notebook: names, handles, and errors with a reason."""

from __future__ import annotations

import contextlib
import copy
import gc
from collections import deque
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autograder.errors import AuthorError, StudentFault, Wrong
from autograder.student import (
    Handle,
    MissingName,
    Student,
    accepts,
    call,
    call_with_echo,
    gradient,
    is_callable,
    is_module,
    jacobian,
    jacobian_blocks,
    keep,
    load_state_dict,
    parameter_gradients,
    parameters,
    parts_with_graph,
    perturb,
    records,
    signature,
    state_dict,
    value_of,
)
from autograder.student.handles import RELEASE_BATCH
from autograder.student.local import LocalChannel
from autograder.vocabulary.known_laws import table_law
from autograder.worker.wire import Ref

F64 = torch.float64


class Net(nn.Module):
    rate = 0.5

    def __init__(self, n: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(n, n, dtype=F64), nn.Linear(n, n, dtype=F64)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x).tanh()
        return x

    def sample(self, count: int, temperature: float = 1.0) -> torch.Tensor:
        return torch.randn(count) * temperature

    def loss(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self(x).square().sum(), "n": torch.tensor(len(x))}


def student(**names: Any) -> Student:
    return Student(LocalChannel(names))


@pytest.fixture
def net() -> Handle:
    torch.manual_seed(0)
    made = student(Net=Net).Net(3)
    assert isinstance(made, Handle)
    return made


def faulted(action: Any) -> StudentFault:
    with pytest.raises(StudentFault) as caught:
        action()
    return caught.value


X = torch.linspace(-1, 1, 12, dtype=F64).reshape(4, 3)


def test_plain_data_is_data_and_the_rest_is_a_handle(net: Handle) -> None:
    everything = student(n=3, names=["a", ("b", {"c": None})], size=torch.ones(2).shape, kind=torch.float32, net=Net(2))
    assert everything.n == 3
    assert everything.names == ["a", ("b", {"c": None})]
    assert everything.size == (2,)
    assert everything.kind is torch.float32
    assert repr(everything.net) == "<Net in the sandbox>"
    assert net.rate == 0.5
    assert type(net(X)) is torch.Tensor
    assert not net(X).requires_grad


def test_handles_reach_through_to_attributes_items_length_and_methods(net: Handle) -> None:
    assert len(net.layers) == 2
    assert [layer.in_features for layer in net.layers] == [3, 3]
    assert net.layers[1].weight.shape == (3, 3)
    assert net.sample(5).shape == (5,)
    net.rate = 0.25
    assert net.rate == 0.25
    assert bool(net)
    assert is_module(net)
    assert is_callable(net.sample)
    assert not is_callable(student(o=object()).o)


def test_a_handle_can_be_an_argument_however_deep_and_stands_for_its_object(net: Handle) -> None:
    own = Student(net._handle_channel)
    made = own.Net(3)
    assert call(lambda d: d["models"][0].rate, {"models": [Net(1)]}) == 0.5  # a plain callable takes any object
    recorder = own.probe("Recorder", inner=made)
    assert torch.equal(recorder(X), made(X))


def test_a_handle_of_another_sandbox_or_a_function_is_refused_as_the_checks_mistake(net: Handle) -> None:
    remote = Handle(Scripted([]), Ref(1, "Net", True, True), deque())
    with pytest.raises(AuthorError, match="got a handle of another sandbox"):
        remote(net)
    with pytest.raises(AuthorError, match="got a function"):
        remote({"f": [lambda: 0]})


def test_missing_names_and_attributes_say_so_and_work_with_hasattr(net: Handle) -> None:
    fault = faulted(lambda: student().at("pixelcnn-mask").MaskedConv2d)
    assert (fault.reason, fault.message) == ("missing", "`MaskedConv2d` is not defined when cell `pixelcnn-mask` ends")
    assert faulted(lambda: net.log_prob).message == "`Net` has no attribute `log_prob`"
    assert not hasattr(net, "log_prob")
    assert hasattr(net, "sample")
    assert not student().has("Net")
    assert student(Net=Net).has("Net")


def test_python_protocols_do_not_reach_through(net: Handle) -> None:
    assert not hasattr(net, "__array__")
    assert not hasattr(net, "__torch_function__")
    assert not hasattr(student(), "__wrapped__")
    assert faulted(lambda: list(net)).message == "`Net` has no attribute `__len__`"
    with pytest.raises(AuthorError, match="can not be copied or pickled"):
        copy.deepcopy(net)


def raises(error: BaseException) -> Any:
    def f() -> None:
        raise error

    return f


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (ValueError("bad shape"), "crash", "your code raised ValueError: bad shape"),
        (KeyError(), "crash", "your code raised KeyError"),
        (SystemExit(0), "crash", "your code raised SystemExit: 0"),
        (MemoryError(), "memory", "your code raised MemoryError"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate"), "memory", "your code raised RuntimeError"),
        (NotImplementedError(), "missing", "this part is not written yet (NotImplementedError)"),
        (NotImplementedError("TODO"), "missing", "this part is not written yet (NotImplementedError: TODO)"),
    ],
)
def test_what_the_student_raises_has_a_reason_a_message_and_their_line(
    error: BaseException, reason: str, message: str
) -> None:
    fault = faulted(student(f=raises(error)).f)
    assert fault.reason == reason
    assert fault.message.startswith(message)
    assert fault.where is not None
    assert fault.where.endswith("raise error")


def test_an_error_outside_the_students_code_shows_no_line_of_ours() -> None:
    fault = faulted(lambda: student(exp=torch.exp).exp("a"))
    assert fault.reason == "crash"
    assert fault.where is None


def test_a_keyboard_interrupt_in_a_notebook_stays_one() -> None:
    with pytest.raises(KeyboardInterrupt):
        student(f=raises(KeyboardInterrupt())).f()


def test_arguments_that_do_not_fit_are_missing_and_named(net: Handle) -> None:
    fault = faulted(lambda: net.sample(1, 2, 3))
    assert fault.reason == "missing"
    assert fault.message == (
        "`Net.sample` takes (count, temperature=1.0); it was called with (count, temperature, another int)"
    )


def test_what_can_not_cross_is_output() -> None:
    assert faulted(student(f=lambda: 2**70).f).reason == "output"
    assert faulted(student(f=lambda: torch.empty(1).expand(10**9)).f).reason == "output"


def test_conditions_of_a_call(net: Handle) -> None:
    assert torch.equal(call(net.sample, 3, seed=1), call(net.sample, 3, seed=1))
    assert not torch.equal(call(net.sample, 3, seed=1), call(net.sample, 3, seed=2))
    assert call(net.sample, 3, temperature=0.0).tolist() == [0.0] * 3
    modes = student(f=lambda: torch.is_grad_enabled(), d=nn.Dropout(0.5))
    assert (call(modes.f), call(modes.f, grad=True)) == (False, True)
    assert call(modes.d, torch.ones(100), mode="eval").sum() == 100
    assert call(modes.d, torch.ones(100), mode="train", seed=0).sum() != 100


def test_echo_shows_the_arguments_after_the_call_and_the_checks_own_stay() -> None:
    x = torch.zeros(2)
    value, (after, text) = call_with_echo(student(f=lambda x, s: x.add_(1)).f, x, "s")
    assert value.tolist() == [1.0, 1.0]
    assert after.tolist() == [1.0, 1.0]
    assert text == "s"
    assert x.tolist() == [0.0, 0.0]


def test_kept_results_stay_with_their_graph(net: Handle) -> None:
    loss = keep(keep(net, X, grad=True).sum, grad=True)
    assert repr(loss) == "<Tensor in the sandbox>"
    loss.backward()
    assert all(parameter.shape == (3, 3) for parameter in [net.layers[0].weight])
    assert torch.equal(net.layers[0].bias, state_dict(net)["layers.0.bias"])
    assert keep(student(n=3, f=lambda: 3).f).real == 3


def test_state_goes_out_and_in_and_perturbing_is_repeatable(net: Handle) -> None:
    before = state_dict(net)
    perturb(net, std=0.2, seed=1)
    moved = state_dict(net)
    assert all(not torch.equal(before[name], moved[name]) for name in before)
    load_state_dict(net, before)
    assert all(torch.equal(before[name], value) for name, value in state_dict(net).items())
    perturb(net, std=0.2, seed=1)
    assert all(torch.equal(moved[name], value) for name, value in state_dict(net).items())


def test_gradients_and_jacobians_are_those_of_autograd(net: Handle) -> None:
    twin = Net(3)
    twin.load_state_dict(state_dict(net))
    cotangent = torch.randn(4, 3, dtype=F64)
    leaf = X.clone().requires_grad_()
    wanted = torch.autograd.grad(twin(leaf), [leaf, *twin.parameters()], cotangent)
    assert torch.equal(gradient(net, X, cotangent=cotangent), wanted[0])
    assert torch.equal(gradient(net.forward, X, wrt="x", cotangent=cotangent), wanted[0])
    found = parameter_gradients(net, X, of=net, cotangent=cotangent)
    for (name, _), want in zip(twin.named_parameters(), wanted[1:], strict=True):
        assert torch.equal(found[name], want)  # type: ignore[arg-type]
    torch.testing.assert_close(jacobian(net, X[0]), torch.func.jacrev(twin)(X[0]), rtol=0, atol=1e-15)


def test_several_gradients_come_as_a_tuple_and_none_where_nothing_depends() -> None:
    f = student(f=lambda x, y: {"a": x * 2, "b": 1}).f
    assert gradient(f, torch.ones(1), torch.ones(1), wrt=1, output="a") is None
    dx, dy = gradient(f, torch.ones(1), torch.ones(1), wrt=(0, 1), output="a")
    assert (dx.tolist(), dy) == ([2.0], None)
    fault = faulted(lambda: gradient(f, torch.ones(1), torch.ones(1)))
    assert isinstance(fault, Wrong)
    assert "returned a dict where a tensor was expected" in fault.message


def test_gradients_of_one_module_through_another_functions_result(net: Handle) -> None:
    own = Student(net._handle_channel)
    critic = own.probe("Linear", torch.ones(3, dtype=F64))
    net.critic = critic
    found = parameter_gradients(net.loss, X, of=net.layers, output="loss")
    assert all(g is not None for g in found.values())
    assert all(g is None for g in parameter_gradients(net.loss, X, of=critic, output="loss").values())


def test_signatures_can_be_asked_for(net: Handle) -> None:
    found = signature(net.sample)
    assert found is not None
    assert [p["name"] for p in found["parameters"]] == ["count", "temperature"]
    assert accepts(net.sample, "temperature")
    assert not accepts(net.sample, "temperature", "init")
    assert accepts(lambda **anything: 0, "init")
    assert accepts(max, "key")  # Python can not tell
    assert not accepts(lambda x, /: 0, "x")


def test_free_functions_take_plain_callables_too() -> None:
    f = Net(3)
    assert torch.equal(call(f, X), f(X).detach())
    assert gradient(lambda x: x**2, torch.tensor([3.0])).item() == 6.0
    assert jacobian(lambda x: x**2, torch.tensor([3.0])).item() == 6.0
    assert set(parameter_gradients(f, X, of=f)) == {name for name, _ in f.named_parameters()}
    assert set(state_dict(f)) == set(f.state_dict())
    perturb(f)
    assert is_module(f)
    assert call(lambda model, x: model(x), f, X).shape == (4, 3)


def test_probes_are_built_with_the_weights_of_the_check() -> None:
    own = student(loss=lambda model, x: (model(x + 1, 0.5) ** 2).mean())
    recorder = own.probe("Recorder")
    assert own.loss(recorder, torch.zeros(2, 2)) == 0
    (seen,) = records(recorder)
    assert seen["args"][0].tolist() == [[1.0, 1.0]] * 2
    assert seen["args"][1] == 0.5
    assert own.loss(own.probe("AffineScore", a=torch.tensor(3.0)), torch.zeros(2, 2)) == 9
    with pytest.raises(ValueError, match="no probe 'Nonsense'; there are Constant, Linear"):
        own.probe("Nonsense")
    assert isinstance(faulted(lambda: records(own.loss)), Wrong)


def test_a_table_can_stand_in_for_a_students_network() -> None:
    class Sampler(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 0

        def log_prob(self, x: torch.Tensor) -> torch.Tensor:
            return -nn.functional.binary_cross_entropy_with_logits(self(x), x, reduction="none").sum((1, 2, 3))

    own = student(Sampler=Sampler)
    table = torch.randn(15, dtype=F64)
    model = own.Sampler()
    model.forward = own.probe("TableConditional", table).forward
    states, law = table_law(table)
    torch.testing.assert_close(model.log_prob(states.reshape(16, 1, 2, 2)), law)


# channels


class Scripted:
    """A channel that answers from a list and remembers what it was asked."""

    def __init__(self, replies: list[Any]) -> None:
        self.replies = replies
        self.asked: list[tuple[str, dict[str, object]]] = []

    def request(self, op: str, **fields: object) -> Any:
        self.asked.append((op, fields))
        reply = self.replies.pop(0) if self.replies else None
        if isinstance(reply, Exception):
            raise reply
        return reply


def test_handles_given_up_are_released_in_batches() -> None:
    channel = LocalChannel({"make": object})
    own = Student(channel)
    make = own.make
    for _ in range(3 * RELEASE_BATCH):
        make()
    gc.collect()
    assert len(channel._objects._live) <= RELEASE_BATCH + 2
    assert type(make()) is Handle  # what is still used stays


def test_a_handle_that_is_copied_or_printed_asks_nothing() -> None:
    channel = Scripted([])
    handle = Handle(channel, Ref(7, "Net", True, True), deque())
    assert repr(handle) == str(handle) == "<Net in the sandbox>"
    assert handle == handle
    assert handle != Handle(channel, Ref(8, "Net", True, True), deque())
    with pytest.raises(AuthorError):
        copy.copy(handle)
    with pytest.raises(AttributeError):
        Handle.__new__(Handle).anything  # noqa: B018 (half a handle)
    assert channel.asked == []


def test_training_runs_unless_a_checkpoint_was_submitted() -> None:
    training = {"bars": {"checkpoint": "bars.pt", "build": "make_bars", "name": "bars_model"}}
    channel = Scripted([{"status": "ok", "error": None}, 3])
    assert Student(channel, "c", training).trained("bars").bars_model == 3
    assert channel.asked == [
        ("train", {"task": "bars", "name": "bars_model"}),
        ("resolve", {"scope": "train:bars", "name": "bars_model"}),
    ]
    channel = Scripted([Ref(1, "Net", True, True), 3])
    assert Student(channel, "c", training, {"bars.pt"}).trained("bars").bars_model == 3
    fields = {"task": "bars", "build": "make_bars", "file": "bars.pt", "name": "bars_model"}
    assert channel.asked[0] == ("checkpoint", fields)


@pytest.mark.parametrize(
    ("outcome", "reason", "message"),
    [
        ({"status": "error", "error": {"type": "ValueError", "message": "x", "where": "cell 9, line 2: y"}}, "crash",
         "the training cell of `bars` failed: ValueError: x"),
        ({"status": "error", "error": {"type": "NotImplementedError", "message": "", "where": None}}, "missing",
         "the training cell of `bars` is not written yet"),
        ({"status": "error", "error": {"type": "MemoryError", "message": "", "where": None}}, "memory",
         "the training cell of `bars` failed: MemoryError: "),
        ({"status": "skipped", "error": None}, "missing",
         "there is no model of `bars`: its training cell is not in the notebook"),
        ({"status": 1}, "tampered", "an answer was not well-formed; something wrote to the grader's channel"),
        (7, "tampered", "an answer was not well-formed; something wrote to the grader's channel"),
    ],
)  # fmt: skip
def test_training_that_fails_says_what_failed_and_where(outcome: Any, reason: str, message: str) -> None:
    fault = faulted(lambda: Student(Scripted([outcome])).trained("bars"))
    assert (fault.reason, fault.message) == (reason, message)
    assert fault.where == ("cell 9, line 2: y" if "ValueError" in message else None)


def test_a_checkpoint_that_does_not_load_is_named() -> None:
    training = {"bars": {"checkpoint": "bars.pt", "build": "make_bars", "name": "bars_model"}}
    channel = Scripted([StudentFault("your code raised RuntimeError: size mismatch", reason="crash")])
    fault = faulted(lambda: Student(channel, None, training, ["bars.pt"]).trained("bars"))
    assert fault.message.startswith("the checkpoint `bars.pt` of `bars` could not be loaded: your code raised")


@pytest.mark.parametrize(
    "reply",
    [
        None, [], {}, {"ok": 1, "value": 0}, {"ok": True}, {"ok": False}, {"ok": False, "error": "no"},
        {"ok": False, "error": {"kind": "exception", "type": "E", "message": 3}},
        {"ok": False, "error": {"kind": "infrastructure", "type": "E", "message": "m", "where": None}},
        {"ok": False, "error": {"kind": "passed", "type": "E", "message": "m", "where": None}},
    ],
)  # fmt: skip
def test_what_is_not_a_reply_is_tampering(reply: Any) -> None:
    assert faulted(lambda: value_of(reply)).reason == "tampered"


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["ok", "value", "error", "kind", "type"]), inner),
)
error_like = st.fixed_dictionaries(
    {},
    optional={
        "ok": st.booleans() | plain,
        "value": plain,
        "error": st.fixed_dictionaries(
            {},
            optional={
                "kind": st.sampled_from(["missing", "wrong", "unsendable", "exception", "signature"]) | plain,
                **dict.fromkeys(("type", "message", "where"), st.text() | plain),
            },
        ),
    },
)


@given(plain | error_like)
def test_no_reply_ends_in_anything_but_a_value_or_a_fault(reply: Any) -> None:
    with contextlib.suppress(StudentFault):
        value_of(reply)
        assert reply["ok"] is True


@pytest.mark.parametrize(
    ("ask", "replies"),
    [
        (lambda h: gradient(h, X), [None, {}, {"inputs": []}, {"inputs": [3]}, {"inputs": [None, None]}]),
        (lambda h: parameter_gradients(h, X, of=h), [None, {"parameters": []}, {"parameters": {"w": "a"}}]),
        (lambda h: jacobian(h, X), [None, 3, [[1.0]]]),
        (lambda h: parameters(h), [3, {1: 2}, {"w": "a"}]),
        (lambda h: parts_with_graph(h, X), [None, "result", [3]]),
        (
            lambda h: jacobian_blocks(h, torch.ones(2, 3)),
            [
                3,
                {"numbers": 3},
                {"numbers": True, "blocks": torch.ones(2, 1, 3)},
                {"numbers": 10**9, "blocks": torch.ones(2, 10**5, 3)},
                {"numbers": 3, "blocks": torch.ones(2, 2, 3)},
                {"numbers": 3, "blocks": torch.ones(2, 3, 2)},
            ],
        ),
        (lambda h: call_with_echo(h, X), [None, {"value": 1}, {"value": 1, "args": ()}]),
        (lambda h: keep(h, X), [None, 3]),
        (lambda h: records(h), [None, [1], [{"args": 1, "kwargs": {}}]]),
        (lambda h: signature(h), [3, {"parameters": 1}, {"parameters": [{"name": 1}], "var_args": 0, "var_kwargs": 0}]),
        (lambda h: state_dict(h), [3, {1: 2}, {"w": "a"}]),
        (lambda h: len(h), [-1, "a", 10**9, True]),
    ],
)
def test_an_answer_of_another_kind_than_asked_for_is_the_students_fault(ask: Any, replies: list[Any]) -> None:
    for reply in replies:
        handle = Handle(Scripted([reply]), Ref(7, "Net", True, True), deque())
        assert faulted(lambda handle=handle: ask(handle)).reason in ("tampered", "wrong")


# hostile objects


class EqualToAll:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __getattr__(self, name: str) -> Any:
        return self

    def __len__(self) -> int:
        return 2**62

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self


class LyingTensor(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return True


class LyingFloat(float):
    def __float__(self) -> float:
        return 0.0

    def __lt__(self, other: float) -> bool:
        return True


class Trap:
    @property
    def value(self) -> int:
        raise RuntimeError("trap")

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return float
        return super().__getattribute__(name)


def test_objects_that_claim_to_be_anything_are_handles_and_never_equal() -> None:
    hostile = student(e=EqualToAll(), t=Trap())
    assert type(hostile.e) is Handle
    assert hostile.e != 1.0
    assert type(hostile.e.anything.at.all) is Handle
    assert type(hostile.e(X)) is Handle
    assert isinstance(faulted(lambda: len(hostile.e)), Wrong)
    assert type(hostile.t) is Handle
    assert faulted(lambda: hostile.t.value).message == "your code raised RuntimeError: trap"
    for action in (lambda h: state_dict(h), lambda h: perturb(h), lambda h: records(h), lambda h: gradient(h, X)):
        assert faulted(lambda action=action: action(hostile.e)).reason in ("crash", "missing", "wrong")


def test_subclasses_arrive_as_what_they_inherit() -> None:
    tensor = torch.Tensor._make_subclass(LyingTensor, torch.tensor([1.0, 2.0]))
    hostile = student(t=tensor, x=LyingFloat(1.5), f=lambda x: tensor)
    assert (type(hostile.t), hostile.t.tolist()) == (torch.Tensor, [1.0, 2.0])
    assert type(hostile.f(X)) is torch.Tensor
    assert (type(hostile.x), hostile.x, hostile.x < 0) == (float, 1.5, False)
    assert gradient(hostile.f, X) is None


def test_a_module_with_a_hostile_state_gives_a_clean_fault() -> None:
    class Liar(nn.Module):
        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            return {"w": "one", "x": object()}

        def named_parameters(self, *args: Any, **kwargs: Any) -> Any:
            return [("w", "one"), ("x", 3)]

    own = student(m=Liar(), f=lambda x: x * 2)
    assert faulted(lambda: state_dict(own.m)).reason in ("tampered", "wrong", "crash")
    assert faulted(lambda: parameter_gradients(own.f, X, of=own.m)).reason in ("tampered", "wrong", "crash")


def test_missing_names_are_attribute_errors_only_in_name() -> None:
    fault = faulted(lambda: student().nothing)
    assert isinstance(fault, MissingName)
    assert isinstance(fault, AttributeError)
    assert isinstance(fault, StudentFault)
