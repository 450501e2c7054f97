"""A container is what its configuration says, seen from outside and from inside, and nothing of it remains."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autograder.errors import Infrastructure, UserError
from autograder.sandbox import Limits, docker, image, traces
from autograder.sandbox.docker import DockerProvider, DockerSandbox, Engine
from autograder.sandbox.reading import Group, Reading
from autograder.sandbox.tags import IMAGE_TAG
from tests.autograder.inside import run, tell
from tests.load import busy

pytestmark = pytest.mark.container
ROOT = Path(__file__).parents[3]
MB = 1 << 20


@pytest.fixture(scope="module")
def shared(provider: DockerProvider) -> Iterator[DockerSandbox]:
    """One sandbox for tests that only look."""
    sandbox = provider.acquire()
    yield sandbox
    sandbox.kill()


def inspect(engine: Engine, sandbox: DockerSandbox) -> Any:
    return engine.inspect_container(sandbox.container)


def mine(engine: Engine, provider: DockerProvider) -> list[Any]:
    return list(engine.containers(all=True, filters={"label": f"autograder.provider={provider.token}"}))


def eventually(condition: Any, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


# --- seen from outside ---------------------------------------------------------------------------------------------


def test_the_running_container_has_every_wall(engine: Engine, provider: DockerProvider, shared: DockerSandbox) -> None:
    found = inspect(engine, shared)
    host, config = found["HostConfig"], found["Config"]
    assert host["NetworkMode"] == "none"
    assert set(found["NetworkSettings"]["Networks"]) <= {"none"}
    spaces = [(Path(f"/proc/{pid}/ns") / "net").readlink() for pid in (found["State"]["Pid"], os.getpid())]
    assert spaces[0] != spaces[1]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["Privileged"] is False
    assert "no-new-privileges" in host["SecurityOpt"]
    assert any(option.startswith("seccomp={") for option in host["SecurityOpt"])
    assert host["Memory"] == host["MemorySwap"] == 512 * MB
    assert host["PidsLimit"] == 64
    assert host["NanoCpus"] == 1_000_000_000
    assert host["IpcMode"] == "private"
    assert host["PidMode"] == host["UTSMode"] == host["UsernsMode"] == ""
    assert host["Init"] is True
    assert host["LogConfig"]["Type"] == "none"
    assert host["RestartPolicy"]["Name"] == "no"
    assert not host["Devices"]
    assert not host["PortBindings"]
    assert 61184 <= int(config["User"].split(":")[0]) <= 65519
    assert config["Hostname"] == "sandbox"
    assert not any(config[f"Attach{stream}"] for stream in ("Stdin", "Stdout", "Stderr"))
    assert config["Labels"]["autograder.session"] == traces.session()
    mounts = [mount for mount in found["Mounts"] if mount["Type"] != "tmpfs"]
    assert [(mount["Type"], mount["Destination"], mount["RW"]) for mount in mounts] == [("bind", "/run/judge", False)]


def test_the_socket_is_gone_from_the_disk_once_connected(provider: DockerProvider, shared: DockerSandbox) -> None:
    assert list(traces.folder().rglob("socket")) == []
    assert tell(shared, "import os, json; print(json.dumps(os.listdir('/run/judge')))") == []


def test_the_kernel_enforces_the_limits_of_memory_and_processes(engine: Engine, shared: DockerSandbox) -> None:
    pid = inspect(engine, shared)["State"]["Pid"]
    groups = dict(reversed(line.split(":")[1:]) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    by_kind = {kind: path for path, kinds in groups.items() for kind in kinds.split(",")}
    base = Path("/sys/fs/cgroup")
    if (base / "memory").exists():
        group = f"docker/{shared.container}"
        assert (base / "memory" / group / "memory.limit_in_bytes").read_text().strip() == str(512 * MB)
        assert (base / "pids" / group / "pids.max").read_text().strip() == "64"
        assert (base / "cpu" / group / "cpu.cfs_quota_us").read_text().strip() == "100000"
    else:
        group = by_kind[""].lstrip("/")
        assert (base / group / "memory.max").read_text().strip() == str(512 * MB)
        assert (base / group / "memory.swap.max").read_text().strip() == "0"
        assert (base / group / "pids.max").read_text().strip() == "64"


def test_usage_tells_cpu_seconds_and_peak_memory_also_after_the_kill(provider: DockerProvider) -> None:
    sandbox = provider.acquire()
    run(sandbox, "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass")
    before = sandbox.usage()
    sandbox.kill()
    assert before.cpu_seconds is not None
    assert 0.9 < before.cpu_seconds < 10
    assert before.peak_mb is not None
    assert 90 < before.peak_mb < 512
    assert sandbox.usage().cpu_seconds == pytest.approx(before.cpu_seconds, abs=0.5)


# --- seen from inside ----------------------------------------------------------------------------------------------


def test_the_worker_has_no_capability_and_cannot_gain_one(shared: DockerSandbox) -> None:
    source = "print(__import__('json').dumps(dict(l.split(':', 1) for l in open('/proc/self/status'))))"
    status = {key: value.split() for key, value in tell(shared, source).items()}
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name][0], 16) == 0, name
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]
    assert all(61184 <= int(uid) <= 65519 for uid in status["Uid"] + status["Gid"])


def test_only_two_small_folders_can_be_written(shared: DockerSandbox) -> None:
    source = """
        import json, os
        options = {}
        for line in open("/proc/self/mounts"):
            device, where, kind, flags, *_ = line.split()
            options[where] = [kind, *flags.split(",")]
        writable = []
        for where, folders, files in os.walk("/"):
            folders[:] = [f for f in folders if os.path.join(where, f) not in ("/proc", "/sys")]
            if os.access(where, os.W_OK):
                writable.append(where)
        writable += [where for where, _, _ in os.walk("/sys/fs/cgroup") if os.access(where, os.W_OK)]
        print(json.dumps([options, writable]))
    """
    options, writable = tell(shared, source)
    assert {path for path in writable if not path.startswith("/tmp/")} == {"/tmp", "/dev/shm", "/dev/mqueue"}
    assert "ro" in options["/"]
    assert "ro" in options["/run/judge"]
    for where in ("/tmp", "/dev/shm"):
        assert {"tmpfs", "rw", "noexec", "nosuid", "nodev", "size=16384k", "nr_inodes=500"} <= set(options[where]), (
            where
        )
    loose = [where for where, flags in options.items() if where.startswith("/sys") and "ro" not in flags]
    assert loose in ([], ["/sys/fs/cgroup"])  # cgroup version 1: an empty tmpfs of root's, the groups in it read-only


def test_the_caps_of_each_process_are_set(shared: DockerSandbox) -> None:
    source = """
        import json, resource as r
        names = ["NOFILE", "CORE", "FSIZE", "CPU", "MSGQUEUE", "MEMLOCK"]
        print(json.dumps({n: r.getrlimit({"MSGQUEUE": 12}.get(n) or getattr(r, "RLIMIT_" + n)) for n in names}))
    """
    caps = tell(shared, source)
    expected = {"NOFILE": 256, "CORE": 0, "FSIZE": 8 * MB, "MSGQUEUE": 0, "MEMLOCK": 64 << 10}
    assert {name: tuple(caps[name]) for name in expected} == {name: (cap, cap) for name, cap in expected.items()}
    assert caps["CPU"] == [90, 95]


def test_there_is_no_network_but_the_empty_loopback(shared: DockerSandbox) -> None:
    source = """
        import json, os
        routes = open("/proc/net/route").read().splitlines()[1:]
        print(json.dumps([os.listdir("/sys/class/net"), routes, open("/proc/net/unix").read().count("\\n")]))
    """
    devices, routes, _ = tell(shared, source)
    assert [name for name in devices if name not in ("lo", "sit0", "tunl0")] == []
    assert routes == []


CALLS = {  # what must be refused, as a number for x86-64 and for arm64 with arguments that would succeed outside
    "ptrace": ((101, 117), "0, 0, 0, 0"),
    "io_uring_setup": ((425, 425), "4, ctypes.byref((ctypes.c_char * 120)())"),
    "userfaultfd": ((323, 282), "1"),
    "shmget": ((29, 194), "0, 4096, 0o1600"),
    "semget": ((64, 190), "0, 1, 0o1600"),
    "msgget": ((68, 186), "0, 0o1600"),
    "keyctl": ((250, 219), "0, -3, 0"),
    "add_key": ((248, 217), 'b"user", b"x", b"x", 1, -2'),
    "bpf": ((321, 280), "0, ctypes.byref((ctypes.c_char * 120)()), 120"),
    "perf_event_open": ((298, 241), "ctypes.byref((ctypes.c_char * 120)()), 0, -1, -1, 0"),
    "mount": ((165, 40), 'b"none", b"/tmp", b"tmpfs", 0, 0'),
    "umount2": ((166, 39), 'b"/tmp", 0'),
    "unshare": ((272, 97), "0x10000000"),
    "setns": ((308, 268), "0, 0"),
    "clone": ((56, 220), "0x10000000 | 17, 0, 0, 0, 0"),
    "chroot": ((161, 51), 'b"/tmp"'),
    "pivot_root": ((155, 41), 'b"/tmp", b"/tmp"'),
    "open_by_handle_at": ((304, 265), "0, 0, 0"),
    "process_vm_readv": ((310, 270), "os.getpid(), 0, 0, 0, 0, 0"),
    "pidfd_getfd": ((438, 438), "0, 0, 0"),
    "io_setup": ((206, 0), "1, ctypes.byref(ctypes.c_long(0))"),
    "mq_open": ((240, 180), 'b"x", 0o102, 0o600, 0'),
    "personality": ((135, 92), "0x0040000"),
    "vmsplice": ((278, 75), "0, 0, 0, 0"),
    "fanotify_init": ((300, 262), "0, 0"),
    "kexec_load": ((246, 104), "0, 0, 0, 0"),
    "settimeofday": ((164, 170), "0, 0"),
    "sethostname": ((170, 161), 'b"x", 1'),
    "fsopen": ((430, 430), 'b"tmpfs", 0'),
    "move_mount": ((429, 429), "0, 0, 0, 0, 0"),
    "memfd_secret": ((447, 447), "0"),
}


def test_dangerous_system_calls_are_refused(shared: DockerSandbox) -> None:
    column = 0 if os.uname().machine == "x86_64" else 1
    lines = [f'out["{name}"] = call({numbers[column]}, {arguments})' for name, (numbers, arguments) in CALLS.items()]
    source = "\n".join(
        [
            "import ctypes, errno, json, os",
            "libc = ctypes.CDLL(None, use_errno=True)",
            "def call(number, *arguments):",
            "    ctypes.set_errno(0)",
            "    result = libc.syscall(ctypes.c_long(number), *arguments)",
            "    return errno.errorcode.get(ctypes.get_errno(), 'none') if result == -1 else 'allowed'",
            "out = {}",
            *lines,
            'out["clone3"] = call(435, 0, 0)',
            "print(json.dumps(out))",
        ]
    )
    answers = tell(shared, source)
    assert answers.pop("clone3") == "ENOSYS"
    assert answers == dict.fromkeys(CALLS, "EPERM")


def test_only_unix_sockets_can_be_made(shared: DockerSandbox) -> None:
    source = """
        import json, socket
        out = {}
        families = {"AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17, "AF_ALG": 38, "AF_VSOCK": 40,
                    "AF_BLUETOOTH": 31, "AF_CAN": 29, "AF_XDP": 44, "AF_KEY": 15, "AF_TIPC": 30, "AF_UNIX": 1}
        for name, number in families.items():
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
                try:
                    socket.socket(number, kind).close()
                    out.setdefault(name, []).append("made")
                except OSError as error:
                    out.setdefault(name, []).append(error.errno)
        a, b = socket.socketpair()
        a.sendall(b"x")
        out["pair"] = b.recv(1).decode()
        print(json.dumps(out))
    """
    made = tell(shared, source)
    assert made.pop("AF_UNIX")[:2] == ["made", "made"]
    assert made.pop("pair") == "x"
    assert {number for numbers in made.values() for number in numbers} == {1}  # EPERM


def test_threads_processes_and_data_loaders_work(sandbox: DockerSandbox) -> None:
    source = """
        import json, subprocess, threading, torch
        from torch.utils.data import DataLoader
        seen = []
        thread = threading.Thread(target=lambda: seen.append(1)); thread.start(); thread.join()
        total = sum(batch.sum().item() for batch in DataLoader(list(range(8)), batch_size=2, num_workers=2))
        said = subprocess.run(["echo", "hi"], capture_output=True, text=True).stdout
        print(json.dumps([seen, total, said.strip()]))
    """
    assert tell(sandbox, source) == [[1], 28, "hi"]


def test_no_compiler_no_setuid_program_and_no_pip_is_in_the_image(shared: DockerSandbox) -> None:
    source = """
        import json, os, shutil, stat, importlib.util
        found = []
        for where, folders, files in os.walk("/"):
            folders[:] = [f for f in folders if os.path.join(where, f) not in ("/proc", "/sys")]
            for name in files:
                mode = os.lstat(os.path.join(where, name)).st_mode
                if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                    found.append(name)
        tools = [t for t in ("gcc", "cc", "g++", "clang", "as", "ld", "pip", "curl", "wget") if shutil.which(t)]
        print(json.dumps([found, tools, importlib.util.find_spec("pip") is not None]))
    """
    assert tell(shared, source) == [[], [], False]


def test_what_a_course_needs_can_be_imported_without_compiling_anything(shared: DockerSandbox) -> None:
    source = """
        import json, os, sys, einops, numpy, pandas, scipy.stats, sklearn.mixture, tqdm
        import matplotlib.pyplot as plt
        stale = []
        for module in list(sys.modules.values()):
            file, cached = getattr(module, "__file__", None), getattr(module, "__cached__", None)
            if isinstance(file, str) and isinstance(cached, str) and file.endswith(".py"):
                stale += [] if os.path.exists(cached) else [file]
        print(json.dumps([plt.get_backend().lower(), stale]))
    """
    assert tell(shared, source, seconds=60) == ["agg", []]


@pytest.mark.busy
def test_what_it_used_and_what_it_waited_for_is_read_from_outside(digest: str) -> None:
    source = (
        "import threading, time\ndef spin():\n  b = time.thread_time()\n  while time.thread_time() - b < 0.3: pass\n"
    )
    patient = Limits(memory_mb=512, wall_seconds=600)  # six others compute: it is slow
    with DockerProvider(patient, image=digest) as mine:
        sandbox = mine.acquire()
        before = sandbox.reading()
        with busy(6):
            assert run(sandbox, f"{source}thread = threading.Thread(target=spin)\nthread.start()\nthread.join()")
            after = sandbox.reading()
        assert before.cpu is not None
        assert after.cpu is not None
        assert after.cpu - before.cpu >= 0.3
        assert before.waited is not None
        assert after.waited is not None
        assert after.waited > before.waited
        assert 0 < sandbox.cores <= 1
        sandbox.kill()
        assert sandbox.reading() == Reading(), "nothing is known of a dead one"


def test_where_it_is_kept_elsewhere_or_with_a_gpu_nothing_is_known(
    shared: DockerSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shared.reading().waited is not None
    monkeypatch.setattr(shared._provider, "gpu", "0")
    assert shared.reading() == Reading()
    monkeypatch.undo()
    monkeypatch.setattr(docker.Group, "of", lambda container: None)  # as rootless engines and virtual machines do
    assert shared.reading() == Reading()


# --- life and death ------------------------------------------------------------------------------------------------


def test_a_spare_is_started_without_waiting_and_handed_over_warm(
    engine: Engine, provider: DockerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DockerProvider(provider.limits, image=provider.image) as source:
        launch, gate = source._launch, threading.Event()
        monkeypatch.setattr(source, "_launch", lambda *given: launch(*given) if gate.wait(60) else None)
        source.prestart()
        assert mine(engine, source) == []  # it did not wait for what cannot begin before the gate is opened
        gate.set()
        assert eventually(lambda: len(mine(engine, source)) == 1)
        (spare,) = mine(engine, source)
        assert eventually(lambda: _peak_of(spare["Id"]) > 90)  # torch is there
        sandbox = source.acquire()
        assert sandbox.container == spare["Id"]
        assert sandbox.ready["versions"]["torch"].startswith("2.")


def _peak_of(container: str) -> float:
    group = Group.of(container)
    return 0.0 if group is None else group.peak_mb() or 0.0


def test_each_sandbox_is_a_fresh_one(provider: DockerProvider) -> None:
    first = provider.acquire()
    run(first, "open('/tmp/left', 'w').write('x'); open('/dev/shm/left', 'w').write('x')")
    first.kill()
    second = provider.acquire()
    source = "import json, os; print(json.dumps([os.path.exists('/tmp/left'), os.path.exists('/dev/shm/left')]))"
    assert tell(second, source) == [False, False]
    second.kill()


def test_a_dead_spare_is_replaced(engine: Engine, provider: DockerProvider) -> None:
    with DockerProvider(provider.limits, image=provider.image) as source:
        source.prestart()
        assert eventually(lambda: len(mine(engine, source)) == 1 and mine(engine, source)[0]["State"] == "running")
        (spare,) = mine(engine, source)
        engine.kill(spare["Id"])
        assert source.acquire().container != spare["Id"]


@pytest.mark.parametrize(
    ("source", "reason", "says"),
    [
        ("import os; os._exit(0)", "crash", "exit code 0"),
        ("import ctypes; ctypes.string_at(0)", "crash", "segmentation fault"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "crash", "SIGKILL"),
        ("import os, signal; os.kill(os.getppid(), signal.SIGKILL)\nwhile True: pass", "crash", "SIGKILL"),
        ("import torch\nkept = []\nwhile True: kept.append(torch.ones(1 << 22))", "memory", "512 MB"),
        (
            "import os\nfor fd in range(3, 256):\n  try: os.close(fd)\n  except OSError: pass\nwhile True: pass",
            "crash",
            "connection",
        ),
    ],
)
def test_an_early_end_is_told_from_outside(sandbox: DockerSandbox, source: str, reason: str, says: str) -> None:
    assert run(sandbox, source, seconds=60) is None
    ending = sandbox.ending()
    assert (ending.reason, says in ending.text) == (reason, True), ending


def test_a_sandbox_is_killed_when_its_time_is_up_and_it_is_nobodys_doing(engine: Engine, digest: str) -> None:
    with DockerProvider(Limits(memory_mb=512, wall_seconds=1.5), image=digest) as source:
        sandbox = source.acquire()
        assert run(sandbox, "while True: pass", seconds=120) is None
        assert sandbox.ending().reason == "lifetime"


def test_cpu_time_is_capped_by_the_kernel_alone(engine: Engine, digest: str) -> None:
    with DockerProvider(Limits(memory_mb=512, cpu_seconds=3), image=digest) as source:
        sandbox = source.acquire()
        assert run(sandbox, "while True: pass", seconds=300) is None
        assert sandbox.ending().reason == "timeout"


def test_killing_ends_a_worker_that_stopped_itself_and_blocks_signals(engine: Engine, provider: DockerProvider) -> None:
    sandbox = provider.acquire()
    source = "import os, signal\nsignal.pthread_sigmask(0, range(1, 65))\nos.kill(os.getpid(), signal.SIGSTOP)"
    with pytest.raises(TimeoutError):
        run(sandbox, source, seconds=1)
    sandbox.kill()
    sandbox.kill()
    gone = lambda: sandbox.container not in {row["Id"] for row in mine(engine, provider)}  # noqa: E731
    assert eventually(gone)


def test_closing_leaves_nothing(engine: Engine, provider: DockerProvider) -> None:
    source = DockerProvider(provider.limits, image=provider.image)
    held = source.acquire()
    run(held, "import os\nif os.fork() == 0:\n  os.setsid()\n  import time; time.sleep(600)")
    source.prestart()
    pid = inspect(engine, held)["State"]["Pid"]
    source.close()
    assert mine(engine, source) == []
    assert traces.start_time(pid) is None
    assert not (traces.root() / traces.session() / source.token).exists()
    with pytest.raises(Infrastructure):
        source.acquire()


GRADER = """
import sys, time
from autograder.sandbox import Limits
from autograder.sandbox.docker import DockerProvider
from tests.autograder.inside import run
with DockerProvider(Limits(memory_mb=512, wall_seconds=60), image=sys.argv[1]) as source:
    sandbox = source.acquire()
    source.prestart()
    print(source.token, flush=True)
    run(sandbox, "while True: pass", seconds=60)
