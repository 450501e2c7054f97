"""The judge's end of a sandbox: one submission, replayed into a fresh sandbox whenever one dies.

A session sends one request at a time and waits for its one reply. Each cell, check, training and the whole submission
has a budget (`judge.clock`); when one is spent the sandbox is killed and the request ends in `timeout`. A sandbox that
dies while a cell runs is replaced, the notebook is played again without that cell, and grading goes on with the rest.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from autograder.errors import Infrastructure, MissingName, Starved, StudentFault, UserError
from autograder.homework.settings import Budgets
from autograder.judge.clock import Budget, Clock
from autograder.judge.messages import first_line
from autograder.judge.restarts import Restarts, not_run
from autograder.judge.said import Said
from autograder.report import CellRun
from autograder.sandbox import Provider, Sandbox
from autograder.student import value_of
from autograder.student.replies import Replies
from autograder.submission import FILES_BYTES
from autograder.worker.wire import TooLarge, Truncated, WireError, megabytes, receive, send

ACQUIRE_ATTEMPTS = 2
LOADING = 60.0  # seconds a worker may take to read the notebook: the grader's own work, so no budget of the author's
ACCOUNTS = Replies(reply_mb=1, bounded=False)  # of cells that have run
TEXT, NOTES, STDOUT = 4000, 100, 70_000  # characters and notes kept of one cell; an honest worker sends less
FORGERIES = 5  # sandboxes lost to forged answers after which the submission is not played again


@dataclass
class Session:
    """A `student.Channel` to a notebook that has been run.

    Args:
        provider: where sandboxes come from.
        cells: the restored notebook, as the worker's `load` takes it.
        files: what was submitted beside the notebook, by name.
        seed: of the notebook's run.
        handed: data for the notebook's `course_data("…")`, tensors by name.
        last: nobody tries again what the machine was too busy for; otherwise nothing more is asked once that happened.
    """

    provider: Provider
    cells: Sequence[Mapping[str, Any]]
    files: Mapping[str, bytes]
    budgets: Budgets
    seed: int
    device: str = "cpu"
    last: bool = True
    handed: Mapping[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)
    runs: dict[int, CellRun] = field(default_factory=dict)  # by position in `cells`
    said: Said = field(default_factory=Said)
    versions: dict[str, str] = field(default_factory=dict)
    settled: dict[str, str] = field(default_factory=dict)  # how a GPU computes, by name
    cpu_seconds: float = 0.0
    released: deque[int] = field(default_factory=deque)  # handles given up; of the present sandbox only
    _sandbox: Sandbox | None = None
    _broken: Infrastructure | None = None
    _unloadable: StudentFault | None = None
    _restarts: Restarts = field(default_factory=Restarts)
    _serial: int = 0
    _talking: bool = False  # a request is under way
    _forgeries: int = 0
    _fatal: dict[int, StudentFault | Starved] = field(default_factory=dict)
    _trained: dict[str, Any] = field(default_factory=dict)  # replies of `train`, valid for this sandbox
    _failed_training: dict[str, StudentFault | Starved] = field(default_factory=dict)
    _replies: Replies = field(default_factory=lambda: Replies(bounded=False))

    def __post_init__(self) -> None:
        self.opened = time.monotonic()
        self.clock = Clock(self.budgets, self.last)

    def play(self) -> None:
        """Run the notebook in a sandbox, cell by cell, and again without the cell that killed it.

        Raises:
            Infrastructure: no sandbox could be had.
            StudentFault: the submission's time was used up.
        """
        if self._talking:  # something ended the judge's part in the middle of a request: the channel is out of step
            self._drop()
        while self._sandbox is None:
            spent = self.clock.fault((self.clock.again, self.clock.whole))
            for trouble in (self._broken, self._unloadable, self.clock.gave_up, spent):
                if trouble is not None:
                    raise trouble.with_traceback(None)
            self._restarts.check()
            self._open()
            for position, cell in enumerate(self.cells):
                if position not in self._fatal and not self._run_cell(position, cell):
                    break

    @contextmanager
    def check(self, seconds: float | None = None, reply_mb: float | None = None) -> Iterator[None]:
        """Bound everything requested inside to `seconds`, training having a budget of its own, and what comes back."""
        self._replies = Replies(reply_mb)
        try:
            with self.clock.check(seconds):
                yield
        finally:
            self._replies = Replies(bounded=False)

    def request(self, op: str, **fields: object) -> Any:
        """Send one request and return the value of its reply.

        Raises:
            StudentFault: with the reason code of what went wrong in the sandbox.
            Infrastructure: no sandbox could be had.
        """
        budgets = self.clock.of_training() if op in ("fit", "descend") else self.clock.of_check()
        if fault := self.clock.fault(budgets):  # its time is used up: no sandbox is started for it
            raise fault
        self.play()
        if op in ("train", "checkpoint"):
            return self._train(op, fields)
        try:
            return value_of(self._exchange(op, fields, budgets))
        except MissingName as fault:
            raise self._explained(fault, fields.get("scope")) from None

    def close(self) -> None:
        """End the sandbox; the session can not be used afterwards."""
        self._drop()

    def _open(self) -> None:
        """A sandbox that has the notebook; what fails before a cell has run is the machine's doing, and tried again."""
        for attempt in range(ACQUIRE_ATTEMPTS):
            try:
                self._sandbox = self.provider.acquire()
                self.clock.watch(self._sandbox)
                self._load(self._sandbox)
                return
            except (Infrastructure, UserError, OSError) as trouble:
                self._drop()
                if attempt + 1 == ACQUIRE_ATTEMPTS:
                    self._broken = trouble if isinstance(trouble, Infrastructure) else Infrastructure(str(trouble))
                    raise self._broken from None

    def _load(self, sandbox: Sandbox) -> None:
        self._check_room()
        self.versions = {str(k): str(v) for k, v in sandbox.ready.get("versions", {}).items()}
        self._trained = {task: said for task, said in self._trained.items() if _has_failed(said)}
        self.released = deque()  # handles of a dead sandbox must not release those of this one
        cells = [dict(cell) for cell in self.cells]
        files = {name: _as_tensor(content) for name, content in self.files.items()}
        data = {name: dict(tensors) for name, tensors in self.handed.items()}
        load = {"cells": cells, "files": files, "data": data, "seed": self.seed, "device": self.device}
        load |= {"gpu_memory_mb": self.budgets.gpu_memory_mb}
        try:
            loaded = value_of(self._exchange("load", load, (Budget("loading the notebook", LOADING),)))
        except StudentFault as fault:
            alive = self._sandbox is not None  # and says what is wrong with the notebook
            self._drop()
            if alive:
                self._unloadable = fault
            else:
                raise Infrastructure(fault.message) from None
            raise
        if self.device != "cpu" and loaded["device"] != self.device:
            self._drop()
            raise Infrastructure("a GPU was asked for with `--gpus`, and torch finds none in the sandbox")
        self.settled = {str(name): str(value) for name, value in loaded.get("settled", {}).items()}

    def _check_room(self) -> None:
        """Refuse files that would not fit into the sandbox, before anything is sent."""
        size = sum(map(len, self.files.values()))
        if size > FILES_BYTES:
            said = f"the files beside your notebook have {megabytes(size)}, at most {megabytes(FILES_BYTES)} are taken"
            self._drop()
            self._unloadable = StudentFault(said, reason="output")
            raise self._unloadable

    def _run_cell(self, position: int, cell: Mapping[str, Any]) -> bool:
        """True if the sandbox lives on."""
        if cell["kind"] != "code" and cell["grade_id"] is None:  # nothing to run, and no task ends here
            return True
        number = cell["number"] or 0
        begin = time.monotonic()
        budgets = self.clock.of_run(position, f"cell {number}", self.budgets.cell_seconds)
        try:
            reply = self._exchange("run_cell", {"index": position, "scope": None}, budgets)
            outcome = cell_run(cell, value_of(reply), time.monotonic() - begin)
        except (StudentFault, Starved) as fault:
            self._drop()
            if budgets[1].spent or self.clock.gave_up:
                raise
            self._fatal[position] = fault
            self._restarts.cells += isinstance(fault, StudentFault)
            run = {"status": _status(fault), "seconds": time.monotonic() - begin, "error": str(fault)}
            self.runs[position] = self.said.run(CellRun.model_validate(_cell(cell) | run))
            if not self._restarts.cells_left:
                self._leave_out(position + 1)
            return False
        if cell["kind"] == "code" and position not in self.runs:
            self.runs[position] = self.said.run(outcome)
        return True

    def _leave_out(self, start: int) -> None:
        """Run nothing from this cell on: too many above it have ended the process."""
        for position, cell in enumerate(self.cells[start:], start):
            if position not in self._fatal and cell["kind"] == "code" and cell["grade_id"] is None:
                self._fatal[position] = fault = not_run()
                run = {"status": "skipped", "seconds": 0.0, "error": fault.message}
                self.runs[position] = self.said.run(CellRun.model_validate(_cell(cell) | run))

    def _explained(self, fault: MissingName, scope: object) -> StudentFault | Starved:
        """Why a name is missing: the last cell of its task that failed, if one did."""
        ends = [i for i, cell in enumerate(self.cells) if cell["grade_id"] is not None]
        end = next((i for i in ends if self.cells[i]["grade_id"] == scope), len(self.cells))
        begin = max((i for i in ends if i < end), default=-1)
        failed = [i for i in range(begin + 1, end + 1) if i in self.runs and self.runs[i].error is not None]
        if not failed or fault.where is not None:
            return fault
        run, fatal = self.runs[failed[-1]], self._fatal.get(failed[-1])
        if isinstance(fatal, Starved):
            return Starved(f"{fault.message}; {fatal}")
        if fatal is not None:
            told = f"{fault.plain}; {fatal.plain or fatal.message}"
            return StudentFault(f"{fault.message}; {fatal.message}", reason=fatal.reason, plain=told)
        why = f"the cell that begins with `{run.begins}` failed with {run.error}"  # before any check had been seen
        return MissingName(f"{fault.message}; {why}", plain=f"{fault.plain}; {why}")

    def _train(self, op: str, fields: dict[str, object]) -> Any:
        task = str(fields["task"])
        if task in self._failed_training:
            raise self._failed_training[task].with_traceback(None)
        if task not in self._trained:
            budgets = self.clock.of_run(task, f"training `{task}`", self.budgets.train_seconds)
            try:
                self._trained[task] = value_of(self._exchange(op, fields, budgets))
            except (StudentFault, Starved) as fault:
                self._failed_training[task] = fault
                raise
        return self._trained[task]

    def _exchange(self, op: str, fields: Mapping[str, object], budgets: tuple[Budget, ...]) -> dict[str, Any]:
        """One request, one reply; anything else ends the sandbox."""
        assert self._sandbox is not None
        sandbox, what = self._sandbox, budgets[0].what
        self._serial += 1
        replies = ACCOUNTS if op in ("load", "run_cell") else self._replies  # a replay is not the check's
        caps = replies.caps()
        self._talking = True
        try:
            with self.clock.charging(budgets) as deadline:
                try:
                    room = [caps.weight, caps.words]
                    send(sandbox.socket, {"id": self._serial, "op": op, "room": room, **fields}, deadline)
                except WireError as error:  # nothing was written: the sandbox is as it was
                    self._talking = False
                    raise StudentFault(f"{what} could not be sent to your code: {error}", reason="output") from None
                reply = receive(sandbox.socket, caps, deadline)
        except TimeoutError:
            self._drop()
            self._restarts.ended()
            raise self.clock.fault(budgets) or AssertionError("a deadline passed and no budget is spent") from None
        except TooLarge as error:  # an honest worker would have said so
            self._drop()
            message = f"{what} returned too much: {caps.words}"
            raise self._forged(StudentFault(message, reason="output", detail=str(error))) from None
        except (Truncated, OSError):
            reply = None  # the other end is gone: the same as an end of file
        except WireError as error:
            self._drop()
            message = "the answer was not a well-formed message; something wrote to the grader's channel"
            raise self._forged(StudentFault(message, reason="tampered", detail=str(error))) from None
        if reply is None:
            ending = sandbox.ending()
            self._restarts.ended()
            self._drop()
            if ending.reason == "lifetime":
                raise Starved(f"{what} was stopped with its sandbox: {ending.text}")
            raise StudentFault(f"{what} ended the process: {ending.text}", reason=ending.reason)
        if reply.get("id") != self._serial or not isinstance(reply.get("ok"), bool):
            self._drop()
            message = "an answer nobody asked for arrived on the grader's channel"
            raise self._forged(StudentFault(message, reason="tampered"))
        self._talking = False
        replies.took(reply)
        return reply

    def _forged(self, fault: StudentFault) -> StudentFault:
        self._forgeries += 1
        self._restarts.ended()
        if self._forgeries == FORGERIES:
            self._unloadable = fault
        return fault

    def _drop(self) -> None:
        self._talking = False
        if self._sandbox is not None:
            self.clock.leave()
            self.cpu_seconds += self._sandbox.usage().cpu_seconds or 0.0
            self._sandbox.kill()
            self._sandbox = None


