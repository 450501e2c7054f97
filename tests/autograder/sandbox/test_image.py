"""The image is rebuilt when an ingredient changed, and its base needs no image registry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autograder.errors import Infrastructure, UserError
from autograder.sandbox import base_image, image

HERE = Path(image.__file__).parent


def test_every_ingredient_changes_the_content_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Dockerfile", "requirements.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "wire.py").write_text("a = 1")
    monkeypatch.setattr(image, "HERE", tmp_path)
    monkeypatch.setattr(image, "WORKER", tmp_path / "worker")
    seen = {image.content("debian"), image.content("python")}
    for name in ("Dockerfile", "requirements.txt", "worker/wire.py", "worker/new.py"):
        (tmp_path / name).write_text("changed")
        seen.add(image.content("debian"))
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "sources.list.d/debian.sources",
            "Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n"
            "Components: main\n\nTypes: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\n"
            "Components: main\n",
        ),
        (
            "sources.list",
            "# deb http://other.example/debian bookworm main\ndeb http://mirror.example/debian bookworm main\n",
        ),
        (
            "sources.list.d/x.list",
            "deb [arch=amd64 signed-by=/k] http://mirror.example/debian bookworm contrib main\n",
        ),
    ],
)
def test_the_mirror_is_the_one_apt_uses(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)
    assert base_image.mirror("bookworm", tmp_path) == "http://mirror.example/debian"


def test_a_machine_without_a_mirror_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--base"):
        base_image.mirror("bookworm", tmp_path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="x=y"\n', "bookworm"),
        ("ID=ubuntu\nVERSION_CODENAME=noble\n", None),
        ("", None),
    ],
)
def test_only_debian_is_debian(tmp_path: Path, text: str, name: str | None) -> None:
    release = tmp_path / "os-release"
    release.write_text(text)
    assert base_image.codename(release) == name


def test_a_failing_command_is_the_machines_failure_with_its_last_words() -> None:
    lines: list[str] = []
    with pytest.raises(Infrastructure, match="no space left"):
        image.run(["sh", "-c", "echo hello; echo no space left; exit 3"], "pip download", lines.append)
    assert lines == ["hello", "no space left"]


def test_the_pinned_packages_are_those_the_judge_has() -> None:
    """A tensor that leaves the sandbox is read by the same torch and numpy."""
    import numpy
    import torch

    pins = dict(re.findall(r"^([\w-]+)==(.+)$", (HERE / "requirements.txt").read_text(), re.MULTILINE))
    assert torch.__version__.split("+")[0] == pins["torch"]
    assert numpy.__version__ == pins["numpy"]
