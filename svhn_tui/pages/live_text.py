"""The lines of the Live page: a group in training, an entry of the queue. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev

from rich.cells import cell_len
from rich.text import Text
from textual.theme import Theme

from engine.protocol import RunResult
from svhn_tui import words
from svhn_tui.analysis import worker_status
from svhn_tui.analysis.progress import progress_of
from svhn_tui.analysis.queue_entries import QueueEntry, Target, seeds_text, title_of
from svhn_tui.analysis.trial_text import trial_text
from svhn_tui.assignment.answers import answer_about, answer_of
from svhn_tui.client.state import Live, State
from svhn_tui.pages.question_text import answer_line
from svhn_tui.pages.run_text import interruption_of
from svhn_tui.presets import Presets, Question
from svhn_tui.themes import dim_of
from svhn_tui.widgets.bars import bar_of


def group_line(lanes: Mapping[str, Live], state: State, theme: Theme, width: int, *, is_short: bool) -> Text:
    """Return a group's name, seeds and progress, in two lines, or in one."""
    dim, first = dim_of(theme), next(iter(lanes.values()))
    done, epochs = first.history.epochs, first.spec.configuration.training.epochs
    name, seeds = _name_of(lanes, state)
    rate = words.rate(first.images_per_second) if first.images_per_second else ""
    left = f" · {words.duration(first.seconds_left)} left" if first.seconds_left is not None else ""
    diverged = diverged_text(lanes)
    text = f"epoch {done} of {epochs}{f' · {diverged}' if diverged else left}"
    color = str(theme.error if diverged else theme.primary)
    if is_short:
        bar = bar_of(done / epochs, max(4, min(30, width - cell_len(name) - len(seeds) - len(text) - 6)))
        line = Text.assemble((name, "bold"), (f"  {seeds}  ", dim), (bar, color), f"  {text}")
    else:
        head = _head_of(name, seeds, rate, dim, width)
        bar = bar_of(done / epochs, max(4, width - len(text) - 2))
        line = Text.assemble(head, "\n", (bar, color), f"  {text}")
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _head_of(name: str, seeds: str, right: str, dim: str, width: int) -> Text:
    gap = " " * max(2, width - cell_len(name) - len(seeds) - len(right) - 2)
    head = Text.assemble((name, "bold"), (f"  {seeds}", dim), gap, right)
    head.truncate(width)
    return head


def _name_of(lanes: Mapping[str, Live], state: State) -> tuple[str, str]:
    """Return a group's title and configuration, and its seeds with the GPU that trains them."""
    first = next(iter(lanes.values()))
    configuration = first.spec.configuration
    name = f"{words.clean(title_of(first.spec, state))} {configuration.label}".strip()
    seeds = seeds_text([live.spec.seed for live in lanes.values()]) + (" together" if len(lanes) > 1 else "")
    on_card = f" on {words.clean(first.worker)}" if first.worker.startswith("gpu") else ""
    return name, seeds + on_card


