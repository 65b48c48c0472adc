"""What was printed while a run trained is read from where it stands, a part at a time, and never obeyed."""

import os
from pathlib import Path

import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Network, RunSpec
from engine.machine.files import NotOurs
from engine.machine.log_tail import error_line
from engine.storage import logs
from engine.storage.journal import Journal

SPEC, OTHER = (RunSpec(Configuration(Network((256,), "relu")), seed, "data") for seed in (0, 1))
RUN = SPEC.run_id


def put(root: Path, name: str, content: bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_log_is_read_from_its_end_and_then_what_was_added(tmp_path: Path):
    log = put(tmp_path, f"runs/{RUN}/engine.log", b"one\ntwo\n")
    part = logs.read(tmp_path, RUN)
    assert (part.file, part.begins, part.ends, part.text) == (f"runs/{RUN}/engine.log", 0, 8, "one\ntwo\n")
    with log.open("ab") as file:
        file.write(b"three\nfo")
    more = logs.read(tmp_path, RUN, file=part.file, begins=part.ends)
    assert (more.begins, more.text) == (8, "three\n"), "half a line is not one yet"
    with log.open("ab") as file:
        file.write(b"ur\n")
    assert logs.read(tmp_path, RUN, file=more.file, begins=more.ends).text == "four\n"
    log.write_bytes(b"new\n")
    assert logs.read(tmp_path, RUN, file=part.file, begins=part.ends).text == "new\n", "it was cut meanwhile"


def test_of_a_huge_log_the_end_is_read_in_whole_lines(tmp_path: Path):
    with put(tmp_path, f"runs/{RUN}/engine.log", b"").open("wb") as file:
        file.truncate(8 * 2**30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    part = logs.read(tmp_path, RUN)
    assert part.text == "last\n" and part.ends == 8 * 2**30 + 6
    put(tmp_path, f"runs/{RUN}/engine.log", b"x" * 3 * logs.PART_BYTES)
    assert len(logs.read(tmp_path, RUN).text) == logs.PART_BYTES, "a line without an end"
    put(tmp_path, f"runs/{RUN}/engine.log", b"a\n" * logs.PART_BYTES)
    follow = logs.read(tmp_path, RUN, file=f"runs/{RUN}/engine.log", begins=2)
    assert follow.begins > 2, "it has grown by more than is read at once"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\x1b[31mred\x1b[0m\n", "red\n"),
        (b"\x1b]52;c;aGk=\x07a\x1b]0;title\x1b\\b\n", "ab\n"),
        (b"10%\r20%\r\n\x00\x07\x08done\n", "10%\n20%\ndone\n"),
        (b"\xff\xfe caf\xc3\xa9 \xc2\x9b31m\n", "�� café 31m\n"),
    ],
)
def test_what_a_terminal_would_obey_is_taken_out(tmp_path: Path, content: bytes, text: str):
    put(tmp_path, f"runs/{RUN}/engine.log", content)
    log_text = logs.read(tmp_path, RUN).text
    assert "\x1b" not in log_text and "\x07" not in log_text and "\x9b" not in log_text
    assert log_text == text


def test_a_run_that_trained_beside_others_has_its_words_in_the_first_ones_log(tmp_path: Path):
    first, own = SPEC.run_id, OTHER.run_id
    put(tmp_path, f"runs/{first}/engine.log", b"of both\n")
    put(tmp_path, f"runs/{own}/spec.json", b"{}")
    journal = Journal(tmp_path / "runs" / own / "journal.jsonl")
    journal.append(p.RunStarted(group=f"cpu0-{first}", runs=(own,), specs=(OTHER,), worker="cpu0", device="cpu"))
    journal.close()
    assert logs.read(tmp_path, own) == (f"runs/{first}/engine.log", 0, 8, "of both\n")


def test_a_worker_that_died_before_its_first_run_spoke_into_the_hosts_log(tmp_path: Path):
    put(tmp_path, "host.log", b"ImportError: no jax\n")
    assert logs.read(tmp_path, RUN).file == "host.log"
    put(tmp_path, f"runs/{RUN}/engine.log", b"")
    before = logs.read(tmp_path, RUN)
    assert before.text == "ImportError: no jax\n"
    put(tmp_path, f"runs/{RUN}/engine.log", b"now it trains\n")
    assert logs.read(tmp_path, RUN, file=before.file, begins=before.ends).text == "now it trains\n"
    assert logs.read(tmp_path / "runs", "0" * 12) == ("", 0, 0, "")


def test_nothing_is_read_through_a_link_or_a_name_that_is_none(tmp_path: Path):
    secret = put(tmp_path, "secret", b"secret\n")
    (tmp_path / "w/runs" / RUN).mkdir(parents=True)
    (tmp_path / "w/runs" / RUN / "engine.log").symlink_to(secret)
    with pytest.raises(NotOurs):
        logs.read(tmp_path / "w", RUN)
    answer = logs.answer(tmp_path / "w", p.ReadLog(run_id=RUN))
    assert "secret" not in answer.text and "links are not followed" in answer.problem
    for name in ("../../x", "", "/etc", f"{RUN}/.."):
        with pytest.raises(ValueError, match="is not a run"):
            logs.read(tmp_path / "w", name)


def test_a_workers_error_is_shown_without_control_sequences(tmp_path: Path):
    log = put(tmp_path, "host.log", b"before\n\x1b[31mImportError: no jax\x1b[0m\nbye\n")
    assert error_line(log) == "ImportError: no jax"
