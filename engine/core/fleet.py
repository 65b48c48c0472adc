"""The user's choice of where workers run."""

import msgspec


class Fleet(msgspec.Struct, frozen=True, gc=False):
    """Where workers run: on this machine, unless Slurm or other boxes are to be used."""

    slurm: str | None = None
    """Options of `srun`, as typed in a shell; None: Slurm is not used."""
    ssh: tuple[str, ...] = ()
    """Boxes, as named to `ssh`, each with its Python behind a colon if that is not found. One worker
    each: a box is named once for each of its GPUs."""
    workers: int = 0
    """Number of Slurm workers at a time; 0 means one."""
    gpus: str = ""
    """GPUs of this machine: empty for all, `none`, or a list such as `1,3`, as nvidia-smi numbers them."""

    @property
    def is_local(self) -> bool:
        """All workers run on this machine."""
        return self.slurm is None and not self.ssh
