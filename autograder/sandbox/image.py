"""The image student code runs in: build it, find it, know when it is out of date. No image registry is needed.

    wheelhouse (pip download, on this machine) + Dockerfile + worker → image, labelled with a hash of its ingredients

The base is any Debian-like image (`python:3.11-slim`, a CUDA runtime). Where none is at hand, `base_image.make` makes
one from the Debian mirror this machine's apt is configured with. A course that needs more packages than every image has
names them in course.yaml and has an image of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import docker.errors

from autograder.errors import Infrastructure, UserError
from autograder.sandbox import base_image
from autograder.sandbox.engine import Engine, connect, engine_errors
from autograder.sandbox.identity import packages_of
from autograder.sandbox.ingredients import cache, fill
from autograder.sandbox.running import Say, run
from autograder.sandbox.tags import IMAGE_TAG, lines_of, tag_of
from autograder.sandbox.worker_files import WORKER, worker_files

HERE = Path(__file__).parent
PYTHON = "3.11"  # unless a base or a course says otherwise
BASE = f"python:{PYTHON}-slim"
DEBIAN_PYTHON = {"bookworm": "3.11", "trixie": "3.13"}  # what apt installs into a base without Python


@dataclass(frozen=True)
class Built:
    """An image: its digest, and whether it was there already."""

    digest: str
    reused: bool


def content(base: str, requirements: str = "") -> str:
    """Hash over everything the image is made of; of the base, its name only.

    Args:
        requirements: packages beside those every image has, a line each.
    """
    parts = hashlib.sha256(f"{base}\0{requirements}".encode())
    for path in (HERE / "Dockerfile", HERE / "requirements.txt", *worker_files(WORKER)):
        name = path.relative_to(WORKER) if WORKER in path.parents else path.name
        parts.update(f"\0{name}\0".encode() + path.read_bytes())
    return parts.hexdigest()


def current(client: Engine, tag: str = IMAGE_TAG) -> str:
    """Digest of the built image. Raises UserError if there is none or it is older than this program."""
    try:
        found = client.inspect_image(tag)
    except docker.errors.ImageNotFound:
        raise UserError("the sandbox image is not built yet; run `autograder image build`") from None
    labels = found["Config"].get("Labels") or {}
    if not is_current(labels):
        raise UserError("the sandbox image is of another version; run `autograder image build`")
    return str(found["Id"])


def digest(tag: str = IMAGE_TAG) -> str | None:
    """Digest of the image as it is, None if there is none."""
    with connect() as client, engine_errors():
        try:
            return str(client.inspect_image(tag)["Id"])
        except docker.errors.ImageNotFound:
            return None


def build(
    base: str | None = None,
    *,
    python: str | None = None,
    requirements: Sequence[str] = (),
    force: bool = False,
    pip_options: Sequence[str] = (),
    say: Say = lambda line: None,
) -> Built:
    """Build the image, or find that it is there already.

    Args:
        base: image to build on; by default the one used last, one at hand, a bootstrapped one, or `python:3.11-slim`.
        python: version of Python the image must have, such as "3.12"; the default base is then `python:3.12-slim`.
        requirements: packages beside those every image has.
        force: build even when nothing changed.
        pip_options: passed to `pip download`, for instance `--index-url` of an index with CUDA wheels.
        say: called with each line worth showing.

    Raises:
        UserError: something is missing on this machine; the message has the command that fixes it.
        Infrastructure: pip, apt or the engine failed; the message ends with what they said.
    """
    tag, lines = tag_of(requirements), lines_of(requirements)
    base = base or (f"python:{python}-slim" if python else None)
    with connect() as client, engine_errors():
        labels = _labels(client, tag)
        last = labels.get("autograder.base")
        if not force and last and base in (None, last) and labels.get("autograder.content") == content(last, lines):
            return Built(str(client.inspect_image(tag)["Id"]), reused=True)
        base = base or _find_base(client, last, say)
        found = _python_of(client, base)
        if python not in (None, found):
            raise UserError(f"the image `{base}` has Python {found}, not {python}; choose another `--base`")
        with cache() as folder:
            fill(folder, found, lines, pip_options, say)
            arguments = {"BASE": base, "PYTHON": found, "CONTENT": content(base, lines)}
            _build(client, folder, tag, arguments | {"REQUIREMENTS": ",".join(lines.splitlines())}, say)
        _remove_older(client)
        return Built(str(client.inspect_image(tag)["Id"]), reused=False)


def exists(client: Engine, name: str) -> bool:
    """True if the engine has an image of that name."""
    try:
        client.inspect_image(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def buildkit_client() -> str | None:
    """A docker command that can build with BuildKit: one up to 22, or a newer one with the buildx plugin."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin"]
    for tool in dict.fromkeys(found for folder in folders if (found := shutil.which("docker", path=folder))):
        version = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout.split()
        if len(version) > 2 and version[2].split(".")[0].isdigit() and int(version[2].split(".")[0]) < 23:
            return tool
        if subprocess.run([tool, "buildx", "version"], capture_output=True).returncode == 0:
            return tool
    return None


