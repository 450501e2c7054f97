"""What a worker's reply means to a check: a value, or a fault of the student's with its reason code.

Every part of a reply was written by code nobody trusts; each is looked at before it is used.
"""

from __future__ import annotations

from typing import Any, NoReturn

from autograder.errors import MissingName, Reason, StudentFault, Wrong
from autograder.student import plain

MESSAGE_LIMIT = 2000


def value_of(reply: Any) -> Any:
    """The value of a worker's reply, whatever channel it came through.

    Raises:
        StudentFault: the reply reports an error ("crash", "memory", "missing", "wrong", "output"), or is not a reply
            at all ("tampered").
    """
    if type(reply) is not dict or type(reply.get("ok")) is not bool:
        tampered("it has no `ok`")
    if reply["ok"]:
        if "value" not in reply:
            tampered("it has no value")
        return reply["value"]
    error = reply.get("error")
    if type(error) is not dict or any(type(error.get(key)) is not str for key in ("kind", "type", "message")):
        tampered("its error is not described")
    raise fault_of(error["kind"], error["type"][:200], error["message"][:MESSAGE_LIMIT], error.get("where"))


def fault_of(kind: str, name: str, message: str, where: Any) -> StudentFault:
    """An error reply as a fault. Its text came out of a sandbox, so each has a sentence of ours beside it."""
    where = where[:MESSAGE_LIMIT] if type(where) is str else None
    if kind in ("missing", "signature"):
        return MissingName(message, where=where, plain=plain.KINDS[kind])
    if kind == "wrong":
        return Wrong(message, plain=plain.KINDS[kind])
    if kind == "limit":
        return StudentFault(message, reason="wrong", plain=plain.KINDS[kind], doubtful=True)
    if kind == "unsendable":
        return StudentFault(message, reason="output", where=where, plain=plain.KINDS[kind])
    if kind != "exception":
        tampered(f"an error of kind {kind[:50]!r}")
    if name == "NotImplementedError":
        words = f": {message}" if message else ""
        message = f"this part is not written yet (NotImplementedError{words})"
        return MissingName(message, where=where, plain="this part is not written yet")
    out_of_memory = name in ("MemoryError", "OutOfMemoryError") or "DefaultCPUAllocator" in message
    reason: Reason = "memory" if out_of_memory else "crash"
    words = f"{name}: {message}" if message else name
    sentence = plain.OUT_OF_MEMORY if out_of_memory else plain.sentence_of(name, message)
    return StudentFault(f"your code raised {words}", reason=reason, where=where, plain=sentence)


def tampered(detail: str) -> NoReturn:
    message = "an answer was not well-formed; something wrote to the grader's channel"
    raise StudentFault(message, reason="tampered", detail=detail)
