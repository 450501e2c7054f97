"""Attacks on the machine itself, driven through a bare sandbox: what they reach, and what they cost the host.

The suite in `cheats/` asks for points and reason codes; this file looks from the host at the same rows of the table:
descriptors and /proc (4), secrets (5), endings (8, 9), bombs (10, 11), doors (12) and leftovers (14).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.sandbox import traces
from autograder.sandbox.docker import DockerProvider, DockerSandbox, Engine
from tests.autograder.inside import run, tell

pytestmark = pytest.mark.container
MB = 1 << 20
CANARY = "CANARY-host-" + os.urandom(8).hex()


@pytest.fixture(scope="module")
def secrets(provider: DockerProvider) -> Iterator[DockerSandbox]:
    """Canaries wherever a grader keeps something, a sandbox beside, and the sandbox that looks for them."""
    other = provider.acquire()
    run(other, f"open('/tmp/notebook', 'w').write('{CANARY}'); open('/dev/shm/model', 'w').write('{CANARY}')")
    os.environ["AUTOGRADER_SECRET"] = CANARY
    beside = traces.folder() / "gradebook.db"
    beside.write_text(CANARY)
    beside.chmod(0o666)
    sandbox = provider.acquire()
    yield sandbox
    sandbox.kill()
    other.kill()
    beside.unlink()
    del os.environ["AUTOGRADER_SECRET"]


def processes_of(uid: int) -> list[int]:
    """Living processes of a user, seen from the host."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if path.stat().st_uid == uid and traces.start_time(int(path.name)):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def uid_of(engine: Engine, sandbox: DockerSandbox) -> int:
    return int(engine.inspect_container(sandbox.container)["Config"]["User"].split(":")[0])


def is_gone(uid: int, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while processes_of(uid) and time.monotonic() < end:
        time.sleep(0.02)
    return not processes_of(uid)


# --- rows 4, 5 and 12: what can be reached ---------------------------------------------------------------------------


def test_only_the_channel_and_the_captured_output_are_open(sandbox: DockerSandbox) -> None:
    source = """
        import json, os
        targets = []
        for name in os.listdir("/proc/self/fd"):
            try: targets.append(os.readlink("/proc/self/fd/" + name))
            except OSError: pass  # of the listing itself
        print(json.dumps(targets))
    """
    targets = tell(sandbox, source)
    assert len([target for target in targets if target.startswith("socket:")]) == 1
    assert all(target.startswith(("socket:", "pipe:", "/dev/null")) for target in targets), targets


def test_only_the_sandboxs_own_processes_are_in_sight(sandbox: DockerSandbox) -> None:
    source = """
        import json, os
        names = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            names.append(open(f"/proc/{pid}/comm").read().strip())
        print(json.dumps([sorted(names), os.getpid()]))
    """
    names, pid = tell(sandbox, source)
    assert len(names) == 3  # init, timeout, the worker
    assert "timeout" in names
    assert pid < 10


def test_no_secret_of_the_grader_or_of_another_submission_can_be_read(secrets: DockerSandbox) -> None:
    source = f"""
        import json, os
        token = b"{CANARY[:7]}" + b"{CANARY[7:]}"
        with open("/tmp/control", "wb") as file:
            file.write(token)
        found, seen = [], 0
        skipped = ("/sys", "/usr/lib", "/usr/local/lib", "/usr/share")
        for where, folders, files in os.walk("/"):
            folders[:] = [f for f in folders if os.path.join(where, f) not in skipped]
            for name in files:
                path = os.path.join(where, name)
                if path.endswith(("/kmsg", "/kcore", "/kpagecount", "/kpageflags", "/kpagecgroup", "/pagemap", "/mem")):
                    continue
                try:
                    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                except OSError:
                    continue
                try:
                    data = os.read(descriptor, 1 << 20)
                except OSError:
                    continue
                finally:
                    os.close(descriptor)
                seen += 1
                if token in data:
                    found.append(path)
        print(json.dumps([found, seen, [name for name in os.environ if "SECRET" in name]]))
    """
    found, seen, names = tell(secrets, source, seconds=60)
    assert found == ["/tmp/control"]  # the scan finds what is there
    assert seen > 500
    assert names == []


def test_no_door_leads_out(sandbox: DockerSandbox) -> None:
    source = """
        import json, os, socket
        doors = [path for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd", "/run/dbus",
                                   "/run/systemd", "/dev/kvm", "/dev/mem", "/dev/kmsg", "/dev/fuse", "/dev/nvidiactl",
                                   "/.dockerinit", "/host", "/work", "/home/student") if os.path.exists(path)]
        lines = open("/proc/net/unix").read().splitlines()[1:]
        unix = [line.split()[-1] for line in lines if "/" in line or "@" in line]
        devices = sorted(os.listdir("/dev"))
        print(json.dumps([doors, unix, devices]))
    """
    doors, unix, devices = tell(sandbox, source)
    assert doors == []
    assert len(unix) <= 1  # its own channel's, by the name it had outside; neither named nor abstract ones of the host
    assert not any(Path(name).exists() for name in unix)
    harmless = {"core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "tty", "urandom", "zero"}
    assert set(devices) <= harmless | {"stdin", "stdout", "stderr", "console"}


# --- rows 8 and 9: endings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "import signal\nsignal.pthread_sigmask(0, range(1, 65))\nwhile True: pass",
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
        "while True:\n  try:\n    while True: pass\n  except BaseException: pass",
        "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
        "import os\nif os.fork() == 0:\n  os.setsid()\nwhile True: pass",
    ],
    ids=["signals blocked", "stopped", "swallows everything", "inside C", "its own session"],
)
def test_a_worker_that_does_not_end_is_gone_at_once(engine: Engine, sandbox: DockerSandbox, source: str) -> None:
    uid = uid_of(engine, sandbox)
    with pytest.raises(TimeoutError):
        run(sandbox, source, seconds=0.7)
    assert processes_of(uid)
    sandbox.kill()
    assert is_gone(uid)


