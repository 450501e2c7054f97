"""The student's notebook as the judge sees it: names, handles and what can be asked of them.

    model = student.MADE(8, hidden=64)          # built in the sandbox: a Handle
    logits = model(x)                           # tensors come back as data
    call(model.log_prob, x, seed=3)             # under a seed
    gradient(model, x, wrt=0)                   # d sum(model(x)) / dx

Everything here also works on plain Python callables, which then run in this process, so that an assertion can be tried
on a function at hand. Errors in the student's code arrive as `errors.StudentFault`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from autograder.errors import StudentFault, Wrong
from autograder.student.answers import MESSAGE_LIMIT, MissingName, fault_of, tampered, value_of
from autograder.student.handles import (
    Channel,
    Handle,
    as_handle,
    handle_of,
    is_callable,
    is_module,
    refuse_own,
    request,
    type_name,
    unwrap,
    wrap,
)
from autograder.worker.probes import PROBES

__all__ = [
    "Channel",
    "Handle",
    "MissingName",
    "Mode",
    "Student",
    "accepts",
    "as_handle",
    "call",
    "call_with_echo",
    "gradient",
    "is_callable",
    "is_module",
    "jacobian",
    "keep",
    "load_state_dict",
    "parameter_gradients",
    "perturb",
    "records",
    "signature",
    "state_dict",
    "type_name",
    "value_of",
]

Mode = Literal["train", "eval"]


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
        refuse_own(name, "_student_")
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
        tampered("the outcome of training is not described")
    if outcome["status"] == "ok":
        return
    error = outcome.get("error")
    if type(error) is not dict:
        message = f"there is no model of `{task}`: its training cell is not in the notebook"
        raise MissingName(message)
    kind, words = str(error.get("type"))[:200], str(error.get("message"))[:MESSAGE_LIMIT]
    fault = fault_of("exception", kind, words, error.get("where"))
    if fault.reason == "missing":
        raise MissingName(f"the training cell of `{task}` is not written yet", where=fault.where)
    message = f"the training cell of `{task}` failed: {kind}: {words}"
    raise StudentFault(message, reason=fault.reason, where=fault.where)


def call(
    h: Any, *args: Any, seed: int | None = None, mode: Mode | None = None, grad: bool = False, **kwargs: Any
) -> Any:
    """`h(*args, **kwargs)` under conditions.

    Args:
        seed: of torch, NumPy and `random`, set just before the call and undone after it.
        mode: "train" or "eval" for the module called, or owning the method called; restored afterwards.
        grad: record gradients. What comes back as data is detached in any case.
    """
    return request(as_handle(h), "call", args=args, kwargs=kwargs, seed=seed, mode=mode, grad=grad)


def keep(
    h: Any, *args: Any, seed: int | None = None, mode: Mode | None = None, grad: bool = False, **kwargs: Any
) -> Handle:
    """As `call`, but the result stays in the sandbox even if it is a tensor: with `grad=True` also its graph."""
    h = as_handle(h)
    result = request(h, "call", args=args, kwargs=kwargs, seed=seed, mode=mode, grad=grad, keep=True)
    return _must_be_handle(result)


def call_with_echo(
    h: Any, *args: Any, seed: int | None = None, mode: Mode | None = None, grad: bool = False, **kwargs: Any
) -> tuple[Any, tuple[Any, ...]]:
    """As `call`, and the positional arguments as they are after the call: `(value, args_after)`."""
    conditions = {"seed": seed, "mode": mode, "grad": grad}
    both = request(as_handle(h), "call", args=args, kwargs=kwargs, echo=True, **conditions)
    if type(both) is not dict or type(both.get("args")) is not tuple or len(both["args"]) != len(args):
        tampered("the arguments did not come back")
    return both.get("value"), both["args"]


def state_dict(h: Any) -> dict[str, Tensor]:
    """Parameters and buffers of a module by name, as copies."""
    state = request(as_handle(h), "state_dict")
    if type(state) is not dict or not all(type(k) is str and type(v) is Tensor for k, v in state.items()):
        raise Wrong("`state_dict()` is not a dictionary of tensors by name")
    return state


def load_state_dict(h: Any, state: Mapping[str, Tensor]) -> None:
    """Put parameters and buffers into a module; names and shapes must fit exactly."""
    request(as_handle(h), "load_state_dict", state=dict(state))


def perturb(h: Any, std: float = 0.2, seed: int = 0) -> None:
    """Add std · N(0, 1) to every parameter in place, so that no zero initialisation hides an error."""
    request(as_handle(h), "perturb", std=float(std), seed=seed)


def signature(h: Any) -> dict[str, Any] | None:
    """What `h` takes: {"parameters": [{"name", "kind", "default"}], "var_args", "var_kwargs"}; None where unknown."""
    found: dict[str, Any] | None = request(as_handle(h), "signature")
    if found is not None and not _is_signature(found):
        tampered("a signature did not come back as asked")
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
    reply = request(as_handle(h), "gradient", args=args, kwargs=kwargs, wrt=keys, **fields)
    found = reply.get("inputs") if type(reply) is dict else None
    if type(found) is not list or len(found) != len(keys) or not all(_tensor_or_none(item) for item in found):
        tampered("gradients did not come back as asked")
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
    reply = request(as_handle(h), "gradient", args=args, kwargs=kwargs, wrt=[], **fields)
    found = reply.get("parameters") if type(reply) is dict else None
    if type(found) is not dict or not all(_tensor_or_none(item) for item in found.values()):
        tampered("gradients did not come back as asked")
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
    found = request(as_handle(h), "jacobian", args=args, kwargs=kwargs, wrt=wrt, **fields)
    if not isinstance(found, Tensor):
        tampered("a Jacobian did not come back as asked")
    return found


def records(h: Any) -> list[dict[str, Any]]:
    """What a `Recorder` probe was called with, call by call: [{"args": [...], "kwargs": {...}}]."""
    found = request(as_handle(h), "records")
    shaped = type(found) is list and all(
        type(item) is dict and type(item.get("args")) is list and type(item.get("kwargs")) is dict for item in found
    )
    if not shaped:
        tampered("records did not come back as asked")
    calls: list[dict[str, Any]] = found
    return calls


def _must_be_handle(value: Any) -> Handle:
    if not isinstance(value, Handle):
        tampered("an object was asked for, something else came back")
    return value


def _is_signature(value: Any) -> bool:
    if type(value) is not dict or type(value.get("parameters")) is not list:
        return False
    kinds = {"name": str, "kind": str, "default": bool}
    each = all(type(p) is dict and {k: type(v) for k, v in p.items()} == kinds for p in value["parameters"])
    return each and type(value.get("var_args")) is bool and type(value.get("var_kwargs")) is bool


def _tensor_or_none(value: Any) -> bool:
    return value is None or type(value) is Tensor
