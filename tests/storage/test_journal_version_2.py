"""What was recorded with version 2 of the protocol, an epoch in columns and a share without its count, is read."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from engine import protocol as p
from engine.core.curve import Curve
from engine.storage import journal, journal_version_2

OLD = Path(__file__).parent / "version_2" / "journal.jsonl"
"""As that version wrote it: three epochs, then the third once more after a checkpoint, which diverged."""
EPOCH = json.loads(OLD.read_bytes().splitlines()[1])["event"]


def test_an_old_journal_is_read_whole_and_its_shares_are_what_they_were():
    history, damaged = journal.history(OLD)
    assert damaged == 0
    assert (history.loss, history.accuracy, history.test_loss) == ((2.5, 2.0, None), (0.25, 0.5, 0.125),
                                                                   (2.25, None, None))  # fmt: skip
    assert [row.test_accuracy for row in history.rows] == [0.277, 0.333, 0.125]
    assert [row.test_correct for row in history.rows] == [None, None, None], "nobody counted them"
    assert Curve.of(history.rows).diverged_at == 2
    assert [type(event) for event in journal.read(OLD).events].count(p.EpochEnded) == 4
    read = p.HistoryRead(run_id="r", history=history)
    assert p.decode_event(p.encode(read)) == read


def test_a_run_goes_on_in_the_journal_that_an_earlier_version_began(tmp_path: Path):
    path = shutil.copy(OLD, tmp_path)
    log = journal.Journal(Path(path))
    row = p.EpochRow(loss=1.0, accuracy=0.5, test_loss=1.0, test_correct=417, test_images=1000, seconds=0.5)
    log.append(p.EpochEnded(group="g", runs=("r",), epoch=4, rows=(row,), images_per_second=1.0))
    log.close()
    history, damaged = journal.history(Path(path))
    assert (damaged, history.epochs, history.rows[3]) == (0, 4, row)
    assert [row.test_accuracy for row in history.rows] == [0.277, 0.333, 0.125, 0.417]


def test_an_old_checkpoints_curve_is_read():
    columns = {"loss": [2.5, None], "accuracy": [0.25, 0.5], "test_loss": [2.25, 1.0], "test_accuracy": [0.277, 0.333],
               "seconds": [1.0, 1.0]}  # fmt: skip
    history = msgspec.json.decode(json.dumps(columns), type=p.History)
    assert [row.test_accuracy for row in history.rows] == [0.277, 0.333]
    assert [row.is_diverged for row in history.rows] == [False, True]


@pytest.mark.parametrize("change", [{"loss": []}, {"runs": []}, {"epoch": 0}, {"epoch": 10**9}, {"kind": "EpochBegan"},
                                    {"rows": []}, {"loss": ["1"]}, {"loss": [1, 2]}], ids=str)  # fmt: skip
def test_what_no_version_could_have_told_is_damaged(change: dict):
    journal_version_2.decode_event(json.dumps(EPOCH).encode())
    with pytest.raises(p.UNREADABLE):
        journal_version_2.decode_event(json.dumps({**EPOCH, **change}).encode())


@pytest.mark.parametrize(("correct", "images"), [(-1, 10), (11, 10), (0, 0), (5, 10**400), (10**400, 10**400)])
def test_a_count_that_cannot_be_is_refused(correct: int, images: int):
    row = {"loss": 1, "accuracy": 1, "test_loss": 1, "test_correct": correct, "test_images": images, "seconds": 1}
    event = {"kind": "EpochEnded", "group": "g", "runs": ["a"], "epoch": 1, "rows": [row], "images_per_second": 1}
    read = {"kind": "HistoryRead", "run_id": "a", "history": {"test_correct": [correct], "test_images": [images]}}
    for document in (event, read):
        with pytest.raises(p.UNREADABLE):
            p.decode_event(json.dumps(document).encode())
