"""A worker on another machine: the same files, bit for bit, whatever happens to the connection."""

import hashlib
import importlib.metadata
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue
from typing import NamedTuple, Self

import msgspec
import psutil
import pytest

from engine import boxes, data, freight, pointer
from engine import protocol as p
from engine.connection import Connection, Ending
from engine.freight import Cargo
from engine.journal import history
from engine.spec import NUMERICS_VERSION, Configuration, Network, RunSpec, Training
from engine.worker import Telling
from tests.scenes import DATA, result
from tests.test_training import Told, train, weights_of

SMALL = Configuration(Network((32,), "relu"), Training(epochs=3))
PATIENCE = 60.0
FINISHED = ["journal.jsonl", "model.keras", "result.json", "spec.json"]
replaced = msgspec.structs.replace


class Relay:
    """A relay as the host starts it, with the other machine's home in a folder."""

    def __init__(self, home: Path, command: list[str] | None = None, *options: str, **environment: str) -> None:
        there = command or [sys.executable, "-P", "-m", "engine.outpost", "--name", "box"]
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
        raise AssertionError(f"waited for a minute; last: {self.events[-3:]}")

    def until_kind(self, kind: type) -> p.AnyEvent:
        return self.until(lambda event: isinstance(event, kind))

    def until_ready(self) -> None:
        self.until(lambda event: isinstance(event, p.WorkerChanged) and event.state == "ready")

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def end(self) -> int:
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
        assert waiting.text == "boxA: the connection was lost (exit code -9). It is tried again in 1 s."
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


def inodes(home: Path) -> list[int]:
    return sorted(path.stat().st_ino for path in home.rglob("data/*.npz"))


def reached(**other: object) -> bytes:
    versions = {name: importlib.metadata.version(name) for name in freight.LIBRARIES["fast"]}
    told = freight.Reached(host="boxA", cores=2, gpus=0, versions=versions, numerics=NUMERICS_VERSION)
    return freight.encode(replaced(told, **other))


class Met(NamedTuple):
    """What became of a connection to an outpost that is none."""

    ending: Ending
    told: list[p.AnyEvent]
    left: list[str]
    """Names of the files in the run's folder."""


READY = freight.encode(p.WorkerChanged(worker="box", state="ready", device="cpu"))
CONTENT = b"model" * 50_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SPEC = RunSpec(SMALL, 0, "data")
RUN = SPEC.run_id


def meet(folder: Path, *lines: bytes, first: bytes | None = None) -> Met:
    """Let a connection meet somebody who says these lines once a task was sent to him."""
    (folder / "runs").mkdir()
    (folder / "train.npz").write_bytes(b"train")
    (folder / "test.npz").write_bytes(b"test")
    (folder / "first").write_bytes((reached() if first is None else first) + READY)
    (folder / "then").write_bytes(b"".join(lines))
    files = {"train_path": str(folder / "train.npz"), "test_path": str(folder / "test.npz")}
    wanted = p.Train(group="g", workspace=str(folder), specs=(SPEC,), data=replaced(DATA, **files))
    told: list[p.AnyEvent] = []

    class Pipe(io.BytesIO):
        def write(self, line: bytes) -> int:
            told.append(event := p.decode_event(line))
            if isinstance(event, p.WorkerChanged) and event.state == "ready":
                assert connection.accept(wanted)
            if isinstance(event, p.RunFinished):
                connection.leave()
            return len(line)

    connection = Connection("box", "boxA", "fast", Telling(Pipe()), threading.Event())
    ending = connection.follow(["sh", "-c", f"cd {folder}; cat first; head -c1 >/dev/null; cat then; cat >/dev/null"])
    connection.release(ending.reason)
    left = sorted(path.name for path in (folder / "runs" / RUN).rglob("*")) if (folder / "runs" / RUN).exists() else []
    return Met(ending, told, left)


def parts(kind: str, content: bytes, *, epoch: int = 0, sha256: str = SHA256) -> tuple[bytes, ...]:
    cargo = Cargo(kind, sha256, RUN, epoch)
    return tuple(freight.encode(part) for part in freight.parts(cargo, io.BytesIO(content)))


def finished(**other: object) -> bytes:
    honest = replaced(result(SPEC, 0.5), model_sha256=SHA256, model_bytes=len(CONTENT), device="cpu")
    return freight.encode(p.RunFinished(result=replaced(honest, **other)))


def flipped(line: bytes) -> bytes:
    return line[:90] + bytes([line[90] ^ 1]) + line[91:]


MODEL = parts("model", CONTENT)
OTHER = RunSpec(SMALL, 1, "data")
EPOCH = p.EpochEnded(
    group="g", runs=(RUN,), epoch=1, loss=(1.0,), accuracy=(0.5,), test_loss=(1.0,), test_accuracy=(0.5,),
    seconds=1.0, images_per_second=1.0,
)  # fmt: skip