# --- row 10: bombs -------------------------------------------------------------------------------------------------


def test_memory_stays_below_its_cap_on_the_host(sandbox: DockerSandbox) -> None:
    source = "held = []\nwhile True: held.append(bytearray(b'x' * (8 << 20)))"
    assert run(sandbox, source, seconds=60) is None
    assert sandbox.ending().reason == "memory"
    peak = sandbox.usage().peak_mb
    assert peak is None or peak <= 513  # the group may be gone with its last process


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_bytes_and_files_in_writable_folders_are_bounded(sandbox: DockerSandbox, folder: str) -> None:
    source = f"""
        import errno, json, os
        out = {{}}
        written = 0
        try:
            for number in range(9):
                with open(f"{folder}/big{{number}}", "wb", buffering=0) as file:
                    for _ in range(7):
                        written += file.write(bytes(1 << 20))
        except OSError as error:
            out["full"] = [written >> 20, errno.errorcode[error.errno]]
        for number in range(9):
            if os.path.exists(f"{folder}/big{{number}}"): os.unlink(f"{folder}/big{{number}}")
        made = 0
        try:
            while made < 5000:
                open(f"{folder}/{{made}}", "w").close()
                made += 1
        except OSError as error:
            out["many"] = [made, errno.errorcode[error.errno]]
        print(json.dumps(out))
    """
    out = tell(sandbox, source)
    assert out["full"][0] <= 16
    assert out["full"][1] == "ENOSPC"
    assert 400 < out["many"][0] <= 500
    assert out["many"][1] == "ENOSPC"


def test_a_sparse_file_cannot_be_larger_than_its_cap(sandbox: DockerSandbox) -> None:
    source = """
        import errno, json, os, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        descriptor = os.open("/tmp/sparse", os.O_RDWR | os.O_CREAT)
        try:
            os.ftruncate(descriptor, 1 << 40)
            print('"made"')
        except OSError as error:
            print(json.dumps(errno.errorcode[error.errno]))
    """
    assert tell(sandbox, source) == "EFBIG"


