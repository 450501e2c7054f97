"""The section `due:` of course.yaml."""

from __future__ import annotations

from pydantic import AwareDatetime

Deadlines = dict[str, AwareDatetime]  # homework -> last moment, with a time zone
