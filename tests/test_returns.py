"""What comes back from another machine: believed where it is right, else neither believed nor written."""

import errno
import hashlib
import importlib.metadata
import io
import threading
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from engine import boxes, claims, freight
from engine import landing as landing_module
from engine import protocol as p
from engine.connection import Connection, Ending
from engine.freight import Arrival, Cargo
from engine.landing import Landing
from engine.spec import NUMERICS_VERSION, Configuration, Network, RunSpec, Training
from engine.worker import Telling
from tests.scenes import DATA, result

SMALL = Configuration(Network((32,), "relu"), Training(epochs=3))
FINISHED = ["journal.jsonl", "model.keras", "result.json", "spec.json"]
replaced = msgspec.structs.replace


def reached(**other: object) -> bytes:
    versions = {name: importlib.metadata.version(name) for name in freight.LIBRARIES["fast"]}
    told = freight.Reached(host="boxA", gpus=0, workers=1, versions=versions, numerics=NUMERICS_VERSION)
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
    connection.returns.release(ending.reason)
    left = sorted(path.name for path in (folder / "runs" / RUN).rglob("*")) if (folder / "runs" / RUN).exists() else []
    return Met(ending, told, left)


def parts(kind: str, content: bytes, *, epoch: int = 0, sha256: str = SHA256) -> tuple[bytes, ...]:
    cargo = Cargo(kind, sha256, RUN, epoch)
    return tuple(freight.encode(part) for part in freight.parts(cargo, io.BytesIO(content)))


def finished(**other: object) -> bytes:
    honest = replaced(result(SPEC, 0.5), model_sha256=SHA256, model_bytes=len(CONTENT), device="cpu")
    return freight.encode(p.RunFinished(result=replaced(honest, **other)))


def summed(text: bytes) -> bytes:
    return b"%08x " % zlib.crc32(text[:-1]) + text


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


def test_who_names_a_box_with_four_gpus_once_is_told_so(tmp_path: Path):
    met = meet(tmp_path, *MODEL, finished(), first=reached(gpus=4))
    assert "boxA has 4 GPUs and 1 of them train; name it once for each GPU" in met.told[0].text


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
        ((*MODEL, finished(test_accuracy=0.75)), "A result is none"),
        ((finished(run_id="../../../x"),), "a run that it does not have"),
        ((freight.encode(p.RunFailed(run_id=OTHER.run_id, reason="")),), "a run that it does not have"),
        ((freight.encode(replaced(EPOCH, epoch=4)),), "epochs that were not asked for"),
        ((freight.encode(replaced(EPOCH, runs=(OTHER.run_id,))),), "runs that it was not sent"),
        ((summed(p.encode(EPOCH).replace(b"[1.0]", b"[]", 1)),), "Not a message"),
        ((summed(b"[" * 100_000 + b"\n"),), "Not a message"),
        ((freight.encode(freight.DataWanted(sha256=SHA256)),), "a file that it was not to have"),
    ],
)  # fmt: skip
def test_what_a_confused_box_says_is_neither_believed_nor_written(tmp_path: Path, lines: tuple[bytes, ...], why: str):
    met = meet(tmp_path, *lines)
    assert why in met.ending.reason
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
        (255, ["boxA: Permission denied (publickey)."], "`ssh -o BatchMode=yes boxA` has to work."),
        (255, ["Host key verification failed."], "Run `ssh boxA` once"),
        (255, ["ssh: connect to host boxA port 22: Connection refused\n"], "lost (ssh: connect to host boxA port 22"),
        (127, ["svhn-tui is not installed there, or not where it was looked for"], "svhn-tui is not installed there"),
        (1, ["/home/me/.cache: Permission denied"], "lost (/home/me/.cache: Permission denied)."),
        (3, [], "lost (exit code 3)."),
        (1, ["\x1b]0;evil\x07\n", "\n"], "lost (]0;evil)."),
    ],
)
def test_what_keeps_a_box_from_training_is_said_in_a_sentence(status: int, said: list[str], words: str):
    told = boxes.complaint("boxA", status, said, was_reached=True)
    assert words in told
    assert told.endswith(".")
    assert told.isprintable()
    assert boxes.complaint("boxA", 1, [], was_reached=False) == "no connection (exit code 1)."


def test_what_a_full_disk_does_not_take_waits_in_the_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "runs").mkdir()
    notices: list[str] = []
    landing = Landing(SPEC, tmp_path, "", notices.append, threading.Event())
    monkeypatch.setattr(landing_module, "RETRY_SECONDS", 0.0)
    whole, full = Arrival.take, iter([True, True, False, True, *[False] * 9])

    def take(arrival: Arrival, part: freight.Part) -> bool:
        if next(full):
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(arrival, part)

    monkeypatch.setattr(Arrival, "take", take)
    for part in freight.parts(Cargo("model", SHA256, RUN), io.BytesIO(CONTENT)):
        landing.take(part)
    landing.finish(freight.decode_home(finished()).result)
    assert (tmp_path / "runs" / RUN / "model.keras").read_bytes() == CONTENT
    told = "What came of relu 32 · epochs 3, seed 0 cannot be written: No space left on device. It is tried again."
    assert notices == [told, told]


def test_what_a_superseded_attempt_sends_is_set_aside(tmp_path: Path):
    (tmp_path / "runs").mkdir()
    old, new = claims.new_attempt(), claims.new_attempt()
    landing = Landing(SPEC, tmp_path, old, print, threading.Event())
    folder = tmp_path / "runs" / RUN
    claims.take(folder, new)
    for kind, epoch in (("checkpoint", 2), ("model", 0)):
        for part in freight.parts(Cargo(kind, SHA256, RUN, epoch), io.BytesIO(CONTENT)):
            landing.take(part)
    assert not landing.finish(freight.decode_home(finished()).result)
    landing.close()
    names = {path.name for path in folder.iterdir()} - {"attempt", "checkpoint"}
    assert names == {"spec.json", "journal.jsonl", f"model.superseded-{old}.keras", f"result.superseded-{old}.json"}
    assert not list((folder / "checkpoint").iterdir())
