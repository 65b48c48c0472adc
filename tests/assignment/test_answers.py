"""Answers: the exact strings, and how far each can be trusted."""

from pathlib import Path
from statistics import fmean

import msgspec
import pytest

from engine import protocol as p
from engine.core.data_shape import ASSIGNMENT
from engine.core.spec import Configuration, Network, RunSpec
from engine.core.sweep import FinalistRule, Sweep, asked, finalists, missing
from svhn_tui import preset_file, words
from svhn_tui.analysis import statistics
from svhn_tui.analysis.progress import Overrides, progress_of, sweep_for
from svhn_tui.analysis.run_filter import FilterError, parse
from svhn_tui.assignment.answer_text import firm_decimals, written
from svhn_tui.assignment.answers import Answer, answer_of
from svhn_tui.assignment.keras_code import code_for
from svhn_tui.assignment.submission import handed_in
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import Results, State
from tests.client.test_state import result_of

BOOK = preset_file.load(preset_file.find(Path("nowhere")))
DATA = p.DataSet(
    "data", "svhn", "/train", "/test", 50_000, 10_000, (3, 32, 32), (5_000,) * 10, (1_000,) * 10, tuple("0123456789")
)


def finished(spec: RunSpec, accuracy: float, **more: object) -> p.RunResult:
    from engine.core.layers import trainable_parameters

    parameters = trainable_parameters(spec.configuration.network, DATA.shape)
    return msgspec.structs.replace(
        result_of(spec), test_accuracy=accuracy, trainable_parameters=parameters, model_sha256="aa", **more
    )


def runs(question: str, overrides: Overrides | None = None) -> tuple[RunSpec, ...]:
    sweep = sweep_for(BOOK.question(question), BOOK, state_of(), overrides or Overrides())
    return asked(sweep, {})


def state_of(*results: p.RunResult, **more: object) -> State:
    return State(data=DATA, results=Results({result.run_id: result for result in results}), caught_up=True, **more)


def answer(question: str, state: State) -> Answer:
    return answer_of(BOOK.question(question), BOOK, state)


def test_q3_is_of_the_very_file_of_q2():
    (spec,) = runs("Q2")
    state = state_of(finished(spec, 0.23454999))
    assert answer("Q3", state_of()).state == "missing"
    assert (answer("Q3", state).text, answer("Q3", state).state) == ("30730, 0.2345", "ready")
    assert answer("Q3", msgspec.structs.replace(state, files={spec.run_id: "aa"})).state == "ready"
    changed = answer("Q3", msgspec.structs.replace(state, files={spec.run_id: "bb"}))
    assert (changed.state, "changed since it was trained" in changed.reason) == ("stale", True)


def test_q6_follows_the_file_that_was_chosen():
    tanh = runs("Q7")[:10]
    state = state_of(*(finished(spec, 0.5 + spec.seed / 100) for spec in tanh))
    assert answer("Q6", state).text == "789258, 0.5000", "the first seed's, which is Q5's run"
    assert answer("Q6", msgspec.structs.replace(state, choices={"Q5": tanh[4].run_id})).text == "789258, 0.5400"


def test_means_are_over_all_runs_and_say_when_some_are_missing():
    specs = runs("Q7")
    results = [finished(spec, 0.5 + spec.seed / 1000 + 0.05 * (index >= 10)) for index, spec in enumerate(specs)]
    full = state_of(*results)
    assert (answer("Q7", full).text, answer("Q7", full).state) == (
        "0.5045, 0.5545",
        "fragile",
    )
    assert "last digits change within one standard error: tanh 256 0.5045 ± 0.0010" in answer("Q7", full).reason
    same = [finished(spec, 0.5 + 0.05 * (index >= 10)) for index, spec in enumerate(specs)]
    assert answer("Q7", state_of(*same)).state == "ready"
    some = answer("Q7", state_of(*results[:17]))
    assert (some.state, some.reason) == ("partial", "17 of 20 runs are done.")
    assert answer("Q7", state_of(*results[:10])).text is None, "one mean alone is not an answer"


