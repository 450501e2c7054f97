"""The sections `sandbox:` and `image:` of course.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from autograder.errors import UserError
from autograder.sandbox.protocol import SandboxKind
from autograder.sandbox.tags import pinned
from autograder.yamlfile import StrictModel

CUDA = r"^cu\d{2,3}$"  # a build of torch, as its wheels name it


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
    cuda: Annotated[str, Field(pattern=CUDA)] | None = None  # the build of torch: cu126; None: pip's choice
    wheels: str | None = None  # where pip finds that build: an index's address, or a folder of wheels

    @property
    def packages(self) -> list[str]:
        """All of them: the judge's torch, built for CUDA, is one of these."""
        return self.requirements if self.cuda is None else [*self.requirements, f"torch=={pinned('torch')}+{self.cuda}"]

    @property
    def pip_options(self) -> list[str]:
        """What pip has to be told to find them. Raises UserError if there is no such folder."""
        if self.wheels is None:
            return []
        if self.wheels.startswith(("https://", "http://")):
            return ["--extra-index-url", self.wheels]
        folder = Path(self.wheels)
        if not any(folder.glob("*.whl")):
            raise UserError(f"there are no wheels in {folder}; name an index or a folder of wheels.")
        return ["--find-links", str(folder.resolve())]