def _cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": cell["number"] or 0, "begins": first_line(str(cell["source"]))}


def cell_run(cell: Mapping[str, Any], value: Any, seconds: float) -> CellRun:
    """The worker's account of a cell, checked and cut as any untrusted data; `seconds` are the judge's own.

    Raises:
        StudentFault: it is not such an account.
    """
    try:
        error = value["error"]
        where = None if error is None else error["where"]
        text = None if error is None else f"{error['type']}: {error['message']}" + (f" ({where})" if where else "")
        return CellRun(
            **_cell(cell),
            status=value["status"],
            seconds=seconds,
            error=text and text[:TEXT],
            notes=[note[:TEXT] for note in value["notes"][:NOTES]],
            stdout=value["stdout"][-STDOUT:],
        )
    except (KeyError, TypeError, ValueError) as problem:
        message = "the account of a cell was not well-formed; something wrote to the grader's channel"
        raise StudentFault(message, reason="tampered", detail=str(problem)) from None


def _status(fault: StudentFault | Starved) -> str:
    """What a cell's account says of the fault that ended it."""
    if isinstance(fault, Starved):
        return "starved"
    return fault.reason if fault.reason in ("timeout", "memory") else "crash"


def _has_failed(said: Any) -> bool:
    """True of the outcome of a training cell that failed: it would fail again in the next sandbox."""
    return type(said) is dict and said.get("status") != "ok"


def _as_tensor(content: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
