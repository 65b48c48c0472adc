"""Compiled programs are kept within a limit, the oldest leave first."""

import os
from pathlib import Path

from engine.machine import compile_cache


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
