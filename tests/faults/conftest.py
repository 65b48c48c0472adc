"""Counts what the fault suite injects and what it finds broken, and prints the table at the end."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from engine import protocol as p
from engine.core.sweep import asked
from engine.training.native import build
from tests.faults.scene import sweep_on
from tests.host.test_stages import worker
from tests.support.bridge import Bridge
from tests.support.scenes import BOOK
from tests.support.shared import made_once


@dataclass
class Fault:
    """A row of the table: how often a fault was injected, and the runs or files that were not as they should be."""

    name: str
    injected: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0

    def expect_none(self, *, lost: int = 0, doubled: int = 0, wrong: int = 0) -> None:
        """Count what a look at the disk found, and fail the test when it is anything at all."""
        self.lost, self.doubled, self.wrong = self.lost + lost, self.doubled + doubled, self.wrong + wrong
        assert (lost, doubled, wrong) == (0, 0, 0), f"{self.name}: {lost} lost, {doubled} doubled, {wrong} wrong"


Tally = Callable[[str], Fault]
TABLE = pytest.StashKey[dict[str, Fault]]()
MEASURES = pytest.StashKey[list[str]]()
TOUCHED = pytest.StashKey[list[tuple[Fault, int]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE], config.stash[MEASURES] = {}, []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what was counted to the process that prints, where tests run in several (pytest-xdist)."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["faults"] = [asdict(fault) for fault in session.config.stash[TABLE].values()]
        output["measures"] = session.config.stash[MEASURES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take in what one of several processes counted."""
    output = getattr(node, "workeroutput", {})
    table = node.config.stash[TABLE]
    for counted in output.get("faults", []):
        row = table.setdefault(counted["name"], Fault(counted["name"]))
        for figure in ("injected", "lost", "doubled", "wrong"):
            setattr(row, figure, getattr(row, figure) + counted[figure])
    node.config.stash[MEASURES] += output.get("measures", [])


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Give the row of a fault; a test that fails without having counted what is wrong counts as one wrong."""
    table = request.config.stash[TABLE]
    touched = request.node.stash.setdefault(TOUCHED, [])

    def row(name: str) -> Fault:
        fault = table.setdefault(name, Fault(name))
        touched.append((fault, fault.lost + fault.doubled + fault.wrong))
        return fault

    yield row


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, demo_folder: Path) -> Path:
    """The workspace of the scene's sweep when nothing is done to it."""

    def train(root: Path) -> None:
        with Bridge(root) as bridge:
            sweep = sweep_on(bridge.open(demo_folder))
            bridge.send(p.Submit(sweep=sweep))
            bridge.until(lambda state, event: len(state.results) == len(asked(sweep, {})))
            trainers = {result.trained_by for result in bridge.state.results.values()}
            bridge.end()
        assert trainers == {"jax" if build.absence() else "native"}, "what is killed trains in C where that is built"

    return made_once(tmp_path_factory, "undisturbed", train)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, demo_folder: Path) -> Path:
    """A workspace with twenty finished runs and a note, made by a worker that trains nothing."""

    def train(root: Path) -> None:
        with Bridge(root, **worker()) as bridge:
            data = bridge.open(demo_folder)
            bridge.send(p.Submit(sweep=BOOK.sweep(BOOK.question("Q7"), data.fingerprint)))
            bridge.until(lambda state, event: len(state.results) == 20)
            bridge.send(p.Annotate(run_id=next(iter(bridge.state.results)), text="kept", tags=("final",)))
            bridge.until_kind(p.NoteChanged)
            bridge.end()

    return made_once(tmp_path_factory, "whole", train)


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "w"))


def a_run(root: Path) -> Path:
    """Return the folder of its first run."""
    return sorted(path for path in (root / "runs").iterdir() if len(path.name) == 12)[0]


@pytest.fixture
def measures(request: pytest.FixtureRequest) -> list[str]:
    """Lines of the table of what processes hold early and late in a soak."""
    return request.config.stash[MEASURES]


@pytest.fixture(autouse=True)
def counted_by_module(request: pytest.FixtureRequest) -> None:
    """Where a module names its row, each of its tests that counts nothing itself is one injection."""
    name = getattr(request.module, "ROW", None)
    if name and "tally" not in request.fixturenames and "control" not in request.node.name:
        request.getfixturevalue("tally")(name).injected += 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.failed:
        for fault, before in item.stash.get(TOUCHED, []):
            if fault.lost + fault.doubled + fault.wrong == before:
                fault.wrong += 1
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = [(fault.name, fault.injected, fault.lost, fault.doubled, fault.wrong)
            for fault in config.stash[TABLE].values()]  # fmt: skip
    if not rows:
        return
    rows.append(("in all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
    terminalreporter.section("faults")
    width = max(len(row[0]) for row in rows)
    terminalreporter.write_line(f"| {'fault':{width}} | {'times':>6} | lost | doubled | wrong |")
    terminalreporter.write_line(f"|{'-' * (width + 2)}|-------:|-----:|--------:|------:|")
    for name, injected, lost, doubled, wrong in rows:
        terminalreporter.write_line(f"| {name:{width}} | {injected:>6,} | {lost:>4} | {doubled:>7} | {wrong:>5} |")
    if lines := config.stash[MEASURES]:
        terminalreporter.write_line("\n| process  | MB early on | MB at last | fds early | fds last |")
        terminalreporter.write_line("|----------|------------:|-----------:|----------:|---------:|")
        for line in lines:
            terminalreporter.write_line(line)
