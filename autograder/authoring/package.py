"""The wheel of this engine, made from the engine that runs: released homeworks carry it, so students need no index.

A wheel is a zip of the package and its metadata with a list of their hashes (PEP 427). It is written here rather than
by a build tool, which would need the sources and a clock: the same engine gives the same bytes. The worked example of
`autograder new` stays behind: a homework that begins as it has hidden files like the example's.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
from base64 import urlsafe_b64encode
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from autograder.errors import UserError
from autograder.homework.first_cell import DISTRIBUTION
from autograder.version import VERSION

EXAMPLE = Path(__file__).resolve().with_name("example")
NAME = f"dgm_autograder-{VERSION}"
EPOCH = (1980, 1, 1, 0, 0, 0)
TAGS = "Wheel-Version: 1.0\nGenerator: dgm-autograder\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel() -> bytes:
    """The wheel called WHEEL. Raises UserError if the engine is not installed and so has no metadata."""
    package = Path(__file__).resolve().parents[1]
    files = {
        f"autograder/{file.relative_to(package).as_posix()}": file.read_bytes()
        for file in sorted(package.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts and EXAMPLE not in file.parents
    }
    facts = {**_metadata(), "WHEEL": TAGS, "top_level.txt": "autograder\n"}
    files |= {f"{NAME}.dist-info/{name}": text.encode() for name, text in facts.items()}
    record = f"{NAME}.dist-info/RECORD"
    rows = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items()]
    files[record] = "".join([*rows, f"{record},,\n"]).encode()
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            info = ZipInfo(name, EPOCH)
            info.external_attr = 0o100644 << 16
            info.compress_type = ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()


def _digest(data: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _metadata() -> dict[str, str]:
    try:
        installed = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"{DISTRIBUTION} is not installed here, so no wheel of it can be made; run `pip install --editable .`"
        ) from None
    found = {name: installed.read_text(name) for name in ("METADATA", "entry_points.txt", "licenses/LICENSE")}
    if found["METADATA"] is None:  # an editable installation by an old setuptools
        found["METADATA"] = installed.read_text("PKG-INFO")
    return {name: text for name, text in found.items() if text is not None}
