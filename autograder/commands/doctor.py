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

from autograder.course.course import Course
from autograder.errors import Infrastructure, UserError
from autograder.feedback.text import count
from autograder.homework.first_cell import DISTRIBUTION
from autograder.records.nbgrader_config import CONFIG, is_configured
from autograder.sandbox import Limits, base_image, traces
from autograder.sandbox import engine as engines
from autograder.sandbox import image as images
from autograder.sandbox.tags import IMAGE_TAG

Status = Literal["ok", "advice", "missing"]
ENGINE_DISK_GB = 8  # wheels, build cache and image
PARALLEL_MB = Limits().memory_mb


@dataclass(frozen=True)
class Diagnosis:
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


def examine() -> list[Diagnosis]:
    """Look at everything; never raises."""
    findings = [guarded(check) for check in (packages, memory, disk, leftovers)]
    try:
        with engines.connect() as engine:
            findings += [guarded(check, engine) for check in ENGINE_CHECKS]
    except UserError as error:
        says, _, _ = str(error).partition(": ")
        findings.append(Diagnosis("engine", "missing", says, engine_fix()))
    return findings


def is_ready(findings: list[Diagnosis]) -> bool:
    """True if submissions can be graded in engines."""
    return all(finding.status != "missing" for finding in findings)


def guarded(check: Callable[..., Diagnosis], *arguments: Any) -> Diagnosis:
    """A check that fails is itself a finding."""
    try:
        return check(*arguments)
    except (UserError, Infrastructure, OSError) as error:
        return Diagnosis(check.__name__, "missing", str(error))


# --- without an engine ---------------------------------------------------------------------------------------------


def packages() -> Diagnosis:
    """Everything the project declares is installed."""
    missing = [name for name in declared() if not is_installed(name)]
    if missing:
        return Diagnosis("packages", "missing", f"not installed: {', '.join(missing)}", "pip install --editable .")
    return Diagnosis(
        "packages", "ok", f"Python {platform.python_version()}, torch {importlib.metadata.version('torch')}"
    )


def declared() -> Iterator[str]:
    """Names of the packages that grading requires: the package's own, and those of its extras `cli` and `grade`."""
    for requirement in importlib.metadata.requires(DISTRIBUTION) or []:
        extra = re.search(r"extra == ['\"](\w+)['\"]", requirement)
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        if name != DISTRIBUTION and (extra is None or extra[1] in ("cli", "grade")):
            yield name


