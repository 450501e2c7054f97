"""Open a source of sandboxes of the kind asked for, and remove what killed graders left behind."""

from __future__ import annotations

from typing import Literal

from autograder.errors import Infrastructure, UserError
from autograder.sandbox.protocol import Limits, Provider, SandboxKind


def choose(kind: Literal["auto", "docker", "process"]) -> SandboxKind:
    """Resolve "auto": docker where an engine answers, else process."""
    if kind != "auto":
        return kind
    from autograder.sandbox.engine import connect

    try:
        connect().close()
    except UserError:
        return "process"
    return "docker"


def open_provider(
    kind: Literal["auto", "docker", "process"],
    limits: Limits | None = None,
    gpu: str | None = None,
    image: str | None = None,
) -> Provider:
    """Open a source of sandboxes.

    Args:
        gpu: device id handed to each sandbox ("0"), or a CDI name ("nvidia.com/gpu=0").
        image: image to start, by default the one `autograder image build` makes.

    Raises:
        UserError: no engine, no image, or a GPU asked of the process sandbox.
        Infrastructure: the engine failed.
    """
    limits = limits or Limits()
    if choose(kind) == "docker":
        from autograder.sandbox.docker import DockerProvider

        return DockerProvider(limits, gpu=gpu, image=image)
    from autograder.sandbox.process import ProcessProvider

    if gpu is not None:
        raise UserError("a GPU is handed to containers only; use --sandbox docker, or leave --gpus out")
    return ProcessProvider(limits)


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
