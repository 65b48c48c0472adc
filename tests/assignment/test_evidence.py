"""What the board says of runs that were made up to say it, and that the report holds all of it and nothing harmful."""

import msgspec

from engine import protocol as p
from engine.core.curve import Curve
from svhn_tui.assignment.answers import all_answers
from svhn_tui.assignment.evidence import facts_of
from svhn_tui.export.report import page
from tests.assignment.test_answers import BOOK, DATA, finished, runs, state_of
from tests.support.scenes import history

CLEAR = {"relu 64": 0.4, "relu 256": 0.5, "relu 1024": 0.5001}


def nine() -> list[p.RunResult]:
    more = {"slope": 0.001, "slope_error": 0.0001, "dead_units": 0.25}
    results = [
        finished(spec, CLEAR[spec.configuration.network.label] + spec.seed / 1000, **more) for spec in runs("Q9")
    ]
    return [msgspec.structs.replace(result, accuracy=0.7) for result in results]


def test_the_board_says_what_the_runs_show():
    facts = {fact.title: fact for fact in facts_of(BOOK.question("Q11"), BOOK, state_of(*nine()))}
    size = facts["Accuracy against parameters"]
    assert size.sentences[0] == "In 2 of 2 steps to more parameters the mean test accuracy is higher."
    assert size.figures[0] == ("relu 64", "197,322 parameters, 0.4045 ± 0.0030, n = 10")
    assert facts["Width"].sentences[0] == "relu 64 to relu 256: +0.1000 (clear, p < 0.001)."
    assert "relu 256 to relu 1024: +0.0001 (not clear" in facts["Width"].sentences[2]
    assert facts["Generalisation gap"].figures[0] == ("relu 64", "+0.2955 train − test accuracy")
    assert facts["Convergence at the last epoch"].figures[0][1].startswith("+0.0100 ± 0.0003 in ten epochs: still")
    assert facts["Hidden units"].figures[0][1].startswith("25.0 % of the hidden ReLU units")
    (open_point,) = facts["What more runs would settle"].sentences
    assert open_point == "relu 1024 and relu 256 differ by 0.0001: about 14,374 runs each would settle it."
    assert "Depth" not in facts
    assert facts_of(BOOK.question("Q11"), BOOK, state_of()) == ()


def test_the_report_is_one_file_with_everything_and_names_from_outside_do_nothing():
    results = nine()
    state = state_of(
        *results, histories={run.run_id: Curve.of(history(100, 0.5, run.spec.seed).rows) for run in results}
    )
    named = msgspec.structs.replace(state, data=msgspec.structs.replace(DATA, name="<script>alert(1)</script>"))
    text = page(BOOK, all_answers(BOOK, named), named)
    assert "0.4045, 0.5045, 0.5046" in text
    assert text.count("<svg") == 2, "Q9, and the ReLU runs that Q7 has too"
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "src=" not in text
    assert "In 2 of 2 steps" in text
