"""A worker on another machine: the same files, bit for bit, whatever happens to the connection."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue
from typing import Self

import msgspec
import psutil
import pytest

from engine import data, freight, pointer
from engine import protocol as p
from engine.data_cache import DataCache
from engine.journal import history
from engine.outpost import Shipments, portion
from engine.placement import Machine
from engine.spec import Configuration, Network, RunSpec, Training
from tests.test_training import Told, train, weights_of

SMALL = Configuration(Network((32,), "relu"), Training(epochs=3))
PATIENCE = 120.0
CONTENT = b"data" * 50_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FINISHED = ["journal.jsonl", "model.keras", "result.json", "spec.json"]
replaced = msgspec.structs.replace


OUTPOST = [sys.executable, "-P", "-m", "engine.outpost", "--name", "box"]


class Relay:
    """A relay as the host starts it, with the other machine's home in a folder."""

    def __init__(self, home: Path, command: list[str] | None = None, *options: str, **environment: str) -> None:
        there = command or OUTPOST
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine.relay", "--name", "box", "--node", "boxA", *options, "--", *there],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"XDG_CACHE_HOME": str(home)} | environment,
        )
        self.events: list[p.AnyEvent] = []
        self._lines: Queue[bytes] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def send(self, command: p.WorkerCommand) -> None:
        self.process.stdin.write(p.encode(command))
        self.process.stdin.flush()

    def until(self, met: Callable[[p.AnyEvent], bool]) -> p.AnyEvent:
        deadline = time.monotonic() + PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except Empty:
                break
            assert line, f"the relay ended; last: {self.events[-3:]}"
            event = p.decode_event(line)
            self.events.append(event)
            if met(event):
                return event
            assert not isinstance(event, p.RunFailed), event.reason
        raise AssertionError(f"waited in vain; last: {self.events[-3:]}")

    def until_kind(self, kind: type) -> p.AnyEvent:
        return self.until(lambda event: isinstance(event, kind))

    def until_ready(self) -> None:
        self.until(lambda event: isinstance(event, p.WorkerChanged) and event.state == "ready")

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def end(self) -> int:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        return self.process.wait(PATIENCE)


def task(workspace: Path, folder: Path, configuration: Configuration, seeds: list[int]) -> p.Train:
    found = data.describe([folder])
    (workspace / "runs").mkdir(parents=True, exist_ok=True)
    specs = tuple(RunSpec(configuration, seed, found.fingerprint) for seed in seeds)
    return p.Train(group="g", workspace=str(workspace), specs=specs, data=found)


def same_weights(one: Path, other: Path, run_id: str) -> bool:
    pairs = zip(weights_of(one, run_id), weights_of(other, run_id), strict=True)
    return all(here.tobytes() == there.tobytes() for here, there in pairs)


def test_runs_trained_elsewhere_equal_those_trained_here(demo_folder: Path, tmp_path: Path):
    here, there, home = tmp_path / "here", tmp_path / "there", tmp_path / "home"
    wanted = task(there, demo_folder, SMALL, [0, 1])
    with Relay(home) as relay:
        relay.until_ready()
        relay.send(wanted)
        results = [relay.until_kind(p.RunFinished).result for _ in wanted.specs]
    train(here, demo_folder, SMALL, [0, 1], told := Told())
    local = {event.result.run_id: event.result for event in told.of(p.RunFinished)}
    for run in results:
        folder, twin = there / "runs" / run.run_id, local[run.run_id]
        assert (run.test_accuracy, run.test_loss, run.loss) == (twin.test_accuracy, twin.test_loss, twin.loss)
        assert same_weights(here, there, run.run_id)
        assert freight.sha256_of(folder / "model.keras") == run.model_sha256
        assert run.device == "cpu on boxA"
        assert history(folder / "journal.jsonl")[0].test_accuracy == told_by(relay, run.run_id)
        assert sorted(path.name for path in folder.iterdir()) == FINISHED
        assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    left = sorted(path.suffix for path in (home / "svhn-tui" / "outpost").rglob("*") if path.is_file())
    assert left == [".lock", ".lock", ".npz", ".npz"], "the outpost leaves the data and nothing else"


