"""Compiled programs are kept within a limit, the oldest leave first."""

import os
import platform
from pathlib import Path

import pytest

from engine.machine import compile_cache, system


def test_what_was_used_longest_ago_leaves_first(tmp_path: Path):
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (1_000 - age, 1_000 - age))
    compile_cache.prune(tmp_path, limit=300)
    assert len(list(tmp_path.iterdir())) == 3
    compile_cache.prune(tmp_path, limit=250)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "middle"}
    compile_cache.prune(tmp_path, limit=0)
    assert not list(tmp_path.iterdir())
    compile_cache.prune(tmp_path / "gone")


MOUNTS = """22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:42 / /home rw,relatime shared:9 - nfs4 server:/home rw,vers=4.2
31 30 8:2 / /home/fast rw - xfs /dev/sdb1 rw
32 22 0:44 / /mnt/my\\040disk rw - fuse.sshfs me@there: rw
"""


@pytest.mark.parametrize(
    ("folder", "is_shared"),
    [
        ("/home/me/.cache", True),
        ("/home/fast/.cache", False),
        ("/tmp", False),
        ("/mnt/my disk/x", True),
        ("/hom", False),
    ],
)
def test_a_home_that_several_machines_have_is_known(tmp_path: Path, folder: str, is_shared: bool):
    (tmp_path / "mounts").write_text(MOUNTS)
    assert system.is_on_network(Path(folder), tmp_path / "mounts") is is_shared
    assert not system.is_on_network(Path(folder), tmp_path / "none")


def test_in_a_shared_home_each_machine_has_its_own_within_one_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    alone = compile_cache.folder()
    assert alone.name == "jax"
    monkeypatch.setattr(compile_cache, "is_on_network", lambda path: True)
    own = compile_cache.folder()
    assert (own.parent, own.name) == (alone, platform.node())
    (alone / "another").mkdir()
    for folder in (own, alone / "another"):
        (folder / "program").write_bytes(b"x" * 100)
    os.utime(alone / "another" / "program", (1, 1))
    compile_cache.prune(alone, limit=150)
    assert [path.parent for path in alone.rglob("program")] == [own]
