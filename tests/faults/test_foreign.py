"""Workspaces that are not the user's alone, or cannot be written: refused in a sentence, or read and nothing else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import protocol as p
from engine.machine import ownership
from engine.storage import doctor
from tests.faults.conftest import Tally
from tests.host.test_stages import worker
from tests.support.bridge import Bridge
from tests.support.shared import made_once
from tests.support.terminal import PROGRAM, Terminal

NOBODY = 65_534
LOOKING = (["status"], ["answers"], ["runs"], ["evidence", "Q11"])
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away, or mount")


def svhn_tui(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    given = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(given, capture_output=True, text=True, check=False, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, demo_folder: Path) -> Path:
    """A workspace with answers, and no host."""

    def train(folder: Path) -> None:
        done = svhn_tui("run", "Q3", "Q10", "--data", demo_folder, "-w", folder / "w", **worker())
        assert done.returncode == 0, done.stderr
        svhn_tui("stop", "-w", folder / "w")

    return made_once(tmp_path_factory, "finished", train) / "w"


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "w", symlinks=True)


def contents(root: Path) -> dict[Path, tuple[object, ...]]:
    stats = {path: path.lstat() for path in (root, *root.rglob("*"))}
    return {path: (at.st_mode, at.st_uid, at.st_ino, at.st_size, at.st_mtime_ns) for path, at in stats.items()}


def give(name: str) -> Callable[[Path], None]:
    return lambda root: os.chown(root / name, NOBODY, NOBODY)


def open_up(name: str, mode: int = 0o777) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        root.chmod(0o755)
        (root / name).chmod(mode)

    return change


def open_a_run(root: Path) -> None:
    root.chmod(0o755)
    next((root / "runs").iterdir()).chmod(0o777)


def behind_a_link(root: Path) -> None:
    root.rename(root.with_name("theirs"))
    root.with_name("theirs").chmod(0o777)
    root.symlink_to(root.with_name("theirs"))


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "the group can write": (lambda root: root.chmod(0o770), "chmod -R go-w"),
    "all can write": (lambda root: root.chmod(0o777), "chmod -R go-w"),
    "runs can be written": (open_up("runs"), "/runs. If nobody else did: chmod"),
    "a run can be written": (open_a_run, "/runs/"),
    "sweeps can be written": (open_up("sweeps"), "/sweeps. If"),
    "what was asked for can be written": (open_up("host.json", 0o666), "/host.json. If"),
    "behind a link": (behind_a_link, "/theirs. If"),
}
FOREIGN: dict[str, tuple[Callable[[Path], None], str]] = {
    "another's": (give("."), "belongs to nobody, not to root"),
    "another's settings": (give("host.json"), "host.json belongs to nobody"),
    "another's sweeps": (give("sweeps"), "sweeps belongs to nobody"),
}


@pytest.mark.parametrize("name", [*KINDS, *(pytest.param(name, marks=as_root) for name in FOREIGN)])
def test_a_workspace_that_is_not_ours_alone_is_refused_and_read_on_request(
    workspace: Path, tmp_path: Path, tally: Tally, name: str
):
    """By every command in one case; in the others by one, since all of them start the same bridge."""
    row = tally("a workspace that others own or can write")
    change, sentence = (KINDS | FOREIGN)[name]
    change(workspace)
    before = contents(workspace.resolve())
    is_whole = name == "all can write"
    for wish in (["run", "Q2"], *([["status"], ["stop"]] if is_whole else [])):
        done = svhn_tui(*wish, "-w", workspace)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert sentence in done.stderr
        assert "--read-only" in done.stderr
    looking = LOOKING if is_whole else LOOKING[:1]
    results = {wish[0]: svhn_tui(*wish, "-w", workspace, "--read-only") for wish in looking}
    assert [(done.returncode, done.stderr) for done in results.values()] == [(0, "")] * len(looking)
    assert "53 finished" in results["status"].stdout
    if is_whole:
        exported = svhn_tui("export", tmp_path / "out", "-w", workspace, "--read-only")
        assert (tmp_path / "out" / "answers.md").exists(), exported.stderr
    row.injected += 1
    row.expect_none(wrong=contents(workspace.resolve()) != before)


def test_the_screen_does_not_open_on_it(workspace: Path, tally: Tally):
    row = tally("a workspace that others own or can write")
    workspace.chmod(0o777)
    with Terminal(workspace, 80, 24) as terminal:
        terminal.until(lambda text: "Others can write to" in text)
        assert terminal.ended() == 1
    row.injected += 1


def test_what_is_read_is_what_a_host_tells(workspace: Path):
    """But for the order of runs that ended in the same moment."""
    for wish in (*LOOKING, ["status", "--json"]):
        expected, read = (svhn_tui(*wish, "-w", workspace, *option).stdout for option in ((), ("--read-only",)))
        first, *rest = read.split("\n! ")
        assert sorted(expected.split("\n")) == sorted([*first.split("\n"), *([""] if rest else [])])
        assert wish != ["status"] or "nothing is trained or changed" in " ".join(rest)
    svhn_tui("stop", "-w", workspace)


def test_what_changes_something_is_refused_in_a_sentence(workspace: Path):
    before = contents(workspace)
    command = [sys.executable, "-m", "engine", "--workspace", str(workspace), "--read-only"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    run_id = next((workspace / "runs").iterdir()).name
    asked = (
        p.OpenData(source=("/x",), request="a"), p.Delete(runs=(run_id,), request="b"), p.Pause(request="c"),
        p.Choose(question="Q5", request="d"), p.Import(path="/x", request="e"), p.Inspect(run_id=run_id, request="f"),
        p.SetFleet(fleet=p.Fleet(ssh=("box",)), request="g"), p.Annotate(run_id=run_id, text="x", request="h"),
    )  # fmt: skip
    output, _ = process.communicate(b"".join(map(p.encode, asked)) + b"nonsense\n" + p.encode(p.Shutdown()))
    events = [p.decode_event(line) for line in output.splitlines()]
    refused = [event for event in events if isinstance(event, p.Refused)]
    assert [event.request for event in refused] == [*"abcdefgh", ""]
    assert all("is open read-only (as asked): nothing is trained or changed" in event.reason for event in refused[:-1])
    assert isinstance(events[-1], p.HostEnded)
    assert process.returncode == 0
    assert contents(workspace) == before


def test_odd_things_in_a_foreign_workspace_are_passed_over(workspace: Path, tmp_path: Path):
    """Nothing is waited for, and no link is followed out of it."""
    secret = tmp_path / "secret.json"
    runs = sorted((workspace / "runs").iterdir())
    shutil.copy(runs[0] / "result.json", secret)
    for number, plant in enumerate((os.mkfifo, lambda path: path.symlink_to(secret), lambda path: path.mkdir())):
        (runs[number] / "result.json").unlink()
        plant(runs[number] / "result.json")
        for name in ("host.json", f"sweeps/{number:012x}.json"):
            (workspace / name).unlink(missing_ok=True)
            if name != "host.json" or number == 0:
                plant(workspace / name)
    (runs[3] / "result.json").write_bytes((runs[4] / "result.json").read_bytes())  # under another's name
    (workspace / "runs" / "0123456789ab").symlink_to(runs[4])
    done = svhn_tui("runs", "--json", "-w", workspace, "--read-only")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count('"run_id"') == len(runs) - 4


@as_root
@pytest.mark.parametrize("has_host", [False, True], ids=["no host", "a host runs"])
def test_a_read_only_disk_shows_its_answers(workspace: Path, has_host: bool):
    script = """
    mount --bind "$W" "$W" || exit 77
    mount -o remount,ro,bind "$W" || exit 77
    for wish in status answers runs; do "$@" $wish -w "$W" || exit 1; done
    if [ -z "$HOST" ] && "$@" run Q2 -w "$W"; then exit 1; fi; "$@" stop -w "$W" """
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *PROGRAM]
    environment = {**os.environ, "W": str(workspace), "HOST": "yes" * has_host}
    if has_host:
        with Bridge(workspace, **worker()) as bridge:
            bridge.until_kind(p.CaughtUp)
            bridge.send(p.Watch(runs=("nobody",)))
            bridge.until_kind(p.Refused)
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    else:
        before = contents(workspace)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert contents(workspace) == before
        assert "is open read-only (it cannot be written): nothing is trained" in done.stderr or done.returncode == 77
    if done.returncode == 77:
        pytest.skip("no mounts in this container")
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout


def test_who_could_replace_the_workspace_is_told(workspace: Path, tmp_path: Path):
    assert ownership.exposure(workspace) == ""
    tmp_path.chmod(0o777)
    assert f"Others can write to {tmp_path}" in ownership.exposure(workspace)
    assert any("in the place of" in finding.text for finding in doctor.examine(workspace))
    with Bridge(workspace) as bridge:
        bridge.until_kind(p.CaughtUp)
        assert any(isinstance(event, p.Noticed) and "in the place of" in event.text for event in bridge.events)
        bridge.end()
    tmp_path.chmod(0o1777)
    assert ownership.exposure(workspace) == ""


def test_a_repair_keeps_its_hands_off(workspace: Path):
    (workspace / "runs" / "odd").mkdir()
    workspace.chmod(0o777)
    before = contents(workspace)
    done = svhn_tui("doctor", "--repair", "-w", workspace)
    assert done.returncode == 1
    assert "it is not yours alone" in done.stdout + done.stderr
    assert contents(workspace) == before


@pytest.mark.parametrize("name", ["host.lock", "host.log"])
@pytest.mark.parametrize("plant", ["link", "second name", "pipe", "folder"])
def test_lock_and_log_are_written_nowhere_else(workspace: Path, tmp_path: Path, name: str, plant: str):
    thesis, path = tmp_path / "thesis.tex", workspace / name
    thesis.write_text("all of it")
    path.unlink(missing_ok=True)
    {"link": lambda: path.symlink_to(thesis), "second name": lambda: path.hardlink_to(thesis),
     "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[plant]()  # fmt: skip
    done = svhn_tui("status", "-w", workspace)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{path}: something else stands where svhn-tui keeps a file" in done.stderr
    assert thesis.read_text() == "all of it"


LOOKS = (
    ["status"], ["answers"], ["runs"], ["evidence", "Q11"], ["stop"], ["export", "out"], ["pack", "x.zip"], ["doctor"],
    ["verify", "x.keras", "--data", "."], ["choose", "Q5"], ["finalists", "Q10"], ["status", "--read-only"],
)  # fmt: skip


@pytest.mark.parametrize("wish", LOOKS, ids=" ".join)
def test_what_only_looks_makes_no_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: list[str]):
    monkeypatch.chdir(tmp_path)
    done = svhn_tui(*wish, "-w", "typo/deep")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert "typo/deep is not a workspace" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_trains_makes_one_folder_and_no_chain(demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    done = svhn_tui("run", "Q2", "-w", "typo/deep")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"typo/deep: there is no {tmp_path}/typo; check the spelling, or make that folder first." in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert "Nothing to train" in svhn_tui("run", "Q1", "-w", "new", "--data", demo_folder, **worker()).stderr
    assert (tmp_path / "new" / "runs").is_dir()
