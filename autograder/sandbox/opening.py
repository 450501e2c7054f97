"""Open a source of sandboxes of the kind asked for, and remove what killed graders left behind."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from autograder.errors import Infrastructure, SandboxWarning, UserError
from autograder.sandbox.protocol import Limits, Provider, SandboxKind

AS_ROOT = (
    "as root the process sandbox lets a submission read and write everything on this machine; grade with containers"
    " (`autograder doctor` says what is missing), grade as another user, or add `--no-walls-as-root`"
)


def answering() -> SandboxKind:
    """Docker where an engine answers, else process: for a demonstration, whose submissions are our own."""
    from autograder.sandbox.engine import connect

    try:
        connect().close()
    except UserError:
        return "process"
    return "docker"


def permitted(kind: SandboxKind, *, as_root: bool = False) -> SandboxKind:
    """The kind that somebody named, if a class may be graded in it. There is no other in its place.

    Args:
        as_root: said a second time, by somebody who is root and names the process sandbox.

    Raises:
        UserError: no engine answers, with the command that helps; or root has not said it twice.
    """
    if kind == "docker":
        from autograder.sandbox.engine import connect

        connect().close()
        return kind
    from autograder.sandbox.process import NO_BOUNDARY

    if is_root() and not as_root:
        raise UserError(AS_ROOT)
    warnings.warn(NO_BOUNDARY, SandboxWarning, stacklevel=2)
    return kind


def is_root() -> bool:
    """Whether what runs without walls could do anything at all."""
    return os.geteuid() == 0


def look_at_gpu(kind: SandboxKind, gpu: str | None) -> None:
    """Raise UserError if a sandbox of this kind cannot be given a device of that name."""
    if kind == "process" and gpu is not None and "=" in gpu:
        raise UserError(f"`{gpu}` names a GPU to a container engine; --sandbox process takes a device id, as in `0`")


def open_provider(
    kind: SandboxKind,
    limits: Limits | None = None,
    gpu: str | None = None,
    image: str | None = None,
    datasets: Mapping[str, Path] = MappingProxyType({}),
) -> Provider:
    """Open a source of sandboxes.

    Args:
        gpu: device id handed to each sandbox ("0"), or to containers a CDI name ("nvidia.com/gpu=0").
        image: image to start, by default the one `autograder image build` makes.
        datasets: folders that each sandbox may read, by name (`worker.datasets`).

    Raises:
        UserError: no engine, no image, or a CDI name asked of the process sandbox.
        Infrastructure: the engine failed.
    """
    limits = limits or Limits()
    if kind == "docker":
        from autograder.sandbox.docker import DockerProvider

        return DockerProvider(limits, gpu=gpu, image=image, datasets=datasets)
    from autograder.sandbox.process import ProcessProvider

    look_at_gpu(kind, gpu)
    return ProcessProvider(limits, gpu=gpu, datasets=datasets)


def sweep() -> list[str]:
    """Remove what graders of this machine left behind that no longer run; returns what was removed."""
    from autograder.sandbox import docker, engine, process, traces

    removed = process.sweep()
    try:
        with engine.connect() as client:
            removed += docker.sweep(client)
    except (UserError, Infrastructure):
        pass  # no engine, so no containers
    return removed + traces.sweep_folders()
