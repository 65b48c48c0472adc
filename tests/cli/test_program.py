"""The program as its users run it: the command line, and the screen in a pseudo terminal."""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from engine import protocol as p
from engine.storage import journal
from engine.training.native import build
from tests.support.bridge import Bridge
from tests.support.hostile_folder import hostile_folder
from tests.support.patience import PATIENCE
from tests.support.terminal import PROGRAM, Terminal


def svhn_tui(*arguments: str, workspace: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*PROGRAM, *arguments, "--workspace", str(workspace)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def as_json(*arguments: str, workspace: Path) -> Any:
    return json.loads(svhn_tui(*arguments, "--json", workspace=workspace).stdout)


def test_when_the_time_is_over_everything_is_kept_and_the_same_command_goes_on(demo_folder: Path, tmp_path: Path):
    workspace = tmp_path / "w"
    for _ in range(2):
        wish = ("run", "Q2", "--epochs", "90000", "--data", str(demo_folder), "--stop-after", "6s")
        assert "The time is over" in svhn_tui(*wish, workspace=workspace, code=3).stderr
    (folder,) = (workspace / "runs").iterdir()
    events = journal.read(folder / "journal.jsonl").events
    epochs = [event.epoch for event in events if isinstance(event, p.EpochEnded)]
    assert epochs == list(range(1, len(epochs) + 1)), "no epoch was lost, and none trained twice"
    starts = [event.epoch for event in events if isinstance(event, p.RunStarted)]
    stops = [event.epoch for event in events if isinstance(event, p.RunInterrupted)]
    assert epochs
    assert starts == [0, *stops][: len(starts)], "each goes on where the one before stopped"
    chosen = svhn_tui("choose", "Q2", "0123456789ab", workspace=workspace, code=1)
    assert "not a finished run" in chosen.stderr
    svhn_tui("stop", workspace=workspace)


def test_a_run_that_is_cancelled_on_another_terminal_is_not_waited_for(demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path / "w") as bridge:
        wish = ["run", "Q7", "--epochs", "90000", "--seeds", "2", "--data", str(demo_folder)]
        waiting = subprocess.Popen(
            [*PROGRAM, *wish, "--workspace", str(tmp_path / "w")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            bridge.until(lambda state, event: len({*state.waiting, *state.live}) == 4)
            bridge.send(p.Cancel(runs=tuple({*bridge.state.waiting, *bridge.state.live})))
            _, output = waiting.communicate(timeout=PATIENCE)
        finally:
            waiting.kill()
        assert (waiting.returncode, output.count(b"it was cancelled or deleted meanwhile")) == (1, 4)
        bridge.end()


def test_q2_from_an_empty_workspace_to_a_verified_answer(demo_folder: Path, tmp_path: Path):
    workspace, data = tmp_path / "w", str(demo_folder)
    output = svhn_tui("run", "Q2", "--data", data, "--epochs", "3", "--json", workspace=workspace).stdout
    events = [json.loads(line) for line in output.splitlines()]
    assert [event["epoch"] for event in events if event["kind"] == "EpochEnded"] == [1, 2, 3]
    (run,) = as_json("runs", workspace=workspace)
    assert (run["hidden"], run["seed"], run["epochs"], run["trainable_parameters"]) == ([], 0, 3, 30_730)

    answer = as_json("answers", workspace=workspace)["Q3"]
    assert answer["answer"] == f"30730, {run['test_accuracy']:.4f}"
    assert (answer["state"], answer["runs"], answer["demo_data"]) == ("not-as-asked", [run["run_id"]], True)
    assert "epochs 3 instead of 100" in answer["reason"]

    file = Path(run["folder"]) / "model.keras"
    checked = subprocess.run(
        [*PROGRAM, "verify", str(file), "--data", data, "--question", "Q2", "--json"], capture_output=True, check=False
    )
    verification = json.loads(checked.stdout)
    wrong = [(check["name"], check["found"]) for check in verification["checks"] if not check["ok"]]
    assert (checked.returncode, wrong) == (1, [("fitted", "batches: 24; asked are 100 x 8 = 800")])
    assert (verification["test_accuracy"], verification["test_correct"]) == (run["test_accuracy"], run["test_correct"])
    assert (verification["sha256"], verification["has_optimizer_state"]) == (run["model_sha256"], True)

    again = svhn_tui("run", "Q2", "--epochs", "3", workspace=workspace).stdout
    assert "training on" not in again, "a run that is done is not trained again"
    with file.open("ab") as other:
        other.write(b"x")
    assert as_json("answers", workspace=workspace)["Q3"]["state"] == "stale"
    file.unlink()
    assert "is gone" in as_json("answers", workspace=workspace)["Q3"]["reason"]


def test_runs_as_asked_win_over_others(demo_folder: Path, tmp_path: Path):
    svhn_tui("run", "Q2", "--data", str(demo_folder), workspace=tmp_path)
    svhn_tui("run", "Q2", "--epochs", "2", workspace=tmp_path)
    answer = as_json("answers", workspace=tmp_path)["Q3"]
    asked = next(run for run in as_json("runs", workspace=tmp_path) if run["epochs"] == 100)
    assert (answer["state"], answer["runs"]) == ("demo", [asked["run_id"]])


def test_wrong_use_gets_one_sentence_and_its_exit_code(tmp_path: Path):
    assert "did you mean 'Q2'?" in svhn_tui("run", "Q22", workspace=tmp_path, code=2).stderr
    assert "is not there; give the folder" in svhn_tui("run", "Q2", "-d", "/no", workspace=tmp_path, code=1).stderr
    assert "Nothing to train" in svhn_tui("run", "Q1", workspace=tmp_path, code=1).stderr
    assert not list(tmp_path.glob("demo-data*")), "what trains nothing draws no data"
    (tmp_path / "experiments.json").write_text('{"format": 1, "titel": "x"}')
    assert "did you mean `title`?" in svhn_tui("run", "Q2", workspace=tmp_path, code=1).stderr
    dumb = subprocess.run(PROGRAM, capture_output=True, text=True, env={**os.environ, "TERM": "dumb"}, check=False)
    assert (dumb.returncode, "svhn-tui run Q2" in dumb.stderr) == (2, True)


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 40)])
def test_enter_on_q2_trains_with_curves_and_q3_is_answered(tmp_path: Path, columns: int, lines: int):
    with Terminal(tmp_path, columns, lines) as terminal:
        terminal.until(lambda text: "demo data" in text and "Q11" in text)
        terminal.press("\x1b[B")
        terminal.until(lambda text: "Q2  fit it" in text)
        terminal.press("\r")
        terminal.until(lambda text: "file 387 kB" in text)
        terminal.until(lambda text: any("\u2800" < character <= "\u28ff" for character in text))  # the curve is drawn
        terminal.press("5")
        terminal.until(lambda text: "30730, 0." in text and "demo data" in text)
        terminal.press("3")
        terminal.until(lambda text: "1 of 1 run" in text)
        terminal.press("?")
        terminal.until(lambda text: "esc goes back" in text)
        terminal.press("\x1b")
        terminal.until(lambda text: "esc goes back" not in text)
        terminal.press("q")
        assert terminal.ended() == 0


