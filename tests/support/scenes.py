"""States of the screen built by hand, and a stage that shows one page of it."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from textual.app import App
from textual.pilot import Pilot

from engine import protocol as p
from engine.core.spec import Configuration, Network, RunSpec
from svhn_tui import preset_file
from svhn_tui.app import SvhnApp
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import State
from svhn_tui.pages.page import Page
from svhn_tui.themes import DARK, THEMES
from tests.support.epochs import epoch_ended
from tests.support.patience import PATIENCE

BOOK = preset_file.load(preset_file.find(Path("no workspace")))
TRAINING = BOOK.training_of(BOOK.question("Q7"))
DATA = p.DataSet(
    fingerprint="f00d",
    name="p4_2026_svhn",
    train_path="train.npz",
    test_path="test.npz",
    train_images=50_000,
    test_images=10_000,
    input_shape=(3, 32, 32),
    train_counts=(3380, 9460, 7220, 5790, 5090, 4690, 3900, 3810, 3440, 3220),
    test_counts=(670, 1960, 1590, 1110, 970, 920, 760, 780, 640, 600),
    labels=tuple("0123456789"),
)


def relu(*hidden: int, epochs: int = 100) -> Configuration:
    return Configuration(Network(hidden, "relu"), msgspec.structs.replace(TRAINING, epochs=epochs))


def tanh(*hidden: int) -> Configuration:
    return Configuration(Network(hidden, "tanh"), TRAINING)


def asked_by(question: str) -> Configuration:
    """The first configuration that a question asks for."""
    return BOOK.configurations(BOOK.question(question))[0]


def specs_of(configuration: Configuration, seeds: int) -> tuple[RunSpec, ...]:
    return tuple(RunSpec(configuration, seed, DATA.fingerprint) for seed in range(seeds))


def curve(epochs: int, top: float, seed: int) -> tuple[float, ...]:
    """A rising curve; each seed wobbles in its own way."""
    return tuple(
        0.1 + (top - 0.1) * (1 - math.exp(-epoch / 30)) + 0.008 * math.sin(epoch * (seed + 2) / 3) + 0.002 * seed
        for epoch in range(1, epochs + 1)
    )


def history(epochs: int, top: float, seed: int, seconds: float = 0.31) -> p.History:
    test, train = curve(epochs, top, seed), curve(epochs, top + 0.08, seed + 1)
    return p.History(
        loss=tuple(30 * math.exp(-epoch / 12) + 1.2 for epoch in range(epochs)),
        accuracy=train,
        test_loss=tuple(30 * math.exp(-epoch / 14) + 1.5 for epoch in range(epochs)),
        test_accuracy=test,
        seconds=(seconds,) * epochs,
    )


def result(spec: RunSpec, accuracy: float, *, slope: float | None = 0.001) -> p.RunResult:
    return p.RunResult(
        run_id=spec.run_id,
        spec=spec,
        trainable_parameters=789_258,
        test_correct=round(accuracy * 10_000),
        test_images=10_000,
        test_accuracy=accuracy,
        test_loss=1.5,
        accuracy=accuracy + 0.05,
        loss=1.2,
        best_test_accuracy=accuracy + 0.002,
        best_epoch=96,
        slope=slope,
        slope_error=0.0001,
        seconds=41.0,
        started_at=1.0,
        finished_at=42.0,
        model_sha256="00",
        model_bytes=9_500_000,
        device="gpu0",
        versions={},
    )


def attached(data: p.DataSet | None = DATA) -> tuple[p.AnyEvent, ...]:
    opened = (p.DataOpened(data=data),) if data is not None else ()
    return (p.Attached(workspace="w", host_pid=1, versions={}, data=data), p.CaughtUp(), *opened)


def group_of(name: str, specs: tuple[RunSpec, ...], epochs: int, top: float) -> tuple[p.AnyEvent, ...]:
    """A group in training that has done some epochs."""
    runs = tuple(spec.run_id for spec in specs)
    began = p.RunStarted(group=name, runs=runs, specs=specs, worker=name, device="gpu0")
    read = tuple(p.HistoryRead(run_id=spec.run_id, history=history(epochs, top, spec.seed)) for spec in specs)
    last = [history(epochs + 1, top, spec.seed) for spec in specs]
    ended = epoch_ended(
        group=name,
        runs=runs,
        epoch=epochs + 1,
        loss=tuple(some.loss[-1] for some in last),
        accuracy=tuple(some.accuracy[-1] for some in last),
        test_loss=tuple(some.test_loss[-1] for some in last),
        test_accuracy=tuple(some.test_accuracy[-1] for some in last),
        seconds=0.31,
        images_per_second=1.42e6,
    )
    return (began, *read, ended)


def waiting(title: str, specs: tuple[RunSpec, ...], *, paused: bool = False) -> tuple[p.WaitingRun, ...]:
    return tuple(p.WaitingRun(spec.run_id, spec, f"sweep {title}", title, paused) for spec in specs)


GPU = p.DeviceSample("gpu0", 0.93, 11_200_000_000, 80_000_000_000, 64, 310)


def training() -> State:
    """Ten seeds of one configuration in training, two more configurations waiting."""
    places = waiting("Q9", specs_of(relu(64), 10)) + waiting("Q9", specs_of(relu(1024), 10))
    return fold(
        (
            *attached(),
            *group_of("g0", specs_of(relu(256), 10), 70, 0.57),
            p.RunsQueued(waiting=places),
            p.Timed(times=(p.EpochTime(relu(64), 50_000, 0.012), p.EpochTime(relu(1024), 50_000, 0.055))),
            p.DeviceSampled(samples=(GPU,), at=1.0),
        )
    )


def finished(*groups: tuple[Configuration, int, float]) -> State:
    """Finished runs with their histories: configuration, seeds and about what accuracy."""
    events: list[p.AnyEvent] = [*attached()]
    for configuration, seeds, top in groups:
        for spec in specs_of(configuration, seeds):
            known = history(100, top, spec.seed, seconds=0.1 + top)
            slope = 0.001 if top > 0.5 else 0.0
            events += [
                p.RunFinished(result=result(spec, known.test_accuracy[-1] or 0, slope=slope)),
                p.HistoryRead(run_id=spec.run_id, history=known),
            ]
    return fold(tuple(events))


class Stage(App[None]):
    """One page, as in the program, without an engine; `wanted` holds what it asked for."""

    BINDINGS = SvhnApp.BINDINGS
    CSS_PATH = "../../svhn_tui/app.tcss"

    def __init__(self, page: Page, state: State, theme: str = DARK.name) -> None:
        super().__init__()
        self._page, self._first, self._theme = page, state, theme
        self.wanted: list[p.AnyCommand] = []

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self._theme
        self._page.state = self._first
        self.push_screen(self._page)

    def on_page_command_requested(self, message: Page.CommandRequested) -> None:
        self.wanted.append(message.command)

    @property
    def text(self) -> str:
        """The cells of the screen as lines of text."""
        return screen_text(self)


def screen_text(app: App[None]) -> str:
    """The cells of a program's screen as lines of text."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


async def until(pilot: Pilot[None], met: Callable[[], bool]) -> None:
    """Let the program go on until the condition is met: a busy machine may take its time."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        await pilot.pause()
        if met():
            return
        await pilot.pause(0.05)
    raise AssertionError(f"It never came to be:\n{screen_text(pilot.app)}")
