"""The student's notebook as the judge sees it: names, handles and what can be asked of them.

    model = student.MADE(8, hidden=64)          # built in the sandbox: a Handle
    logits = model(x)                           # tensors come back as data
    call(model.log_prob, x, seed=3)             # under a seed
    gradient(model, x, wrt=0)                   # d sum(model(x)) / dx

Everything here also works on plain Python callables, which then run in this process, so that an assertion can be tried
on a function at hand. Errors in the student's code arrive as `errors.StudentFault`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, NoReturn, Protocol

import numpy as np
import torch
from torch import Tensor

from autograder.errors import Reason, StudentFault, Wrong
from autograder.worker.probes import PROBES
from autograder.worker.wire import Ref

Mode = Literal["train", "eval"]

RELEASE_BATCH = 256  # handles given up before the worker is told
LONGEST = 100_000  # elements of an object that are walked through
MESSAGE_LIMIT = 2000


class Channel(Protocol):
    """A way to the student's code."""

    def request(self, op: str, **fields: object) -> Any:
        """Send one request and return the value of its reply.

        Raises:
            StudentFault: an error in the student's code, a time-out, a death; with its reason code.
        """


class MissingName(StudentFault, AttributeError):  # noqa: N818 (a fault of the student, see errors.py)
    """A name or attribute that is not there; an AttributeError, so that `hasattr` and `getattr` defaults work."""

    def __init__(self, message: str, *, where: str | None = None) -> None:
        super().__init__(message, reason="missing", where=where)


def value_of(reply: Any) -> Any:
    """The value of a worker's reply, whatever channel it came through.

    Raises:
        StudentFault: the reply reports an error ("crash", "memory", "missing", "wrong", "output"), or is not a reply
            at all ("tampered").
    """
    if type(reply) is not dict or type(reply.get("ok")) is not bool:
        _tampered("it has no `ok`")
    if reply["ok"]:
        if "value" not in reply:
            _tampered("it has no value")
        return reply["value"]
    error = reply.get("error")
    if type(error) is not dict or any(type(error.get(key)) is not str for key in ("kind", "type", "message")):
        _tampered("its error is not described")
    raise _fault(error["kind"], error["type"][:200], error["message"][:MESSAGE_LIMIT], error.get("where"))


def _fault(kind: str, name: str, message: str, where: Any) -> StudentFault:
    where = where[:MESSAGE_LIMIT] if type(where) is str else None
    if kind in ("missing", "signature"):
        return MissingName(message, where=where)
    if kind == "wrong":
        return Wrong(message)
    if kind == "unsendable":
        return StudentFault(message, reason="output", where=where)
    if kind != "exception":
        _tampered(f"an error of kind {kind[:50]!r}")
    if name == "NotImplementedError":
        words = f": {message}" if message else ""
        return MissingName(f"this part is not written yet (NotImplementedError{words})", where=where)
    out_of_memory = name in ("MemoryError", "OutOfMemoryError") or "DefaultCPUAllocator" in message
    reason: Reason = "memory" if out_of_memory else "crash"
    words = f"{name}: {message}" if message else name
    return StudentFault(f"your code raised {words}", reason=reason, where=where)


def _tampered(detail: str) -> NoReturn:
    message = "an answer was not well-formed; something wrote to the grader's channel"
    raise StudentFault(message, reason="tampered", detail=detail)


