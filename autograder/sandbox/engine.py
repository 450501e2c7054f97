"""The container engine: a client of it, its socket, and its troubles as sentences with the command that helps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import docker.errors
import docker.utils
import requests

from autograder.errors import Infrastructure, UserError

Engine = Any  # a docker.APIClient, of which the type stubs leave out half

NO_ENGINE = (
    "no container engine answers at {where}: install one (`sudo apt-get install docker.io`), start it"
    " (`sudo systemctl start docker`);"
    " `--sandbox process` runs code you trust without walls"
)


def connect() -> Engine:
    """A client of the engine DOCKER_HOST names, by default the local one. Raises UserError if none answers."""
    settings = docker.utils.kwargs_from_env()
    where = settings.get("base_url") or "unix:///var/run/docker.sock"
    if not where.startswith(("unix://", "http+unix://")):
        raise UserError(f"the engine at {where} is on another machine; sandboxes need one on this machine")
    try:
        return docker.APIClient(**settings, version="auto", timeout=120)
    except docker.errors.DockerException as error:
        if "Permission denied" in str(error):
            message = f"you may not talk to the engine at {where}: `sudo usermod -aG docker $USER`, then log in again"
            raise UserError(message) from None
        raise UserError(NO_ENGINE.format(where=where)) from None


def engine_socket() -> str:
    """Path of the local engine's socket."""
    where = docker.utils.kwargs_from_env().get("base_url") or ""
    return str(where.split("://", 1)[1]) if "unix://" in where else "/var/run/docker.sock"


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turn the engine's troubles into a sentence and the command that helps."""
    try:
        yield
    except docker.errors.ImageNotFound:
        raise UserError("the sandbox image is not there; build it with `autograder image build`") from None
    except docker.errors.APIError as error:
        text = str(error.explanation or error)
        if "no space left" in text:
            advice = "the engine's disk is full; make room with `docker system prune`"
        elif "could not select device driver" in text or "CDI" in text:
            advice = "the engine cannot hand out a GPU: install the NVIDIA container toolkit, or leave `--gpus` out"
        else:
            advice = "the engine refused"
        raise Infrastructure(f"{advice} ({text.strip()[:300]})") from None
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        message = f"the container engine stopped answering; `sudo systemctl restart docker` ({str(error)[:200]})"
        raise Infrastructure(message) from None
