"""Copies of the notebook's namespace, so that a check sees a task's names as they stood when it ended.

A function finds its globals in the one live namespace, so looking into a copy first puts that copy's names back into
it: a helper that a later task defines anew does not change what an earlier task's checks see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Scopes(Mapping[str, Mapping[str, Any]]):
    """Copies of the live namespace by name; asking for one makes it the live one again.

    Args:
        live: the dict every cell runs in and every function of the notebook has as its globals.
        stays: whether a name and its value are the shell's (`In`, `_`): these are in no copy and stay live.
    """

    def __init__(self, live: dict[str, Any], stays: Callable[[str, Any], bool]) -> None:
        self.live = live
        self.end = _End(self)
        self._stays = stays
        self._saved: dict[str | None, dict[str, Any]] = {None: {}}
        self._active: str | None = None

    def __getitem__(self, scope: str) -> Mapping[str, Any]:
        self.enter(scope)
        return self.live

    def __contains__(self, scope: object) -> bool:
        return scope in self._saved

    def __iter__(self) -> Iterator[str]:
        return (scope for scope in self._saved if scope is not None)

    def __len__(self) -> int:
        return len(self._saved) - 1

    def enter(self, scope: str | None) -> None:
        """Makes `scope` live; None is the end of what has run. Raises KeyError if there is no such copy."""
        names = self._saved[scope]
        if scope != self._active:
            here = dict(self.live)
            self._saved[self._active] = self._own(here)
            self._active = scope
            self.live.clear()
            self.live.update({name: value for name, value in here.items() if self._stays(name, value)})
            self.live.update(names)

    def clear(self) -> None:
        """Forgets everything, also what is live."""
        self._saved = {None: {}}
        self._active = None
        self.live.clear()

    def now(self) -> dict[str, Any]:
        """A copy of what is live, without what is the shell's."""
        return self._own(dict(self.live))

    def save(self, scope: str, names: Mapping[str, Any] | None = None) -> None:
        """Keeps `names`, by default what is live now, under `scope`."""
        if scope == self._active:
            self.enter(None)
        self._saved[scope] = self._own(self.live if names is None else names)

    def copy_of(self, scope: str) -> dict[str, Any]:
        """What was saved under `scope`; empty if nothing was."""
        return self.now() if scope == self._active else dict(self._saved.get(scope, {}))

    def _own(self, names: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in dict(names).items() if not self._stays(name, value)}


class _End(Mapping[str, Any]):
    """The namespace where the notebook ends."""

    def __init__(self, scopes: Scopes) -> None:
        self._scopes = scopes

    def __getitem__(self, name: str) -> Any:
        self._scopes.enter(None)
        return self._scopes.live[name]

    def __iter__(self) -> Iterator[str]:
        self._scopes.enter(None)
        return iter(list(self._scopes.live))

    def __len__(self) -> int:
        self._scopes.enter(None)
        return len(self._scopes.live)
