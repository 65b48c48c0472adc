"""Packed runs and checkpoints from elsewhere: refused in one sentence, in little memory, before anything comes in."""

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine import protocol as p
from engine.core.spec import Configuration, Network, RunSpec
from engine.core.sweep import Sweep
from engine.storage import checkpoint, checkpoint_index
from engine.storage.manifest import Manifest, Member, Remarks
from tests.support import zips
from tests.support.fake_worker import result_of
from tests.support.probe import probed
from tests.support.scenes import DATA

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
            zips.share_first(archive, f"runs/{number:012x}/journal.jsonl")
        archive.writestr("manifest.json", b"{}")
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
        "thousands of members": zips.of_nothing(
            folder / "many.zip", (f"runs/{number:012x}/spec.json" for number in range(60_000))
        ),
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
    outcomes = probed("pack", *files.values())
    for name, path in files.items():
        assert name.strip() in outcomes[path.name]
        assert "\n" not in outcomes[path.name]
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
        msgspec.json.encode(checkpoint_index.CheckpointIndex((entry, *checkpoint_index.read(tmp_path).entries)))
    )
    warnings: list[str] = []
    snapshot = checkpoint.load(tmp_path, warnings.append)
    assert snapshot is not None
    assert snapshot.epoch == 1
    assert "set aside as epoch-2.npz.damaged-1" in warnings[0]
    checkpoint.save(tmp_path, msgspec.structs.replace(whole, epoch=3))
    assert (tmp_path / "checkpoint" / "epoch-2.npz.damaged-1").read_bytes() == content
    newest = tmp_path / "checkpoint" / "epoch-3.npz"
    flipped = bytearray(newest.read_bytes())
    flipped[100] ^= 1
    newest.write_bytes(flipped)
    snapshot = checkpoint.load(tmp_path, warnings.append)
    assert "set aside as epoch-3.npz.damaged-1" in warnings[-1]
    assert (newest.parent / "epoch-3.npz.damaged-1").read_bytes() == flipped
    assert snapshot is None, "the one before it was set aside too"