class Student:
    """The names of a notebook, as they stood when a cell had run.

    `student.Name` is the value if that is plain data (a number, a tensor, a list of such) and a `Handle` otherwise.

    Args:
        channel: to the student's code.
        scope: grade_id of the cell; None is the end of the notebook.
        training: per task `{"checkpoint": file or None, "build": name of a function without arguments, "name": name the
            trained model has after training}`; "build" and "checkpoint" may be absent.
        files: names of the files submitted beside the notebook.

    Raises:
        MissingName: (on access) the name is not defined there.
    """

    __slots__ = ("_student_channel", "_student_files", "_student_scope", "_student_training")

    def __init__(
        self,
        channel: Channel,
        scope: str | None = None,
        training: Mapping[str, Mapping[str, Any]] | None = None,
        files: Collection[str] = (),
    ) -> None:
        self._student_channel = channel
        self._student_scope = scope
        self._student_training = dict(training or {})
        self._student_files = frozenset(files)

    def __getattr__(self, name: str) -> Any:
        _refuse_own(name, "_student_")
        return self.get(name)

    def __repr__(self) -> str:
        return f"<student at {self._student_scope or 'the end of the notebook'}>"

    def get(self, name: str) -> Any:
        """`student.get("name")` is `student.name`, also for names that this class uses itself."""
        channel = self._student_channel
        return wrap(channel, channel.request("resolve", scope=self._student_scope, name=name))

    def has(self, name: str) -> bool:
        """Whether the name is defined. Other faults (a time-out, a death) are raised."""
        try:
            self.get(name)
        except MissingName:
            return False
        return True

    def at(self, scope: str | None) -> Student:
        """The same notebook as it stood when the cell with this grade_id had run; None is its end."""
        return Student(self._student_channel, scope, self._student_training, self._student_files)

    def probe(self, name: str, *args: Any, **kwargs: Any) -> Handle:
        """A public stub network in the sandbox, to hand to student code: see `worker/probes.py` for what is known.

        Raises:
            ValueError: there is no such probe.
        """
        if name not in PROBES:
            raise ValueError(f"there is no probe {name!r}; there are {', '.join(PROBES)}")
        channel = self._student_channel
        fields = {"args": unwrap(channel, args), "kwargs": unwrap(channel, kwargs)}
        return handle_of(channel, channel.request("probe", name=name, **fields))

    def trained(self, task: str) -> Student:
        """The notebook after the training cells of `task`, or with the submitted checkpoint of it in their place.

        Trains once per sandbox, under a budget of its own.

        Raises:
            StudentFault: there is nothing to train, or the training cell failed ("crash", "memory", "timeout").
        """
        channel, settings = self._student_channel, self._student_training.get(task, {})
        name, checkpoint = settings.get("name"), settings.get("checkpoint")
        if checkpoint is not None and checkpoint in self._student_files:
            _load_checkpoint(channel, task, {"build": settings["build"], "file": checkpoint, "name": name})
        else:
            _check_training(task, channel.request("train", task=task, name=name))
        return self.at(f"train:{task}")


def _load_checkpoint(channel: Channel, task: str, fields: dict[str, object]) -> None:
    """Binds the model's name in the scope; the reference that comes back stays alive for later checks."""
    try:
        channel.request("checkpoint", task=task, **fields)
    except StudentFault as fault:
        if fault.reason != "crash":
            raise
        message = f"the checkpoint `{fields['file']}` of `{task}` could not be loaded: {fault.message}"
        raise StudentFault(message, reason="crash", where=fault.where) from None


def _check_training(task: str, outcome: Any) -> None:
    """Raise what a training cell's outcome says, checked as any untrusted data."""
    if type(outcome) is not dict or type(outcome.get("status")) is not str:
        _tampered("the outcome of training is not described")
    if outcome["status"] == "ok":
        return
    error = outcome.get("error")
    if type(error) is not dict:
        message = f"there is no model of `{task}`: its training cell is not in the notebook"
        raise MissingName(message)
    kind, words = str(error.get("type"))[:200], str(error.get("message"))[:MESSAGE_LIMIT]
    fault = _fault("exception", kind, words, error.get("where"))
    if fault.reason == "missing":
        raise MissingName(f"the training cell of `{task}` is not written yet", where=fault.where)
    message = f"the training cell of `{task}` failed: {kind}: {words}"
    raise StudentFault(message, reason=fault.reason, where=fault.where)


