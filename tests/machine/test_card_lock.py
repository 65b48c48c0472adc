"""Two starters, one card: one of them has it, for as long as it lives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.machine import card_lock

HOLD = """
import sys
from engine.machine import card_lock

print(card_lock.acquire("GPU-a") is not None, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(card_lock.FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def starter() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_of_many_starters_at_once_one_takes_the_card():
    starters = [starter() for _ in range(6)]
    answers = [process.stdout.readline().strip() for process in starters]  # they live until all have answered
    assert sorted(answers) == ["False"] * 5 + ["True"]
    taker = starters[answers.index("True")]
    assert card_lock.holder("GPU-a") == taker.pid
    assert card_lock.holder("GPU-b") is None
    for process in starters:
        process.communicate("")
    assert card_lock.holder("GPU-a") is None, "the lock ends with its process"
    file = card_lock.acquire("GPU-a")
    assert file is not None
    os.close(file)


SHARE = """
import sys
from engine.machine import card_lock

print(card_lock.acquire("GPU-a", sys.argv[1]) is not None, card_lock.is_joined("GPU-a", sys.argv[1]), flush=True)
sys.stdin.read()
"""


def test_workers_of_one_host_share_a_card_and_no_other_host_comes_between():
    def begun(host: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen([sys.executable, "-c", SHARE, host], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True)  # fmt: skip
        return process, process.stdout.readline().strip()

    first, answer = begun("7-1.5")
    assert answer == "True False"
    second, answer = begun("7-1.5")
    assert answer == "True True"
    other, answer = begun("8-1.5")
    assert answer == "False False"
    other.communicate("")
    first.communicate("")
    assert card_lock.holder("GPU-a") == first.pid, "the one that stays holds it as well"
    other, answer = begun("8-1.5")
    assert answer == "False False"
    for process in (second, other):
        process.communicate("")
    assert card_lock.holder("GPU-a") is None


def test_a_lock_is_for_all_users_whatever_the_umask(folder: Path):
    before = os.umask(0o077)
    try:
        file = card_lock.acquire("MIG-GPU-x/1/0")
    finally:
        os.umask(before)
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o644
    assert file is not None
    os.close(file)


def test_a_lock_of_another_user_can_be_held_and_not_written(folder: Path):
    card_lock.path_of("GPU-a").touch(mode=0o444)
    card_lock.path_of("GPU-a").chmod(0o444)
    file = card_lock.acquire("GPU-a")
    assert file is not None
    os.close(file)


def test_something_else_in_its_place_is_no_lock(folder: Path):
    card_lock.path_of("GPU-a").symlink_to(folder / "elsewhere")
    with pytest.raises(OSError):
        card_lock.acquire("GPU-a")
    card_lock.path_of("GPU-b").mkdir()
    with pytest.raises(OSError, match="not a lock of svhn-tui"):
        card_lock.acquire("GPU-b")
    assert card_lock.holder("GPU-a") is None
