"""The kit's child processes: how they are started, and what they answer."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

BEGAN = time.monotonic()


def start_child(
    kind: str, given: Mapping[str, Any], environment: Mapping[str, str] | None = None, cache: str = ""
) -> "subprocess.Popen[str]":
    """Start one of `CHILDREN` of `__main__`.

    Args:
        kind: which.
        given: what it is to do.
        environment: variables that are otherwise for it.
        cache: the folder of its compiled programs; without one it keeps none.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "tests.gpu", "--child", kind, "--payload", json.dumps(given)],
        env={**os.environ, **(environment or {}), "GPU_CHECK_CACHE": cache},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def result_of(process: "subprocess.Popen[str]", seconds: float) -> dict[str, Any]:
    """Return what a child said; it is ended when it takes longer."""
    try:
        out, err = process.communicate(timeout=max(1.0, seconds))
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.communicate()
        return {"error": f"took more than {seconds:.0f} s"}
    noise = [line for line in err.splitlines() if line.strip()]
    try:
        outcome: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"error": f"exit {process.returncode}", "stderr": noise[-8:]}
    outcome["stderr_lines"] = len(noise)
    if noise:
        outcome["stderr"] = [line[:240] for line in noise[:4]]
    return outcome
