"""Files that aren't as they were written are found, by name, before anything is read of them."""

import shutil
import subprocess

import pytest

from neuroframes.checksums import CHECKSUMS, check_files, write_checksums
from neuroframes.errors import InputError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "f" / "deep").mkdir(parents=True)
    for name, content in {"a": b"one", "deep/b": b"two", "deep/c": b""}.items():
        (tmp_path / "f" / name).write_bytes(content)
    write_checksums(tmp_path / "f")
    return tmp_path / "f"


def refused(folder, match, names=None):
    with pytest.raises(InputError, match=f"{match}.*; make it again$"):
        check_files(folder, "make it again", names)


def test_what_is_as_it_was_written_passes_and_hidden_files_do_not_count(folder):
    check_files(folder, "make it again")
    (folder / "deep" / ".DS_Store").write_text("")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "of-others").write_text("")
    for names in (None, ["deep"]):
        check_files(folder, "make it again", names)


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")
def test_sha256sum_reads_them(folder):
    checked = subprocess.run(["sha256sum", "--check", "--strict", CHECKSUMS], cwd=folder, capture_output=True)
    assert checked.returncode == 0 and checked.stdout == b"a: OK\ndeep/b: OK\ndeep/c: OK\n"


def test_every_flipped_byte_is_found(folder):
    for name in ("a", "deep/b", CHECKSUMS):
        content = (folder / name).read_bytes()
        for at in range(len(content)):
            (folder / name).write_bytes(content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :])
            refused(folder, "")
        (folder / name).write_bytes(content)
    check_files(folder, "make it again")


def test_what_is_cut_missing_or_surplus_is_named(folder):
    (folder / "deep" / "b").write_bytes(b"tw")
    refused(folder, "deep/b is damaged")
    check_files(folder, "make it again", ["a", "deep/c"])  # others aren't asked for
    (folder / "deep" / "b").unlink()
    refused(folder, "deep/b is missing", ["deep"])
    shutil.rmtree(folder / "deep")
    refused(folder, "deep/b is missing", ["deep"])
    refused(folder, "deep/b is missing")
    (folder / "d").write_text("")
    refused(folder, "d was not written with the files beside it", ["d", "e"])
    (folder / CHECKSUMS).write_bytes(b"\xff")
    refused(folder, f"{CHECKSUMS} is damaged")
    (folder / CHECKSUMS).unlink()
    refused(folder, f"{CHECKSUMS} is missing")