def told_by(relay: Relay, run_id: str) -> tuple[float, ...]:
    lanes = [(event, event.runs.index(run_id)) for event in relay.of(p.EpochEnded)]
    return tuple(event.test_accuracy[lane] for event, lane in lanes)


def outpost_of(relay: Relay) -> psutil.Process:
    return next(iter(psutil.Process(relay.process.pid).children()))


@pytest.mark.slow
def test_a_connection_that_is_cut_costs_what_came_after_the_last_checkpoint(demo_folder: Path, tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    configuration = Configuration(SMALL.network, Training(epochs=200))
    wanted = task(there, demo_folder, configuration, [0])
    (run_id,) = (spec.run_id for spec in wanted.specs)
    with Relay(tmp_path / "home", SVHN_TUI_CHECKPOINT_SECONDS="0") as relay:
        relay.until_ready()
        relay.send(wanted)
        relay.until_kind(p.CheckpointSaved)
        assert len(sent := inodes(tmp_path / "home")) == 2
        os.kill(outpost_of(relay).pid, signal.SIGKILL)
        interrupted = relay.until_kind(p.RunInterrupted)
        assert pointer.read(there / "runs" / run_id).epoch == interrupted.epoch > 0
        waiting = next(event for event in relay.of(p.WorkerChanged) if event.state == "waiting")
        assert waiting.text == "the connection was lost (exit code -9). It is tried again, more and more rarely."
        relay.send(wanted)  # the host would wait until it is ready
        assert relay.until_kind(p.RunInterrupted).reason == "boxA is not connected."
        relay.until_ready()
        relay.send(wanted)
        assert relay.until_kind(p.RunStarted).epoch == interrupted.epoch
        relay.until_kind(p.RunFinished)
    train(here, demo_folder, configuration, [0], Told())
    assert inodes(tmp_path / "home") == sent, "the data was sent once"
    assert same_weights(here, there, run_id)
    journal = (there / "runs" / run_id / "journal.jsonl").read_bytes()
    assert [journal.count(b'"kind":"%s"' % kind) for kind in (b"RunStarted", b"RunInterrupted", b"RunFinished")] == [
        2,
        1,
        1,
    ]
    trained, twin = (history(folder / "runs" / run_id / "journal.jsonl")[0] for folder in (there, here))
    assert (trained.loss, trained.test_accuracy) == (twin.loss, twin.test_accuracy)


FLIP = """
import pathlib, subprocess, sys, zlib
done = pathlib.Path(sys.argv[1])
child = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)
for line in child.stdout:
    if b'"kind":"model"' in line and not done.exists():
        done.touch()
        text = line[9:-1]
        at = text.index(b'"content":"') + 100
        text = text[:at] + (b"A" if text[at:at + 1] != b"A" else b"B") + text[at + 1:]
        line = b"%08x " % zlib.crc32(text) + text + b"\\n"
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
"""
"""Changes a byte of the first model that goes through, in a line whose checksum is right."""


@pytest.mark.slow
def test_a_model_that_changed_on_the_way_is_refused_and_fetched_again(demo_folder: Path, tmp_path: Path):
    there, flip = tmp_path / "there", tmp_path / "flip.py"
    flip.write_text(FLIP)
    configuration = Configuration(SMALL.network, Training(epochs=15))
    wanted = task(there, demo_folder, configuration, [0])
    folder = there / "runs" / wanted.specs[0].run_id
    command = [sys.executable, str(flip), str(tmp_path / "done"), *OUTPOST]
    with Relay(tmp_path / "home", command, SVHN_TUI_CHECKPOINT_SECONDS="0") as relay:
        relay.until_ready()
        relay.send(wanted)
        refused = relay.until_kind(p.RunInterrupted)
        assert refused.reason == "boxA: A model file does not match its SHA-256."
        assert not (folder / "result.json").exists()
        assert not (folder / "model.keras").exists()
        relay.until_ready()
        relay.send(wanted)
        assert relay.until_kind(p.RunStarted).epoch == 10
        run = relay.until_kind(p.RunFinished).result
        assert freight.sha256_of(folder / "model.keras") == run.model_sha256
        worker = next(some for some in psutil.Process(relay.process.pid).children(recursive=True)
                      if "engine.worker" in some.cmdline())  # fmt: skip
        worker.kill()
        assert relay.process.wait(PATIENCE) == 128 + signal.SIGKILL, "a dead worker is the host's to judge"


@pytest.mark.slow
def test_who_is_told_to_leave_sends_the_checkpoint_home_first(demo_folder: Path, tmp_path: Path):
    wanted = task(tmp_path, demo_folder, Configuration(SMALL.network, Training(epochs=10_000)), [0])
    folder = tmp_path / "runs" / wanted.specs[0].run_id
    with Relay(tmp_path / "home") as relay:
        relay.until_ready()
        relay.send(wanted)
        relay.until_kind(p.EpochEnded)
        relay.process.terminate()
        let_go = relay.until_kind(p.RunInterrupted)
        assert relay.until_kind(p.WorkerChanged).state == "ended"
        assert relay.process.wait(PATIENCE) == 0
    assert pointer.read(folder).epoch == let_go.epoch > 0
    assert not list((tmp_path / "home").rglob("runs")), "the outpost took its folder away"


def inodes(home: Path) -> list[int]:
    return sorted(path.stat().st_ino for path in home.rglob("data/*.npz"))


def test_a_data_file_is_fetched_once_by_all_who_need_it_and_again_when_it_is_damaged(tmp_path: Path):
    fetched: list[str] = []
    began = threading.Barrier(4)

    def need() -> None:
        cache = DataCache(tmp_path)
        began.wait()
        with cache.fetching(SHA256):
            if not cache.has(SHA256):
                fetched.append(SHA256)
                cache.path(SHA256).write_bytes(CONTENT)

    threads = [threading.Thread(target=need) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == [SHA256]
    assert DataCache(tmp_path).has(SHA256)
    DataCache(tmp_path).path(SHA256).write_bytes(CONTENT[:-1])
    assert not DataCache(tmp_path).has(SHA256)


def test_what_was_not_used_for_a_month_is_dropped(tmp_path: Path):
    old, new = DataCache(tmp_path).path("a" * 64), DataCache(tmp_path).path("b" * 64)
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    DataCache(tmp_path)
    assert list(tmp_path.iterdir()) == [new]


def test_only_the_newest_of_the_checkpoints_that_wait_is_sent():
    one, other = (RunSpec(SMALL, seed, "data").run_id for seed in (0, 1))
    saved = [p.CheckpointSaved(runs=(run_id,), epoch=epoch) for epoch in (10, 20) for run_id in (one, other)]
    paused = p.RunPaused(run_id=one, epoch=20)
    shipments = Shipments()
    for event in (*saved, paused, None):
        shipments.put(event)
    assert list(shipments) == [*saved[2:], paused]


@pytest.mark.parametrize(
    ("cores", "gpus", "count", "portions"),
    [
        (4, 0, 1, [((0, 1, 2, 3), None)]),
        (4, 0, 2, [((0, 1), None), ((2, 3), None)]),
        (3, 0, 2, [((0,), None), ((1, 2), None)]),
        (1, 0, 2, [((0,), None), ((0,), None)]),
        (2, 4, 1, [((0, 1), None)]),
        (2, 2, 3, [((0, 1), 0), ((0, 1), 1), ((0, 1), 0)]),
    ],
)
def test_outposts_of_one_box_divide_its_gpus_or_its_cores(cores: int, gpus: int, count: int, portions: list[object]):
    machine = Machine(tuple(range(cores)), 2**34, gpus)
    assert [portion(machine, index, count) for index in range(count)] == portions


def test_an_outpost_whose_relay_is_silent_ends_by_itself(tmp_path: Path):
    impatient = "from engine import freight, outpost; freight.SILENCE_SECONDS = 1; outpost.main()"
    outpost = subprocess.Popen(
        [sys.executable, "-P", "-c", impatient, "--name", "box"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    outpost.stdin.write(freight.encode(freight.Beat()))
    outpost.stdin.flush()
    assert outpost.wait(PATIENCE) == 1
    assert [path.name for path in (tmp_path / "svhn-tui" / "outpost").iterdir()] == ["data"]