def test_what_a_login_prints_is_passed_over_and_an_honest_box_is_believed(tmp_path: Path):
    met = meet(tmp_path, *MODEL, finished(), first=b"Welcome to boxA!\n\xff\x1b[31m\n" + reached())
    (told,) = (event for event in met.told if isinstance(event, p.RunFinished))
    assert (told.result.device, told.result.model_sha256) == ("cpu on boxA", SHA256)
    assert (tmp_path / "runs" / RUN / "model.keras").read_bytes() == CONTENT
    assert met.left == FINISHED
    assert met.ending.was_useful


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((b"garbage\n",), "garbled"),
        ((MODEL[0], flipped(MODEL[1]), *MODEL[2:], finished()), "garbled"),
        ((freight.encode(p.HostEnded()),), "Not a message"),
        (parts("model", CONTENT[:-1] + b"L"), "model file does not match its SHA-256"),
        (parts("checkpoint", CONTENT[:-1] + b"L", epoch=1), "checkpoint file does not match its SHA-256"),
        ((MODEL[1],), "out of order"),
        ((MODEL[0], *MODEL), "out of order"),
        ((*MODEL, MODEL[-1]), "out of order"),
        (parts("checkpoint", CONTENT, epoch=4), "nobody waits for"),
        (parts("data", CONTENT), "nobody waits for"),
        ((finished(),), "without its model"),
        ((*MODEL, finished(model_sha256=hashlib.sha256(b"").hexdigest())), "without its model"),
        ((*MODEL[:-1], finished()), "without its model"),
        ((*MODEL, finished(spec=OTHER)), "another run's"),
        ((finished(run_id="../../../x"),), "a run that it does not have"),
        ((freight.encode(p.RunFailed(run_id=OTHER.run_id, reason="")),), "a run that it does not have"),
        ((freight.encode(replaced(EPOCH, epoch=10**9)),), "epochs that were not asked for"),
        ((freight.encode(replaced(EPOCH, runs=(OTHER.run_id,))),), "runs that it was not sent"),
        ((freight.encode(replaced(EPOCH, loss=())),), "runs that it was not sent"),
        ((freight.encode(freight.DataWanted(sha256=SHA256)),), "a file that it was not to have"),
    ],
)  # fmt: skip
def test_what_a_confused_box_says_is_neither_believed_nor_written(tmp_path: Path, lines: tuple[bytes, ...], why: str):
    met = meet(tmp_path, *lines)
    assert why in met.ending.reason
    assert met.ending.reason.startswith("boxA: ")
    assert [event for event in met.told if isinstance(event, p.Ended)] == [
        p.RunInterrupted(run_id=RUN, reason=met.ending.reason)
    ]
    assert not any(isinstance(event, p.HostEnded) for event in met.told)
    assert set(met.left) - {"checkpoint"} == {"journal.jsonl", "spec.json"}
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"versions": {"keras": "3.15.0", "jax": "0.10.2"}}, "It has keras 3.15.0 instead of 3.11.3"),
        ({"versions": {}}, "jax none instead of"),
        ({"numerics": 99}, "svhn-tui's numerics 99 instead of"),
        ({"protocol": 99}, "its protocol 99 instead of"),
    ],
)
def test_a_box_with_other_versions_is_not_trained_on(tmp_path: Path, other: dict[str, object], why: str):
    met = meet(tmp_path, first=reached(**other))
    assert why in met.ending.reason
    assert met.ending.reason.endswith("install the same svhn-tui there as here.")
    assert met.told == []


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (255, ["boxA: Permission denied (publickey)."], "`ssh -o BatchMode=yes boxA` works."),
        (255, ["Host key verification failed."], "run `ssh boxA` once"),
        (255, ["ssh: connect to host boxA port 22: Connection refused\n"], "lost (ssh: connect to host boxA port 22"),
        (1, ["/usr/bin/python3: No module named engine.outpost"], "svhn-tui is not installed"),
        (127, ["fish: Unknown command: python9"], "there is no such Python; name it: --worker-ssh boxA:"),
        (1, ["python9: Command not found."], "there is no such Python"),
        (2, ["unknown option -P", "usage: python3"], "older than 3.11"),
        (3, [], "lost (exit code 3)"),
        (1, ["\x1b]0;evil\x07\n", "\n"], "lost (]0;evil)"),
    ],
)
def test_what_keeps_a_box_from_training_is_said_in_a_sentence(status: int, said: list[str], words: str):
    told = boxes.complaint("boxA", status, said)
    assert words in told
    assert told.startswith("boxA: ")
    assert told.endswith(".")
    assert told.isprintable()