class Handle:
    """An object in the sandbox. Attributes, calls, indexing, `len` and iteration reach through to it.

    Arguments may be tensors, numbers, text, lists, tuples and dictionaries of them, and handles. Plain data comes back
    as plain data; anything else as another handle. Calls run without recording gradients and without a seed; `call`
    sets both.

    Raises:
        StudentFault: whatever goes wrong in the student's code, with its reason code.
        TypeError: (from a check's own mistake) an argument can not be sent.
    """

    __slots__ = ("_handle_channel", "_handle_ref", "_handle_released")

    def __init__(self, channel: Channel, ref: Ref, released: deque[int]) -> None:
        object.__setattr__(self, "_handle_channel", channel)
        object.__setattr__(self, "_handle_ref", ref)
        object.__setattr__(self, "_handle_released", released)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _request(self, "call", args=args, kwargs=kwargs)

    def __getattr__(self, name: str) -> Any:
        _refuse_own(name, "_handle_")
        return _request(self, "getattr", name=name)

    def __setattr__(self, name: str, value: Any) -> None:
        _request(self, "setattr", name=name, value=value)

    def __getitem__(self, key: Any) -> Any:
        return _request(self, "call", method="__getitem__", args=(key,))

    def __len__(self) -> int:
        length = _request(self, "call", method="__len__")
        if type(length) is not int or not 0 <= length <= LONGEST:
            raise Wrong(f"the length of a {self._handle_ref.type} is not a number from 0 to {LONGEST}")
        return length

    def __iter__(self) -> Iterator[Any]:
        return (self[position] for position in range(len(self)))

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<{self._handle_ref.type} in the sandbox>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a handle can not be copied or pickled; the object is in the sandbox")

    def __del__(self) -> None:
        try:
            self._handle_released.append(self._handle_ref.id)  # only noted: a request here could be inside another
        except AttributeError:
            return  # never finished


# the state of a handle


def is_module(h: Any) -> bool:
    """Whether this is a torch module, here or in the sandbox."""
    return h._handle_ref.module if isinstance(h, Handle) else isinstance(h, torch.nn.Module)


def is_callable(h: Any) -> bool:
    """Whether this can be called; `callable(handle)` is true of every handle."""
    return h._handle_ref.callable if isinstance(h, Handle) else callable(h)


def type_name(h: Any) -> str:
    """Name of the class of a value or of the object behind a handle; text from the student, to be escaped."""
    return h._handle_ref.type if isinstance(h, Handle) else type(h).__name__


# what can be asked


def call(
    h: Any, *args: Any, seed: int | None = None, mode: Mode | None = None, grad: bool = False, **kwargs: Any
) -> Any:
    """`h(*args, **kwargs)` under conditions.

    Args:
        seed: of torch, NumPy and `random`, set just before the call and undone after it.
        mode: "train" or "eval" for the module called, or owning the method called; restored afterwards.
        grad: record gradients. What comes back as data is detached in any case.
    """
    return _request(as_handle(h), "call", args=args, kwargs=kwargs, seed=seed, mode=mode, grad=grad)


def keep(
    h: Any, *args: Any, seed: int | None = None, mode: Mode | None = None, grad: bool = False, **kwargs: Any
) -> Handle:
    """As `call`, but the result stays in the sandbox even if it is a tensor: with `grad=True` also its graph."""
    h = as_handle(h)
    result = _request(h, "call", args=args, kwargs=kwargs, seed=seed, mode=mode, grad=grad, keep=True)
    return _must_be_handle(result)


def call_with_echo(
    h: Any, *args: Any, seed: int | None = None, mode: Mode | None = None, grad: bool = False, **kwargs: Any
) -> tuple[Any, tuple[Any, ...]]:
    """As `call`, and the positional arguments as they are after the call: `(value, args_after)`."""
    conditions = {"seed": seed, "mode": mode, "grad": grad}
    both = _request(as_handle(h), "call", args=args, kwargs=kwargs, echo=True, **conditions)
    if type(both) is not dict or type(both.get("args")) is not tuple or len(both["args"]) != len(args):
        _tampered("the arguments did not come back")
    return both.get("value"), both["args"]


