"""Texts about a single run: its outcome, its settings, its file, the questions about it, its log. Pure."""

from collections.abc import Iterator
from operator import itemgetter

from rich.table import Table
from rich.text import Text
from textual.theme import Theme

from engine.core.options import OPTIONS, has_meaning
from engine.core.spec import Network, RunSpec, Training
from engine.protocol import LogRead, RunResult
from svhn_tui import words
from svhn_tui.analysis.metrics import known_in
from svhn_tui.analysis.run_row import settings_of
from svhn_tui.analysis.usage import uses_of
from svhn_tui.client.state import State
from svhn_tui.presets import Presets
from svhn_tui.themes import dim_of

LABEL = 14
"""Width of the labels before the lines, in cells."""
HOST_LOG = "host.log"
CLASSES = 26
"""Most classes whose recall is listed; of more, the lowest ones are."""


def spec_of(run_id: str, state: State) -> RunSpec | None:
    """Return the spec of a run in any status; None if nothing is known of it any more."""
    known = state.results.get(run_id) or state.live.get(run_id) or state.waiting.get(run_id)
    return known.spec if known is not None else None


def head_of(run_id: str, state: State, theme: Theme) -> Text:
    """Return a run's name and outcome."""
    dim, spec = dim_of(theme), spec_of(run_id, state)
    if spec is None:
        return Text.assemble((run_id, "bold"), ("   This run is not here any more; t on Runs shows the trash.", dim))
    text, style = _became(run_id, state, theme)
    name = f"{spec.configuration.label}, seed {spec.seed}"
    return Text.assemble((name, "bold"), (f"   {run_id}   ", dim), (text, style))


def _became(run_id: str, state: State, theme: Theme) -> tuple[str, str]:
    result, live = state.results.get(run_id), state.live.get(run_id)
    if result is not None and result.diverged:
        since = state.history(run_id).diverged_at
        return f"✗ diverged{f' at epoch {since}' if since else ''}: its weights are not numbers", str(theme.error)
    if result is not None and result.interrupted:
        return interruption_of(result), str(theme.warning)
    if result is not None:
        return "✓ finished", str(theme.success)
    if live is None:
        return "waits to be trained", dim_of(theme)
    if live.status == "running":
        epochs = live.spec.configuration.training.epochs
        if since := live.history.diverged_at:
            return f"✗ diverged at epoch {since}: S on Live stops it", str(theme.error)
        return f"◐ epoch {live.history.epochs} of {epochs}", str(theme.primary)
    return f"{'✗ ' if live.status == 'failed' else ''}{live.status}", str(
        theme.error if live.status == "failed" else theme.warning
    )


def interruption_of(run: RunResult) -> str:
    """Say at which epoch the program of a recorded run left it."""
    return f"interrupted after epoch {run.epochs_trained} of {run.spec.configuration.training.epochs}"


def remedy_of(run_id: str, state: State, theme: Theme) -> Text | None:
    """Say why a run failed or was stopped, and what to do; None if nothing is to be done."""
    live = state.live.get(run_id)
    if live is None or live.status not in ("failed", "interrupted"):
        return None
    if live.spec.recording is not None:
        return Text(words.clean(live.reason or "No reason is known."), str(theme.error))
    todo = "What it printed last stands below. R trains it again, from its newest checkpoint if it has one."
    return Text.assemble(
        (words.clean(live.reason or "No reason is known.", newlines=True), str(theme.error)), "\n", (todo, "")
    )


