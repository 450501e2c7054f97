"""What a sandbox used and waited for is read the same wherever the kernel and the engine keep it, or is not known."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder.sandbox import reading
from autograder.sandbox.reading import Group, Threads, waited_here
from tests.autograder.running import wait_until
from tests.load import busy

NAME = "f" * 64


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("place", [f"docker/{NAME}", f"system.slice/docker-{NAME}.scope"])
def test_control_groups_of_version_2(tmp_path, place):
    write(tmp_path / place / "cpu.stat", "usage_usec 2500000\nuser_usec 1\nnr_throttled 7\nthrottled_usec 500000\n")
    write(tmp_path / place / "memory.peak", f"{300 << 20}\n")
    write(tmp_path / place / "cgroup.procs", "12\n34\n")
    group = Group.of(NAME, tmp_path)
    assert (group.cpu_seconds(), group.throttled_seconds(), group.peak_mb()) == (2.5, 0.5, 300)
    assert group.pids() == [12, 34]


@pytest.mark.parametrize("place", [f"docker/{NAME}", f"system.slice/docker-{NAME}.scope"])
def test_control_groups_of_version_1_also_beside_an_empty_one_of_version_2(tmp_path, place):
    write(tmp_path / "cpuacct" / place / "cpuacct.usage", "2500000000\n")
    write(tmp_path / "cpuacct" / place / "cgroup.procs", "12\n34\n")
    write(tmp_path / "cpu" / place / "cpu.stat", "nr_periods 9\nnr_throttled 7\nthrottled_time 500000000\n")
    write(tmp_path / "memory" / place / "memory.max_usage_in_bytes", f"{300 << 20}\n")
    write(tmp_path / "unified" / place / "cpu.stat", "usage_usec 1\n")
    group = Group.of(NAME, tmp_path)
    assert (group.cpu_seconds(), group.throttled_seconds(), group.peak_mb()) == (2.5, 0.5, 300)
    assert group.pids() == [12, 34]


def test_what_is_kept_elsewhere_is_not_known(tmp_path):
    write(tmp_path / "user.slice" / f"docker-{NAME}.scope" / "cpu.stat", "usage_usec 1\n")
    assert Group.of(NAME, tmp_path) is None


def test_a_group_that_is_gone_tells_nothing(tmp_path):
    group = Group(1, tmp_path / "cpu", tmp_path / "quota", tmp_path / "memory")
    assert (group.cpu_seconds(), group.throttled_seconds(), group.peak_mb(), group.pids()) == (None, 0.0, None, [])


SLEEPS_AND_SPINS = """
import sys, threading, time
def spin():
    begin = time.thread_time()
    while time.thread_time() - begin < 0.3: pass
thread = threading.Thread(target=spin)
thread.start()
sys.stdin.readline()
thread.join()
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-I", "-S", "-c", SLEEPS_AND_SPINS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_every_thread_counts_and_one_that_has_ended_with_what_was_last_seen_of_it(child):
    threads = Threads()
    seen = 0.0
    while seen < 0.1:  # the first thread does nothing but wait for a line
        ran, _ = threads.look([child.pid]) or (0.0, 0.0)  # a process that has not run yet tells nothing
        assert ran >= seen
        seen = ran
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "done\n"
    wait_until(lambda: len(list(Path(f"/proc/{child.pid}/task").iterdir())) == 1)  # the kernel clears it away
    ran, waited = threads.look([child.pid])
    assert ran >= seen
    child.kill()
    child.wait()
    assert threads.look([child.pid]) >= (ran, waited)


@pytest.mark.busy
def test_waiting_is_told_of_a_process_that_the_machine_does_not_run(child):
    threads = Threads()
    with busy(4 * len(os.sched_getaffinity(0))):
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "done\n"
        _, waited = threads.look([child.pid])
    assert waited > 0


def test_nobody_is_not_known_and_what_the_kernel_does_not_tell_neither(tmp_path, monkeypatch):
    assert Threads().look([]) is None
    assert Threads().look([1 << 30]) is None
    monkeypatch.setattr(reading, "_of_thread", lambda folder: None)
    assert Threads().look([os.getpid()]) is None
    assert waited_here() == 0.0


@pytest.mark.busy
def test_the_thread_that_asks_is_told_its_own():
    with busy(4 * len(os.sched_getaffinity(0))):
        begin = time.thread_time()
        before = waited_here()
        while time.thread_time() - begin < 0.2:
            pass
        assert waited_here() > before
    found: list[float] = []
    other = threading.Thread(target=lambda: found.append(waited_here()))
    other.start()
    other.join()
    assert found[0] < waited_here()
