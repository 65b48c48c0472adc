"""The two stages of a question, carried on by a real host; a worker that trains nothing makes the accuracies exact."""

import json
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

from engine import protocol as p
from svhn_tui import preset_file
from svhn_tui.analysis.progress import with_finalists
from svhn_tui.assignment.answers import answer_of
from tests.support.bridge import Bridge
from tests.support.patience import PATIENCE

BOOK = preset_file.load(preset_file.find(Path("no workspace")))
Q10 = BOOK.question("Q10")
DEEP = [configuration.network.label for configuration in BOOK.configurations(Q10)]


def worker(**accuracies: float) -> dict[str, str]:
    command = f"{sys.executable} -m tests.support.fake_worker"
    return {"SVHN_TUI_WORKER": command, "SVHN_TUI_TEST_ACCURACIES": json.dumps(accuracies)}


def trained(state: object) -> list[int]:
    counts = Counter(run.spec.configuration.network.label for run in state.results.values())
    return [counts[label] for label in DEEP]


@pytest.mark.parametrize(
    ("accuracies", "finalists", "answer"),
    [
        ({DEEP[2]: 0.6, DEEP[5]: 0.59}, {2, 5}, "2, 0.6000, 803786"),
        ({DEEP[4]: 0.6, DEEP[1]: 0.6, DEEP[7]: 0.6}, {1, 4, 7}, "1, 0.6000, 215882"),
        ({}, {0, 1, 2, 3}, "0, 0.5000, 201482"),
    ],
    ids=["a clear best and the next one", "ties go on together, the first one wins", "all equal: at most four"],
)
def test_the_host_gives_the_finalists_their_ten_with_no_screen_open(
    demo_folder: Path, tmp_path: Path, accuracies: dict[str, float], finalists: set[int], answer: str
):
    with Bridge(tmp_path, **worker(**accuracies)) as bridge:
        data = bridge.open(demo_folder)
        bridge.send(p.Submit(sweep=BOOK.sweep(Q10, data.fingerprint)))
        bridge.until_kind(p.SweepSubmitted)
    psutil.Process(bridge.events[0].host_pid).wait(PATIENCE)
    with Bridge(tmp_path, **worker()) as bridge:
        bridge.until_kind(p.CaughtUp)
        assert trained(bridge.state) == [10 if index in finalists else 3 for index in range(8)]
        assert answer_of(Q10, BOOK, bridge.state).text == answer
        bridge.end()


def test_finalists_chosen_by_hand_replace_those_of_the_rule_and_are_remembered(demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path, **worker(**{DEEP[0]: 0.6, DEEP[1]: 0.59})) as bridge:
        data = bridge.open(demo_folder)
        sweep = BOOK.sweep(Q10, data.fingerprint)
        bridge.send(p.Submit(sweep=with_finalists(sweep, (6,))))
        bridge.until(lambda state, event: len(state.results) == 31)
        assert trained(bridge.state) == [3, 3, 3, 3, 3, 3, 10, 3]
        bridge.end()
    with Bridge(tmp_path, **worker()) as bridge:
        bridge.until_kind(p.CaughtUp)
        assert answer_of(Q10, BOOK, bridge.state).text == "6, 0.5000, 205642"
        bridge.send(p.Submit(sweep=sweep))
        bridge.until(lambda state, event: len(state.results) == 45)
        assert trained(bridge.state) == [10, 10, 3, 3, 3, 3, 10, 3]
        assert len(list((tmp_path / "sweeps").iterdir())) == 1
        bridge.end()


def test_statements_are_kept_replaced_and_removed(tmp_path: Path):
    wider, deeper = p.Statement("Wider is better.", "true", ("Width",)), p.Statement("Deeper is better.")
    with Bridge(tmp_path) as bridge:
        for statement in (wider, deeper):
            bridge.send(p.Judge(question="Q8", statement=statement))
        bridge.send(p.Judge(question="Q8", statement=p.Statement("x" * 5_000)))
        assert "1 to 4,000 characters" in bridge.until_kind(p.Refused).reason
        bridge.end()
    with Bridge(tmp_path) as bridge:
        bridge.until_kind(p.CaughtUp)
        assert bridge.state.statements["Q8"] == (wider, deeper)
        judged = p.Statement(deeper.text, "false", ("Depth",))
        bridge.send(p.Judge(question="Q8", statement=judged, replaces=deeper.text))
        bridge.send(p.Judge(question="Q8", statement=None, replaces=wider.text))
        bridge.until(lambda state, event: state.statements["Q8"] == (judged,))
        bridge.end()