def ended_line(lanes: Mapping[str, Live], state: State, theme: Theme, width: int) -> Text:
    """Return the name of a group that ended, and a line for each of its outcomes."""
    name, seeds = _name_of(lanes, state)
    lines = [_head_of(name, seeds, "", dim_of(theme), width)]
    lines += [Text(sentence, str(color)) for sentence, color in _endings(lanes, state, theme)]
    text = Text("\n").join(lines)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _endings(lanes: Mapping[str, Live], state: State, theme: Theme) -> Iterator[tuple[str, str | None]]:
    results = [state.results[run_id] for run_id, live in lanes.items() if live.status == "finished"]
    good = [run for run in results if not run.diverged and not run.interrupted]
    if good:
        accuracies = [run.test_accuracy for run in good if run.test_accuracy is not None]
        mean, deviation = fmean(accuracies) if accuracies else None, stdev(accuracies) if len(accuracies) > 1 else None
        seconds = max(run.finished_at for run in good) - min(run.started_at for run in good)
        what = f"finished in {words.duration(seconds)}, test accuracy {words.spread(mean, deviation)}"
        yield f"✓ {_which(good, lanes)}{what}", theme.success
    if bad := [run for run in results if run.diverged]:
        since = min(epoch for run in bad if (epoch := lanes[run.run_id].history.diverged_at or 1))
        yield f"✗ {_which(bad, lanes)}diverged at epoch {since}: the weights are not numbers", theme.error
    for run in results:
        if run.interrupted and not run.diverged:
            yield f"· {interruption_of(run)}, test accuracy {words.accuracy(run.test_accuracy)}", theme.warning
    others: dict[tuple[str, str], list[Live]] = {}
    for live in lanes.values():
        if live.status != "finished":
            others.setdefault((live.status, words.on_one_line(live.reason)), []).append(live)
    for (status, reason), some in others.items():
        text = f": {words.clean(reason)}" if reason else f" after {words.plural(some[0].history.epochs, 'epoch')}"
        yield (
            f"{'✗' if status == 'failed' else '·'} {_which(some, lanes)}{status}{text}",
            (theme.error if status == "failed" else theme.warning),
        )


def _which(some: Sequence[Live] | Sequence[RunResult], lanes: Mapping[str, Live]) -> str:
    """Return the seeds of some lanes, or nothing if the whole group ended in the same way."""
    return f"{seeds_text([one.spec.seed for one in some])} " if len(some) < len(lanes) else ""


def outcome_page(
    lanes: Mapping[str, Live], question: Question | None, book: Presets, state: State, theme: Theme, *, is_chosen: bool
) -> Text:
    """Return the outcome of a group that ended: its question's answer and the answer's state, and its files."""
    dim, lines = dim_of(theme), []
    if question is not None:
        answer = answer_of(question, book, state) if question.answer else answer_about(question, book, state)
        if answer is not None:
            lines.append(Text.assemble((f"{answer.question}  ", dim), answer_line(answer, theme)))
    for run in [state.results[run_id] for run_id in lanes if run_id in state.results][:1]:
        more = f"   and {len(lanes) - 1} more" if len(lanes) > 1 else ""
        if run.is_recorded:
            continue  # it has no file
        file = words.clean(f"{state.workspace}/runs/{run.run_id}/model.keras")
        lines.append(Text.assemble(("file  ", dim), f"{file}  {words.size(run.model_bytes)}", (more, dim)))
    leads = f" enter leads on to {question.id if question is not None else 'the run'}." if is_chosen else ""
    waiting = state.waiting.values()
    if state.assigned:
        now = f"{words.plural(len(state.assigned), 'run')} to begin."
    elif waiting and all(run.paused for run in waiting):
        now = "All waiting runs are paused; P resumes them."
    else:
        now = "No run is training."
    lines.append(Text(f"{now} This one trained last.{leads}", dim))
    return Text("\n").join(lines)


def diverged_text(lanes: Mapping[str, Live]) -> str:
    """Say since which epoch lanes diverged, and what to do: `diverged at epoch 3, S stops it`; empty if none did."""
    bad = {live.spec.seed: epoch for live in lanes.values() if (epoch := live.history.diverged_at)}
    if not bad:
        return ""
    which = f"{seeds_text(list(bad))} " if len(lanes) > 1 else ""
    return f"{which}diverged at epoch {min(bad.values())}, S stops {'it' if len(lanes) == 1 else 'them'}"


def way_back(target: Target, book: Presets, state: State) -> str:
    """Name the key that trains stopped runs again: `enter on Q7`, or `R` if the question has other settings."""
    if (question := target.question(book, state)) is None:
        return "asking for it again"
    asked = {run_id for row in progress_of(question, book, state).rows for run_id in row.runs}
    if target.run in asked:
        return f"enter on {words.clean(question.id)}"
    some = target.entry or next(iter(target.lanes.values())).spec
    return f"R on {words.clean(question.id)} with {words.plural(some.configuration.training.epochs, 'epoch')}"


