"""The image is rebuilt when an ingredient changed, and its base needs no image registry."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import docker.errors
import pytest
from pydantic import ValidationError

from autograder.errors import Infrastructure, UserError
from autograder.sandbox import base_image, image, ingredients, tags
from autograder.sandbox.settings import ImageSettings

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


# --- a course's own image


def test_a_course_with_packages_of_its_own_has_an_image_of_its_own() -> None:
    assert tags.tag_of([]) == tags.IMAGE_TAG
    one, two = tags.tag_of(["lightning==2.5", "wandb"]), tags.tag_of(["wandb"])
    assert len({one, two, tags.IMAGE_TAG}) == 3
    assert one == tags.tag_of(["wandb", "lightning==2.5", "wandb"])
    assert image.content("debian", "wandb\n") != image.content("debian")


@pytest.mark.parametrize(
    "line", ["lightning", "lightning==2.5.0", "torchmetrics[image]>=1.4", "a_b.c~=1.0", "x<2", "ruamel.yaml !=0.1"]
)
def test_a_requirement_is_a_package_and_a_version(line: str) -> None:
    assert ImageSettings(requirements=[line]).requirements == [line]


@pytest.mark.parametrize(
    "line",
    [
        *(
            "--index-url=http://x",
            "-r other.txt",
            "https://x.example/a.whl",
            "git+https://x",
            "./here",
            "a @ file:///b",
        ),
        *("a; os_name", "", "a\nb", "a==1 --hash=x", "../up"),
    ],
)
def test_a_requirement_is_no_option_address_or_path(line: str) -> None:
    with pytest.raises(ValidationError):
        ImageSettings(requirements=[line])


class Builder:
    """An engine that builds nothing and says what it was asked."""

    def __init__(self, python: str) -> None:
        self.python = python
        self.built: dict[str, Any] = {}

    def __enter__(self) -> Builder:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def inspect_image(self, name: str) -> dict[str, Any]:
        if name.startswith(tags.REPOSITORY) and not self.built:
            raise docker.errors.ImageNotFound("none")
        return {"Id": "sha256:1", "Config": {"Labels": {}}}

    def create_container(self, base: str, **_: Any) -> str:
        self.base = base
        return "probe"

    def logs(self, *_: Any, **__: Any) -> bytes:
        return self.python.encode()

    def images(self, **_: Any) -> list[Any]:
        return []

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def built(monkeypatch: pytest.MonkeyPatch, folder: Path, has: str, **options: Any) -> tuple[Builder, list[str]]:
    """Builds with a fake engine; the engine, and the words of `pip download`."""
    client, said = Builder(has), list[str]()

    def build(client: Builder, folder: Path, tag: str, arguments: dict[str, str], say: Any) -> None:
        text = (folder / "requirements.txt").read_text()
        client.built = {"tag": tag, "arguments": arguments, "requirements": text}

    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(image, "connect", lambda: client)
    monkeypatch.setattr(image, "_build", build)
    monkeypatch.setattr(ingredients, "run", lambda command, *_: said.extend(command))
    image.build(**options)
    return client, said


def test_torch_for_cuda_is_the_judges_version_from_the_place_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "torch.whl").touch()
    places = {
        "https://wheels.example/cu126": ["--extra-index-url", "https://wheels.example/cu126"],
        str(tmp_path / "wheels"): ["--find-links", str(tmp_path / "wheels")],
    }
    line = f"torch=={tags.pinned('torch')}+cu126"
    for wheels, words in places.items():
        settings = ImageSettings(requirements=["wandb"], cuda="cu126", wheels=wheels)
        more = {"requirements": settings.packages, "pip_options": settings.pip_options, "base": "cuda:12.6-runtime"}
        client, said = built(monkeypatch, tmp_path, "3.11", **more)
        assert said[said.index(words[0]) :][:2] == words
        assert client.built["requirements"].endswith(f"{line}\nwandb\n")
        assert client.built["tag"] == tags.tag_of(["wandb", line])
        assert client.built["arguments"]["BASE"] == "cuda:12.6-runtime"
    assert ImageSettings().packages == ImageSettings().pip_options == []
    with pytest.raises(UserError, match="there are no wheels in"):
        _ = ImageSettings(cuda="cu126", wheels=str(tmp_path)).pip_options
    with pytest.raises(ValidationError):
        ImageSettings(cuda="12.6")


def test_another_python_is_a_base_and_wheels_of_that_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, said = built(monkeypatch, tmp_path, "3.12", python="3.12", requirements=["wandb"])
    assert client.base == "python:3.12-slim"
    assert (client.built["arguments"]["BASE"], client.built["arguments"]["PYTHON"]) == ("python:3.12-slim", "3.12")
    assert client.built["arguments"]["REQUIREMENTS"] == "wandb"
    assert client.built["tag"] == tags.tag_of(["wandb"])
    assert client.built["requirements"] == (HERE / "requirements.txt").read_text() + "wandb\n"
    here = "{}.{}".format(*sys.version_info)
    assert ("--python-version" in said) == (here != "3.12")
    assert here == "3.12" or said[said.index("--python-version") + 1] == "3.12"


def test_a_base_with_another_python_than_asked_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"`mine` has Python 3\.11, not 3\.12"):
        built(monkeypatch, tmp_path, "3.11", base="mine", python="3.12")
