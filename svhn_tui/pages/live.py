"""Page 2: the groups in training, their curves, and the queue."""

import math
import time
from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.theme import Theme
from textual.widgets import OptionList

from engine import protocol as p
from svhn_tui import words
from svhn_tui.analysis.queue_entries import QueueEntry, Target, entries_of, groups_of, last_group_of, moved
from svhn_tui.client.state import Live, State
from svhn_tui.dialogs.dialogs import Confirm
from svhn_tui.pages.live_text import (
    ended_line,
    entry_lines,
    group_line,
    nothing_text,
    outcome_page,
    trial_lines,
    way_back,
    worker_lines,
)
from svhn_tui.pages.page import Page
from svhn_tui.pages.run_charts import RunCharts
from svhn_tui.presets import Presets
from svhn_tui.themes import dim_of
from svhn_tui.widgets.chart_board import AXIS_KEY, CHART_KEYS, TRACES_KEY
from svhn_tui.widgets.devices import DeviceHistory
from svhn_tui.widgets.lines import Lines
from svhn_tui.widgets.sheet import Sheet

NARROW, WIDE = 100, 120
TALL = 30
"""Least height of the window for the devices; in lower ones only the top bar shows them."""
REORDER = Binding.Group("reorder")
WATCH_AGAIN_SECONDS = 20.0
"""Interval at which the engine is asked again to sample the GPUs: a request is valid for a minute."""
MEMBERS = 6
"""Most workers on other machines that have a line of their own."""


