"""List and read what strangers put into a folder or a zip, without ever following a path of theirs.

Both give the same thing, a list of entries. An entry that is no plain file inside the source (a link, a pipe, a device,
a name that climbs out) carries the reason it is refused and is never opened. Nothing is unpacked to disk; every read
is bounded before it starts.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autograder.errors import RefusedError
from autograder.submissions.zipnames import name_of, time_of

MAX_ENTRIES = 20_000
MAX_DEPTH = 12
DIRECTORY_BYTES = 4 << 20  # of a zip's table of contents
RATIO, RATIO_BYTES = 200, 10 << 20  # a larger file that shrank more than this is a bomb
HIDDEN_NAME, LONG_NAME = "has a name that cannot be shown", "has a name that is too long"
CHUNK = 1 << 20
NOTEBOOK = re.compile(r"\.ipynb(\.json|\.txt)?$", re.IGNORECASE)
KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class Entry:
    """One file of a source."""

    parts: tuple[str, ...]  # of its path inside the source
    size: int  # as declared
    problem: str | None  # why it is refused, as the rest of a sentence
    opener: Callable[[int], bytes] = field(repr=False, compare=False)
    modified: datetime | None = None  # as its system says; without a zone where a zip names none

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.parts[-1]

    @property
    def file(self) -> Path | None:
        """The file itself, unless it is packed into a zip."""
        opener = self.opener
        return opener.root.joinpath(*opener.parts) if isinstance(opener, _FolderReader) else None

    @property
    def is_notebook(self) -> bool:
        """True by its name, also where a browser or a mail program has added another ending."""
        return NOTEBOOK.search(self.name) is not None

    @property
    def oddly_named(self) -> bool:
        """Refused for nothing but a name that cannot be shown or kept."""
        return self.problem in (HIDDEN_NAME, LONG_NAME)

    def read(self, limit: int) -> bytes:
        """Its content. Raises RefusedError if it is no plain file or has more than `limit` bytes."""
        if self.problem is not None:
            raise RefusedError(self.problem)
        if self.size > limit:
            raise RefusedError(_too_large(self.size, limit))
        data = self.opener(limit + 1)
        if len(data) > limit:
            raise RefusedError(_too_large(len(data), limit))
        return data

    def below(self, depth: int) -> Entry:
        """The same entry as seen from a folder further in."""
        return replace(self, parts=self.parts[depth:])


def printable(text: str, limit: int = 120) -> str:
    """A name that is safe to show in a terminal."""
    clean = "".join(char if char.isprintable() else "?" for char in text[: limit + 1])
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def folder_entries(root: Path, tops: Iterable[str] | None = None) -> list[Entry]:
    """Every file below `root`, sorted by path. Raises RefusedError if there are too many.

    Args:
        tops: look only at these files and folders of `root`.
    """
    found: list[tuple[tuple[str, ...], os.stat_result]] = []
    links: Counter[tuple[int, int]] = Counter()
    for parts, status in _walk(root, ()) if tops is None else _below(root, tops):
        if len(found) >= MAX_ENTRIES:
            raise RefusedError(f"holds more than {MAX_ENTRIES} files")
        found.append((parts, status))
        links[status.st_dev, status.st_ino] += 1
    entries = []
    for parts, status in sorted(found, key=lambda item: item[0]):
        problem = _kind_problem(status.st_mode) or _name_problem(parts)
        if problem is None and status.st_nlink > links[status.st_dev, status.st_ino]:
            problem = "is a hard link to a file elsewhere"
        entries.append(Entry(parts, status.st_size, problem, _FolderReader(root, parts), _modified(status)))
    return entries


def file_entry(path: Path) -> Entry:
    """One file that was named by the person at the keyboard."""
    status = path.lstat()
    problem = _kind_problem(status.st_mode)
    return Entry((path.name,), status.st_size, problem, _FolderReader(path.parent, (path.name,)), _modified(status))


def zip_entries(source: Path | bytes) -> list[Entry]:
    """Every file in a zip, in its order. Raises RefusedError if it is no sound zip."""
    try:
        archive = zipfile.ZipFile(_Guarded(source))
        members = archive.infolist()
    except (zipfile.BadZipFile, struct.error, EOFError, ValueError, OverflowError, NotImplementedError) as error:
        raise RefusedError(f"is not a sound zip file ({printable(str(error))})") from None
    except OSError as error:
        raise RefusedError(f"cannot be read ({error.strerror or error})") from None
    if len(members) > MAX_ENTRIES:
        raise RefusedError(f"holds more than {MAX_ENTRIES} files")
    entries = []
    for member in members:
        name = name_of(member).replace("\\", "/")
        if name.endswith("/"):
            continue
        parts = tuple(part for part in name.split("/") if part not in ("", ".")) or ("",)
        problem = _member_problem(member, name, parts)
        entries.append(Entry(parts, member.file_size, problem, _ZipReader(archive, member), time_of(member)))
    return entries


def _below(root: Path, tops: Iterable[str]) -> Iterator[tuple[tuple[str, ...], os.stat_result]]:
    for top in tops:
        try:
            status = (root / top).lstat()
        except OSError as error:
            raise RefusedError(f"cannot be read ({error.strerror})") from None
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(root, (top,))
        else:
            yield (top,), status


def _walk(root: Path, parts: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], os.stat_result]]:
    if len(parts) > MAX_DEPTH:
        raise RefusedError(f"holds folders nested more than {MAX_DEPTH} deep")
    try:
        with os.scandir(root.joinpath(*parts)) as listing:
            children = list(listing)
    except OSError as error:
        raise RefusedError(f"cannot be read ({error.strerror})") from None
    for child in children:
        status = child.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(root, (*parts, child.name))
        else:
            yield (*parts, child.name), status


@dataclass(frozen=True)
class _FolderReader:
    """Opens one folder after the other without following links, and then only a regular file."""

    root: Path
    parts: tuple[str, ...]

    def __call__(self, limit: int) -> bytes:
        try:
            handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
            for part in self.parts[:-1]:
                handle = self._step(handle, part, os.O_DIRECTORY)
            handle = self._step(handle, self.parts[-1], os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise RefusedError("is not a plain file")
                return file.read(limit)
        except OSError as error:
            raise RefusedError(f"cannot be read ({error.strerror})") from None

    @staticmethod
    def _step(folder: int, name: str, flags: int) -> int:
        try:
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=folder)
        finally:
            os.close(folder)


@dataclass(frozen=True)
class _ZipReader:
    archive: zipfile.ZipFile
    member: zipfile.ZipInfo

    def __call__(self, limit: int) -> bytes:
        data = bytearray()
        try:
            with self.archive.open(self.member) as file:
                while len(data) < limit and (chunk := file.read(min(CHUNK, limit - len(data)))):
                    data += chunk
        except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OSError):
            raise RefusedError("is damaged") from None
        return bytes(data)


class _Guarded(io.RawIOBase):
    """A file of which no single read is large, so that a zip's table of contents is bounded before it is read."""

    def __init__(self, source: Path | bytes) -> None:
        self._file: Any = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def read(self, size: int = -1) -> bytes:
        if size > DIRECTORY_BYTES:
            raise zipfile.BadZipFile("its table of contents is too large")
        return bytes(self._file.read(DIRECTORY_BYTES if size < 0 else size))

    def close(self) -> None:
        self._file.close()
        super().close()


