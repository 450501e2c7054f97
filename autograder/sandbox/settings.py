"""The sections `sandbox:` and `image:` of course.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from autograder.sandbox.protocol import SandboxKind
from autograder.yamlfile import StrictModel


class SandboxSettings(StrictModel):
    """Defaults of `autograder grade`; memory and time are the assignment's."""

    kind: SandboxKind = "docker"  # never another than the one that is named
    jobs: int | None = Field(default=None, ge=1, le=256)  # None: as many as there are cores
    gpu: str | None = None  # a device id
    image: str | None = None


# A package with an optional version, as in `lightning==2.5.0`: no option, no address, no path.
Requirement = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]+\])?\s*([<>=!~]=?[^\s;@/]+)?$")
]


class ImageSettings(StrictModel):
    """What `autograder image build` makes for this course."""

    base: str | None = None
    python: Annotated[str, Field(pattern=r"^3\.\d+$")] | None = None
    requirements: list[Requirement] = Field(default=[])  # beside what every image has
