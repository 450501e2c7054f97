"""The process sandbox keeps its caps and leaves no process and no file, and says that it is no boundary."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autograder.errors import Infrastructure, SandboxWarning, UserError
from autograder.sandbox import Limits, answering, open_provider, process, traces
from autograder.sandbox.endings import describe_exit
from autograder.sandbox.process import ProcessProvider, ProcessSandbox
from tests.autograder.inside import run, tell

ROOT = Path(__file__).parents[3]
LIMITS = Limits(memory_mb=512, wall_seconds=60, file_mb=8)


@pytest.fixture(scope="module")
def provider() -> Iterator[ProcessProvider]:
    with pytest.warns(SandboxWarning), ProcessProvider(LIMITS) as source:
        yield source


@pytest.fixture(scope="module")
def shared(provider: ProcessProvider) -> ProcessSandbox:
    """One sandbox for tests that only look."""
    return provider.acquire()


@pytest.fixture
def sandbox(provider: ProcessProvider) -> Iterator[ProcessSandbox]:
    acquired = provider.acquire()
    yield acquired
    acquired.kill()


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


# --- inside --------------------------------------------------------------------------------------------------------


def test_the_environment_holds_nothing_of_the_graders(shared: ProcessSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inherited = tell(shared, "import os, json; print(json.dumps(dict(os.environ)))")
    assert set(inherited) <= set(process.environment(Path("/x/y"))) | {"LC_CTYPE"}
    assert inherited["HOME"] == inherited["TMPDIR"] != os.environ.get("HOME")


def test_the_worker_has_its_own_session_and_an_empty_working_folder(shared: ProcessSandbox) -> None:
    source = "import os, json; print(json.dumps([os.getsid(0) == os.getpid(), os.listdir('.'), os.getcwd()]))"
    leads, files, folder = tell(shared, source)
    assert (leads, files) == (True, [])
    assert Path(folder).is_relative_to(traces.folder())


def test_no_descriptor_of_the_grader_is_inherited(shared: ProcessSandbox) -> None:
    source = """
        import json, os
        targets = []
        for name in os.listdir("/proc/self/fd"):
            try:
                targets.append(os.readlink("/proc/self/fd/" + name))
            except FileNotFoundError:
                pass  # of the listing itself
        print(json.dumps(targets))
    """
    targets = tell(shared, source)
    assert len([target for target in targets if target.startswith("socket:")]) == 1
    assert all(target.startswith(("socket:", "pipe:", "/dev/null")) for target in targets), targets


def test_the_caps_of_the_process_are_set(shared: ProcessSandbox) -> None:
    source = """
        import json, resource as r
        print(json.dumps([r.getrlimit(k) for k in (r.RLIMIT_NOFILE, r.RLIMIT_FSIZE, r.RLIMIT_CORE, r.RLIMIT_CPU)]))
    """
    assert tell(shared, source) == [[256, 256], [8 << 20, 8 << 20], [0, 0], [90, 95]]


# --- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "reason", "says"),
    [
        ("import os; os._exit(0)", "crash", "exit code 0"),
        ("import ctypes; ctypes.string_at(0)", "crash", "segmentation fault"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "crash", "SIGKILL"),
        ("import torch\nkept = []\nwhile True: kept.append(torch.ones(1 << 22))", "memory", "512 MB"),
    ],
)
def test_an_early_end_is_told_from_outside(sandbox: ProcessSandbox, source: str, reason: str, says: str) -> None:
    assert run(sandbox, source, seconds=60) is None
    ending = sandbox.ending()
    assert (ending.reason, says in ending.text) == (reason, True), ending


def test_memory_of_children_counts(sandbox: ProcessSandbox) -> None:
    source = """
        import os
        for _ in range(3):
            if os.fork() == 0:
                held = bytearray(b"x" * (250 << 20))
                while True: pass
        while True: pass
    """
    assert run(sandbox, source, seconds=60) is None
    assert sandbox.ending().reason == "memory"


def test_a_sandbox_is_killed_when_its_time_is_up_and_it_is_said_to_be_nobodys_doing() -> None:
    with ProcessProvider(Limits(wall_seconds=1)) as source:
        sandbox = source.acquire()
        assert run(sandbox, "while True: pass", seconds=120) is None
        assert sandbox.ending().reason == "lifetime"


def test_killing_ends_whatever_the_worker_started(provider: ProcessProvider) -> None:
    sandbox = provider.acquire()
    source = """
        import json, os, signal, subprocess, time
        pids = [subprocess.Popen(["sleep", "600"]).pid]
        reader, writer = os.pipe()
        if os.fork() == 0:              # a daemon: two forks, its own session, every signal ignored
            os.setsid()
            if os.fork() == 0:
                for number in range(1, 32):
                    try: signal.signal(number, signal.SIG_IGN)
                    except OSError: pass
                os.write(writer, str(os.getpid()).encode())
                time.sleep(600)
            os._exit(0)
        pids.append(int(os.read(reader, 20)))
        print(json.dumps(pids))
    """
    pids = tell(sandbox, source)
    assert all(traces.start_time(pid) for pid in pids)
    sandbox.kill()
    assert eventually(lambda: not any(traces.start_time(pid) for pid in pids))


def test_killing_ends_a_fork_bomb(provider: ProcessProvider) -> None:
    sandbox = provider.acquire()
    source = """
        import os, time
        for _ in range(5):              # 32 processes, each of them forking on when one dies
            os.fork()
        while True:
            time.sleep(0.01)
            try:
                if os.fork() == 0: os._exit(0)
                os.wait()
            except OSError: pass
    """
    with pytest.raises(TimeoutError):
        run(sandbox, source, seconds=1)
    sandbox.kill()
    left = process.family_of(sandbox._process.pid, sandbox.mark)
    assert [pid for pid in left if traces.start_time(pid)] == []  # but for zombies


def test_usage_tells_cpu_seconds_and_peak_memory_also_after_the_kill(provider: ProcessProvider) -> None:
    sandbox = provider.acquire()
    run(sandbox, "import time, torch\nx = torch.ones(25 << 20)\ntime.sleep(0.2)")
    sandbox.kill()
    used = sandbox.usage()
    assert used.cpu_seconds is not None
    assert 0.3 < used.cpu_seconds < 20
    assert used.peak_mb is not None
    assert 100 < used.peak_mb < 512


def test_closing_leaves_neither_process_nor_folder() -> None:
    source = ProcessProvider(LIMITS)
    sandbox = source.acquire()
    source.prestart()
    source.close()
    assert traces.start_time(sandbox._process.pid) is None
    assert process.processes_of(f"{traces.session()}.{source.token}") == []
    assert not (traces.root() / traces.session() / source.token).exists()
    with pytest.raises(Infrastructure):
        source.acquire()


GRADER = """
import sys, warnings
warnings.simplefilter("ignore")
from autograder.sandbox import Limits, open_provider
from tests.autograder.inside import run
with open_provider("process", Limits(wall_seconds=60)) as source:
    sandbox = source.acquire()
    source.prestart()
    print(source.token, flush=True)
    run(sandbox, "import os\\nif os.fork() == 0: os.setsid()\\nwhile True: pass", seconds=60)