def _modified(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)


def _kind_problem(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    return f"is {KINDS.get(stat.S_IFMT(mode), 'no plain file')}, not a plain file"


def _name_problem(parts: tuple[str, ...]) -> str | None:
    if any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts) or len(parts) > MAX_DEPTH:
        return LONG_NAME
    if not all(part and part.isprintable() for part in parts):
        return HIDDEN_NAME
    return None


def _member_problem(member: zipfile.ZipInfo, name: str, parts: tuple[str, ...]) -> str | None:
    mode = member.external_attr >> 16
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "has an absolute name"
    if ".." in parts:
        return "has a name that leads out of the zip"
    if stat.S_IFMT(mode) and not stat.S_ISREG(mode):
        return _kind_problem(mode)
    if member.flag_bits & 0x1:
        return "is protected by a password"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed in an unusual way (use plain zip)"
    printed = (
        NOTEBOOK.search(name) is not None
    )  # the same line printed for an hour packs well; how much is read is capped
    if not printed and member.file_size > RATIO_BYTES and member.file_size > RATIO * max(member.compress_size, 1):
        return f"unpacks from {member.compress_size} to {member.file_size} bytes, which looks like a zip bomb"
    return _name_problem(parts)


def _too_large(size: int, limit: int) -> str:
    return f"has {size / 2**20:.0f} MB; at most {limit >> 20} MB are accepted"
