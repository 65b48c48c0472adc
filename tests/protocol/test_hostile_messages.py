"""Journals and messages from elsewhere: what cannot be is refused, in little memory, and whoever reads it reads on."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Convolution, Network, RunSpec, Training
from engine.core.sweep import FinalistRule, Sweep
from engine.storage.journal import Journal, JournalLine, _crc
from engine.training.inbox import Inbox
from tests.host.test_stages import worker
from tests.support.bridge import Bridge
from tests.support.probe import MOST_BYTES, probed, written
from tests.support.scenes import DATA


def test_a_journal_from_elsewhere_cannot_fill_the_memory(tmp_path: Path):
    epoch = {"kind": "EpochEnded", "group": "g", "runs": ["a"], "epoch": 10**9, "loss": [1], "accuracy": [1],
             "test_loss": [1], "test_accuracy": [1], "seconds": 1, "images_per_second": 1}  # fmt: skip
    lines = {"no line end": b"x" * 60_000_000, "nested": b'{"seq":1,"crc":"0","event":' + b"[" * 100_000 + b"\n"}
    path = tmp_path / "far"
    writer = Journal(path)
    writer._unwritten = b""
    for epoch_event in (epoch, {**epoch, "epoch": 3, "loss": []}, {**epoch, "epoch": 3, "runs": []}):
        text = json.dumps(epoch_event).encode()

        os.write(writer._file, msgspec.json.encode(JournalLine(1, _crc(1, text), msgspec.Raw(text))) + b"\n")
    epoch_event = probed("journal", path, *written(tmp_path, lines))
    assert list(epoch_event.values()) == [f"0 epochs, {count} damaged lines" for count in (3, 58, 1)]


GARBAGE: dict[str, bytes] = {
    "nothing": b"\n",
    "an empty object": b"{}\n",
    "no text": b"\xff\xfe\x00\n",
    "half a line": b'{"kind":"Pau\n',
    "brackets without end": b"[" * 1_000_000 + b"\n",
    "brackets inside": b'{"kind":"Pause","x":' + b"[" * 1_000_000 + b"\n",
    "an unknown kind": b'{"kind":"Fly"}\n',
    "two kinds": b'{"kind":"Pause","kind":"Fly"}\n',
    "a wrong type": b'{"kind":"Pause","runs":7}\n',
    "an unknown field": b'{"kind":"Pause","x":1}\n',
    "a lone surrogate": b'{"kind":"Choose","question":"\\ud800"}\n',
    "a line longer than any message": b'"' + b"x" * 17_000_000 + b'"\n',
}
OTHERS: list[p.AnyCommand] = [
    p.OpenData(source=("--help",)),
    p.OpenData(source=("x" * 200_000,)),
    p.OpenData(source=("a\0b",)),
    p.Annotate(run_id="0123456789ab", text="x"),
    p.Choose(question="Q2", run_id="nobody"),
    p.Choose(question="x" * 10_000, run_id=None),
    p.Judge(question="../x", statement=p.Statement("true?")),
    p.Restore(runs=("../../etc",)),
    p.Inspect(run_id="nobody"),
    p.Import(path="/dev/zero"),
    p.Import(path="/nowhere"),
]


def impossible(data: str) -> list[Sweep]:
    def one(network: Network | None = None, **training: Any) -> tuple[Configuration, ...]:
        return (Configuration(network or Network(), Training(**training)),)

    return [
        Sweep("x", data, one(batch_size=0), (0,)),
        Sweep("x", data, one(epochs=10**18), (0,)),
        Sweep("x", data, one(learning_rate=1e300), (0,)),
        Sweep("x", data, one(Network((0,), "relu")), (0,)),
        Sweep("x", data, one(Network(convolutions=(Convolution(4, strides=0),), activation="relu")), (0,)),
        Sweep("x", data, one(), (-1,)),
        Sweep("x", data, one() * 1_000, tuple(range(1_000))),
        Sweep("x", data, one(), (0,), FinalistRule((0,), chosen=(-1,))),
        Sweep("x" * 1_000, data, one(), (0,)),
    ]


def test_whatever_comes_over_the_socket_is_refused_and_the_host_serves_on(demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path, **worker()) as bridge:
        data = bridge.open(demo_folder)
        host = psutil.Process(bridge.events[0].host_pid)
        before = host.memory_info().rss
        for garbage in GARBAGE.values():
            bridge.write(garbage)
            refused = bridge.until_kind(p.Refused)
            assert refused.reason.startswith("Not a command")
            assert "\n" not in refused.reason
        for command in [*OTHERS, *(p.Submit(sweep=sweep) for sweep in impossible(data.fingerprint))]:
            bridge.send(command)
            refused = bridge.until(lambda state, event: isinstance(event, p.Refused) and event.command)
            assert refused.command == type(command).__name__
            assert 10 < len(refused.reason) < 400, command
            assert "\n" not in refused.reason
        assert host.memory_info().rss - before < MOST_BYTES
        assert not list((tmp_path / "sweeps").iterdir())
        with Bridge(tmp_path) as half:
            half.until_kind(p.CaughtUp)
            half.write(b'{"kind":"Shutd')
        bridge.send(p.Submit(sweep=Sweep("good", data.fingerprint, (Configuration(),), (0,))))
        bridge.until(lambda state, event: len(state.results) == 1)
        bridge.end()


def test_who_floods_waits_and_the_others_are_served(tmp_path: Path):
    with Bridge(tmp_path) as flood, Bridge(tmp_path) as other:
        other.until_kind(p.CaughtUp)
        flood.write(b'{"kind":"Fly"}\n' * 5_000)
        other.send(p.Watch(runs=("nobody",)))
        assert other.until_kind(p.Refused).command == "Watch"
        other.end()
    refusals = sum(isinstance(event, p.Refused) for event in flood.events)
    assert refusals < 1_000, "a client is heard so often in a second"


def test_a_worker_reads_on_after_garbage(capfd: pytest.CaptureFixture[str]):
    train = p.Train(group="g", workspace="w", specs=(RunSpec(Configuration(), 0, "f00d"),), data=DATA)
    inbox = Inbox()
    inbox.read(io.BytesIO(b"".join(GARBAGE.values()) + p.encode(train) + b'{"kind":"Tra'))
    assert inbox._tasks.popleft() == train
    assert inbox.next() is None
    assert capfd.readouterr().err.count("Not a command") >= len(GARBAGE)


def test_a_screen_reads_on_after_garbage_and_in_little_memory(tmp_path: Path):
    honest = p.encode(p.Noticed(text="here"))
    endless = b"x" * 100_000_000
    path = tmp_path / "told"
    path.write_bytes(b"".join([honest, *GARBAGE.values(), honest, endless, b"\n", honest, b'{"kind":"Noti']))
    engine = f"{sys.executable} -c \"import shutil,sys; shutil.copyfileobj(open(sys.argv[2],'rb'), sys.stdout.buffer)\""
    outcomes = probed("link", path, SVHN_TUI_ENGINE=engine)
    assert outcomes["told"] == f"3 events, {len(GARBAGE) + 1} unreadable lines"
