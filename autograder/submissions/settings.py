"""The section `due:` of course.yaml."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator


def _zoned(value: dict[str, datetime]) -> dict[str, datetime]:
    for name, when in value.items():
        if when.tzinfo is None:
            raise ValueError(f"should have a time zone for {name}, as in 2025-10-01T23:59:00+03:00")
    return value


Deadlines = Annotated[dict[str, datetime], AfterValidator(_zoned)]  # homework -> last moment, with a time zone