class LivePage(Page):
    """Shows groups above, curves in the middle, devices and the queue below."""

    TITLE_IN_BAR = "Live"
    CSS = """
    LivePage #devices { height: auto; max-height: 20%; padding: 1 0 0 0; }
    LivePage #workers { height: auto; padding: 1 0 0 0; text-wrap: nowrap; text-overflow: ellipsis; }
    LivePage.narrow #workers, LivePage.narrow #trials { padding: 0; }
    LivePage #trials { height: auto; padding: 1 0 0 0; }
    LivePage #outcome { height: auto; padding: 1 0 0 0; }
    LivePage.narrow #outcome { padding: 0; }
    LivePage #groups.single > .option-list--option-highlighted { background: $background; text-style: none; }
    LivePage #waiting:blur > .option-list--option-highlighted { background: $background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "follow", "its question", priority=True, tooltip="go to the question that it is trained for"),
        Binding("space", "pause", "pause, resume", tooltip="pause or resume what the cursor is on"),
        Binding("S", "stop", "stop", tooltip="stop what the cursor is on"),
        Binding("l", "log_page", "log", tooltip="the log of its training"),
        Binding("J", "move(1)", "later in the queue", group=REORDER),
        Binding("K", "move(-1)", "sooner in the queue", group=REORDER),
        TRACES_KEY,
        *CHART_KEYS,
        AXIS_KEY,
        Binding("P", "pause_all", "all", show=False, tooltip="pause or resume everything"),
    ]

    charts: RunCharts

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self.charts = RunCharts(charts=2, id="curves")
        self._devices = DeviceHistory()
        self._entries: tuple[QueueEntry, ...] = ()
        self._possible: tuple[bool, ...] = ()
        self._devices_wanted = -math.inf
        """Time of the latest request to sample the GPUs."""

    def body(self) -> ComposeResult:
        """Compose groups, curves, devices and queue."""
        with Vertical(id="live"):
            yield Lines(id="groups")
            yield self.charts
            yield Sheet(id="outcome")
            yield Sheet(id="devices")
            yield Sheet(id="workers")
            yield Sheet(id="trials")
            yield Lines(id="waiting")
            yield Sheet(id="empty")

    @on(OptionList.OptionHighlighted, "#groups")
    def show_group(self) -> None:
        """Show another group's curves."""
        self.redraw()

    @on(Lines.Left)
    def leave_list(self, message: Lines.Left) -> None:
        """Move the focus from the groups down to the queue, or back."""
        target = self.query_one("#waiting" if message.step > 0 else "#groups", Lines)
        if target.display and target is not message.lines:
            target.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the actions that apply to the groups and the queue as they are."""
        if not self.is_mounted:
            return True
        has_lanes, has_entries, can_move = self._what_is_possible()
        if action == "follow":
            return self._followed is not None
        if action == "log_page":
            return bool(self._latest.run)
        if action in ("pause", "pause_all", "stop"):
            return has_lanes or has_entries
        if action == "move":
            return can_move
        return super().check_action(action, parameters)

    def _what_is_possible(self) -> tuple[bool, bool, bool]:
        queued = sum(entry.status in ("waiting", "paused") for entry in self._entries)
        return bool(self.state.running), bool(self._entries), queued > 1

    def _target(self, lanes: Mapping[str, Live]) -> Target:
        """Return the target of keys: the entry of the queue under the cursor, or else these lanes."""
        waiting = self.query_one("#waiting", Lines)
        entry = next((entry for entry in self._entries if entry.key == waiting.chosen), None)
        return Target(entry if waiting.has_focus or not lanes else None, lanes)

    @property
    def _latest(self) -> Target:
        """The target of keys, or the group that trained last."""
        return self._target(self._lanes(self.state) or last_group_of(self.state))

    @property
    def _followed(self) -> tuple[str, str] | None:
        """The page to which `enter` leads, and the question or run there."""
        run, question = self._latest.run, self._latest.question(self.book, self.state)
        return ("Questions", question.id) if question is not None else ("Run", run) if run else None

    def action_log_page(self) -> None:
        """Show the log of the run under the cursor."""
        if run := self._latest.run:
            self.post_message(self.Visit("Log", run))

    def action_follow(self) -> None:
        """Go to the question of the group or entry under the cursor, or of the group that trained last."""
        if self._followed is not None:
            self.post_message(self.Visit(*self._followed))

    def action_pause(self) -> None:
        """Pause or resume the group or entry under the cursor."""
        entry, lanes = self._target(self._lanes(self.state))
        if entry is not None:
            waits = entry.status == "waiting"
            self.request(p.Pause(runs=entry.runs) if waits else p.Resume(runs=entry.runs))
        elif lanes:
            self.request(p.Pause(runs=tuple(lanes)))
            self.notify("It is checkpointed and paused; space on it in the queue resumes it.")

    def action_pause_all(self) -> None:
        """Pause everything, or resume everything that is paused."""
        holds = bool(self.state.running) or any(entry.status == "waiting" for entry in self._entries)
        self.request(p.Pause() if holds else p.Resume())

    def action_stop(self) -> None:
        """Remove the entry under the cursor, or stop the group after a confirmation."""
        entry, lanes = target = self._target(self._lanes(self.state))
        way = way_back(target, self.book, self.state)
        if entry is not None:
            self.request(p.Cancel(runs=entry.runs))
            text = f"{words.plural(len(entry.runs), 'run')} taken out; {way} brings them back."
            self.notify(text, markup=False)
        elif lanes:
            runs = tuple(lanes)
            sentence = f"Stop {words.plural(len(runs), 'run')}? The checkpoint stays: {way} resumes it."
            self.app.push_screen(Confirm(sentence), lambda yes: self.request(p.Cancel(runs=runs)) if yes else None)

    def action_move(self, step: int) -> None:
        """Move the chosen entry of the queue down or up."""
        waiting = self.query_one("#waiting", Lines)
        waiting.focus()  # so that the moved line is highlighted
        command = moved(self._entries, waiting.highlighted or 0, step)
        if command is not None:
            self.request(command)

    def show(self, state: State) -> None:
        """Draw groups, curves, devices and queue."""
        theme = self.app.current_theme
        self.set_class(self.size.width < NARROW, "narrow")
        self._devices.add(state.devices)
        self._entries = entries_of(state)
        groups, width = groups_of(state), self.query_one("#live").content_size.width
        is_short = len(groups) > 2 or self.size.height < 20
        lines = [(name, group_line(lanes, state, theme, width, is_short=is_short)) for name, lanes in groups.items()]
        ended = last_group_of(state) if not groups else {}
        if ended:
            lines = [("ended", ended_line(ended, state, theme, width))]
        listed = self.query_one("#groups", Lines)
        listed.show(lines)
        listed.set_class(len(lines) < 2, "single")
        self._show_charts(self._lanes(state) or ended, state)
        outcome = self.query_one("#outcome", Sheet)
        outcome.display = bool(ended)
        if ended:
            question = Target(None, ended).question(self.book, state)
            is_chosen = not self.query_one("#waiting", Lines).has_focus
            outcome.update(outcome_page(ended, question, self.book, state, theme, is_chosen=is_chosen))
        self._show_below(state, theme, width, has_group=bool(groups or ended))
        if (possible := self._what_is_possible()) != self._possible:
            self._possible = possible
            self.refresh_bindings()

    def _show_below(self, state: State, theme: Theme, width: int, *, has_group: bool) -> None:
        devices, members = self.query_one("#devices", Sheet), self.query_one("#workers", Sheet)
        members.display = any(worker.where for worker in state.workers.values()) or not state.fleet.is_local
        members.update(worker_lines(state, theme, most=MEMBERS if self.size.height >= TALL else 0))
        devices.display = self.size.height >= TALL and bool(state.devices) and not members.display
        devices.update(self._devices.lines(dim_of(theme), str(theme.primary)))
        if devices.display and time.monotonic() > self._devices_wanted + WATCH_AGAIN_SECONDS:
            self._devices_wanted = time.monotonic()
            self.request(p.WatchDevices())
        trials = self.query_one("#trials", Sheet)
        trials.display = bool(state.trying)
        trials.update(trial_lines(state, theme))
        waiting, empty = self.query_one("#waiting", Lines), self.query_one("#empty", Sheet)
        waiting.show(entry_lines(self._entries, theme, width))
        empty.display = not has_group and not self._entries
        if empty.display:
            empty.update(nothing_text(state, theme))
        elif not state.running and (state.queue or (self._entries and not has_group)) and self.focused is not waiting:
            waiting.focus()  # else the cursor stays on the group that trained last

    def _lanes(self, state: State) -> Mapping[str, Live]:
        groups = groups_of(state)
        chosen = self.query_one("#groups", Lines).chosen
        return groups.get(chosen or "") or next(iter(groups.values()), {})

    def _show_charts(self, lanes: Mapping[str, Live], state: State) -> None:
        self.charts.charts[1].display = self.size.width >= WIDE
        is_over = not any(run_id in state.running for run_id in lanes)  # then no more epochs come
        epochs = (live.history.epochs if is_over else live.spec.configuration.training.epochs
                  for live in lanes.values())  # fmt: skip
        self.charts.show(lanes, state, epochs=max(epochs, default=0))

    def on_screen_suspend(self) -> None:
        """Draw all charts when the page is seen again."""
        self.charts.forget()
