"""A run in the waiting list."""

import msgspec

from engine.core.spec import RunSpec


class WaitingRun(msgspec.Struct, frozen=True, gc=False):
    """A run in the queue, and the sweep that it is first wanted by."""

    run_id: str
    spec: RunSpec
    sweep_id: str
    title: str
    paused: bool = False
