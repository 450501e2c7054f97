"""A base image without any image registry: debootstrap from the Debian mirror this machine's apt is configured with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from autograder.errors import Infrastructure, UserError
from autograder.sandbox.engine import Engine
from autograder.sandbox.running import Say, run

BASE_TAG = "autograder-base:debian"
KEEP_OUT = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
)


def is_possible() -> bool:
    """True on a Debian machine, as root, with debootstrap."""
    return os.geteuid() == 0 and shutil.which("debootstrap") is not None and codename() is not None


def codename(release: Path = Path("/etc/os-release")) -> str | None:
    """Name of this machine's Debian release, None if it is another system."""
    try:
        facts = dict(line.split("=", 1) for line in release.read_text().splitlines() if "=" in line)
    except OSError:
        return None
    return facts.get("VERSION_CODENAME", "").strip('"') or None if facts.get("ID") == "debian" else None


def mirror(suite: str, apt: Path = Path("/etc/apt")) -> str:
    """The mirror apt takes `suite` from, in either notation of its sources. Raises UserError if there is none."""
    for path in sorted(apt.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^(\w[\w-]*):[ \t]*(.*)$", stanza, re.MULTILINE))
            if suite in fields.get("Suites", "").split() and "main" in fields.get("Components", "").split():
                return str(fields["URIs"].split()[0])
    for path in [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))]:
        text = path.read_text() if path.exists() else ""
        for found in re.finditer(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)$", text, re.MULTILINE):
            if found[2] == suite and "main" in found[3].split():
                return found[1]
    raise UserError(f"apt on this machine has no source of Debian {suite}; name a base image with `--base`")


def make(client: Engine, say: Say = lambda line: None) -> str:
    """Make the base image: Debian's minimum and Python. Returns its digest. Needs root and debootstrap."""
    suite = codename()
    if not is_possible() or suite is None:
        raise UserError(
            "a base image can be made on a Debian machine, as root, with debootstrap"
            " (`sudo apt-get install debootstrap`); elsewhere name one with `--base`"
        )
    with tempfile.TemporaryDirectory(prefix="autograder-base-") as folder:
        root = Path(folder) / "root"
        say(f"making a base image of Debian {suite}")
        command = ["debootstrap", "--variant=minbase", "--include=python3", suite, str(root), mirror(suite)]
        run(command, "debootstrap", say)
        for name in KEEP_OUT:
            shutil.rmtree(root / name, ignore_errors=True)
        archive = Path(folder) / "root.tar"
        if subprocess.run(["tar", "-C", str(root), "--numeric-owner", "-cf", str(archive), "."]).returncode:
            raise Infrastructure("the base image could not be packed; is the disk full? (`df -h /tmp`)")
        repository, tag = BASE_TAG.split(":")
        client.import_image_from_file(str(archive), repository=repository, tag=tag)
    return str(client.inspect_image(BASE_TAG)["Id"])