def test_who_is_in_a_hurry_presses_enter_before_the_data_is_open(tmp_path: Path):
    with Terminal(tmp_path, 80, 24) as terminal:
        terminal.until(lambda text: "Q11" in text)
        terminal.press("\x1b[B\r6")
        terminal.until(lambda text: "Drawn digits" in text)
        terminal.press("1")
        terminal.until(lambda text: "file 387 kB" in text)
        terminal.press("!")
        shown = terminal.until(lambda text: "Q2 trains as soon as the data is open." in text)
        assert "1 run to train" in shown


def test_killing_the_screen_leaves_the_training_and_the_next_one_shows_it(demo_folder: Path, tmp_path: Path):
    from tests.host.test_engine import sweep_of

    with Terminal(tmp_path, 100, 30) as terminal, Bridge(tmp_path) as bridge:
        terminal.until(lambda text: "demo data" in text)
        bridge.send(p.Submit(sweep=sweep_of(bridge.open(demo_folder), epochs=5_000)))
        bridge.until(lambda state, event: isinstance(event, p.EpochEnded) and event.epoch > 10)
        os.kill(terminal.process.pid, signal.SIGKILL)
        bridge.until(lambda state, event: isinstance(event, p.EpochEnded) and event.epoch > 50)
        with Terminal(tmp_path, 100, 30) as again:
            again.until(lambda text: "training 1 run" in text)
            again.press("2")
            again.until(lambda text: "epoch" in text and "of 5000" in text and "\u2880" in text)
        bridge.end()


