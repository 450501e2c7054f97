"""The section `sandbox:` of course.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from autograder.yamlfile import StrictModel


class SandboxSettings(StrictModel):
    """Defaults of `autograder grade`; memory and time are the assignment's."""

    kind: Literal["auto", "docker", "process"] = "auto"
    jobs: int | None = Field(default=None, ge=1, le=256)  # None: as many as there are cores
    gpu: str | None = None  # a device id
    image: str | None = None
