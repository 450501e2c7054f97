"""A student's notebook by its names, as they stood when a cell had run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from autograder.errors import AuthorError, MissingName, StudentFault
from autograder.student.answers import MESSAGE_LIMIT, fault_of, tampered
from autograder.student.handles import Channel, Handle, handle_of, refuse_own, unwrap, wrap
from autograder.student.plain import KINDS
from autograder.worker.probes import PROBES


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
        try:
            return wrap(channel, channel.request("resolve", scope=self._student_scope, name=name))
        except MissingName as fault:
            raise named(fault, name) from None

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
        """A public stub network in the sandbox, to hand to student code: `autograder.worker.probes` says what is known.

        Raises:
            AuthorError: there is no such probe, or it takes no such weights.
        """
        if name not in PROBES:
            raise AuthorError(f"there is no probe {name!r}; there are {', '.join(PROBES)}")
        channel = self._student_channel
        fields = {"args": unwrap(channel, args), "kwargs": unwrap(channel, kwargs)}
        try:
            return handle_of(channel, channel.request("probe", name=name, **fields))
        except StudentFault:
            _try_here(name, args, kwargs)
            raise

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


def named(fault: MissingName, name: str) -> MissingName:
    """The same fault; what was asked for is named in our sentence too, by whoever asked."""
    if fault.plain == KINDS["missing"]:
        fault.plain = f"`{name}`, which is asked for, is not there"
    return fault.with_traceback(None)


def _try_here(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise AuthorError if a probe can not be made of these weights here either."""
    if any(isinstance(value, Handle) for value in (*args, *kwargs.values())):
        return
    try:
        PROBES[name](*args, **kwargs)
    except Exception as error:
        raise AuthorError(f"no probe {name} can be made of that: {error}") from None


def _load_checkpoint(channel: Channel, task: str, fields: dict[str, object]) -> None:
    """Binds the model's name in the scope; the reference that comes back stays alive for later checks."""
    try:
        channel.request("checkpoint", task=task, **fields)
    except StudentFault as fault:
        if fault.reason != "crash":
            raise
        begin = f"the checkpoint `{fields['file']}` of `{task}` could not be loaded: "
        said, told = begin + fault.message, begin + (fault.plain or "")
        raise StudentFault(said, reason="crash", where=fault.where, plain=told) from None


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
    begin = f"the training cell of `{task}` failed: "
    told = begin + (fault.plain or "")
    raise StudentFault(f"{begin}{kind}: {words}", reason=fault.reason, where=fault.where, plain=told)