def test_ctrl_z_goes_back_to_the_shell_and_fg_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = shlex.join(PROGRAM)
    monkeypatch.setattr("tests.support.terminal.PROGRAM", ["bash", "--norc", "--noprofile", "-i"])

    def control() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with Terminal(tmp_path, 80, 24, before=control, PS1="$ ") as shell:
        shell.until(lambda text: "$" in text)
        shell.press(f"sh -c {shlex.quote(program + '; true')}\r")  # something below it, as with `make`
        shell.until(lambda text: "Q11" in text and "demo data" in text)
        for _ in range(2):
            shell.press("\x1a")
            shell.until(lambda text: "Stopped" in text)
            shell.press("printf '\\033[2J\\033[H'; echo still $((40 + 2))\r")  # pyte knows no second screen
            shell.until(lambda text: "still 42" in text and "Q11" not in text)
            shell.press("fg\r")
            shell.until(lambda text: "Q11" in text and "demo data" in text and "still" not in text)
        shell.press("6")
        shell.until(lambda text: "Drawn digits" in text)
        shell.press("q")
        shell.until(lambda text: text.startswith("$"))  # what was typed before that is thrown away with the screen
        shell.press("printf '\\033[2J\\033[H'; echo left $((40 + 2))\r")
        shell.until(lambda text: "left 42" in text)


def test_without_a_shell_ctrl_z_says_so(tmp_path: Path):
    with Terminal(tmp_path, 80, 24) as terminal:
        terminal.until(lambda text: "Q11" in text)
        terminal.press("\x1a")
        terminal.until(lambda text: "no shell below" in text)
        terminal.press("q")
        assert terminal.ended() == 0


@pytest.mark.slow
def test_the_benchmark_trains_the_same_in_each_way_and_runs_nothing_of_the_current_folder(tmp_path: Path):
    desk = hostile_folder(tmp_path / "desk", tmp_path / "marker")
    command = [sys.executable, "-P", *PROGRAM[1:], "bench", "--hidden", "linear", "--train", "1000", "--epochs", "1"]
    environment = {**os.environ, "PATH": f":{os.environ['PATH']}", "LD_LIBRARY_PATH": ":"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run([*command, "--json", "--plot", "times.png"], capture_output=True, text=True, cwd=desk,
                          env=environment, check=True, timeout=3 * PATIENCE)  # fmt: skip
    assert not (tmp_path / "marker").exists(), (tmp_path / "marker").read_text()
    (linear,) = json.loads(done.stdout)["networks"]
    sides = [linear[f"{side}_us_per_batch"] for side in ("fit", "tuned_fit", "engine")]
    assert linear["jax_us_per_batch"] > 0
    assert linear["trainer"] == ("native" if build.find_compiler() else "jax")
    assert (linear["share_of_multiply_adds"] or 0.5) > 0
    assert (desk / "times.png").read_bytes().startswith(b"\x89PNG")
    assert (linear["parameters"], linear["batches"]) == (30_730, 32)
    assert all(side > 0 for side in sides)
    assert linear["ratio"] == pytest.approx(sides[0] / sides[2])
