"""Commands that the host sends to a worker."""

from typing import Literal

from engine.core.results import DataSet
from engine.core.spec import RunSpec
from engine.protocol.message import Command


class Train(Command, frozen=True, kw_only=True):
    """Host to worker: train these runs of one configuration as one group, each from its checkpoint if it has one."""

    group: str
    workspace: str
    specs: tuple[RunSpec, ...]
    data: DataSet
    attempt: str = ""
    """Its name, which sorts after all earlier ones; the runs' folders name the attempt that has them."""
    source: str = ""
    """The text of the model file, of an own model: the user approved it."""
    source_name: str = ""
    """What the user calls it, where that is known."""
    remark: str = ""
    """How an own model trains, and why."""


class StopRuns(Command, frozen=True, kw_only=True):
    """Host to worker: checkpoint and release these runs; the other lanes continue."""

    runs: tuple[str, ...]
    why: Literal["paused", "cancelled", "interrupted"]


WorkerCommand = Train | StopRuns
