"""What is missing on this machine, and the command that fixes it.

Each check looks at one thing and returns a finding. `missing` stops grading in containers, `advice` does not.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from autograder.errors import Infrastructure, UserError
from autograder.sandbox import Limits, bootstrap, traces
from autograder.sandbox import docker as containers
from autograder.sandbox import image as images

Status = Literal["ok", "advice", "missing"]
ENGINE_DISK_GB = 8  # wheels, build cache and image
PARALLEL_MB = Limits().memory_mb


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: its name, for a table's first column.
        says: what was found, as a sentence without its full stop.
        fix: the command that helps, empty if nothing needs help.
    """

    what: str
    status: Status
    says: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine() -> list[Finding]:
    """Look at everything; never raises."""
    findings = [guarded(check) for check in (packages, memory, disk, leftovers)]
    try:
        with containers.connect() as engine:
            findings += [guarded(check, engine) for check in ENGINE_CHECKS]
    except UserError as error:
        says, _, _ = str(error).partition(": ")
        findings.append(Finding("engine", "missing", says, engine_fix()))
    return findings


def is_ready(findings: list[Finding]) -> bool:
    """True if submissions can be graded in containers."""
    return all(finding.status != "missing" for finding in findings)


def guarded(check: Callable[..., Finding], *arguments: Any) -> Finding:
    """A check that fails is itself a finding."""
    try:
        return check(*arguments)
    except (UserError, Infrastructure, OSError) as error:
        return Finding(check.__name__, "missing", str(error))


# --- without an engine ---------------------------------------------------------------------------------------------


def packages() -> Finding:
    """Everything the project declares is installed."""
    missing = [name for name in declared() if not is_installed(name)]
    if missing:
        return Finding("packages", "missing", f"not installed: {', '.join(missing)}", "pip install --editable .")
    return Finding("packages", "ok", f"Python {platform.python_version()}, torch {importlib.metadata.version('torch')}")