def is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def memory(meminfo: Path = Path("/proc/meminfo")) -> Diagnosis:
    """A sandbox may take `Limits.memory_mb`, and as many run as there are cores."""
    free = int(re.findall(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())[0]) // 1024
    cores = len(os.sched_getaffinity(0))
    jobs = max(1, min(cores, free // PARALLEL_MB))
    says = f"{free} MB free for sandboxes of up to {PARALLEL_MB} MB, {cores} cores"
    if jobs < cores:
        return Diagnosis("memory", "advice", says, f"autograder grade --jobs {jobs}")
    return Diagnosis("memory", "ok", says)


def disk() -> Diagnosis:
    where = traces.root()
    free = shutil.disk_usage(where).free / 2**30
    if free < 1:
        return Diagnosis("disk", "missing", f"{free:.1f} GB free in {where.parent}", f"df -h {where.parent}")
    return Diagnosis("disk", "ok", f"{free:.0f} GB free in {where.parent}")


def leftovers() -> Diagnosis:
    """Folders of graders that were killed, together with their reaper."""
    dead = [path.name for path in traces.root().iterdir() if traces.is_dead(path.name)]
    if dead:
        says = f"{count(len(dead), 'killed grader')} left something behind; the next `autograder grade` removes it"
        return Diagnosis("leftovers", "advice", says, "autograder doctor --sweep")
    return Diagnosis("leftovers", "ok", "nothing left behind by killed graders")


def nbgrader_config(course: Course) -> Diagnosis:
    """Whether nbgrader's own commands run submissions where ours do."""
    if is_configured(course):
        return Diagnosis("nbgrader", "ok", "`nbgrader autograde` grades in the sandbox")
    says = f"{course.root / CONFIG} lets nbgrader run submissions on this machine, unprotected, by checks of its own"
    return Diagnosis("nbgrader", "advice", says, f"autograder doctor --fix --course {course.root}")


def engine_fix() -> str:
    """How an engine gets to answer here: install, start, or join its group."""
    if shutil.which("dockerd") is None:
        return "sudo apt-get install -y docker.io"
    if Path(engines.engine_socket()).exists() and os.geteuid() != 0:
        return "sudo usermod -aG docker $USER && newgrp docker"
    if shutil.which("systemctl") and Path("/run/systemd/system").exists():
        return "sudo systemctl start docker"
    return "sudo sh -c 'dockerd > /var/log/dockerd.log 2>&1 &'"


# --- of an engine --------------------------------------------------------------------------------------------------


def engine(client: engines.Engine) -> Diagnosis:
    version = client.version()
    return Diagnosis("engine", "ok", f"{version['Version']} at {engines.engine_socket()}, API {version['ApiVersion']}")


def confinement(client: engines.Engine) -> Diagnosis:
    """What the walls are built from: seccomp, and limits on memory, swap, processes and CPU."""
    info = client.info()
    caps = {"MemoryLimit": "memory", "SwapLimit": "swap", "PidsLimit": "processes", "CpuCfsQuota": "CPU time"}
    lacking = [name for key, name in caps.items() if not info.get(key)]
    if not any("seccomp" in option for option in info.get("SecurityOptions") or []):
        lacking.insert(0, "system calls (seccomp)")
    if lacking == ["swap"]:
        says = "swap cannot be limited; sandboxes may swap"
        return Diagnosis("confinement", "advice", says, "add swapaccount=1 to the kernel's command line")
    if lacking:
        says = f"the engine cannot limit {', '.join(lacking)}"
        return Diagnosis("confinement", "missing", says, "use an engine that runs as root on a kernel with cgroups")
    return Diagnosis("confinement", "ok", f"seccomp; cgroup version {info.get('CgroupVersion', '1')}")


def engine_disk(client: engines.Engine) -> Diagnosis:
    where = Path(client.info()["DockerRootDir"])
    existing = next(path for path in (where, *where.parents) if os.access(path, os.R_OK | os.X_OK))
    free = shutil.disk_usage(existing).free / 2**30
    if free < ENGINE_DISK_GB:
        says = f"{free:.1f} GB free in {where}; building the image takes up to {ENGINE_DISK_GB}"
        return Diagnosis("engine disk", "advice", says, "autograder doctor --prune")
    return Diagnosis("engine disk", "ok", f"{free:.0f} GB free in {where}")


def image(client: engines.Engine) -> Diagnosis:
    try:
        digest = images.current(client)
    except UserError as error:
        says, _, _ = str(error).partition(";")
        return Diagnosis("image", "missing", says, "autograder image build")
    return Diagnosis("image", "ok", f"{IMAGE_TAG} {digest[7:19]}")


def builder(client: engines.Engine) -> Diagnosis:
    """What `autograder image build` would use."""
    bases = [name for name in (images.BASE, base_image.BASE_TAG) if images.exists(client, name)]
    tool = images.buildkit_client()
    how = f"with BuildKit ({tool})" if tool else "with the engine's older builder, twice as slow"
    if bases:
        return Diagnosis("builder", "ok", f"builds {how} on {bases[0]}")
    if base_image.is_possible():
        return Diagnosis("builder", "ok", f"builds {how} on a base bootstrapped from this machine's Debian mirror")
    says = f"builds {how}; the base image {images.BASE} is not here yet"
    return Diagnosis("builder", "advice", says, f"docker pull {images.BASE}")


def gpu(client: engines.Engine) -> Diagnosis:
    """Only where there is a GPU at all."""
    tool = shutil.which("nvidia-smi")
    if tool is None or subprocess.run([tool, "-L"], capture_output=True).returncode:
        return Diagnosis("gpu", "ok", "no NVIDIA GPU on this machine; sandboxes compute on the CPU")
    info = client.info()
    if "nvidia" in info.get("Runtimes", {}) or info.get("CDISpecDirs"):
        return Diagnosis("gpu", "ok", "the engine can hand out GPUs; `autograder grade --gpus 0`")
    says = "there is a GPU, but the engine cannot hand it out"
    return Diagnosis(
        "gpu", "advice", says, "sudo apt-get install nvidia-container-toolkit && sudo systemctl restart docker"
    )


ENGINE_CHECKS: tuple[Callable[[engines.Engine], Diagnosis], ...] = (
    *(engine, confinement, engine_disk),
    *(image, builder, gpu),
)
