"""What stands where the program keeps a small file of its own is read if it can be that file, and never waited for."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.machine import json_file
from svhn_tui.settings import Settings

ODD: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a device without end": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "of another type": lambda path: path.write_bytes(b'{"theme": 5}'),
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_no_file_of_ours_counts_as_none(tmp_path: Path, what: str):
    ODD[what](tmp_path / "settings.json")
    assert json_file.read(tmp_path / "settings.json", Settings) is None


def test_a_link_to_a_file_elsewhere_is_followed(tmp_path: Path):
    """As people keep the settings of all their programs in one folder."""
    json_file.write(tmp_path / "kept.json", Settings(theme="dark"))
    (tmp_path / "settings.json").symlink_to("kept.json")
    assert json_file.read(tmp_path / "settings.json", Settings) == Settings(theme="dark")