def test_runs_that_did_not_learn_count_and_are_named_with_the_mean_of_the_others():
    specs = runs("Q7")
    results = [finished(spec, 0.5) for spec in specs]
    assert answer("Q7", state_of(*results)).flags == ()
    results[3] = finished(specs[3], 0.1)
    results[4] = finished(specs[4], 0.5, diverged=True)
    actual = answer("Q7", state_of(*results))
    assert actual.text == "0.4600, 0.5000"
    assert actual.flags == (
        "tanh 256: 2 of 10 runs diverged or at chance level (seeds 3, 4); the mean of the others is 0.5000.",
    )


def test_q10_names_the_best_by_its_zero_based_index():
    specs = runs("Q10")
    accuracy = {index: 0.4 + index / 100 for index in range(8)} | {2: 0.9}
    first = [finished(spec, accuracy[index // 3] + spec.seed / 1e4) for index, spec in enumerate(specs)]
    sweep = BOOK.sweep(BOOK.question("Q10"), "data")
    second = missing(sweep, {run.run_id: run.test_accuracy for run in first})
    assert {spec.configuration.network.hidden for spec in second} == {(256, 64), (256, 256, 256)}
    assert answer("Q10", state_of(*first)).state == "partial"
    actual = answer("Q10", state_of(*first, *(finished(spec, 0.9 + spec.seed / 1e4) for spec in second[:7]), *(
        finished(spec, 0.47) for spec in second[7:])))  # fmt: skip
    assert (actual.state, actual.text) == ("fragile", "2, 0.9004, 803786")
    assert "last digits" in actual.reason
    close = [finished(spec, 0.9 + spec.seed / 100) for spec in specs]
    more = missing(sweep, {run.run_id: run.test_accuracy for run in close})
    both = state_of(*close, *(finished(spec, 0.9 + (spec.seed % 3) / 100) for spec in more))
    assert answer("Q10", both).state == "fragile"
    assert "the winner could change" in answer("Q10", both).reason


@pytest.mark.parametrize(
    ("mean", "error", "firm"), [(0.5045, 0.00001, 4), (0.5045, 0.001, 1), (0.5021, 0.002, 2), (0.5, 0.3, 0)]
)
def test_digits_are_firm_while_one_standard_error_does_not_change_them(mean: float, error: float, firm: int):
    assert firm_decimals(mean, error, 4) == firm


def test_finalists_chosen_by_hand_are_asked_for_until_the_rule_is_taken_again():
    question, sweep = BOOK.question("Q10"), BOOK.sweep(BOOK.question("Q10"), "data")
    chosen = msgspec.structs.replace(sweep, finalists=msgspec.structs.replace(sweep.finalists, chosen=(0, 7)))
    state = fold((p.SweepSubmitted(sweep=sweep, missing=()), p.SweepSubmitted(sweep=chosen, missing=())), state_of())
    assert list(state.sweeps.values()) == [chosen]
    progress = progress_of(question, BOOK, state)
    assert [row.needed for row in progress.rows] == [10, 3, 3, 3, 3, 3, 3, 10]
    done = [finished(spec, 0.5) for spec in asked(chosen, {}) if spec.configuration == chosen.configurations[7]]
    assert (
        answer("Q10", msgspec.structs.replace(state, results=Results({run.run_id: run for run in done})))
        .parts[7]
        .needed
        == 10
    )
    assert fold((p.SweepSubmitted(sweep=sweep, missing=()),), state).as_chosen(sweep) == sweep


def test_an_answer_is_stale_when_the_data_or_the_networks_are_others_now():
    sweep = BOOK.sweep(BOOK.question("Q9"), "data")
    before = {
        "The data in use changed": msgspec.structs.replace(sweep, data="older"),
        "What Q9 asks for in experiments.json changed": msgspec.structs.replace(
            sweep, configurations=tuple(Configuration(Network((units,), "relu")) for units in (32, 128, 512))
        ),
    }
    for reason, old in before.items():
        done = [finished(spec, 0.5) for spec in asked(old, {})]
        actual = answer("Q9", state_of(*done, sweeps={old.sweep_id: old}))
        assert (actual.state, actual.text) == ("stale", "0.5000, 0.5000, 0.5000")
        assert actual.reason.startswith(reason)


def test_ties_promote_the_earlier_configuration_and_at_least_two():
    configurations = tuple(Configuration(Network((units,), "relu")) for units in (8, 16, 32, 64, 128))
    sweep = Sweep("x", "data", configurations, (0, 1, 2), FinalistRule((0, 1, 2, 3), at_least=2, at_most=3))
    same = {spec.run_id: 0.5 for spec in asked(sweep, {})}
    assert finalists(sweep, same) == (0, 1, 2)
    apart = {spec.run_id: 0.1 * (index // 3) + spec.seed / 1e6 for index, spec in enumerate(asked(sweep, {}))}
    assert finalists(sweep, apart) == (4, 3)
    assert finalists(sweep, dict(list(same.items())[:-1])) == ()


def test_runs_with_other_settings_answer_until_there_are_runs_as_asked():
    short = runs("Q2", Overrides(epochs=5))[0]
    actual = answer("Q3", state_of(finished(short, 0.2)))
    assert (actual.text, actual.state) == ("30730, 0.2000", "not-as-asked")
    assert "epochs 5 instead of 100" in actual.reason
    as_asked = answer("Q3", state_of(finished(short, 0.2), finished(runs("Q2")[0], 0.3)))
    assert (as_asked.text, as_asked.state) == ("30730, 0.3000", "ready")


def test_a_file_is_trusted_no_more_than_the_answer_about_it():
    def state_of_file(state: State) -> str:
        return handed_in(BOOK.question("Q2"), BOOK, state).state

    short, whole = finished(runs("Q2", Overrides(epochs=5))[0], 0.2), finished(runs("Q2")[0], 0.3)
    assert state_of_file(state_of(short)) == "not-as-asked"
    assert state_of_file(state_of(short, whole)) == "ready"
    assert state_of_file(state_of(whole, files={whole.run_id: "bb"})) == "stale"


def test_among_other_settings_the_set_that_covers_the_question_wins():
    many = [finished(spec, 0.5) for spec in runs("Q9", Overrides(epochs=5, seeds=5))[:5]]
    full = [finished(spec, 0.4) for spec in runs("Q9", Overrides(epochs=7, seeds=1))]
    assert answer("Q9", state_of(*many, *full)).text == "0.4000, 0.4000, 0.4000"


def test_another_seeds_run_answers_until_the_first_is_there():
    actual = answer("Q6", state_of(finished(runs("Q7")[3], 0.5)))
    assert (actual.text, actual.state) == ("789258, 0.5000", "not-as-asked")
    assert "seed 3 instead of the first one" in actual.reason


def test_one_more_run_of_the_runner_up_does_not_make_it_the_winner():
    specs = runs("Q10")
    first = [finished(spec, 0.6 if index < 6 else 0.3) for index, spec in enumerate(specs)]
    first[0:3] = [finished(spec, 0.604) for spec in specs[:3]]
    sweep = BOOK.sweep(BOOK.question("Q10"), "data")
    more = missing(sweep, {run.run_id: run.test_accuracy for run in first})
    runner_up = next(spec for spec in more if spec.configuration.network.hidden == (64, 256))
    assert answer("Q10", state_of(*first, finished(runner_up, 0.6))).text == "0, 0.6040, 201482"


def test_answers_from_demo_data_are_marked():
    actual = answer("Q3", state_of(finished(runs("Q2")[0], 0.3, demo_data=True)))
    assert (actual.state, actual.demo_data) == ("demo", True)


def test_progress_counts_shared_runs_once_they_are_done():
    state = state_of(*(finished(spec, 0.5) for spec in runs("Q7")[10:]))
    assert (
        progress_of(BOOK.question("Q9"), BOOK, state).done,
        len(progress_of(BOOK.question("Q9"), BOOK, state).missing),
    ) == (10, 20)
    assert progress_of(BOOK.question("Q7"), BOOK, state).status == "partial"


@pytest.mark.parametrize(
    ("value", "text"), [(0.23454999, "0.2345"), (1e-7, "0.0000"), (1.0, "1.0000"), (0.12345, "0.1235")]
)
def test_numbers_are_written_plainly(value: float, text: str):
    assert written(value, 4) == text


def test_welch_agrees_with_scipy_and_holm_with_its_definition():
    from scipy.stats import ttest_ind

    one, other = [0.55, 0.56, 0.54, 0.57], [0.50, 0.52, 0.49, 0.51, 0.505]
    expected, actual = ttest_ind(one, other, equal_var=False), statistics.compare(one, other)
    assert actual is not None
    assert actual.p == pytest.approx(expected.pvalue)
    assert actual.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert statistics.verdict(("relu", "tanh"), (one, other), actual).startswith("relu beats tanh by 0.050 ± 0.0")
    same = statistics.compare(one, one)
    assert statistics.verdict(("a", "b"), (one, one), same) == "4 runs cannot separate a from b."


def test_a_summary_has_students_interval():
    from scipy.stats import t

    values = [0.5, 0.52, 0.51, 0.55]
    summary = statistics.summary_of(values)
    assert summary.interval == pytest.approx(t.interval(0.95, 3, fmean(values), summary.error))
    assert statistics.summary_of([0.5]).interval is None


def test_the_filter_language():
    run = finished(runs("Q7")[10], 0.55)
    note = p.Note(run.run_id, "odd start", ("final",))
    for text in ("activation=relu hidden=256", "test_accuracy>0.5 seed<=0", "tag:final", "odd relu", "epochs!=5", ""):
        assert parse(text)(run, note), text
    for text in ("activation=tanh", "test_accuracy>=0.56", "tag:other", "nowhere", 'tag:"two words"'):
        assert not parse(text)(run, note), text
    with pytest.raises(FilterError, match="did you mean activation"):
        parse("activatoin=relu")
    with pytest.raises(FilterError, match="lacks a value"):
        parse("seed=")
    with pytest.raises(FilterError, match="test_accuracy is a number"):
        parse("test_accuracy>abc")
    with pytest.raises(FilterError, match="hidden is text"):
        parse("hidden>3")
    assert parse('tag:"two words"')(run, p.Note(run.run_id, "", ("two words",)))


def test_words_are_short_and_outside_text_is_harmless():
    assert [words.duration(seconds) for seconds in (0.42, 12, 112, 3_900, 187_200)] == [
        "0.4 s",
        "12 s",
        "1 m 52 s",
        "1 h 05 m",
        "2 d 4 h",
    ]
    assert [words.size(number) for number in (12, 371_000, 9_100_000, 11_200_000_000)] == [
        "12 B",
        "371 kB",
        "9.1 MB",
        "11.2 GB",
    ]
    assert words.clean("a\x1b]0;x\x07b\u202ec\x9bd [/x]") == "a�]0;x�b�c�d [/x]"
    assert words.accuracy(None) == words.accuracy(float("nan")) == "–"


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("45m", 2_700), ("1h30m", 5_400), ("2d", 172_800)])
def test_durations_are_read_as_people_write_them(text: str, seconds: int):
    assert words.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "h", "-3m", "8 hours", "0s"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(ValueError, match="write 90s"):
        words.seconds_of(text)


def test_the_cheapest_question_is_first_and_shared_runs_count_once():
    from svhn_tui.analysis.progress import cheapest_first, plan_text

    state = state_of(*(finished(spec, 0.5) for spec in runs("Q7")[:10]))
    sweeps = [BOOK.sweep(BOOK.question(name), "data") for name in ("Q9", "Q10", "Q7", "Q2")]
    assert [sweep.title for sweep in cheapest_first(sweeps, state)] == ["Q2", "Q7", "Q10", "Q9"]
    sentence = plan_text(sweeps, state)
    assert sentence.startswith("55 runs to train, 10 finished before, about ")
    assert sentence.endswith("then up to 28 more for the finalists")


def test_the_code_of_q4_compiles_the_network():
    code = code_for(BOOK.configurations(BOOK.question("Q4"))[0], ASSIGNMENT)
    compile(code, "Q4.py", "exec")
    assert 'activation="tanh"' in code
    assert code.count("RandomNormal()") == 4
    assert "learning_rate=1e-05" in code