def declared() -> Iterator[str]:
    """Names of the packages autograder requires, without extras."""
    for requirement in importlib.metadata.requires("autograder") or []:
        if "extra ==" not in requirement:
            yield re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def memory(meminfo: Path = Path("/proc/meminfo")) -> Finding:
    """A sandbox may take `Limits.memory_mb`, and as many run as there are cores."""
    free = int(re.findall(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())[0]) // 1024
    cores = len(os.sched_getaffinity(0))
    jobs = max(1, min(cores, free // PARALLEL_MB))
    says = f"{free} MB free for sandboxes of up to {PARALLEL_MB} MB, {cores} cores"
    if jobs < cores:
        return Finding("memory", "advice", says, f"autograder grade --jobs {jobs}")
    return Finding("memory", "ok", says)


def disk() -> Finding:
    where = traces.root()
    free = shutil.disk_usage(where).free / 2**30
    if free < 1:
        return Finding("disk", "missing", f"{free:.1f} GB free in {where.parent}", f"df -h {where.parent}")
    return Finding("disk", "ok", f"{free:.0f} GB free in {where.parent}")


def leftovers() -> Finding:
    """Folders of graders that were killed, together with their reaper."""
    dead = [path.name for path in traces.root().iterdir() if traces.is_dead(path.name)]
    if dead:
        says = f"{len(dead)} killed graders left something behind; the next `autograder grade` removes it"
        return Finding("leftovers", "advice", says, "autograder doctor --sweep")
    return Finding("leftovers", "ok", "nothing left behind by killed graders")


def engine_fix() -> str:
    """How an engine gets to answer here: install, start, or join its group."""
    if shutil.which("dockerd") is None:
        return "sudo apt-get install -y docker.io"
    if Path(containers.engine_socket()).exists() and os.geteuid() != 0:
        return "sudo usermod -aG docker $USER && newgrp docker"
    if shutil.which("systemctl") and Path("/run/systemd/system").exists():
        return "sudo systemctl start docker"
    return "sudo sh -c 'dockerd > /var/log/dockerd.log 2>&1 &'"


# --- of an engine --------------------------------------------------------------------------------------------------


def engine(client: containers.Engine) -> Finding:
    version = client.version()
    return Finding("engine", "ok", f"{version['Version']} at {containers.engine_socket()}, API {version['ApiVersion']}")


def confinement(client: containers.Engine) -> Finding:
    """What the walls are built from: seccomp, and limits on memory, swap, processes and CPU."""
    info = client.info()
    caps = {"MemoryLimit": "memory", "SwapLimit": "swap", "PidsLimit": "processes", "CpuCfsQuota": "CPU time"}
    lacking = [name for key, name in caps.items() if not info.get(key)]
    if not any("seccomp" in option for option in info.get("SecurityOptions") or []):
        lacking.insert(0, "system calls (seccomp)")
    if lacking == ["swap"]:
        says = "swap cannot be limited; sandboxes may swap"
        return Finding("confinement", "advice", says, "add swapaccount=1 to the kernel's command line")
    if lacking:
        says = f"the engine cannot limit {', '.join(lacking)}"
        return Finding("confinement", "missing", says, "use an engine that runs as root on a kernel with cgroups")
    return Finding("confinement", "ok", f"seccomp; cgroup version {info.get('CgroupVersion', '1')}")


def engine_disk(client: containers.Engine) -> Finding:
    where = Path(client.info()["DockerRootDir"])
    existing = next(path for path in (where, *where.parents) if os.access(path, os.R_OK | os.X_OK))
    free = shutil.disk_usage(existing).free / 2**30
    if free < ENGINE_DISK_GB:
        says = f"{free:.1f} GB free in {where}; building the image takes up to {ENGINE_DISK_GB}"
        return Finding("engine disk", "advice", says, "docker system prune && docker builder prune")
    return Finding("engine disk", "ok", f"{free:.0f} GB free in {where}")


def image(client: containers.Engine) -> Finding:
    try:
        digest = images.current(client)
    except UserError as error:
        says, _, _ = str(error).partition(";")
        return Finding("image", "missing", says, "autograder image build")
    return Finding("image", "ok", f"{images.TAG} {digest[7:19]}")


def builder(client: containers.Engine) -> Finding:
    """What `autograder image build` would use."""
    bases = [name for name in (images.BASE, bootstrap.TAG) if images.exists(client, name)]
    tool = images.buildkit_client()
    how = f"with BuildKit ({tool})" if tool else "with the engine's older builder, twice as slow"
    if bases:
        return Finding("builder", "ok", f"builds {how} on {bases[0]}")
    if bootstrap.is_possible():
        return Finding("builder", "ok", f"builds {how} on a base bootstrapped from this machine's Debian mirror")
    says = f"builds {how}; the base image {images.BASE} is not here yet"
    return Finding("builder", "advice", says, f"docker pull {images.BASE}")


def gpu(client: containers.Engine) -> Finding:
    """Only where there is a GPU at all."""
    tool = shutil.which("nvidia-smi")
    if tool is None or subprocess.run([tool, "-L"], capture_output=True).returncode:
        return Finding("gpu", "ok", "no NVIDIA GPU on this machine; sandboxes compute on the CPU")
    info = client.info()
    if "nvidia" in info.get("Runtimes", {}) or info.get("CDISpecDirs"):
        return Finding("gpu", "ok", "the engine can hand out GPUs; `autograder grade --gpus 0`")
    says = "there is a GPU, but the engine cannot hand it out"
    return Finding(
        "gpu", "advice", says, "sudo apt-get install nvidia-container-toolkit && sudo systemctl restart docker"
    )


ENGINE_CHECKS: tuple[Callable[[containers.Engine], Finding], ...] = (
    *(engine, confinement, engine_disk),
    *(image, builder, gpu),
)
