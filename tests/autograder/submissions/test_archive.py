"""Reading folders and zips of strangers: nothing outside is ever opened, and every bomb is a sentence."""

from __future__ import annotations

import io
import os
import socket
import stat
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.errors import RefusedError
from autograder.submissions.archive import MAX_ENTRIES, Entry, folder_entries, printable, zip_entries


def by_name(entries: list[Entry]) -> dict[str, Entry]:
    return {"/".join(entry.parts): entry for entry in entries}


def make_zip(names: dict[str, bytes], *, mode: int = 0o100644, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in names.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = method
            archive.writestr(info, data)
    return buffer.getvalue()


def test_plain_files_of_a_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_bytes(b"content")
    entry = by_name(folder_entries(tmp_path))["a/b.txt"]
    assert (entry.problem, entry.read(100)) == (None, b"content")


def test_a_link_a_pipe_and_a_socket_are_refused_and_never_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the answers")
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to(secret)
    (source / "folder").symlink_to(tmp_path, target_is_directory=True)
    (source / "hard").hardlink_to(secret)
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "socket"))
        entries = by_name(folder_entries(source))
    assert set(entries) == {"link", "folder", "hard", "pipe", "socket"}
    for entry in entries.values():
        assert entry.problem is not None
        with pytest.raises(RefusedError):
            entry.read(100)
    assert entries["hard"].problem == "is a hard link to a file elsewhere"


def test_hard_links_among_the_submissions_themselves_are_plain_files(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x")
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    assert [entry.problem for entry in folder_entries(tmp_path)] == [None, None]


def test_a_file_swapped_for_a_link_after_listing_is_not_followed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_text("x")
    (tmp_path / "file").write_text("secret")
    (entry,) = folder_entries(source)
    (source / "deep" / "file").unlink()
    (source / "deep").rmdir()
    (source / "deep").symlink_to(tmp_path)
    with pytest.raises(RefusedError):
        entry.read(100)


def test_a_file_swapped_for_a_pipe_after_listing_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (entry,) = folder_entries(tmp_path)
    (tmp_path / "file").unlink()
    os.mkfifo(tmp_path / "file")
    with pytest.raises(RefusedError, match="not a plain file"):
        entry.read(100)


def test_a_file_larger_than_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10 << 30)  # sparse
    (entry,) = folder_entries(tmp_path)
    with pytest.raises(RefusedError, match="has 10240 MB; at most 32 MB"):
        entry.read(32 << 20)


def test_a_file_that_grew_after_listing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (entry,) = folder_entries(tmp_path)
    (tmp_path / "file").write_bytes(bytes(1000))
    with pytest.raises(RefusedError, match="at most 0 MB"):
        entry.read(999)


def test_damaged_contents_are_a_refusal(tmp_path: Path) -> None:
    good = make_zip({"a": b"abc" * 1000})
    start = good.index(b"a", 26) + 1
    for position in range(start, start + 12):
        data = bytearray(good)
        data[position] ^= 0xFF
        with pytest.raises(RefusedError, match="damaged"):
            zip_entries(bytes(data))[0].read(10_000)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../evil", "leads out"),
        ("a/../../evil", "leads out"),
        ("..\\evil", "leads out"),
        ("/etc/passwd", "absolute"),
        ("\\\\server\\share", "absolute"),
        ("C:/evil", "absolute"),
        ("c:evil", "absolute"),
        ("a\x1b[31m", "cannot be shown"),
        ("x" * 300, "too long"),
        ("/".join("abcdefghijklmn"), "too long"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str, problem: str) -> None:
    (entry,) = zip_entries(make_zip({name: b"x"}))
    assert problem in (entry.problem or "")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_zip_members_that_are_no_plain_files_are_refused(mode: int) -> None:
    (entry,) = zip_entries(make_zip({"link": b"/etc/passwd"}, mode=mode | 0o777))
    assert "not a plain file" in (entry.problem or "")


def test_a_member_that_shrank_a_thousand_times_is_called_a_bomb() -> None:
    (entry,) = zip_entries(make_zip({"zeros": bytes(20 << 20)}))
    assert "zip bomb" in (entry.problem or "")


def test_a_member_that_lies_about_its_size_gives_no_more_than_it_declared() -> None:
    honest = make_zip({"hw1.ipynb": bytes(5 << 20)})
    lie = honest.replace(struct.pack("<L", 5 << 20), struct.pack("<L", 100))
    (entry,) = zip_entries(lie)
    with pytest.raises(RefusedError, match="damaged"):
        entry.read(1 << 20)


def test_members_sharing_the_same_bytes_are_read_no_further_than_the_limit() -> None:
    data = make_zip({"a": os.urandom(1000)})
    (entry,) = zip_entries(data)
    with pytest.raises(RefusedError, match="at most 0 MB"):
        entry.read(999)


def test_protected_and_unusual_zips_are_refused() -> None:
    flags = bytearray(make_zip({"a": b"x"}))
    central = flags.index(b"PK\x01\x02")
    flags[central + 8] |= 1
    assert zip_entries(bytes(flags))[0].problem == "is protected by a password"
    unusual = zip_entries(make_zip({"a": b"x"}, method=zipfile.ZIP_LZMA))
    assert "unusual" in (unusual[0].problem or "")


def test_a_table_of_contents_of_a_million_names_is_not_read() -> None:
    row = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    count = 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(row) * count, 0, 0)
    data = row * count + end
    tracemalloc.start()
    with pytest.raises(RefusedError, match="table of contents"):
        zip_entries(data)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_too_many_files_are_refused() -> None:
    with pytest.raises(RefusedError, match="more than"):
        zip_entries(make_zip({str(number): b"" for number in range(MAX_ENTRIES + 1)}, method=zipfile.ZIP_STORED))


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip", zlib.compress(b"x"), b"PK\x05\x06" + bytes(18)])
def test_what_is_no_zip_is_refused_or_empty(data: bytes) -> None:
    try:
        found = zip_entries(data)
    except RefusedError:
        found = []
    assert found == []


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_zip_raises_nothing_but_a_refusal(data: st.DataObject) -> None:
    good = bytearray(make_zip({"a/hw1.ipynb": b"{}" * 50, "b.pt": bytes(range(256))}))
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        for entry in zip_entries(bytes(good[: data.draw(st.integers(0, len(good)))] or good)):
            entry.read(1000)
    except RefusedError:
        pass


def test_a_folder_nested_a_hundred_deep_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" for _ in range(100))).mkdir(parents=True)
    with pytest.raises(RefusedError, match="nested"):
        folder_entries(tmp_path)


def test_names_are_shown_without_terminal_escapes() -> None:
    assert printable("a\x1b[31m\n\u202eb") == "a?[31m??b"
    assert len(printable("x" * 1000)) == 120
