"""`svhn-tui run --notify COMMAND`: the user's own command is told, and nothing from outside is interpreted."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import protocol as p
from svhn_tui.analysis.notices import Milestones
from svhn_tui.cli import notify
from svhn_tui.cli.notify import Notifier, run_with
from svhn_tui.client.reducer import fold
from tests.host.test_stages import worker
from tests.support.patience import PATIENCE
from tests.support.scenes import BOOK, attached, group_of, specs_of, tanh
from tests.support.terminal import PROGRAM

HOSTILE = "no memory; $(touch hacked) `touch hacked` && touch hacked\x1b]52;c;x\x07 {} %s '"


def recorder(folder: Path) -> tuple[str, ...]:
    """A command that keeps its arguments, the variable and what comes over stdin, a file a call."""
    script = folder / "record.py"
    script.write_text(
        "import json, os, sys, time\n"
        f"name = os.path.join({str(folder)!r}, f'call-{{time.time_ns()}}.json')\n"
        "json.dump([sys.argv[1:], os.environ['SVHN_TUI_NOTICE'], sys.stdin.read()], open(name, 'w'))\n"
        "print('said on stdout')\n"
    )
    return (sys.executable, str(script), "a b", "<{}>")


def calls(folder: Path) -> list[list[object]]:
    import json

    return [json.loads(path.read_text()) for path in sorted(folder.glob("call-*.json"))]


async def test_the_sentence_is_an_argument_a_variable_and_stdin_and_no_shell_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (spec,) = specs_of(tanh(256), 1)
    state = fold((*attached(), *group_of("g", (spec,), 3, 0.5)))
    failed = p.RunFailed(run_id=spec.run_id, reason=HOSTILE)
    notifier = Notifier(recorder(tmp_path), Milestones([], BOOK))
    notifier.receive(failed, fold((failed,), state))
    await notifier.close()
    ((arguments, variable, stdin),) = calls(tmp_path)
    assert str(variable).startswith("svhn-tui: tanh 256, seed 0: A run failed: no memory; $(touch hacked)")
    assert "\x1b" not in str(variable) and "\n" not in str(variable)
    assert arguments == ["a b", f"<{variable}>"] and stdin == f"{variable}\n"
    assert not (tmp_path / "hacked").exists()


async def test_what_comes_while_the_command_runs_is_told_together(tmp_path: Path):
    notifier = Notifier(recorder(tmp_path), Milestones([], BOOK))
    notifier.add_sentence("first")
    await asyncio.sleep(0)
    for index in range(30):
        notifier.add_sentence(f"later {index} " + "x" * 200_000)
    await notifier.close()
    first, rest = (str(call[1]) for call in calls(tmp_path))
    assert first == "svhn-tui: first"
    assert [line[:17] for line in rest.splitlines()[:2]] == ["svhn-tui: later 0", "svhn-tui: later 1"]
    assert len(rest) < 128 * 1024
    assert rest.endswith("and 10 more notices")


async def test_a_command_that_fails_hangs_or_is_gone_is_told_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(notify, "SECONDS", 0.5)
    assert await run_with(("true",), "done") == ""
    assert await run_with(("false",), "done") == "false ended with exit code 1."
    assert (
        await run_with((str(tmp_path / "none"),), "done")
        == f"{tmp_path}/none cannot be started: No such file or directory."
    )
    assert await run_with(("sleep", "600"), "done") == "sleep took longer than 0 seconds and was ended."


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*PROGRAM, "run", "Q2", "Q5", *arguments, "--workspace", str(folder / "w")],
        capture_output=True, text=True, timeout=PATIENCE, check=False, env={**os.environ, **worker()},
    )  # fmt: skip


def test_a_run_tells_what_is_complete_and_keeps_its_own_output_and_exit_code(demo_folder: Path, tmp_path: Path):
    command = " ".join(f"'{part}'" for part in recorder(tmp_path))
    done = run(tmp_path, "--data", str(demo_folder), "--json", "--notify", command)
    assert done.returncode == 0, done.stderr
    assert "said on stdout" in done.stderr and "said on stdout" not in done.stdout
    sentences = "\n".join(str(call[1]) for call in calls(tmp_path))
    assert "All is trained: Q2, Q5." in sentences
    again = run(tmp_path, "--notify", "false")
    assert again.returncode == 0, again.stderr
    for wrong in ("no-such-program x", "'", ""):
        refused = run(tmp_path, "--notify", wrong)
        assert refused.returncode == 2 and "--notify" in refused.stderr, refused.stderr
    subprocess.run([*PROGRAM, "stop", "--workspace", str(tmp_path / "w")], capture_output=True, check=True)
