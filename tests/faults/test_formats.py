"""Workspaces that another version of the program wrote: older ones are kept and brought up, newer ones left alone."""

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from engine.storage import migrations
from engine.storage.workspace import HostState, Workspace
from tests.faults.conftest import Tally

NEWER = {"host.json": b'{"format": 99, "order": 7}', "runs.json": b'{"about": {"1": {"version": 99}}, "runs": {}}'}


def contents(root: Path) -> dict[Path, bytes]:
    paths = (path for path in root.rglob("*") if path.is_file() and path.name not in ("host.log", "host.lock"))
    return {path.relative_to(root): path.read_bytes() for path in paths}


@pytest.mark.parametrize("name", NEWER)
def test_a_newer_workspace_is_refused_at_once_in_a_sentence_and_left_as_it_is(tmp_path: Path, name: str, tally: Tally):
    row = tally("a workspace of a newer format")
    (tmp_path / name).write_bytes(NEWER[name])
    began = time.monotonic()
    command = [
        sys.executable,
        "-c",
        "from svhn_tui.cli.main import main; main()",
        "status",
        "--workspace",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "was written by a newer svhn-tui (its format is 99" in done.stderr
    assert "update this one, or use another --workspace. Nothing was changed." in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 20, "it is no use to wait for a host that refuses"
    row.injected += 1
    row.expect_none(wrong=contents(tmp_path) != {Path(name): NEWER[name]})


def test_an_older_workspace_is_brought_up_after_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally):
    row = tally("a workspace of an older format")
    workspace = Workspace(tmp_path)
    workspace.write_host_state(HostState(choices={"Q2": "0123456789ab"}))
    (workspace.sweeps / "a.json").write_bytes(b"{}")
    before = contents(tmp_path)
    tried: list[str] = []

    def rename_choices(root: Path) -> None:
        """What a step looks like: read, change, write whole. It dies before the end the first time."""
        tried.append("")
        kept = msgspec.json.decode((root / "host.json").read_bytes())
        (root / "sweeps" / "a.json").unlink(missing_ok=True)
        if len(tried) == 1:
            raise OSError(28, "No space left on device")
        (root / "host.json").write_bytes(msgspec.json.encode({"format": 2, "chosen": kept["choices"]}))

    monkeypatch.setattr(migrations, "FORMAT", 2)
    monkeypatch.setitem(migrations.STEPS, 1, rename_choices)
    with pytest.raises(OSError, match="No space"):
        migrations.bring_up(tmp_path)
    sentences = migrations.bring_up(tmp_path)
    assert migrations.bring_up(tmp_path) == ""
    assert "from format 1 to 2" in sentences
    after = contents(tmp_path)
    kept = {path.relative_to("backups/format-1"): after.pop(path) for path in list(after) if path.parts[0] == "backups"}
    row.injected += 2
    row.expect_none(lost=len(before.keys() - kept.keys()), wrong=kept != before)
    assert after == {Path("host.json"): b'{"format":2,"chosen":{"Q2":"0123456789ab"}}'}


def test_a_new_or_damaged_workspace_is_taken_as_it_is(tmp_path: Path):
    assert migrations.bring_up(tmp_path) == ""
    for damaged in (b"", b"[]", b'{"format": "x"}', b"\xff"):
        (tmp_path / "host.json").write_bytes(damaged)
        assert migrations.bring_up(tmp_path) == ""
