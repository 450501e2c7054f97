"""`autograder doctor` names what is missing and the command that fixes it, and never fails itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autograder.cli import app
from autograder.commands import doctor
from autograder.errors import UserError
from autograder.sandbox import image as images
from autograder.sandbox import traces


class Engine:
    """What the checks ask of an engine, with answers to choose."""

    base_url = "http+docker://localhost"

    def __init__(self, **info: Any) -> None:
        capable = dict.fromkeys(("MemoryLimit", "SwapLimit", "PidsLimit", "CpuCfsQuota"), True)
        self._info = {**capable, "SecurityOptions": ["name=seccomp,profile=default"], "DockerRootDir": "/", **info}

    def info(self) -> dict[str, Any]:
        return self._info


def test_without_an_engine_the_command_that_brings_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    findings = doctor.examine()
    (engine,) = [finding for finding in findings if finding.what == "engine"]
    assert engine.status == "missing"
    assert engine.fix == "sudo apt-get install -y docker.io"
    assert not doctor.is_ready(findings)


def test_an_engine_that_is_installed_but_silent_is_to_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert "dockerd" in doctor.engine_fix() or "systemctl start docker" in doctor.engine_fix()


def test_an_engine_without_seccomp_is_not_fit() -> None:
    assert doctor.confinement(Engine()).status == "ok"
    finding = doctor.confinement(Engine(SecurityOptions=[]))
    assert (finding.status, "seccomp" in finding.says) == ("missing", True)
    assert doctor.confinement(Engine(PidsLimit=False)).status == "missing"
    assert doctor.confinement(Engine(SwapLimit=False)).status == "advice"


def test_a_missing_image_is_to_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(client: object) -> str:
        raise UserError("the sandbox image is not built yet; run `autograder image build`")

    monkeypatch.setattr(images, "current", absent)
    finding = doctor.image(Engine())
    assert finding == doctor.Diagnosis(
        "image", "missing", "the sandbox image is not built yet", "autograder image build"
    )


def test_little_memory_means_fewer_jobs(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:    2300000 kB\n")
    finding = doctor.memory(meminfo)
    assert finding.status == "advice"
    assert finding.fix == "autograder grade --jobs 1"
    meminfo.write_text("MemAvailable:    999000000 kB\n")
    assert doctor.memory(meminfo).status == "ok"


def test_what_killed_graders_left_is_found_and_swept() -> None:
    folder = traces.root() / f"{traces.machine()}-4194305-1"  # a pid beyond the largest
    folder.mkdir()
    assert doctor.leftovers().status == "advice"
    assert str(folder) in traces.sweep_folders()
    assert not folder.exists()


def test_a_check_that_fails_is_a_finding() -> None:
    def disk() -> doctor.Diagnosis:
        raise OSError("Input/output error")

    assert doctor.guarded(disk) == doctor.Diagnosis("disk", "missing", "Input/output error")


def test_every_declared_package_is_looked_for() -> None:
    assert {"torch", "nbgrader", "docker"} <= set(doctor.declared())
    assert not doctor.is_installed("no-such-package-at-all")


def test_the_command_prints_findings_as_json_and_exits_1_if_something_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = doctor.Diagnosis("engine", "missing", "no engine", "sudo apt-get install -y docker.io")
    monkeypatch.setattr(doctor, "examine", lambda: [missing])
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == [missing.as_dict()]
    plain = CliRunner().invoke(app, ["doctor"])
    assert "no engine" in plain.stdout
    assert "sudo apt-get install -y docker.io" in plain.stdout
