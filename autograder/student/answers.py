"""What a worker's reply means to a check: a value, or a fault of the student's with its reason code.

Every part of a reply was written by code nobody trusts; each is looked at before it is used.
"""

from __future__ import annotations

from typing import Any, NoReturn

from autograder.errors import MissingName, Reason, StudentFault, Wrong

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
    where = where[:MESSAGE_LIMIT] if type(where) is str else None
    if kind in ("missing", "signature"):
        return MissingName(message, where=where)
    if kind == "wrong":
        return Wrong(message)
    if kind == "unsendable":
        return StudentFault(message, reason="output", where=where)
    if kind != "exception":
        tampered(f"an error of kind {kind[:50]!r}")
    if name == "NotImplementedError":
        words = f": {message}" if message else ""
        return MissingName(f"this part is not written yet (NotImplementedError{words})", where=where)
    out_of_memory = name in ("MemoryError", "OutOfMemoryError") or "DefaultCPUAllocator" in message
    reason: Reason = "memory" if out_of_memory else "crash"
    words = f"{name}: {message}" if message else name
    return StudentFault(f"your code raised {words}", reason=reason, where=where)


def tampered(detail: str) -> NoReturn:
    message = "an answer was not well-formed; something wrote to the grader's channel"
    raise StudentFault(message, reason="tampered", detail=detail)
