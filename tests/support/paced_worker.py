"""A real worker whose every epoch lasts a while and costs nothing, so that faults find it at work.

SVHN_TUI_TEST_PACE: seconds that each epoch of each run lasts longer.
"""

import os
import runpy
import sys
import time

from engine import protocol as p
from engine.storage.journal import Journal

PACED = {"SVHN_TUI_WORKER": f"{sys.executable} -P -m tests.support.paced_worker"}
"""The environment of a host that starts such workers."""
SECONDS = float(os.environ.get("SVHN_TUI_TEST_PACE", "0.01"))

append = Journal.append


def append_later(self: Journal, event: p.AnyEvent, *, durable: bool = False) -> OSError | None:
    if isinstance(event, p.EpochEnded):
        time.sleep(SECONDS)
    return append(self, event, durable=durable)


def main() -> None:
    Journal.append = append_later  # type: ignore[method-assign]
    runpy.run_module("engine.training.worker", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
