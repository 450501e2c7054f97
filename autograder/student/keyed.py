"""Seeds on their way to student code: a check says `seed=3`, the notebook meets a number that nobody can know.

On the way back, words that student code chose are remembered, names of classes and parameters and texts: a message of a
hidden check must not pass them on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

from autograder.seeds import seed_from
from autograder.student.handles import Channel, released_on
from autograder.worker.wire import Ref

WORDS = 5000  # remembered of one check


class KeyedChannel:
    """A channel on which the seed of every call is hashed under a key: equal seeds stay equal, no other relation stays.

    Args:
        key: of one check in one run.

    Attributes:
        words: that came back.
    """

    def __init__(self, channel: Channel, key: bytes) -> None:
        self._channel = channel
        self._key = key
        self.words: set[str] = set()

    @property
    def released(self) -> deque[int]:
        """Handles given up; of the channel below."""
        return released_on(self._channel)

    def request(self, op: str, **fields: Any) -> Any:
        """As the channel below has it."""
        if type(fields.get("seed")) is int:
            fields["seed"] = seed_from(self._key, fields["seed"])
        value = self._channel.request(op, **fields)
        self.words.update(islice(_words_of(value), WORDS - len(self.words)))
        return value


def _words_of(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is dict:
            waiting += [*item, *item.values()]
        elif type(item) in (list, tuple):
            waiting += item
        elif type(item) is str:
            yield item
        elif type(item) is Ref:
            yield item.type
