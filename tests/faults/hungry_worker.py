"""A real worker on a device whose memory is too small: groups of more than ROOM runs, and any of 48 units, exhaust it.

How is said by SVHN_TUI_TEST_HUNGER: `xla` asks XLA for more than there is; a folder is a control group with a memory
limit, which the worker enters before it takes more than that, so that the kernel kills it. Each time is noted by one
byte in the file that SVHN_TUI_TEST_MEALS names.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from engine.training.worker import arguments, prepare_jax, serve

ROOM = 2
LIMIT_BYTES = 600 * 2**20


def exhaust() -> None:
    hunger = os.environ["SVHN_TUI_TEST_HUNGER"]
    with Path(os.environ["SVHN_TUI_TEST_MEALS"]).open("ab") as meals:
        meals.write(b"x")
    if hunger == "xla":
        import jax.numpy as jnp

        jnp.zeros((1 << 46,), jnp.uint8).block_until_ready()
    (Path(hunger) / "cgroup.procs").write_text(str(os.getpid()))
    taken = bytearray(2 * LIMIT_BYTES)
    taken[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(taken[:: os.sysconf("SC_PAGE_SIZE")])


def main() -> int:
    given = arguments("hungry worker")
    prepare_jax()
    return serve(given.name, "tests.faults.hungry_worker:HungryTrainer")


if __name__ == "__main__":
    raise SystemExit(main())

if __name__ == "tests.faults.hungry_worker":
    from engine.core.spec import RunSpec
    from engine.data.images import Images
    from engine.training.jax_trainer import FastGroup, FastTrainer, Snapshot

    class HungryTrainer(FastTrainer):
        def group(self, specs: Sequence[RunSpec], images: Images, snapshots: Sequence[Snapshot | None]) -> FastGroup:
            if len(specs) > ROOM or specs[0].configuration.network.hidden == (48,):
                exhaust()
            return super().group(specs, images, snapshots)
