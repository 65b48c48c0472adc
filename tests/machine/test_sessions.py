"""What doctor says about logging out, from the settings of systemd-logind as they lie on disks."""

import os
from pathlib import Path

import pytest

from engine.machine import sessions
from engine.machine.system import user_name

US = user_name(os.geteuid())


def machine(root: Path, files: dict[str, str]) -> Path:
    (root / "run/systemd/seats").mkdir(parents=True)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MAIN, DROP_IN = "etc/systemd/logind.conf", "logind.conf.d/50-kill.conf"
ON, OFF = "[Login]\nKillUserProcesses=yes\nKillExcludeUsers=nobody-here\n", "[Login]\nKillUserProcesses = no\n"
CASES = {
    "debian's own file": ({MAIN: "[Login]\n#NAutoVTs=6\n#KillUserProcesses=no\n"}, False),
    "a system built with yes": ({MAIN: "[Login]\n#KillUserProcesses=yes\n#KillExcludeUsers=daemon\n"}, True),
    "set to yes": ({MAIN: ON}, True),
    "a file in /etc hides that of the system": ({MAIN: OFF, "usr/lib/systemd/logind.conf": ON}, False),
    "a drop-in has the last word": ({MAIN: OFF, f"usr/lib/systemd/{DROP_IN}": ON}, True),
    "a drop-in hidden by one of /etc": ({f"run/systemd/{DROP_IN}": ON, f"etc/systemd/{DROP_IN}": OFF}, False),
    "the later name wins": ({f"etc/systemd/{DROP_IN}": ON, "etc/systemd/logind.conf.d/90.conf": OFF}, False),
    "we are spared": ({MAIN: f"[Login]\nKillUserProcesses=1\nKillExcludeUsers=a {US}\n"}, False),
    "only others are meant": ({MAIN: ON + "KillOnlyUsers=guest\n"}, False),
    "nothing is set": ({}, False),
    "no settings at all": ({MAIN: "KillUserProcesses\n\x00[[\n"}, False),
}


@pytest.mark.parametrize("name", CASES)
def test_the_settings_are_read_as_logind_reads_them(tmp_path: Path, name: str):
    files, kills = CASES[name]
    (finding,) = sessions.examine(machine(tmp_path, files))
    assert (finding.level == "note") == kills, finding
    assert ("systemd-run --user --scope svhn-tui" in finding.advice) == kills
    assert ("enable-linger" in finding.advice) == kills
    assert f"linger is off for {US}" in finding.text


def test_linger_is_told_and_machines_without_logind_are_left_alone(tmp_path: Path):
    assert list(sessions.examine(tmp_path)) == []
    linger = {f"var/lib/systemd/linger/{US}": ""}
    (finding,) = sessions.examine(machine(tmp_path, linger))
    assert f"linger is on for {US}" in finding.text
