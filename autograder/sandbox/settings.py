"""The section `sandbox:` of course.yaml."""

from __future__ import annotations

from pydantic import Field

from autograder.sandbox.protocol import SandboxKind
from autograder.yamlfile import StrictModel


class SandboxSettings(StrictModel):
    """Defaults of `autograder grade`; memory and time are the assignment's."""

    kind: SandboxKind = "docker"  # never another than the one that is named
    jobs: int | None = Field(default=None, ge=1, le=256)  # None: as many as there are cores
    gpu: str | None = None  # a device id
    image: str | None = None
