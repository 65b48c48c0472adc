"""Files and messages from outside: refused in one sentence, in little memory, before any of their code can run."""

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Convolution, Network, RunSpec, Training
from engine.core.sweep import FinalistRule, Sweep
from engine.storage import checkpoint, checkpoint_index
from engine.storage.journal import Journal, JournalLine, _crc
from engine.storage.manifest import Manifest, Member, Remarks
from engine.training.inbox import Inbox
from svhn_tui import preset_file
from tests.cli.test_program import PROGRAM
from tests.host.test_stages import worker
from tests.support.bridge import Bridge
from tests.support.fake_worker import result_of
from tests.support.scenes import DATA
from tests.tools.test_keras_file import forged, good, weights  # noqa: F401  `good` is a fixture

MOST = 50_000_000
"""Bytes that a hostile file may cost before it is refused."""


def probed(reader: str, *paths: Path, **environment: str) -> dict[str, str]:
    """Read the files in one process; return what was said of each, if it cost little."""
    command = [sys.executable, "-m", "tests.support.probe", reader, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(name, extra) for name, _, extra in told if extra > MOST] == []
    return {name: said for name, said, _ in told}


def written(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    paths = []
    for number, (name, content) in enumerate(contents.items()):
        paths.append(folder / f"{number} {name}"[:80].replace("/", "-"))
        paths[-1].write_bytes(content)
    return paths


# --- experiments.json ------------------------------------------------------------------------------------------------


def book(**changes: Any) -> bytes:
    raw = json.loads(preset_file.find(Path("no workspace")).read_text())
    question = raw["questions"][1]
    for name, value in changes.items():
        target, _, field = name.rpartition("__")
        {"": raw, "q": question, "upload": question["upload"], "net": raw["networks"]["linear"]}[target][field] = value
    return json.dumps(raw).encode()


def circle() -> bytes:
    raw = json.loads(book())
    raw["questions"][2]["answer"]["of"], raw["questions"][5]["answer"]["of"] = "Q6", "Q3"
    return json.dumps(raw).encode()


PRESETS: dict[str, bytes] = {
    "nested more than 32 levels": b'{"format":1,"title":' + b"[" * 100_000,
    "larger than 1 MiB": bytes(100_000_000),
    "the key 'a' stands twice": b'{"a": 1, "a": 2}',
    "NaN is not a number": b'{"format": NaN}',
    "Infinity is not a number": b'{"format": -Infinity}',
    "thousands of digits": b'{"format": ' + b"9" * 100_000 + b"}",
    "points: from 0 to 1,000": book(q__points=10**400),
    "learning_rate: above 0": book(q__training={"learning_rate": 1e308 * 10}).replace(b"Infinity", b"1e999"),
    "limit_mib: above 0": book(upload__limit_mib=5).replace(b'"limit_mib": 5', b'"limit_mib": 1e999'),
    "more than 100,000 runs": book(q__grid={"epochs": [*range(1, 1001)], "batch_size": [*range(1, 1001)],
                                            "learning_rate": [i / 1e4 for i in range(1, 1001)]}),
    "seeds: whole numbers from 0": book(q__seeds=[-1]),
    "seeds: whole numbers from 0 ": book(q__seeds=[2**31]),
    "epochs: 1 to 100,000": book(q__training={"epochs": 10**9}),
    "hidden: each layer has 1 to 65,536 units": book(net__hidden=[10**12], net__activation="relu"),
    "at most 64 layers": book(net__hidden=[8] * 10_000, net__activation="relu"),
    "input_scaling: a number other than 0": book(net__input_scaling=0.0),
    "upload.file: a plain file name": book(upload__file="../../.bashrc"),
    "upload.file: a plain file name ": book(upload__file=".."),
    "upload.file: a plain file name  ": book(upload__file="a\0b"),
    "upload.file: a plain file name   ": book(upload__file="/etc/passwd"),
    "upload.file: two questions hand in": book(upload__file="Q5.keras"),
    "id: letters and digits only": book(q__id="../x", q__upload=None),
    "chosen: indices of configurations": book(q__finalists={"seeds": [1], "chosen": [-1]}),
    "is itself about another question": circle(),
    "questions: at most 1,000": json.dumps(
        {"format": 1, "title": "", "networks": {},
         "questions": [{"id": f"Q{i}", "kind": "code", "title": "", "text": ""} for i in range(16_000)]}
    ).encode(),
}  # fmt: skip


def test_presets_that_ask_too_much_are_refused_where_they_do(tmp_path: Path):
    told = probed("presets", *written(tmp_path, PRESETS))
    for said, sentence in zip(PRESETS, told.values(), strict=True):
        assert said.strip() in sentence
        assert "\n" not in sentence


# --- .keras ----------------------------------------------------------------------------------------------------------


def loop(file: Any) -> None:
    for name in ("a", "b", "c"):
        file[name] = file["/"]


def never_written(file: Any) -> None:
    file.create_dataset("kernel", (10**6, 10**6), "f4", chunks=(1000, 1000))


def virtual(file: Any) -> None:
    import h5py

    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("kernel", layout)


def wide(config: dict[str, Any]) -> None:
    config["config"]["layers"][-1]["config"]["units"] = 10**9


def many_members(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(60_000):
            archive.writestr(f"{number:08}", b"")
    return path


def test_keras_files_cost_little_before_they_are_refused(good: Path, tmp_path: Path):  # noqa: F811
    files = {
        "is nested too deep": forged(good, tmp_path / "loop.keras", model__weights__h5=weights(loop)),
        "declares more than it holds": forged(good, tmp_path / "big.keras", model__weights__h5=weights(never_written)),
        "in another file": forged(good, tmp_path / "virtual.keras", model__weights__h5=weights(virtual)),
        "more than 67,108,864 weights": forged(good, tmp_path / "wide.keras", wide),
        "thousands of members": many_members(tmp_path / "many.keras"),
    }
    sparse = tmp_path / "sparse.keras"
    with zipfile.ZipFile(good) as archive, sparse.open("wb") as file:
        file.truncate(2**30)
        file.seek(0, os.SEEK_END)
        with zipfile.ZipFile(file, "a") as copy:
            for name in archive.namelist():
                copy.writestr(name, archive.read(name))
    files["larger than 256 MiB"] = sparse
    told = probed("keras", *files.values())
    for said, path in files.items():
        assert said in told[path.name]


def test_a_layer_with_code_never_runs_whatever_asks_for_the_file(
    good: Path,  # noqa: F811
    demo_folder: Path,
    tmp_path: Path,
):
    canary = tmp_path / "canary"
    code = f"__import__('os').mkdir({str(canary)!r})"

    def change(config: dict[str, Any]) -> None:
        function = {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}
        config["config"]["layers"].insert(0, {"module": "keras.layers", "class_name": "Lambda",
                                              "config": {"function": function}, "registered_name": None})  # fmt: skip

    file = forged(good, tmp_path / "evil.keras", change)
    verify = [*PROGRAM, "verify", str(file), "--data", str(demo_folder)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, "Lambda layer, which could run code" in done.stderr) == (1, True)
    look = msgspec.json.encode({"data": msgspec.to_builtins(described(demo_folder)), "run_id": "a", "file": str(file)})
    looked = subprocess.run(
        [sys.executable, "-m", "engine.tools.inspect_run"], input=look, capture_output=True, check=False
    )
    assert (looked.returncode, b"Lambda layer, which could run code" in looked.stderr) == (1, True)
    assert not canary.exists()


def described(folder: Path) -> p.DataSet:
    from engine.data.dataset import describe

    return describe([folder])


# --- packed files ----------------------------------------------------------------------------------------------------

SPEC = RunSpec(Configuration(), 0, "f00d")
RUN = f"runs/{SPEC.run_id}"


NO_REMARKS = Remarks()


def packed(path: Path, contents: dict[str, bytes], *, remarks: Remarks = NO_REMARKS, method: int = 0) -> Path:
    """Write a packed file with a manifest that is true."""
    members = {name: Member(len(text), hashlib.sha256(text).hexdigest()) for name, text in contents.items()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, text in {
            **contents,
            "manifest.json": msgspec.json.encode(Manifest(members, remarks)),
        }.items():
            archive.writestr(name, text)
    return path


def run_of(folder: Path, spec: RunSpec = SPEC, **changes: Any) -> dict[str, bytes]:
    """A finished run's files, with other figures in its result."""
    result = msgspec.structs.replace(result_of(spec, DATA, 0.5, folder), **changes)
    files = {"spec.json": msgspec.json.encode(spec), "result.json": msgspec.json.encode(result)}
    files["model.keras"] = (folder / "model.keras").read_bytes()
    return {f"runs/{spec.run_id}/{name}": text for name, text in files.items()}


def overlapping(path: Path) -> Path:
    """Sixty members that share the bytes of one."""
    content = bytes(2**20)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"runs/{0:012x}/journal.jsonl", content)
        for number in range(1, 60):
            copied = zipfile.ZipInfo(f"runs/{number:012x}/journal.jsonl")
            first = archive.infolist()[0]
            copied.file_size, copied.compress_size, copied.CRC = len(content), len(content), first.CRC
            copied.header_offset = 0
            archive.filelist.append(copied)
            archive.NameToInfo[copied.filename] = copied
        archive.writestr("manifest.json", b"{}")
    return path


def many_runs(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(60_000):
            archive.writestr(f"runs/{number:012x}/spec.json", b"")
    return path


def hostile_packs(folder: Path) -> dict[str, Path]:
    honest = run_of(folder)
    large = RunSpec(Configuration(Network((10**12,), "relu")), 0, "f00d")
    deep = b'{"members":{},"x":' + b"[" * 100_000
    sweep = msgspec.json.encode(Sweep("x", "d", (Configuration(),) * 400, tuple(range(400))))
    climbing = packed(folder / "climbing.zip", {**honest, f"runs/{'0' * 12}/../../../evil": b"x"})
    short = b'{"members":{' + b",".join(b'"%x":{"bytes":1,"sha256":""}' % i for i in range(200_000)) + b"}}"
    os.mkfifo(folder / "pipe.zip")
    (folder / "folder.zip").mkdir()
    (folder / "zero.zip").symlink_to("/dev/zero")
    remarks = Remarks(notes=(p.Note(SPEC.run_id, "x" * 100_000),))
    files = {
        "is a link or compressed": packed(folder / "bomb.zip", {f"{RUN}/journal.jsonl": bytes(5 * 10**7)}, method=8),
        "more than it holds": overlapping(folder / "overlapping.zip"),
        "thousands of members": many_runs(folder / "many.zip"),
        "does not write": climbing,
        "hidden: each layer has": packed(folder / "large.zip", run_of(folder, large)),
        "more than 100,000 runs": packed(folder / "sweep.zip", {"sweeps/0123456789ab.json": sweep}),
        "its counts are out of range": packed(folder / "counts.zip", run_of(folder, trainable_parameters=10**13)),
        "is not the share of images": packed(folder / "share.zip", run_of(folder, test_accuracy=0.9)),
        "its times or accuracies": packed(folder / "times.zip", run_of(folder, seconds=1e300)),
        "A note has at most": packed(folder / "note.zip", honest, remarks=remarks),
        "is not a regular file": folder / "pipe.zip",
        "is not a regular file ": folder / "folder.zip",
        "is not a regular file  ": folder / "zero.zip",
    }
    for name, manifest in (("cannot be understood", deep), ("are not those of its manifest", short)):
        files[name] = folder / f"{name}.zip"
        with zipfile.ZipFile(files[name], "w") as archive:
            archive.writestr("manifest.json", manifest)
    return files


def test_packed_files_are_checked_before_anything_comes_in(tmp_path: Path):
    files = hostile_packs(tmp_path)
    told = probed("pack", *files.values())
    for said, path in files.items():
        assert said.strip() in told[path.name]
        assert "\n" not in told[path.name]
    assert not list((tmp_path / "workspace" / "runs").iterdir())
    assert not (tmp_path / "evil").exists()
    honest = packed(tmp_path / "honest.zip", run_of(tmp_path))
    assert probed("pack", honest) == {"honest.zip": ""}


def test_a_checkpoint_from_elsewhere_that_cannot_be_is_passed_over_and_set_aside(tmp_path: Path):
    whole = checkpoint.Snapshot(1, p.History(), [np.zeros(3, np.float32)], [], [])
    checkpoint.save(tmp_path, whole)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    forged_file = io.BytesIO()
    with zipfile.ZipFile(forged_file, "w") as archive:
        archive.writestr("told.npy", header.getvalue())
    content = forged_file.getvalue()
    (tmp_path / "checkpoint" / "epoch-2.npz").write_bytes(content)
    entry = checkpoint_index.SavedCheckpoint("epoch-2.npz", hashlib.sha256(content).hexdigest(), 2)
    (tmp_path / "checkpoint" / "latest.json").write_bytes(
        msgspec.json.encode(checkpoint_index.Pointer((entry, *checkpoint_index.read(tmp_path).entries)))
    )
    said: list[str] = []
    found = checkpoint.load(tmp_path, said.append)
    assert found is not None
    assert found.epoch == 1
    assert "set aside as epoch-2.npz.damaged-1" in said[0]
    checkpoint.save(tmp_path, msgspec.structs.replace(whole, epoch=3))
    assert (tmp_path / "checkpoint" / "epoch-2.npz.damaged-1").read_bytes() == content
    newest = tmp_path / "checkpoint" / "epoch-3.npz"
    flipped = bytearray(newest.read_bytes())
    flipped[100] ^= 1
    newest.write_bytes(flipped)
    found = checkpoint.load(tmp_path, said.append)
    assert "set aside as epoch-3.npz.damaged-1" in said[-1]
    assert (newest.parent / "epoch-3.npz.damaged-1").read_bytes() == flipped
    assert found is None, "the one before it was set aside too"


# --- journals, pipes and the socket ----------------------------------------------------------------------------------


def test_a_journal_from_elsewhere_cannot_fill_the_memory(tmp_path: Path):
    epoch = {"kind": "EpochEnded", "group": "g", "runs": ["a"], "epoch": 10**9, "loss": [1], "accuracy": [1],
             "test_loss": [1], "test_accuracy": [1], "seconds": 1, "images_per_second": 1}  # fmt: skip
    lines = {"no line end": b"x" * 60_000_000, "nested": b'{"seq":1,"crc":"0","event":' + b"[" * 100_000 + b"\n"}
    path = tmp_path / "far"
    writer = Journal(path)
    writer._unwritten = b""
    for told in (epoch, {**epoch, "epoch": 3, "loss": []}, {**epoch, "epoch": 3, "runs": []}):
        text = json.dumps(told).encode()

        os.write(writer._file, msgspec.json.encode(JournalLine(1, _crc(1, text), msgspec.Raw(text))) + b"\n")
    told = probed("journal", path, *written(tmp_path, lines))
    assert list(told.values()) == [f"0 epochs, {count} damaged lines" for count in (3, 58, 1)]


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
        assert host.memory_info().rss - before < MOST
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
    told = sum(isinstance(event, p.Refused) for event in flood.events)
    assert told < 1_000, "a client is heard so often in a second"


def test_a_worker_reads_on_after_garbage(capfd: pytest.CaptureFixture[str]):
    train = p.Train(group="g", workspace="w", specs=(SPEC,), data=DATA)
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
    told = probed("link", path, SVHN_TUI_ENGINE=engine)
    assert told["told"] == f"3 events, {len(GARBAGE) + 1} unreadable lines"