def test_a_flood_of_output_costs_the_hosts_disk_nothing(engine: Engine, sandbox: DockerSandbox) -> None:
    base = Path(engine.info()["DockerRootDir"]) / "containers" / sandbox.container
    if not os.access(base, os.R_OK | os.X_OK):
        pytest.skip("the engine's folder cannot be read")

    def size() -> int:
        return sum(path.stat().st_size for path in base.rglob("*") if path.is_file())

    before, free = size(), shutil.disk_usage(base).free
    source = """
        import os
        for _ in range(2000):
            os.write(1, b"\\0" * 65536)
            os.write(2, b"x" * 65536)
    """
    account = run(sandbox, source, seconds=60)  # 250 MB
    assert account["status"] == "ok"
    assert len(account["stdout"]) < 1 * MB
    assert size() - before < 64 << 10
    assert free - shutil.disk_usage(base).free < 200 * MB
    assert engine.inspect_container(sandbox.container)["LogPath"] == ""


def test_the_first_process_writes_nowhere_either(engine: Engine, sandbox: DockerSandbox) -> None:
    """The container's own stdout, which nobody reads, neither fills a disk nor blocks whoever writes to it."""
    source = """
        import json, os
        total = 0
        for name in ("/proc/1/fd/1", "/proc/1/fd/2"):
            try:
                descriptor = os.open(name, os.O_WRONLY | os.O_NONBLOCK)
                for _ in range(200):
                    total += os.write(descriptor, bytes(65536))
            except OSError:
                pass
        print(json.dumps(total))
    """
    base = Path(engine.info()["DockerRootDir"]) / "containers" / sandbox.container
    tell(sandbox, source)
    if os.access(base, os.R_OK | os.X_OK):
        assert sum(path.stat().st_size for path in base.rglob("*") if path.is_file()) < 1 * MB


# --- rows 11 and 14: what remains ----------------------------------------------------------------------------------


def test_a_fork_bomb_is_bounded_and_gone_with_its_container(engine: Engine, sandbox: DockerSandbox) -> None:
    uid = uid_of(engine, sandbox)
    source = """
        import os, time
        while True:
            try:
                os.fork()
            except OSError:
                time.sleep(0.05)
    """
    with pytest.raises(TimeoutError):
        run(sandbox, source, seconds=1)
    assert 20 < len(processes_of(uid)) <= 64
    sandbox.kill()
    assert is_gone(uid)


def test_daemons_and_loaders_left_behind_go_with_their_container(engine: Engine, sandbox: DockerSandbox) -> None:
    uid = uid_of(engine, sandbox)
    source = """
        import json, os, subprocess, time
        from torch.utils.data import DataLoader
        loader = iter(DataLoader(list(range(64)), num_workers=2))
        next(loader)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(600)
            os._exit(0)
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        time.sleep(0.2)
        print(json.dumps(len([name for name in os.listdir("/proc") if name.isdigit()])))
    """
    assert tell(sandbox, source) >= 7
    sandbox.kill()
    assert is_gone(uid)


def test_an_ended_container_leaves_no_mount_group_volume_or_file(engine: Engine, provider: DockerProvider) -> None:
    volumes = {volume["Name"] for volume in engine.volumes()["Volumes"] or []}
    sandbox = provider.acquire()
    run(sandbox, "open('/dev/shm/left', 'w').write('x'); open('/tmp/left', 'w').write('x')")
    name = sandbox.container
    sandbox.kill()
    end = time.monotonic() + 60
    while any(row["Id"] == name for row in engine.containers(all=True)) and time.monotonic() < end:
        time.sleep(0.05)
    assert name not in Path("/proc/self/mountinfo").read_text()
    groups = Path("/sys/fs/cgroup")
    patterns = (f"*/docker/{name}", f"docker/{name}", f"system.slice/docker-{name}.scope")
    assert [path for pattern in patterns for path in groups.glob(pattern)] == []
    assert {volume["Name"] for volume in engine.volumes()["Volumes"] or []} <= volumes
    assert not Path("/dev/shm/left").exists()
    assert list(traces.folder().rglob("socket")) == []