def state_dict(h: Any) -> dict[str, Tensor]:
    """Parameters and buffers of a module by name, as copies."""
    state = _request(as_handle(h), "state_dict")
    if type(state) is not dict or not all(type(k) is str and type(v) is Tensor for k, v in state.items()):
        raise Wrong("`state_dict()` is not a dictionary of tensors by name")
    return state


def load_state_dict(h: Any, state: Mapping[str, Tensor]) -> None:
    """Put parameters and buffers into a module; names and shapes must fit exactly."""
    _request(as_handle(h), "load_state_dict", state=dict(state))


def perturb(h: Any, std: float = 0.2, seed: int = 0) -> None:
    """Add std · N(0, 1) to every parameter in place, so that no zero initialisation hides an error."""
    _request(as_handle(h), "perturb", std=float(std), seed=seed)


def signature(h: Any) -> dict[str, Any] | None:
    """What `h` takes: {"parameters": [{"name", "kind", "default"}], "var_args", "var_kwargs"}; None where unknown."""
    found: dict[str, Any] | None = _request(as_handle(h), "signature")
    if found is not None and not _is_signature(found):
        _tampered("a signature did not come back as asked")
    return found


def accepts(h: Any, *names: str) -> bool:
    """Whether `h` can be called with these keyword arguments; True where Python can not tell."""
    found = signature(h)
    if found is None or found["var_kwargs"]:
        return True
    usable = {p["name"] for p in found["parameters"] if p["kind"] != "positional_only"}
    return usable.issuperset(names)


def gradient(
    h: Any,
    *args: Any,
    wrt: int | str | Sequence[int | str] = 0,
    cotangent: Tensor | None = None,
    output: int | str | None = None,
    seed: int | None = None,
    mode: Mode | None = None,
    **kwargs: Any,
) -> Any:
    """d⟨cotangent, h(*args)⟩ / d args[wrt], of the argument's shape; None if the result does not depend on it.

    Args:
        wrt: position or name of a tensor argument; a tuple of them gives a tuple of gradients.
        cotangent: of the output's shape; ones if None.
        output: which part of a tuple, dictionary or object with attributes is differentiated.

    Raises:
        Wrong: the result is not a tensor, or the cotangent does not have its shape.
    """
    several = not isinstance(wrt, (int, str))
    keys = list(wrt) if not isinstance(wrt, (int, str)) else [wrt]
    fields = {"cotangent": cotangent, "output": output, "seed": seed, "mode": mode}
    reply = _request(as_handle(h), "gradient", args=args, kwargs=kwargs, wrt=keys, **fields)
    found = reply.get("inputs") if type(reply) is dict else None
    if type(found) is not list or len(found) != len(keys) or not all(_tensor_or_none(item) for item in found):
        _tampered("gradients did not come back as asked")
    return tuple(found) if several else found[0]


def parameter_gradients(
    h: Any,
    *args: Any,
    of: Any,
    cotangent: Tensor | None = None,
    output: int | str | None = None,
    seed: int | None = None,
    mode: Mode | None = None,
    **kwargs: Any,
) -> dict[str, Tensor | None]:
    """d⟨cotangent, h(*args)⟩ / dθ by name of the parameter of `of`; None for those the result does not depend on."""
    fields = {"cotangent": cotangent, "output": output, "seed": seed, "mode": mode, "parameters_of": of}
    reply = _request(as_handle(h), "gradient", args=args, kwargs=kwargs, wrt=[], **fields)
    found = reply.get("parameters") if type(reply) is dict else None
    if type(found) is not dict or not all(_tensor_or_none(item) for item in found.values()):
        _tampered("gradients did not come back as asked")
    return found


def jacobian(
    h: Any,
    *args: Any,
    wrt: int | str = 0,
    output: int | str | None = None,
    seed: int | None = None,
    mode: Mode | None = None,
    **kwargs: Any,
) -> Tensor:
    """∂h(*args) / ∂args[wrt], shape (*output.shape, *argument.shape), both of at most 4096 numbers."""
    fields = {"output": output, "seed": seed, "mode": mode}
    found = _request(as_handle(h), "jacobian", args=args, kwargs=kwargs, wrt=wrt, **fields)
    if not isinstance(found, Tensor):
        _tampered("a Jacobian did not come back as asked")
    return found