"""


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_a_grader_that_is_ended_leaves_nothing(blow: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GRADER], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as grader:
        assert grader.stdout is not None
        token = grader.stdout.readline().strip()
        assert token
        (folder,) = [path.parent for path in traces.root().glob(f"*/{token}")]
        time.sleep(0.3)
        assert process.processes_of(f"{folder.name}.")
        grader.send_signal(blow)
        grader.wait(120)
    assert eventually(lambda: not process.processes_of(f"{folder.name}.") and not folder.exists())


def test_sweeping_ends_processes_of_dead_graders_only(provider: ProcessProvider) -> None:
    living = provider.acquire()
    grader = subprocess.Popen([sys.executable, "-c", "pass"])
    grader.wait()
    session = f"{traces.machine()}-{grader.pid}-1"
    for _ in range(5):  # a grader of another test may sweep it before us
        left = subprocess.Popen(["sleep", "600"], env={process.MARK: f"{session}.token.1"})
        swept = process.sweep()
        assert left.wait(60) == -signal.SIGKILL
        if swept:
            break
    assert swept == [f"process {left.pid}"]
    assert living.is_running()
    living.kill()


# --- trouble -------------------------------------------------------------------------------------------------------


def test_it_says_that_it_is_no_boundary() -> None:
    with pytest.warns(SandboxWarning, match="no security boundary"):
        ProcessProvider(LIMITS).close()


def test_a_worker_that_does_not_come_up_is_the_machines_failure(
    provider: ProcessProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "__main__.py").write_text("raise SystemExit(3)")
    monkeypatch.setattr(process, "WORKER", tmp_path)
    with pytest.raises(Infrastructure, match="exit code 3"):
        provider.acquire()


def test_a_gpu_is_seen_by_whom_it_is_given_to_and_by_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/local/driver")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    without, with_one = process.environment(Path("/x/y")), process.environment(Path("/x/y"), "1")
    assert without["CUDA_VISIBLE_DEVICES"] == ""
    assert "LD_LIBRARY_PATH" not in without
    assert with_one["CUDA_VISIBLE_DEVICES"] == "1"
    assert with_one["LD_LIBRARY_PATH"] == "/usr/local/driver"
    assert with_one["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not process.ON_A_GPU.keys() & without.keys()
    assert process.environment(Path("/x/y"), "MIG-1c2d")["CUDA_VISIBLE_DEVICES"] == "MIG-1c2d"
    with pytest.warns(SandboxWarning), open_provider("process", LIMITS, gpu="1") as source:
        seen = tell(source.acquire(), "import os, json; print(json.dumps(os.environ['CUDA_VISIBLE_DEVICES']))")
    assert seen == "1"


def test_the_limits_let_cuda_reserve_what_it_never_touches() -> None:
    """CUDA maps addresses for all memory of machine and device at its start; only what is used counts here."""
    assert resource.RLIMIT_AS not in process.rlimits(LIMITS)
    reserve = (
        "import mmap; m = mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0); print(len(m))"
    )
    with pytest.warns(SandboxWarning), open_provider("process", LIMITS, gpu="0") as source:
        assert tell(source.acquire(), reserve) == 1 << 40


def test_an_engines_name_of_a_gpu_is_none_of_a_process() -> None:
    with pytest.raises(UserError, match="takes a device id"):
        open_provider("process", LIMITS, gpu="nvidia.com/gpu=0")


def test_without_an_engine_a_demonstration_runs_in_the_process_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert answering() == "process"


@pytest.mark.parametrize("wrong", [{"memory_mb": 0}, {"wall_seconds": -1}, {"pids": float("nan")}, {"memory_mb": 100}])
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        Limits(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "out_of_memory", "reason", "says"),
    [
        (0, False, "crash", "exit code 0"),
        (0, True, "memory", "2048 MB"),
        (137, True, "memory", "2048 MB"),
        (137, False, "crash", "SIGKILL"),
        (139, False, "crash", "segmentation"),
        (134, False, "crash", "SIGABRT"),
        (152, False, "timeout", "CPU"),
        (124, False, "lifetime", "longer"),
        (255, False, "crash", "signal 127"),
    ],
)
def test_exit_codes_are_read_as_the_engine_gives_them(code: int, out_of_memory: bool, reason: str, says: str) -> None:
    ending = describe_exit(code, Limits(), out_of_memory)
    assert (ending.reason, says in ending.text) == (reason, True), ending


def test_a_session_is_dead_only_if_that_cannot_be_doubted() -> None:
    boot, namespace = traces.machine().split("-")
    here, pid, start = f"{boot}-{namespace}", os.getpid(), traces.start_time(os.getpid())
    assert not traces.is_dead(traces.session())
    assert traces.is_dead(f"{here}-{pid}-{int(start or 0) + 1}")  # the number was given to somebody else since
    assert traces.is_dead(f"00000000-{namespace}-{pid}-{start}")  # before the last boot
    assert not traces.is_dead(f"{boot}-1-{pid}-1")  # another pid namespace: nobody here can tell
    assert not traces.is_dead("somebody's folder")
