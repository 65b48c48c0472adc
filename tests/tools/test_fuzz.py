"""The parsers of what comes from outside, fed with what no one would write: `make fuzz` tries each 50,000 times."""

import json
import math
import os
import random
import zipfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import protocol as p
from engine.core import limits
from engine.core.results import OPTIONAL
from engine.core.spec import RunSpec
from engine.storage import journal, zip_check
from engine.tools import keras_config, layer_shapes
from svhn_tui import preset_file, presets, words
from svhn_tui.analysis import run_filter
from svhn_tui.client.reducer import apply, fold
from svhn_tui.client.state import State
from tests.support import hostile_engine
from tests.support.scenes import relu, result, specs_of, tanh, training

EXAMPLES = int(os.environ.get("SVHN_TUI_FUZZ", "150"))
thoroughly = settings(
    max_examples=EXAMPLES, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

VALUES = [None, True, -1, 0, 1, 2**31, 2**63, 10**30, 1e308, -0.5, "", "x", "[/x]", "../..", "\x1b]52;c;x\x07",
          "\u202e", [], [[]], {}, {"": ""}, "Q2", ["a", "a"]]  # fmt: skip
RUNS = [result(spec, 0.5) for spec in (*specs_of(relu(256), 2), *specs_of(tanh(64, 32), 2))]
EVENTS = [json.loads(line) for line in hostile_engine.events(honest=True)]
BOOK = json.loads(preset_file.find(Path("no workspace")).read_text())
COMMANDS: list[dict[str, Any]] = [
    msgspec.to_builtins(command)
    for command in (
        p.OpenData(source=("a",)),
        p.Submit(sweep=hostile_engine.SWEEP),
        p.Watch(runs=("a",)),
        p.Annotate(run_id="a", text="b", tags=("c",)),
        p.Judge(question="Q8", statement=p.Statement("x", "true", ("y",))),
        p.Train(group="g", workspace="w", specs=specs_of(relu(8), 1), data=hostile_engine.DATA),
        p.StopRuns(runs=("a",), why="paused"),
    )
]


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a value."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list | tuple) else ()
    return [path, *(run for key, value in inner for run in places(value, (*path, key)))]


def changed(node: Any, seed: int) -> Any:
    """Return the value with one to three places replaced, removed or doubled."""
    chance, value = random.Random(seed), json.loads(json.dumps(node))
    for _ in range(chance.randint(1, 3)):
        *path, last = chance.choice(places(value)[1:] or [("x",)])
        parent = value
        for key in path:
            parent = parent[key]
        if chance.random() < 0.2 and last in (parent if isinstance(parent, dict) else range(len(parent))):
            del parent[last]
        elif chance.random() < 0.2 and isinstance(parent, list):
            parent.append(parent[last])
        elif chance.random() < 0.2 and isinstance(parent, dict):
            parent[chance.choice(["", "kind", "x", "\ud7ff", "epochs"])] = deepcopy(chance.choice(VALUES))
        else:
            parent[last] = deepcopy(chance.choice(VALUES))
    return value


def bent(text: bytes, seed: int) -> bytes:
    """Return the text cut, with bytes flipped, or with a piece of it elsewhere."""
    chance, content = random.Random(seed), bytearray(text)
    for _ in range(chance.randint(1, 4)):
        index = chance.randrange(len(content) or 1)
        kind = chance.randrange(4)
        if kind == 0:
            del content[index:]
        elif kind == 1 and content:
            content[index] ^= 1 << chance.randrange(8)
        elif kind == 2:
            content[index:index] = chance.choice([b"[" * 2_000, b"\n", b"\x00", b"\xff", b'"', b"{", b"1e999", b"-"])
        else:
            content[index:index] = content[: chance.randrange(200)]
    return bytes(content)


BIDI = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
seeds = st.integers(0, 2**63)
near = st.tuples(st.sampled_from(range(1_000)), seeds)
"""Which sample, and how it is spoilt."""


def sample_of(samples: list[Any], drawn: tuple[int, int]) -> Any:
    return changed(samples[drawn[0] % len(samples)], drawn[1])


@thoroughly
@given(
    st.binary(max_size=300) | near.map(lambda drawn: bent(json.dumps(sample_of(COMMANDS, drawn)).encode(), drawn[1]))
)
def test_commands_are_read_or_refused(line: bytes):
    for decode in (p.decode_command, p.decode_worker_command):
        try:
            command = decode(line)
        except p.UNREADABLE:
            continue
        assert decode(p.encode(command)) == command


@thoroughly
@given(near)
def test_commands_that_are_nearly_right_are_read_or_refused(drawn: tuple[int, int]):
    line = json.dumps(sample_of(COMMANDS, drawn)).encode()
    for decode in (p.decode_command, p.decode_worker_command):
        try:
            decode(line)
        except p.UNREADABLE as error:
            assert str(error)


STARTS = [State(), fold(tuple(p.decode_event(json.dumps(event).encode()) for event in EVENTS)), training()]


@thoroughly
@given(near)
def test_events_are_folded_into_a_state_or_refused(drawn: tuple[int, int]):
    try:
        event = p.decode_event(json.dumps(sample_of(EVENTS, drawn)).encode())
    except p.UNREADABLE:
        return
    state = apply(STARTS[drawn[1] % len(STARTS)], event)
    assert isinstance(state, State)
    assert state.accuracies is not None
    assert all(live.history.epochs >= 0 for live in state.running.values())


LINES = [journal._line(seq, p.decode_event(json.dumps(event).encode())) for seq, event in enumerate(EVENTS, 1)]


@thoroughly
@given(seeds)
def test_a_journal_gives_what_is_whole_in_it(tmp_path: Path, seed: int):
    chance, path = random.Random(seed), tmp_path / "journal.jsonl"
    lines = [chance.choice(LINES) for _ in range(chance.randint(0, 5))]
    at = chance.randint(0, len(lines))
    spoilt = bent(chance.choice(LINES), seed)
    path.write_bytes(b"".join([*lines[:at], spoilt, b"\n", *lines[at:]]))
    contents = journal.read(path)
    whole = [p.decode_event(bytes(msgspec.json.decode(line, type=journal.JournalLine).event)) for line in lines]
    kept = [event for event in contents.events if event in whole]
    assert len(kept) >= len(whole), "what was written whole is read, whatever stands beside it"
    history, damaged = journal.history(path)
    assert damaged == contents.damaged_lines
    columns = msgspec.structs.asdict(history).items()
    assert len({len(column) for name, column in columns if column or name not in OPTIONAL}) == 1


@thoroughly
@given(st.binary(max_size=300) | seeds.map(lambda seed: json.dumps(changed(BOOK, seed)).encode())
       | seeds.map(lambda seed: bent(json.dumps(changed(BOOK, seed)).encode(), seed)))  # fmt: skip
def test_presets_are_good_or_one_sentence_says_why_not(text: bytes):
    try:
        book = preset_file.parse(text, "experiments.json")
    except presets.PresetError as error:
        assert str(error).startswith("experiments.json")
        return
    for question in book.questions:
        sweep = book.sweep(question, "data")
        assert sweep is None or len(sweep.configurations) * len(sweep.seeds) <= limits.MAX_RUNS
        assert all(RunSpec(some, 0, "data").run_id for some in (sweep.configurations if sweep else ())[:3])


LAYER = {"module": "keras.layers", "registered_name": None}
KERAS = {
    "module": "keras", "class_name": "Sequential", "registered_name": None,
    "config": {"name": "x", "layers": [
        {**LAYER, "class_name": "InputLayer", "config": {"batch_shape": [None, 3, 32, 32], "dtype": "float32"}},
        {**LAYER, "class_name": "Permute", "config": {"dims": [2, 3, 1]}},
        {**LAYER, "class_name": "Conv2D", "config": {"filters": 4, "kernel_size": [3, 3], "strides": [1, 1],
                                                     "padding": "same", "data_format": "channels_last"}},
        {**LAYER, "class_name": "BatchNormalization", "config": {"axis": -1}},
        {**LAYER, "class_name": "MaxPooling2D", "config": {"pool_size": [2, 2], "strides": None}},
        {**LAYER, "class_name": "Reshape", "config": {"target_shape": [-1]}},
        {**LAYER, "class_name": "Dense", "config": {"units": 10, "activation": "softmax"},
         "build_config": {"input_shape": [None, 1024]}},
    ], "build_input_shape": [None, 3, 32, 32]},
}  # fmt: skip


@thoroughly
@given(seeds)
def test_a_keras_configuration_is_measured_or_one_sentence_says_why_not(seed: int):
    config = changed(KERAS, seed)
    try:
        keras_config.check_config(config, is_layer=True)
        size = layer_shapes.size_of(config)
    except keras_config.ConfigError as error:
        assert "\n" not in str(error)
        return
    assert size.weights >= 0
    assert all(side > 0 for side in size.input_shape)


@thoroughly
@given(seeds)
def test_a_zip_is_read_as_it_was_checked_or_refused(tmp_path: Path, seed: int):
    file = tmp_path / "x.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("config.json", "b"):
            archive.writestr(name, name * 9)
    file.write_bytes(bent(file.read_bytes(), seed))
    try:
        opened = zip_check.open_zip(file, "zip", most=2**14)
    except zip_check.ArchiveError as error:
        assert "\n" not in str(error)
        return
    with opened:
        assert len(opened.namelist()) <= 2
        assert all(member.header_offset < member.file_size + 2**14 for member in opened.infolist())


WORDS = st.sampled_from(
    [*run_filter.FIELDS, *run_filter.OPERATORS, "tag:", '"', "'", "\\", "nan", "1e999", "256", " ", "="]
)
filters = st.lists(WORDS | st.text(max_size=4), max_size=8).map("".join) | st.text(max_size=60)
NOTES: list[Callable[[str], p.Note | None]] = [lambda run: None, lambda run: p.Note(run, "a note", ("final", "[/x]"))]


@thoroughly
@given(filters)
def test_a_filter_says_yes_or_no_of_every_run_or_what_is_wrong(text: str):
    completions = run_filter.completions(text, RUNS, filter(None, (NOTES[1](run.run_id) for run in RUNS)))
    assert run_filter.completed(text, completions).startswith(text)
    try:
        test = run_filter.parse(text)
    except run_filter.FilterError as error:
        assert str(error)
        return
    for run in RUNS:
        for note in NOTES:
            assert test(run, note(run.run_id)) in (True, False)


@thoroughly
@given(st.text())
def test_clean_text_is_shown_and_never_obeyed(text: str):
    for shown in (words.clean(text), words.fitted(text), words.clean(text, newlines=True)):
        assert not any(ord(sign) < 32 and sign not in "\n\t" for sign in shown)
        assert not any(0x7F <= ord(sign) < 0xA0 or sign in BIDI for sign in shown)
    assert words.clean(words.clean(text)) == words.clean(text)


@thoroughly
@given(st.floats() | st.integers(-(10**30), 10**30), st.integers(0, 10**30))
def test_any_number_can_be_written(value: float, count: int):
    for text in (words.accuracy(value), words.number(value), words.duration(value), words.count(count)):
        assert text
        assert words.clean(text) == text
    assert words.size(count)
    assert words.rate(abs(value) if math.isfinite(value) else 0.0)
