"""The output of `svhn-tui run`: bars in a terminal, plain lines elsewhere, JSON for scripts."""

import sys
import time
from typing import Protocol

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from engine import protocol as p
from svhn_tui import words
from svhn_tui.analysis import worker_status
from svhn_tui.analysis.trial_text import trial_start_text
from svhn_tui.client.state import Live, State
from svhn_tui.terminal.printing import Plain, print_json, print_text

LINE_SECONDS = 10.0
"""Least time between two lines about a run in a plain log."""
LEFT_SECONDS = 0.5
"""Least time between two lines about the remaining runs."""


class Reporter(Protocol):
    """Receives events and sentences for output."""

    def receive(self, event: p.AnyEvent, state: State) -> None:
        """Receive one event and the state after it."""

    def add_sentence(self, sentence: str) -> None:
        """Receive a sentence for a person."""

    def close(self) -> None:
        """End the output."""


def reporter(*, as_json: bool) -> Reporter:
    """Return the reporter that suits stdout."""
    if as_json:
        return JsonLines()
    return Bars() if sys.stdout.isatty() else PlainLines()


class JsonLines:
    """Prints every event as JSON, except the long list of runs that were finished before."""

    def receive(self, event: p.AnyEvent, state: State) -> None:
        """Print it."""
        if not isinstance(event, p.RunsRead | p.DeviceSampled):
            print_json(event)

    def add_sentence(self, sentence: str) -> None:
        """Ignore it: scripts need no sentences."""

    def close(self) -> None:
        """Do nothing: no output is open."""


class PlainLines:
    """Prints a line for each run at intervals."""

    def __init__(self) -> None:
        self._printed_at: dict[str, float] = {}
        self._left_at = 0.0
        self._news = News()

    def receive(self, event: p.AnyEvent, state: State) -> None:
        """Print the lines that a log should contain."""
        match event:
            case p.EpochEnded():
                for run_id in event.runs:
                    self._epoch(run_id, state.live.get(run_id))
            case p.RunStarted():
                where = device_of(event, state)
                for spec in event.specs:
                    self.add_sentence(f"{spec.configuration.label}, seed {spec.seed}: training on {where}")
            case p.RunFinished():
                result = event.result
                name = f"{result.spec.configuration.label}, seed {result.spec.seed}"
                accuracy, duration = words.accuracy(result.test_accuracy), words.duration(result.seconds)
                diverged = ", diverged" if result.diverged else ""
                self.add_sentence(f"{name}: done in {duration}, test accuracy {accuracy}{diverged}{self._left(state)}")
            case _:
                if sentence := self._news.sentence_on(event, state):
                    self.add_sentence(sentence)

    def _left(self, state: State) -> str:
        """Return the text on remaining runs, not for every run of a fast sweep: it costs a pass through the queue."""
        if time.monotonic() - self._left_at < LEFT_SECONDS:
            return ""
        self._left_at = time.monotonic()
        return left_text(state)

    def _epoch(self, run_id: str, live: Live | None) -> None:
        if live is None or time.monotonic() - self._printed_at.get(run_id, 0) < LINE_SECONDS:
            return
        self._printed_at[run_id] = time.monotonic()
        self.add_sentence(f"{live.spec.configuration.label}, seed {live.spec.seed}: {epoch_text(live)}")

    def add_sentence(self, sentence: str) -> None:
        """Print it."""
        print_text(words.clean(sentence))

    def close(self) -> None:
        """Do nothing: no output is open."""