def facts_of(run_id: str, book: Presets, state: State, theme: Theme) -> Table:
    """Return the facts of a run, a line each: its accuracy, its settings, where it trained, its file."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=LABEL, style=dim_of(theme), no_wrap=True)
    table.add_column(overflow="fold")
    spec, result = spec_of(run_id, state), state.results.get(run_id)
    if spec is None:
        return table
    rows = [*(_reached(result, state) if result is not None else ()), *_settings(spec, state), *_own_model(spec, state)]
    if result is not None:
        rows += [*_made(result), *_file(result, state)]
    rows += [*_questions(spec, book, state), *_remarks(run_id, state)]
    for name, text in rows:
        table.add_row(Text(words.clean(name)), Text(text, overflow="fold"))
    return table


def _reached(run: RunResult, state: State) -> Iterator[tuple[str, str]]:
    counted = f"{words.count(run.test_correct)} of {words.count(run.test_images)} right"
    if run.is_recorded:
        counted = "as its program measured it on its validation data"
    best = f"best {words.accuracy(run.best_test_accuracy)} at epoch {run.best_epoch}"
    yield "test", f"{words.accuracy(run.test_accuracy)}, {counted}, loss {words.number(run.test_loss)}; {best}"
    yield "train", f"{words.accuracy(run.accuracy)}, loss {words.number(run.loss)}"
    for metric in known_in([run]):
        yield metric.head, metric.text(metric.read(run))
    if run.test_recall:
        yield "recall", _recall(run, state)
    if run.epochs_trained is not None or run.restored_epoch is not None:
        epochs = run.epochs_trained or run.spec.configuration.training.epochs
        yield (
            "stopped",
            f"after epoch {epochs}"
            + (f"; the weights of epoch {run.restored_epoch} were restored" if run.restored_epoch else ""),
        )
    if run.dead_units is not None:
        yield "dead units", f"{100 * run.dead_units:.1f} % of the ReLU units"
    if run.saturated_units is not None:
        yield "saturated", f"{100 * run.saturated_units:.1f} % of the tanh activations"


def _recall(run: RunResult, state: State) -> str:
    """List the classes with their recall, of many classes the lowest."""
    data, count = state.known.get(run.spec.data), len(run.test_recall)
    names = data.labels if data is not None and len(data.labels) == count else tuple(map(str, range(count)))
    known = [(name, recall) for name, recall in zip(names, run.test_recall, strict=True) if recall is not None]
    shown = known if len(known) <= CLASSES else sorted(known, key=itemgetter(1))[:CLASSES]
    listed = ", ".join(f"{words.clean(name)} {words.accuracy(recall, 3)}" for name, recall in shown)
    return listed if len(shown) == len(known) else f"the lowest of {len(known)} classes: {listed}"


def _settings(spec: RunSpec, state: State) -> Iterator[tuple[str, str]]:
    if (recorded := spec.configuration.recorded) is not None and spec.recording is not None:
        yield "recorded", words.clean(spec.recording.name or recorded.name)
        yield from ((name.replace("_", " "), words.clean(value)) for name, value in recorded.settings)
        yield "epochs", words.count(spec.configuration.training.epochs)
        yield "seed", str(spec.seed)
        return
    own = spec.configuration.network.model
    if own is not None:
        yield "network", words.clean(", ".join([own.build, *(f"{name} {_value(value)}" for name, value in own.params)]))
    settings, configuration = settings_of(spec), spec.configuration
    parts: dict[str, Network | Training] = {"network": configuration.network, "training": configuration.training}
    for name in ("training",) if own is not None else parts:
        options = [option for option in OPTIONS.values() if option.part == name and has_meaning(option, parts[name])]
        texts = (f"{option.title} {_value(settings[option.name])}" for option in options if option.name != "model")
        yield name, words.clean(", ".join(texts))
    yield "seed", str(spec.seed)
    data = state.known.get(spec.data)
    yield "data", words.clean(f"{data.name}, fingerprint {spec.data}" if data else spec.data)


def _own_model(spec: RunSpec, state: State) -> Iterator[tuple[str, str]]:
    """Name the model file that builds its model, and say how that trains."""
    model = spec.configuration.network.model
    if model is None:
        return
    yield "model file", f"sha256 {model.sha256}, a copy in the run's folder"
    known = state.models.get((model, spec.data))
    if known is not None and not known.problem:
        yield "", words.clean(known.remark)


def _value(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return " ".join(map(_value, value)) or "none"
        case dict():
            return "(" + ", ".join(f"{name.replace('_', ' ')} {_value(some)}" for name, some in value.items()) + ")"
        case _:
            return str(value)


def _made(run: RunResult) -> Iterator[tuple[str, str]]:
    when = f"{words.moment(run.started_at)} to {words.moment(run.finished_at)}"
    where = f"on {words.clean(run.device)} ({words.clean(run.trained_by)})"
    yield "trained", f"{when}, {words.duration(run.seconds)} of training {where}"
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    if versions:
        yield "versions", words.clean(versions)
    yield "parameters", words.count(run.trainable_parameters)


def _file(run: RunResult, state: State) -> Iterator[tuple[str, str]]:
    if run.is_recorded:
        return
    yield "file", words.clean(f"{state.workspace}/runs/{run.run_id}/model.keras")
    yield "", f"{words.count(run.model_bytes)} bytes, sha256 {words.clean(run.model_sha256)}"
    if run.run_id in state.unreadable:
        yield "", f"✗ it cannot be read: {words.clean(state.unreadable[run.run_id])}"
    elif run.run_id in state.files:
        sha256 = state.files[run.run_id]
        is_same = sha256 == run.model_sha256
        yield "", "✓ as it was trained" if is_same else "✗ it is gone" if sha256 is None else "✗ it changed since"


def _questions(spec: RunSpec, book: Presets, state: State) -> Iterator[tuple[str, str]]:
    uses = uses_of(spec, book, state)
    for index, use in enumerate(uses):
        text = f"does not count, since it has {use.other}" if use.other else "counts as asked"
        handed = "; its file was chosen" if state.choices.get(use.question.id) == spec.run_id else ""
        yield "" if index else "questions", words.clean(f"{use.question.id} {use.question.title}: {text}{handed}")
    if spec.recording is not None:
        yield "questions", "none: what another program trained is not an answer"
    elif not uses:
        yield "questions", "none is about this network"


def _remarks(run_id: str, state: State) -> Iterator[tuple[str, str]]:
    note = state.notes.get(run_id)
    if note is not None and note.tags:
        yield "tags", words.clean(" ".join(note.tags))
    yield "note", words.clean(note.text, newlines=True) if note is not None and note.text else "none; n writes one"
    if damage := journal_damage(run_id, state):
        yield "journal", damage


def journal_damage(run_id: str, state: State) -> str:
    """Say which part of a run's journal, which holds its curves, could not be read; empty if all was."""
    if problem := state.unread.get(run_id):
        return f"cannot be read: {words.clean(problem)}"
    damaged = state.damaged_lines.get(run_id, 0)
    return f"{words.plural(damaged, 'line')} cannot be read" if damaged else ""


def log_note(log: LogRead | None, state: State) -> str:
    """Return the path of a log, and which part of it is shown."""
    if log is None:
        return "Reading the log…"
    if log.problem:
        return words.clean(f"The log cannot be read: {log.problem}.")
    if not log.file:
        return "Nothing was printed." if log.run_id in state.results else "Nothing was printed so far."
    path = words.clean(f"{state.workspace}/{log.file}")
    cut = f", its first {words.size(log.begins)} left out" if log.begins else ""
    if log.file == HOST_LOG:
        return f"It printed nothing itself; what its worker printed before is in {path}{cut}"
    beside = " (of the group that it trained in)" if log.run_id not in log.file else ""
    return f"{path}{beside}{cut}"


def log_end(log: LogRead | None, state: State, theme: Theme, lines: int) -> Text:
    """Return the last lines of a log, and its path."""
    dim = dim_of(theme)
    text = Text.assemble(("log  ", "bold"), (log_note(log, state), dim))
    for line in log.text.splitlines()[-lines:] if log is not None else []:
        text.append(f"\n{words.clean(line.expandtabs(8))}")
    return text