def entry_lines(entries: Sequence[QueueEntry], theme: Theme, width: int) -> list[tuple[str, Text]]:
    """Return key and line of each entry of the queue: its status and its forecast duration."""
    dim = dim_of(theme)
    titles = max((cell_len(words.clean(entry.title)) for entry in entries), default=0)
    names = max((cell_len(entry.configuration.label) for entry in entries), default=0)
    heads = _heads(entries)
    lines = []
    for entry, head in zip(entries, heads, strict=True):
        style = {"paused": theme.warning, "failed": theme.error, "interrupted": theme.warning}.get(entry.status)
        time = words.duration(entry.seconds) if entry.seconds is not None else ""
        what = words.clean(entry.reason) if entry.reason else seeds_text(entry.seeds)
        left = Text.assemble(
            (f"{head:<12}" if any(len(some) > 6 for some in heads) else f"{head:<7}", style or dim),
            f"{words.in_cells(words.clean(entry.title), titles)}  {words.in_cells(entry.configuration.label, names)}  ",
            (what, dim),
        )
        left.truncate(max(0, width - len(time) - 2), overflow="ellipsis")
        gap = " " * max(1, width - left.cell_len - len(time))
        lines.append((entry.key, Text.assemble(left, gap, (time, dim), no_wrap=True)))
    return lines


def _heads(entries: Sequence[QueueEntry]) -> list[str]:
    """Return the status words of entries: `next` for the first that waits, empty for others that wait."""
    first = next((index for index, entry in enumerate(entries) if entry.status == "waiting"), None)
    return [
        "next" if index == first else "" if entry.status == "waiting" else entry.status
        for index, entry in enumerate(entries)
    ]


def worker_lines(state: State, theme: Theme, most: int) -> Text:
    """Return where training takes place and what the workers do: a line for all, and one for each of `most` workers."""
    dim = dim_of(theme)
    styles = {"waits": str(theme.warning), "trains": str(theme.success)}
    members = worker_status.members_of(state)
    width = max((len(member.name) for member in members), default=0)
    state_width = max((len(member.state) for member in members[:most]), default=0)
    head = worker_status.summary_of(state) or ("no worker is needed now" if not state.queue else "no worker yet")
    where = f"trains {worker_status.fleet_text(state.fleet)}" if most else ""
    lines = [Text.assemble(head, (f"   {where}" if where else "", dim))]
    for member in members[:most]:
        style = next((style for word, style in styles.items() if member.state.startswith(word)), dim)
        lines.append(
            Text.assemble((f"{member.name:<{width}}  ", dim), (f"{member.state:<{state_width}}  ", style),
                          (member.text, dim))
        )  # fmt: skip
    if most and len(members) > most:
        lines.append(Text(f"and {len(members) - most} more", dim))
    text = Text("\n").join(lines)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def trial_lines(state: State, theme: Theme) -> Text:
    """Say which own models are being tried, a line each, and how that is stopped."""
    lines = [Text(trial_text(trial)) for trial in state.trying]
    return Text("\n").join(
        [*lines, Text("S on its line below stops it; no run of it is trained before.", dim_of(theme))]
    )


def nothing_text(state: State, theme: Theme) -> Text:
    """Say that no run is training, and which key starts training."""
    dim = dim_of(theme)
    if not state.caught_up:
        return Text(words.clean(state.lacking), dim)
    if state.assigned:
        return Text(
            f"{words.plural(len(state.assigned), 'run')}: a worker starts, reads the data and builds them.", dim
        )
    return Text.assemble(
        ("No run is training.\n", "bold"),
        ("1 opens the questions; enter there trains the missing runs.\n", dim),
        (f"{words.plural(len(state.results), 'run')} finished so far: 3 lists them.", dim),
    )
