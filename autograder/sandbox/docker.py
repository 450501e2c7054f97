"""Sandboxes that are hardened containers: the boundary between student code and the grader.

A container has no network, no writable place but two small tmpfs, no capability, no way to gain one, an allow-list of
system calls, and caps on memory, processes, CPU, files and time. Its one link to the outside is a unix socket in a
folder mounted read-only: the judge listens, accepts once, and unlinks it. Nothing is attached to its output, and the
engine writes no log, so what it prints goes nowhere and costs nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import docker.errors
import requests

from autograder.errors import Infrastructure, UserError
from autograder.sandbox import traces
from autograder.sandbox.endings import describe_exit
from autograder.sandbox.engine import Engine, connect, engine_errors, engine_socket
from autograder.sandbox.image import current
from autograder.sandbox.live import SPARE_SECONDS, LiveSandbox, WarmProvider
from autograder.sandbox.protocol import ON_A_GPU, Ending, Limits, SandboxKind, Usage
from autograder.sandbox.reading import Group, Reading, Threads
from autograder.sandbox.tags import IMAGE_TAG, REPOSITORY
from autograder.worker.datasets import FOLDER

SECCOMP = Path(__file__).with_name("seccomp.json")
LABEL = "autograder.session"
MOUNT = "/run/judge"  # where the folder of the socket appears inside
DATASETS = "/datasets"
UIDS = range(61184, 65520)  # systemd's range for users that own nothing
PAUSE = 0.5


def container_config(
    limits: Limits,
    *,
    image: str,
    uid: int,
    folder: Path,
    labels: dict[str, str],
    gpu: str | None = None,
    datasets: Mapping[str, Path] = MappingProxyType({}),
) -> dict[str, Any]:
    """The whole request for one container, as the engine's API takes it."""
    mb = 1 << 20
    memory = limits.memory_mb * mb
    mounts = "rw,noexec,nosuid,nodev,mode=1777,nr_inodes={},size={}m"
    lifetime = int(limits.wall_seconds + SPARE_SECONDS + limits.start_seconds)
    caps = {
        "nofile": (limits.open_files, limits.open_files),
        "core": (0, 0),
        "fsize": (limits.file_mb * mb, limits.file_mb * mb),
        "cpu": (limits.cpu_cap, limits.cpu_cap + 5),  # SIGXCPU first: an exit code that tells the reason
        "msgqueue": (0, 0),
        "memlock": (64 << 10, 64 << 10),
    }
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "USER": "student",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",  # for what students start; the worker itself runs with -B
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": "/tmp/.matplotlib",
        FOLDER: DATASETS,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",  # spares `import torch` the reading of every package's metadata
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # half the page faults: 6 % of the CPU time of `import torch`
    }
    shown = [(MOUNT, folder), *((f"{DATASETS}/{name}", source) for name, source in datasets.items())]
    host: dict[str, Any] = {
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges", f"seccomp={json.dumps(json.loads(SECCOMP.read_text()))}"],
        "Memory": memory,
        "MemorySwap": memory,
        "PidsLimit": limits.pids,
        "NanoCpus": int(limits.cpus * 1e9),
        "OomScoreAdj": 500,  # should the host itself run out of memory, it is the sandbox that goes
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in caps.items()],
        "IpcMode": "private",
        "ShmSize": limits.shm_mb * mb,
        "CgroupnsMode": "private",
        "Init": True,
        "LogConfig": {"Type": "none"},
        "RestartPolicy": {"Name": "no"},
        "Tmpfs": {
            "/tmp": mounts.format(limits.tmp_files, limits.tmp_mb),
            "/dev/shm": mounts.format(limits.tmp_files, limits.shm_mb),
        },
        "Mounts": [
            {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": True} for target, source in shown
        ],
    }
    if gpu is not None:
        host["DeviceRequests"] = [device_request(gpu)]
        environment |= ON_A_GPU
    # `timeout` ends the container should everybody outside be dead; ending `timeout` ends the container as well.
    python = ["python3", "-I", "-B", "/opt/worker", "--walls", "--socket", f"{MOUNT}/socket"]
    return {
        "Image": image,
        "Entrypoint": ["timeout", "--signal=KILL", str(lifetime)],
        "Cmd": python,
        "User": f"{uid}:{uid}",
        "WorkingDir": "/tmp",
        "Hostname": "sandbox",
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": labels,
        "NetworkDisabled": True,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "OpenStdin": False,
        "Tty": False,
        "HostConfig": host,
    }


def device_request(gpu: str) -> dict[str, Any]:
    """One GPU by its id, or by its CDI name (engines from 25 on)."""
    if "=" in gpu:
        return {"Driver": "cdi", "DeviceIDs": [gpu]}
    return {"Driver": "nvidia", "DeviceIDs": [gpu], "Capabilities": [["gpu", "compute", "utility"]]}


# --- one container -------------------------------------------------------------------------------------------------


