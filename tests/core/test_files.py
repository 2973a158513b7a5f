"""Files are whole or absent."""

from __future__ import annotations

import json
import math
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from simkit.files import atomic_path, file_hash, write_json, write_text


def test_text_and_json(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "er" / "a.txt", "Å\n")
    assert (tmp_path / "deep/er/a.txt").read_bytes() == "Å\n".encode()
    write_json(tmp_path / "a.json", {"stress": "eV/Å³", "values": [1, 2.5, None]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"stress": "eV/Å³", "values": [1, 2.5, None]}
    assert "Å³" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_refuses_what_is_no_number(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"energy": value})
    assert list(tmp_path.iterdir()) == []


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "model.simkit"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="half way"):
        broken_write(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def broken_write(target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("half way")


def test_temporary_is_beside_the_target_with_its_suffixes(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "frames.extxyz.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".extxyz.gz")
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"x")
        assert not (tmp_path / "frames.extxyz.gz").exists()
    assert (tmp_path / "frames.extxyz.gz").read_bytes() == b"x"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "x")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    code = (
        "import os, signal, sys\n"
        "from simkit.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('new')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    write_text(tmp_path / "b.txt", "of another name")
    assert len(list(tmp_path.iterdir())) == 3
    write_text(target, "newer")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "b.txt"}
    assert target.read_text() == "newer"


def test_only_what_dead_processes_of_this_machine_left_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with atomic_path(target) as own:
        own.write_text("x")
        machine, mine, _ = own.name.removeprefix(".a.txt.").split("-", 2)
        assert int(mine) == os.getpid()
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        kept = [f".a.txt.{machine}-1-x.txt", f".a.txt.00000000-{dead.pid}-x.txt", f".a.txt.{machine}-x.txt", ".a.txt.x"]
        for name in [*kept, f".a.txt.{machine}-{dead.pid}-x.txt"]:
            (tmp_path / name).touch()
        write_text(target, "written meanwhile")
        assert {path.name for path in tmp_path.iterdir()} == {"a.txt", own.name, *kept}
    assert target.read_text() == "x"


def test_hash_of_a_file(tmp_path: Path) -> None:
    """The SHA-256 of "abc" that FIPS 180-4 gives."""
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
