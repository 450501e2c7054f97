"""From a request to its reply: what the student's code raised becomes data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .calling import Fault
from .frames import describe
from .wire import WireError


def reply_to(handle: Callable[[str, Mapping[str, Any]], Any], op: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """`{"ok": True, "value": …}` or `{"ok": False, "error": {"kind", "type", "message", "where"}}`; never raises.

    Args:
        handle: carries out an operation, as `Objects.handle` does.
    """
    try:
        return {"ok": True, "value": handle(op, fields)}
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: raised by a student, they are a crash
        return {"ok": False, "error": error_of(error)}


def error_of(error: BaseException) -> dict[str, Any]:
    """An exception as the error of a reply."""
    if type(error) is Fault:
        return {"kind": error.kind, "type": "Fault", "message": error.message, "where": None}
    if isinstance(error, WireError):
        return {"kind": "unsendable", "type": "WireError", "message": str(error), "where": None}
    return {"kind": "exception", **describe(error)}