def records(h: Any) -> list[dict[str, Any]]:
    """What a `Recorder` probe was called with, call by call: [{"args": [...], "kwargs": {...}}]."""
    found = _request(as_handle(h), "records")
    shaped = type(found) is list and all(
        type(item) is dict and type(item.get("args")) is list and type(item.get("kwargs")) is dict for item in found
    )
    if not shaped:
        _tampered("records did not come back as asked")
    calls: list[dict[str, Any]] = found
    return calls


# crossing


def as_handle(h: Any) -> Handle:
    """A handle of anything: a plain object is reached through a channel within this process."""
    if isinstance(h, Handle):
        return h
    from autograder.local import LocalChannel  # it builds on this module

    return LocalChannel({}).adopt(h)


def wrap(channel: Channel, value: Any) -> Any:
    """What a check sees of a reply: handles in the place of references."""
    if type(value) is Ref:
        return handle_of(channel, value)
    if type(value) in (list, tuple):
        return type(value)(wrap(channel, item) for item in value)
    if type(value) is dict:
        return {key: wrap(channel, item) for key, item in value.items()}
    return value


def unwrap(channel: Channel, value: Any) -> Any:
    """What is sent of an argument: references in the place of handles.

    Raises:
        TypeError: it is neither data nor a handle of this channel.
    """
    if isinstance(value, Handle) and value._handle_channel is channel:
        return value._handle_ref
    if type(value) is list or isinstance(value, tuple):
        return (list if type(value) is list else tuple)(unwrap(channel, item) for item in value)
    if type(value) is dict:
        return {key: unwrap(channel, item) for key, item in value.items()}
    if value is None or isinstance(value, DATA):
        return value
    adopt = getattr(channel, "adopt", None)
    if adopt is None:
        kind = "handle of another sandbox" if isinstance(value, Handle) else type(value).__name__
        raise TypeError(f"student code takes data and handles of its own sandbox, got a {kind}")
    return adopt(value)._handle_ref  # given up at once, and told so with a later request


DATA = (Tensor, np.ndarray, np.generic, bool, int, float, str, torch.dtype, torch.device)


def handle_of(channel: Channel, value: Any) -> Handle:
    """A handle of the object a reply refers to."""
    if type(value) is not Ref:
        _tampered("an object was asked for, something else came back")
    return Handle(channel, value, _released(channel))


def _request(h: Handle, op: str, **fields: Any) -> Any:
    channel, released = h._handle_channel, h._handle_released
    if len(released) >= RELEASE_BATCH:
        channel.request("release", ids=[released.popleft() for _ in range(len(released))])
    sent = {key: unwrap(channel, value) for key, value in fields.items()}
    return wrap(channel, channel.request(op, target=h._handle_ref, **sent))


def _released(channel: Any) -> deque[int]:
    """Ids of handles given up on this channel, kept on the channel itself so that they end together."""
    if not hasattr(channel, "released"):
        channel.released = deque()
    ids: deque[int] = channel.released
    return ids


def _must_be_handle(value: Any) -> Handle:
    if not isinstance(value, Handle):
        _tampered("an object was asked for, something else came back")
    return value


def _is_signature(value: Any) -> bool:
    if type(value) is not dict or type(value.get("parameters")) is not list:
        return False
    kinds = {"name": str, "kind": str, "default": bool}
    each = all(type(p) is dict and {k: type(v) for k, v in p.items()} == kinds for p in value["parameters"])
    return each and type(value.get("var_args")) is bool and type(value.get("var_kwargs")) is bool


def _tensor_or_none(value: Any) -> bool:
    return value is None or type(value) is Tensor


def _refuse_own(name: str, prefix: str) -> None:
    """Python looks for `__array__` and the like on everything, and half-made objects miss their own slots."""
    if name.startswith(prefix) or (name.startswith("__") and name.endswith("__")):
        raise AttributeError(f"no attribute {name}")