def is_current(labels: dict[str, str]) -> bool:
    """True if an image with these labels would have the same content if it were built now."""
    more = [line for line in labels.get("autograder.requirements", "").split(",") if line]
    return labels.get("autograder.content") == content(labels.get("autograder.base", ""), lines_of(more))


# --- the steps -----------------------------------------------------------------------------------------------------


def _labels(client: Engine, tag: str) -> dict[str, str]:
    try:
        return client.inspect_image(tag)["Config"].get("Labels") or {}
    except docker.errors.ImageNotFound:
        return {}


def _find_base(client: Engine, last: str | None, say: Say) -> str:
    for name in (last, BASE, base_image.BASE_TAG):
        if name and exists(client, name):
            return name
    if base_image.is_possible():
        base_image.make(client, say)
        return base_image.BASE_TAG
    say(f"pulling {BASE}")
    try:
        client.pull(*BASE.split(":"))
    except docker.errors.APIError as error:
        raise UserError(
            f"{BASE} cannot be pulled ({str(error.explanation)[:100]}); name an image you have with `--base`, or"
            " `sudo apt-get install debootstrap` and run this as root on a Debian machine"
        ) from None
    return BASE


def _remove_older(client: Engine) -> None:
    """Remove images of ours that lost their name to a newer one, unless a container still uses them."""
    for row in client.images(filters={"dangling": True, "label": "autograder.content"}):
        with contextlib.suppress(docker.errors.APIError):
            client.remove_image(row["Id"])


def _python_of(client: Engine, base: str) -> str:
    """Version of the Python the base has, or will get from apt."""
    if not exists(client, base):
        raise UserError(f"there is no image `{base}`; `docker pull {base}`, or name another with `--base`")
    script = (
        "python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])' || . /etc/os-release; echo $VERSION_CODENAME"
    )
    probe = client.create_container(base, entrypoint=["sh", "-c", script], command=[], network_disabled=True)
    try:
        client.start(probe)
        client.wait(probe, timeout=60)
        words = client.logs(probe, stdout=True, stderr=False).decode(errors="replace").split()
    finally:
        client.remove_container(probe, force=True)
    version = words[0] if words else ""
    version = DEBIAN_PYTHON.get(version, version)
    if not version.startswith("3."):
        raise UserError(
            f"the image `{base}` has no python3, and is no Debian to install one from; choose another `--base`"
        )
    return version


def _build(client: Engine, folder: Path, tag: str, arguments: dict[str, str], say: Say) -> None:
    say(f"building {tag} on {arguments['BASE']}")
    tool = buildkit_client()
    if tool is None:
        _build_with_engine(client, folder, tag, arguments, say)
    else:
        _build_with_client(tool, folder, tag, arguments, say)


def _identity(folder: Path, arguments: dict[str, str]) -> dict[str, str]:
    """Labels that say what student code finds: marks are stale when these change."""
    return {"autograder.python": arguments["PYTHON"], "autograder.packages": packages_of(folder / "wheelhouse")}


def _build_with_client(tool: str, folder: Path, tag: str, arguments: dict[str, str], say: Say) -> None:
    command = [tool, "build", "--network", "host", "--progress", "plain", "--tag", tag]
    for name, value in _identity(folder, arguments).items():
        command += ["--label", f"{name}={value}"]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    run([*command, str(folder)], "building the image", say, {"DOCKER_BUILDKIT": "1"})


def _build_with_engine(client: Engine, folder: Path, tag: str, arguments: dict[str, str], say: Say) -> None:
    """Without a suitable docker command: the engine's older builder, twice as slow."""
    for part in client.build(
        path=str(folder), tag=tag, buildargs=arguments, network_mode="host", rm=True, forcerm=True, decode=True,
        labels=_identity(folder, arguments),
    ):  # fmt: skip
        if "error" in part:
            raise Infrastructure(f"building the image failed: {str(part['error'])[-600:]}")
        if line := str(part.get("stream", "")).rstrip():
            say(line)
