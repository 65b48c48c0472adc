"""The waiting runs as lines of the screen, and the commands that change their order. Pure."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec

from engine import protocol as p
from engine.core.forecast import Forecast
from engine.core.spec import Configuration, RunSpec
from svhn_tui import words
from svhn_tui.client.state import Live, State
from svhn_tui.presets import Presets, Question


class QueueEntry(msgspec.Struct, frozen=True):
    """Runs of one configuration that stand next to each other; `status` is `waiting`, `paused` or `failed`."""

    title: str
    configuration: Configuration
    status: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    seconds: float | None = None
    """Forecast for all of them, in seconds; None while nothing was measured."""
    reason: str = ""
    data: str = ""
    """Fingerprint of the data set of its runs."""

    @property
    def key(self) -> str:
        """The identity of the entry, by its first run."""
        return f"{self.status} {self.runs[0]}"


class Target(NamedTuple):
    """The subject under the cursor of the Live page: an entry of the queue, lanes of a group, or neither."""

    entry: QueueEntry | None
    lanes: Mapping[str, Live]

    @property
    def run(self) -> str:
        """The first run of the subject."""
        return self.entry.runs[0] if self.entry is not None else next(iter(self.lanes), "")

    def question(self, book: Presets, state: State) -> Question | None:
        """Return the question that it is trained for, if there is one."""
        if self.entry is not None:
            spec = RunSpec(self.entry.configuration, self.entry.seeds[0], self.entry.data)
            title = self.entry.title or title_of(spec, state)
        else:
            first = next(iter(self.lanes.values()), None)
            title = title_of(first.spec, state) if first else ""
        return next((question for question in book.questions if question.id == title), None)


def title_of(spec: RunSpec, state: State) -> str:
    """Return the sweep that a run is trained for, one that asks for its seed first: a question's name, or nothing."""
    sweeps = [some for some in state.sweeps.values()
              if some.data == spec.data and spec.configuration in some.configurations]  # fmt: skip
    seeded = (some for some in sweeps
              if spec.seed in some.seeds or (some.finalists and spec.seed in some.finalists.seeds))  # fmt: skip
    return next((some.title for some in (*seeded, *sweeps)), "")


def groups_of(state: State) -> dict[str, dict[str, Live]]:
    """Return the lanes of each group in training, by run_id."""
    groups: dict[str, dict[str, Live]] = {}
    for run_id, live in state.running.items():
        groups.setdefault(live.group, {})[run_id] = live
    return groups


def last_group_of(state: State) -> dict[str, Live]:
    """Return the lanes of the group that ended last, by run_id, each with its outcome as its status."""
    lanes = {}
    for run_id in state.last_group:
        if (result := state.results.get(run_id)) is not None:
            lanes[run_id] = Live(result.spec, "finished", device=result.device, history=state.history(run_id))
        elif (live := state.live.get(run_id)) is not None:
            lanes[run_id] = live
    return lanes


def entries_of(state: State) -> tuple[QueueEntry, ...]:
    """Return the queue, next one first, then the failed and interrupted runs, which wait for the user."""
    alike = groupby(state.queue, key=lambda run: (run.title, run.spec.configuration, run.spec.data, run.paused))
    forecasts = {data: state.about(data).forecast for data in {run.spec.data for run in state.queue}}
    entries = [_entry(tuple(runs), forecasts[key[2]]) for key, runs in alike]
    for run_id, live in state.live.items():
        if live.status in ("failed", "interrupted") and run_id not in state.waiting:
            spec, reason = live.spec, live.reason
            entries.append(
                QueueEntry(
                    "",
                    spec.configuration,
                    live.status,
                    (run_id,),
                    (spec.seed,),
                    reason=words.on_one_line(reason),
                    data=spec.data,
                )
            )
    return tuple(entries)


def idle_text(state: State) -> str:
    """Say which key starts a queue that is not being trained; empty if it is."""
    waiting = sum(not run.paused for run in state.waiting.values())
    if waiting and not state.has_begun:
        return f"{words.plural(waiting, 'run')} waiting: open the screen or `svhn-tui run all` to continue."
    paused = len(state.waiting) - waiting
    if paused and not waiting and not state.running and not state.assigned:
        return f"{words.plural(paused, 'run')} paused: `svhn-tui run all`, or enter on their question, resumes them."
    return ""


def moved(entries: Sequence[QueueEntry], index: int, step: int) -> p.Reprioritise | None:
    """Return the command that moves an entry of the queue past its neighbour, or None at the queue's ends."""
    queue = [entry for entry in entries if entry.status in ("waiting", "paused")]
    other = index + step
    if not (0 <= index < len(queue) and 0 <= other < len(queue)):
        return None
    ahead = [entry for at, entry in enumerate(queue) if at != index][:other]
    return p.Reprioritise(runs=queue[index].runs, index=sum(len(entry.runs) for entry in ahead))


def seeds_text(seeds: Sequence[int]) -> str:
    """Name seeds: `seed 3`, `seeds 3, 4`, `seeds 0 to 9`, `seeds 0, 2, 5`; `40 seeds` if they would fill the line."""
    ordered = sorted(seeds)
    if len(ordered) == 1:
        return f"seed {ordered[0]}"
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"seeds {ordered[0]} to {ordered[-1]}"
    if len(ordered) <= 4:
        return f"seeds {', '.join(map(str, ordered))}"
    return words.plural(len(ordered), "seed")


def _entry(waiting: Sequence[p.WaitingRun], forecast: Forecast | None) -> QueueEntry:
    first = waiting[0]
    return QueueEntry(
        title=first.title,
        configuration=first.spec.configuration,
        status="paused" if first.paused else "waiting",
        runs=tuple(run.run_id for run in waiting),
        seeds=tuple(run.spec.seed for run in waiting),
        seconds=forecast.total_seconds(run.spec.configuration for run in waiting) if forecast else None,
        data=first.spec.data,
    )