class DockerSandbox(LiveSandbox):
    """A started container whose worker will connect, or has connected, to our socket."""

    def __init__(self, provider: DockerProvider, container: str, listener: socket.socket, folder: Path) -> None:
        super().__init__(provider.limits)
        self._provider = provider
        self.container = container
        self.cores = min(self.limits.cpus, os.cpu_count() or 1)
        self._listener = listener
        self._folder = folder
        self._threads = Threads()

    def is_running(self) -> bool:
        return bool(self._provider.state(self.container)["Running"])

    def _connect(self, deadline: float) -> socket.socket:
        try:
            while True:
                self._listener.settimeout(PAUSE)
                try:
                    return self._listener.accept()[0]
                except TimeoutError:
                    if time.monotonic() > deadline:
                        raise
                    if not self.is_running():
                        raise Infrastructure(f"the sandbox did not come up: {self._trouble()}") from None
        finally:  # the one connection is made, or none will be
            self._listener.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _trouble(self) -> str:
        state = self._provider.state(self.container, wait=2)
        told = f"{state['Status']}, exit code {state['ExitCode']} {state['Error']}".strip()
        return f"the container is {told}; try `autograder image build --force`"

    def _explain(self) -> Ending:
        try:
            state = self._provider.state(self.container, wait=5)
        except Infrastructure:
            return Ending("crash", "it was ended from outside")
        if state["Running"]:
            return Ending("crash", "it closed its connection to the grader")
        return describe_exit(state["ExitCode"], self.limits, out_of_memory=state["OOMKilled"])

    def _measure(self) -> Usage:
        group = Group.of(self.container)
        return Usage(None, None) if group is None else Usage(group.cpu_seconds(), group.peak_mb())

    def _read(self) -> Reading:
        group = Group.of(self.container)
        if group is None or self._provider.gpu is not None:  # elsewhere; or it waits for something else as well
            return Reading()
        figures = self._threads.look(group.pids())
        return Reading(group.cpu_seconds(), group.throttled_seconds(), figures and figures[1])

    def _end(self) -> None:
        self._listener.close()
        self._provider.in_background(self._provider.remove, self.container)


# --- the provider --------------------------------------------------------------------------------------------------


class DockerProvider(WarmProvider[DockerSandbox]):
    """Containers of one image, one after another."""

    name: SandboxKind = "docker"

    def __init__(
        self,
        limits: Limits,
        *,
        gpu: str | None = None,
        image: str | None = None,
        datasets: Mapping[str, Path] = MappingProxyType({}),
    ) -> None:
        super().__init__(limits, engine_socket())
        self.gpu = gpu
        self._datasets = dict(datasets)
        self._client = connect()
        with engine_errors():
            ours = image is None or image.startswith(f"{REPOSITORY}:")
            self.image: str | None = (
                current(self._client, image or IMAGE_TAG) if ours else self._client.inspect_image(image)["Id"]
            )
        self._labels = {LABEL: traces.session(), "autograder.provider": self.token}

    def state(self, container: str, wait: int = 0) -> dict[str, Any]:
        """The container's state, once it ended or `wait` seconds passed."""
        with engine_errors():
            if wait:
                with contextlib.suppress(requests.ReadTimeout, requests.ConnectionError):
                    self._client.wait(container, timeout=wait)
            state: dict[str, Any] = self._client.inspect_container(container)["State"]
        return state

    def remove(self, container: str) -> None:
        """Kill and remove; somebody else may have done so."""
        with contextlib.suppress(docker.errors.DockerException, requests.RequestException):
            self._client.remove_container(container, force=True, v=True)

    def _launch(self, number: int, folder: Path) -> DockerSandbox:
        folder.chmod(0o755)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "socket"))
        (folder / "socket").chmod(0o666)  # the user inside is another one; outside, the session's folder is closed
        listener.listen(1)
        uid = UIDS.start + (os.getpid() * 64 + number) % len(UIDS)  # an own user each: the kernel has caps per user
        config = container_config(
            self.limits,
            image=str(self.image),
            uid=uid,
            folder=folder,
            labels=self._labels,
            gpu=self.gpu,
            datasets=self._datasets,
        )
        container = None
        try:
            with engine_errors():
                name = f"autograder-{self.token}-{number}"
                container = self._client.create_container_from_config(config, name)["Id"]
                self._client.start(container)
        except BaseException:
            listener.close()
            if container is not None:
                self.remove(container)
            raise
        return DockerSandbox(self, container, listener, folder)

    def _remove_all(self) -> None:
        with contextlib.suppress(Infrastructure, UserError), engine_errors():
            for row in self._client.containers(all=True, filters={"label": f"autograder.provider={self.token}"}):
                self.remove(row["Id"])
        self._client.close()


def sweep(client: Engine) -> list[str]:
    """Remove the containers of graders that no longer run; returns their names."""
    removed = []
    with engine_errors():
        for row in client.containers(all=True, filters={"label": LABEL}):
            if traces.is_dead(row["Labels"][LABEL]):
                with contextlib.suppress(docker.errors.APIError):
                    client.remove_container(row["Id"], force=True, v=True)
                    removed.append(row["Names"][0].lstrip("/"))
    return removed
