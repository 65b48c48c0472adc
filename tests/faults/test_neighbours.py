"""Two users of one machine, neither of them root: nothing of the other's is read, run or written.

They live in mounts of this test's own, so that their /tmp is nobody else's and the interpreter is within their reach.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.conftest import Tally
from tests.support.patience import PATIENCE
from tests.support.terminal import PROGRAM

ALICE, MALLORY = 65_531, 65_532
CLOSED = next((folder for folder in reversed(Path(sys.base_prefix).parents) if not folder.stat().st_mode & 1), None)
"""What keeps others from the interpreter, such as a home folder."""
MACHINE = f"""
set -e
mount -t tmpfs -o mode=1777 tmpfs /tmp
if [ "$CLOSED" ]; then
    mkdir -m 755 /tmp/python; mount --bind "$PYTHON" /tmp/python
    mount -t tmpfs -o mode=755 tmpfs "$CLOSED"; mkdir -p "$PYTHON"; mount --bind /tmp/python "$PYTHON"
fi
as() {{ id=$1; shift; setpriv --reuid $id --regid $id --clear-groups env HOME=/tmp/home-$id "$@"; }}
alice() {{ as {ALICE} "$@"; }}
mallory() {{ as {MALLORY} "$@"; }}
for id in {ALICE} {MALLORY}; do as $id mkdir -m 700 /tmp/home-$id; done
alice "$1" -c 'import engine.protocol' || exit 77
cd /tmp
"""
NO_MACHINE = os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None


def played(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in which `alice COMMAND` and `mallory COMMAND` are somebody; "$@" is the program."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    environment |= {"CLOSED": str(CLOSED or ""), "PYTHON": sys.base_prefix, "PYTHONPATH": str(Path.cwd()),
                    "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    command = ["unshare", "--mount", "sh", "-c", MACHINE + script, "sh", *PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode == 77 or "unshare failed" in done.stderr or "mount: " in done.stderr:
        pytest.skip(f"no users or mounts of its own here: {done.stderr.strip()[-200:]}")
    return done


@pytest.mark.skipif(NO_MACHINE, reason="only root can be two others")
def test_two_users_who_are_not_root(tally: Tally):
    row = tally("under two unprivileged users: workspace, socket and /tmp names planted")
    theirs, folder = "/tmp/theirs", f"/tmp/svhn-tui-{ALICE}"
    done = played(f"""
    mallory "$@" run Q1 -w {theirs} 2>/dev/null || true
    mallory "$@" stop -w {theirs} >/dev/null
    mallory touch {theirs}/was-run
    mallory sh -c 'echo "{{\\"fleet\\": {{\\"ssh\\": [\\"localhost:/tmp/theirs/python\\"]}}}}" > {theirs}/host.json'
    mallory chmod -R go+rX {theirs}
    mallory mkdir {folder}; mallory chmod 777 {folder}
    sleep 0.05; touch /tmp/since; sleep 0.05
    for option in "" --read-only; do alice "$@" status -w {theirs} $option || echo "refused: $?"; done
    alice "$@" run Q2 -w {theirs} || echo "refused: $?"
    alice "$@" run Q1 -w /tmp/hers || true
    alice "$@" status -w /tmp/hers && mallory "$@" status -w /tmp/hers || echo "refused: $?"
    for what in status runs; do mallory "$@" $what -w /tmp/hers --read-only || echo "refused: $?"; done
    alice "$@" stop -w /tmp/hers
    echo "touched: $(find {theirs} {folder} -newer /tmp/since)."
    echo "hers: $(find /tmp/hers /tmp/home-{ALICE} /tmp/svhn-tui-{ALICE}-* -perm /077 2>/dev/null)."
    """)
    row.injected += 1
    errors = done.stderr
    assert done.returncode == 0, errors
    assert errors.count(f"{theirs} belongs to user {MALLORY}, not to user {ALICE}") == 2
    assert done.stdout.count("refused: ") == 5
    assert done.stdout.count("0 finished") == 2, "theirs, read only, and hers"
    assert "Stopped." in done.stdout
    assert "touched: .\nhers: ." in done.stdout
    assert "Traceback" not in errors
    row.expect_none(wrong=0)


@pytest.mark.skipif(NO_MACHINE, reason="only root can be two others")
def test_a_runtime_folder_that_came_along_with_su_is_not_used(tally: Tally):
    """As `su` and `sudo -E` leave it in the environment: the folder is another's, even where it can be entered."""
    row = tally("XDG_RUNTIME_DIR of another user")
    done = played("""
    mallory mkdir /tmp/run; mallory chmod 777 /tmp/run; mallory mkdir -m 777 /tmp/run/svhn-tui
    export XDG_RUNTIME_DIR=/tmp/run
    alice "$@" run Q1 -w /tmp/hers || true
    alice "$@" status -w /tmp/hers; alice "$@" stop -w /tmp/hers
    echo "found: $(find /tmp/run -type s -o -type f)."
    """)
    row.injected += 1
    row.expect_none(wrong="0 finished" not in done.stdout or "found: ." not in done.stdout)