class Bars:
    """Draws a bar for each run in training."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[name]}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=Plain(),
        )
        self._tasks: dict[str, TaskID] = {}
        self._news = News()
        self._progress.start()

    def receive(self, event: p.AnyEvent, state: State) -> None:
        """Update the bars."""
        match event:
            case p.EpochEnded() | p.RunStarted():
                for run_id in event.runs:
                    if live := state.live.get(run_id):
                        self._show(run_id, live)
            case p.RunFinished():
                if (task := self._tasks.get(event.result.run_id)) is not None:
                    accuracy = words.accuracy(event.result.test_accuracy)
                    duration = words.duration(event.result.seconds)
                    self._progress.update(
                        task, completed=event.result.spec.configuration.training.epochs,
                        text=f"test {accuracy}, {duration}",
                    )  # fmt: skip
            case _:
                if sentence := self._news.sentence_on(event, state):
                    self.add_sentence(sentence)

    def _show(self, run_id: str, live: Live) -> None:
        epochs = live.spec.configuration.training.epochs
        if run_id not in self._tasks:
            name = f"{live.spec.configuration.label}, seed {live.spec.seed}"
            self._tasks[run_id] = self._progress.add_task("", total=epochs, name=name, text="")
        text = epoch_text(live)
        self._progress.update(self._tasks[run_id], completed=live.history.epochs, text=text)

    def add_sentence(self, sentence: str) -> None:
        """Print it above the bars."""
        self._progress.console.print(Text(words.clean(sentence)))

    def close(self) -> None:
        """Stop updating the bars."""
        self._progress.stop()


class News:
    """Chooses what is said of workers on other machines, failures and retries, each once."""

    def __init__(self) -> None:
        self._printed: dict[str, str] = {}
        self._interrupted = p.RunInterrupted(run_id="", reason="")
        """The last run without an epoch of which it was said why it was stopped."""

    def sentence_on(self, event: p.AnyEvent, state: State) -> str:
        """Return the sentence about an event if it is a new one."""
        if isinstance(event, p.RunInterrupted) and not event.epoch:
            last = self._interrupted
            if event.reason == last.reason and event.run_id != last.run_id:
                return ""  # another run of its group
            self._interrupted = event
        if not isinstance(event, p.WorkerChanged):
            return remark_on(event, state)
        if not event.where or not state.caught_up:
            return ""
        sentence = worker_status.member_of(event).sentence
        is_new = self._printed.get(event.worker) != sentence
        self._printed[event.worker] = sentence
        return sentence if is_new else ""


def device_of(event: p.RunStarted, state: State) -> str:
    """Return where a group trains: the device, or on another machine the node and its GPU."""
    worker = state.workers.get(event.worker)
    return event.device if worker is None or not worker.where else worker_status.location_of(worker) or event.device


def epoch_text(live: Live) -> str:
    """Describe an epoch: `epoch 71 of 100, loss 1.203, test 0.5531, 9 s left`."""
    history, epochs = live.history, live.spec.configuration.training.epochs
    if not history.epochs:
        return f"epoch 0 of {epochs}"
    last = history.rows[-1]
    loss, accuracy = words.number(last.loss), words.accuracy(last.test_accuracy)
    left = words.duration(live.seconds_left)
    if history.diverged_at:
        return f"epoch {history.epochs} of {epochs}, diverged at epoch {history.diverged_at}, {left} left"
    return f"epoch {history.epochs} of {epochs}, loss {loss}, test {accuracy}, {left} left"


def left_text(state: State) -> str:
    """Describe the remaining runs: `; 12 to go, about 5 m 10 s`; empty if there are none."""
    waiting = [run for run in state.queue if not run.paused]
    if not waiting and not state.running and not state.assigned:
        return ""
    seconds = state.seconds_waiting
    seconds += max((live.seconds_left or 0 for live in state.running.values()), default=0)
    return f"; {len(waiting) + len(state.assigned) + len(state.running)} to go, about {words.duration(seconds)}"


def remark_on(event: p.AnyEvent, state: State) -> str:
    """Return a sentence on a failure or retry, or on a trial that is waited for; empty for other events."""
    match event:
        case p.TrialStarted():
            return trial_start_text(event)
        case p.RunFailed() if state.caught_up:  # else it failed earlier
            return f"{event.run_id} failed: {words.on_one_line(event.reason)}"
        case p.RunInterrupted():
            return f"{event.run_id} stopped at epoch {event.epoch}: {event.reason}"
        case p.Noticed() if event.severity != "information":
            return event.text
        case _:
            return ""
