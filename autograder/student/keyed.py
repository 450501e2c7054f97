"""Seeds on their way to student code: a check says `seed=3`, the notebook meets a number that nobody can know."""

from __future__ import annotations

from collections import deque
from typing import Any

from autograder.seeds import seed_from
from autograder.student.handles import Channel, released_on


class KeyedChannel:
    """A channel on which the seed of every call is hashed under a key: equal seeds stay equal, no other relation stays.

    Args:
        key: of one check in one run.
    """

    def __init__(self, channel: Channel, key: bytes) -> None:
        self._channel = channel
        self._key = key

    @property
    def released(self) -> deque[int]:
        """Handles given up; of the channel below."""
        return released_on(self._channel)

    def request(self, op: str, **fields: Any) -> Any:
        """As the channel below has it."""
        if type(fields.get("seed")) is int:
            fields["seed"] = seed_from(self._key, fields["seed"])
        return self._channel.request(op, **fields)
