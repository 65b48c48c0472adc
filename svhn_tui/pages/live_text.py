"""The lines of the Live page: a group in training, an entry of the queue. Pure."""

from collections.abc import Mapping, Sequence

from rich.text import Text
from textual.theme import Theme

from svhn_tui import words
from svhn_tui.analysis import worker_status
from svhn_tui.analysis.queue_entries import Entry, seeds_text
from svhn_tui.client.state import Live, State
from svhn_tui.themes import dim_of
from svhn_tui.widgets.bars import bar_of


def group_line(lanes: Mapping[str, Live], state: State, theme: Theme, width: int, *, is_short: bool) -> Text:
    """Say what a group is and how far it is, in two lines, or in one."""
    dim, first = dim_of(theme), next(iter(lanes.values()))
    configuration, done = first.spec.configuration, first.history.epochs
    epochs = configuration.training.epochs
    title = next((sweep.title for sweep in state.sweeps.values() if configuration in sweep.configurations), "")
    name = f"{words.clean(title)} {configuration.label}".strip()
    seeds = seeds_text([live.spec.seed for live in lanes.values()]) + (" together" if len(lanes) > 1 else "")
    rate = words.rate(first.images_per_second) if first.images_per_second else ""
    left = f" · {words.duration(first.seconds_left)} left" if first.seconds_left is not None else ""
    diverged = diverged_text(lanes)
    said = f"epoch {done} of {epochs}{f' · {diverged}' if diverged else left}"
    color = str(theme.error if diverged else theme.primary)
    if is_short:
        bar = bar_of(done / epochs, max(4, min(30, width - len(name) - len(seeds) - len(said) - 6)))
        line = Text.assemble((name, "bold"), (f"  {seeds}  ", dim), (bar, color), f"  {said}")
    else:
        gap = " " * max(2, width - len(name) - len(seeds) - len(rate) - 2)
        head = Text.assemble((name, "bold"), (f"  {seeds}", dim), gap, rate)
        head.truncate(width)
        bar = bar_of(done / epochs, max(4, width - len(said) - 2))
        line = Text.assemble(head, "\n", (bar, color), f"  {said}")
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def diverged_text(lanes: Mapping[str, Live]) -> str:
    """Say that lanes diverged, since when, and what to do: `diverged at epoch 3, S stops it`; or nothing."""
    bad = {live.spec.seed: epoch for live in lanes.values() if (epoch := live.history.diverged_at)}
    if not bad:
        return ""
    which = f"{seeds_text(list(bad))} " if len(lanes) > 1 else ""
    return f"{which}diverged at epoch {min(bad.values())}, S stops {'it' if len(lanes) == 1 else 'them'}"


def entry_lines(entries: Sequence[Entry], theme: Theme, width: int) -> list[tuple[str, Text]]:
    """Return key and line of each entry of the queue: what is next, paused or failed, and how long it takes."""
    dim = dim_of(theme)
    titles = max((len(words.clean(entry.title)) for entry in entries), default=0)
    names = max((len(entry.configuration.label) for entry in entries), default=0)
    heads = _heads(entries)
    lines = []
    for entry, head in zip(entries, heads, strict=True):
        style = {"paused": theme.warning, "failed": theme.error, "interrupted": theme.warning}.get(entry.status)
        time = words.duration(entry.seconds) if entry.seconds is not None else ""
        what = words.clean(entry.reason) if entry.reason else seeds_text(entry.seeds)
        left = Text.assemble(
            (f"{head:<12}" if any(len(some) > 6 for some in heads) else f"{head:<7}", style or dim),
            f"{words.clean(entry.title):<{titles}}  {entry.configuration.label:<{names}}  ",
            (what, dim),
        )
        left.truncate(max(0, width - len(time) - 2), overflow="ellipsis")
        gap = " " * max(1, width - left.cell_len - len(time))
        lines.append((entry.key, Text.assemble(left, gap, (time, dim), no_wrap=True)))
    return lines


def _heads(entries: Sequence[Entry]) -> list[str]:
    """`next` before the first that waits; what holds the others."""
    first = next((index for index, entry in enumerate(entries) if entry.status == "waiting"), None)
    return [
        "next" if index == first else "" if entry.status == "waiting" else entry.status
        for index, entry in enumerate(entries)
    ]


def crew_lines(state: State, theme: Theme, most: int) -> Text:
    """Say where it trains and what the workers there do: a line for each of `most` workers, and one for all."""
    dim = dim_of(theme)
    styles = {"waits": str(theme.warning), "trains": str(theme.success)}
    members = worker_status.crew_of(state)
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
