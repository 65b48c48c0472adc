"""Where a worker runs, and what it trains there."""

from typing import NamedTuple

from engine.core.spec import Configuration


class Slot(NamedTuple):
    """Where a worker runs: a GPU or CPU cores of this machine, Slurm, or another box."""

    name: str
    cores: tuple[int, ...] = ()
    gpu: str | None = None
    """UUID of the card, or of the slice of one."""
    trainer: str = "fast"
    slurm: tuple[str, ...] | None = None
    """Options of `srun` for it; None: it is not in Slurm's queue."""
    box: str = ""
    """Name of the box for ssh; empty on this machine and in Slurm."""
    python: str = ""
    """The Python of the box that has svhn-tui; else the host's own path is tried there."""
    share: tuple[int, int] = (0, 1)
    """(index, count) of this worker among those on the same box: they divide its GPUs or cores."""

    @property
    def is_elsewhere(self) -> bool:
        """Slurm or another machine gives it its cores and GPUs."""
        return self.slurm is not None or bool(self.box)

    @property
    def where(self) -> str:
        """`Slurm`, or the box that is reached over ssh; empty for the host's own machine."""
        return "Slurm" if self.slurm is not None else self.box


class Occupant(NamedTuple):
    """What a slot trains now."""

    configuration: Configuration
    lanes: int
