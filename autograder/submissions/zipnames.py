"""What a zip says of a file beside its content, in the ways programs have of saying it: its name, its time."""

from __future__ import annotations

import re
import struct
import unicodedata
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime

UTF8 = 0x800  # a flag: the name is UTF-8
UNIX_TIME, UNICODE_NAME = 0x5455, 0x7075  # extra fields of Info-ZIP
NEVER = datetime(1980, 1, 1)  # what a program writes that knows no time


def name_of(member: zipfile.ZipInfo) -> str:
    """The name of a file as its author wrote it.

    A name that says no encoding is UTF-8 (macOS), cp866 (Russian Windows), or cp437, which the format names: the first
    of them under which every letter is one and no word mixes alphabets.
    """
    written = member.orig_filename
    if member.flag_bits & UTF8 or written.isascii():
        return written
    try:
        raw = written.encode("cp437")
    except UnicodeEncodeError:  # Python knew better
        return written
    for data in _extra(member, UNICODE_NAME):
        try:
            return data[5:].decode()
        except UnicodeDecodeError:
            break
    for encoding in ("utf-8", "cp866"):
        try:
            name = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8" or _is_cyrillic(name):
            return name
    return written


def time_of(member: zipfile.ZipInfo) -> datetime | None:
    """When a file was written last: UTC where the zip says so, else without a zone; None where it does not say."""
    for data in _extra(member, UNIX_TIME):
        if len(data) >= 5 and data[0] & 1:
            return datetime.fromtimestamp(struct.unpack("<i", data[1:5])[0], UTC)
    try:
        when = datetime(*member.date_time)
    except ValueError:
        return None
    return when if when.date() > NEVER.date() else None


def _extra(member: zipfile.ZipInfo, wanted: int) -> Iterator[bytes]:
    """The extra fields of one kind."""
    left = member.extra
    while len(left) >= 4:
        kind, length = struct.unpack("<HH", left[:4])
        if kind == wanted:
            yield left[4 : 4 + length]
        left = left[4 + length :]


def _is_cyrillic(name: str) -> bool:
    """True if every word is of one alphabet, and some are Cyrillic."""
    if any(not char.isascii() and not char.isalpha() for char in name):
        return False
    words = [word for word in re.split(r"[\W\d_]+", name) if not word.isascii()]
    return bool(words) and all("CYRILLIC" in unicodedata.name(char, "") for word in words for char in word)