"""


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_grader_that_is_ended_leaves_nothing(engine: Engine, digest: str, blow: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GRADER, digest], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as grader:
        assert grader.stdout is not None
        token = grader.stdout.readline().strip()
        assert token
        label = {"label": f"autograder.provider={token}"}
        assert engine.containers(all=True, filters=label)
        (folder,) = [path.parent for path in traces.root().glob(f"*/{token}")]
        grader.send_signal(blow)
        grader.wait(120)
    assert eventually(lambda: not engine.containers(all=True, filters=label))
    assert eventually(lambda: not folder.exists())


def test_sweeping_removes_what_dead_graders_left_and_nothing_else(
    engine: Engine, provider: DockerProvider, digest: str
) -> None:
    living = provider.acquire()
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    session = f"{traces.machine()}-{process.pid}-1"
    folder = traces.root() / session
    folder.mkdir()
    config = docker.container_config(Limits(), image=digest, uid=61184, folder=folder, labels={docker.LABEL: session})
    left = engine.create_container_from_config(config)["Id"]
    docker.sweep(engine)
    traces.sweep_folders()
    ids = {row["Id"] for row in engine.containers(all=True, filters={"label": docker.LABEL})}
    assert left not in ids
    assert living.container in ids
    assert not folder.exists()
    living.kill()


# --- trouble -------------------------------------------------------------------------------------------------------


def test_a_gpu_is_asked_for_as_the_engine_wants_it() -> None:
    request = docker.device_request("1")
    assert request == {"Driver": "nvidia", "DeviceIDs": ["1"], "Capabilities": [["gpu", "compute", "utility"]]}
    assert docker.device_request("nvidia.com/gpu=0")["DeviceIDs"] == ["nvidia.com/gpu=0"]
    assert docker.device_request("MIG-1c2d")["DeviceIDs"] == ["MIG-1c2d"]
    asked = {"image": "none", "uid": 61184, "folder": Path("/var/empty"), "labels": {}}
    repeatable = {f"{name}={value}" for name, value in docker.ON_A_GPU.items()}
    assert repeatable <= set(docker.container_config(Limits(), **asked, gpu="1")["Env"])
    assert not repeatable & set(docker.container_config(Limits(), **asked)["Env"])


def test_the_request_for_a_gpu_reaches_the_engine(engine: Engine, digest: str) -> None:
    config = docker.container_config(Limits(), image=digest, uid=61184, folder=Path("/var/empty"), labels={}, gpu="0")
    config["HostConfig"]["Mounts"] = []
    created = engine.create_container_from_config(config)["Id"]
    try:
        (request,) = engine.inspect_container(created)["HostConfig"]["DeviceRequests"]
        assert request["Driver"] == "nvidia"
        assert request["DeviceIDs"] == ["0"]
        assert request["Capabilities"] == [["gpu", "compute", "utility"]]
    finally:
        engine.remove_container(created, force=True)


def test_without_a_gpu_runtime_there_is_one_sentence_and_no_container(engine: Engine, digest: str) -> None:
    if "nvidia" in engine.info().get("Runtimes", {}):
        pytest.skip("this engine has a GPU runtime")
    with DockerProvider(Limits(), gpu="0", image=digest) as source:
        with pytest.raises(Infrastructure, match="cannot hand out a GPU"):
            source.acquire()
        assert mine(engine, source) == []


def test_an_unknown_image_is_the_users_error(engine: Engine) -> None:
    with pytest.raises(UserError, match="image build"):
        DockerProvider(Limits(), image="no-such-image:at-all")


def test_an_image_that_holds_no_worker_is_reported_at_once(engine: Engine, provider: DockerProvider) -> None:
    with DockerProvider(provider.limits, image=provider.image) as source:
        source.image = engine.inspect_image(_base_of(engine))["Id"]
        with pytest.raises(Infrastructure, match="did not come up") as caught:
            source.acquire()
        assert "no answer within" not in str(caught.value)
        assert eventually(lambda: not mine(engine, source))


def _base_of(engine: Engine) -> str:
    return str(engine.inspect_image(IMAGE_TAG)["Config"]["Labels"]["autograder.base"])


def test_no_engine_is_the_users_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(UserError, match=r"apt-get install docker\.io"):
        docker.connect()
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(UserError, match="this machine"):
        docker.connect()


def test_a_full_disk_and_a_dead_engine_are_the_machines_failure() -> None:
    import docker.errors as engine_says
    import requests

    class Answer:
        status_code = 500
        reason = "no"

    full = engine_says.APIError("x", response=None, explanation="write /var/x: no space left on device")
    with pytest.raises(Infrastructure, match="docker system prune"), docker.engine_errors():
        raise full
    with pytest.raises(Infrastructure, match="restart docker"), docker.engine_errors():
        raise requests.ConnectionError("Connection aborted")


def test_the_image_is_not_built_again_when_nothing_changed(engine: Engine) -> None:
    built = image.build()
    assert built.reused
    assert built.digest == image.digest()


def test_the_allow_list_is_valid_for_both_architectures() -> None:
    profile = json.loads(docker.SECCOMP.read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert {entry["architecture"] for entry in profile["archMap"]} == {"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"}
    assert all(not entry["subArchitectures"] for entry in profile["archMap"])  # no 32-bit calls, no x32
    allowed = {name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    assert not allowed & (set(CALLS) - {"clone", "personality"})
