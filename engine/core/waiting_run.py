"""A run in the waiting list."""

import msgspec

from engine.core.spec import RunSpec


class WaitingRun(msgspec.Struct, frozen=True, gc=False):
    """A run in the waiting list, and the first sweep that asks for it."""

    run_id: str
    spec: RunSpec
    sweep_id: str
    title: str
    paused: bool = False
