"""How much one reply may hold, and all replies of one check: known to both ends, so that an honest worker says so.

A number of a tensor counts as at least 4 bytes and a value outside of tensors as 256, since that is what they cost the
judge; `reply_mb=` of a check's marker raises both caps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from autograder.worker.layout import NUMBER_BYTES, VALUE_BYTES, Caps, megabytes

REPLY_MB = 16
REPLIES = 4  # of the largest that one check may take
SMALL = 256 << 10  # a reply up to this is always taken: an error is told in it


class Replies:
    """The caps of the next reply, and what has come so far.

    Args:
        reply_mb: of one reply, as the check's marker has it.
        bounded: all replies together have a cap as well.
    """

    def __init__(self, reply_mb: float | None = None, *, bounded: bool = True) -> None:
        self._each = int((reply_mb or REPLY_MB) * 2**20)
        self._left = REPLIES * self._each if bounded else None

    def caps(self) -> Caps:
        """Caps of the next reply, with the words that go into the sentence of an honest worker."""
        if self._left is None or self._left >= self._each:
            return Caps.of_reply(self._each, f"at most {megabytes(self._each)} is asked here")
        room = max(self._left, SMALL)
        total = megabytes(REPLIES * self._each)
        return Caps.of_reply(room, f"at most {megabytes(room)} is left here of the {total} one check takes")

    def took(self, reply: Mapping[str, Any]) -> None:
        """A reply has come."""
        if self._left is not None:
            self._left = max(0, self._left - weigh(reply))


def weigh(value: Any) -> int:
    """What a decoded value counts as."""
    total, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        total += VALUE_BYTES
        if isinstance(item, Tensor):
            total += item.numel() * max(item.itemsize, NUMBER_BYTES)
        elif isinstance(item, (list, tuple)):
            waiting += item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, str):
            total += len(item)
    return total
