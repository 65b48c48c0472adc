"""The trainer of a worker: for each group the one that suits it, loaded when it is first needed."""

from collections.abc import Sequence

from engine.core.spec import RunSpec
from engine.data.images import Images
from engine.storage.checkpoint import Snapshot
from engine.training import trainer_choice
from engine.training.jax_trainer import FastTrainer
from engine.training.native import build
from engine.training.native.library import Library
from engine.training.native.native_trainer import NativeTrainer
from engine.training.trainer import Group
from engine.training.trainer_choice import Circumstances


class AutoTrainer:
    """Trains with the native trainer where it can, else with JAX."""

    name = "fast"

    def __init__(self) -> None:
        self._jax = FastTrainer()
        self._native: NativeTrainer | None = None

    @property
    def device(self) -> str:
        """The device that trains, as `FastTrainer.device`."""
        return self._jax.device

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries on which the numbers depend."""
        return self._jax.versions

    @property
    def reserved_bytes(self) -> int:
        """Bytes of its GPU's memory that this process has reserved."""
        return self._jax.reserved_bytes

    def group(self, specs: Sequence[RunSpec], images: Images, snapshots: Sequence[Snapshot | None]) -> Group:
        """Begin or resume runs that have trained the same number of epochs.

        Raises:
            ValueError: the requested trainer cannot train them.
        """
        configuration, snapshot = specs[0].configuration, snapshots[0]
        written_by = snapshot.trainer if snapshot else ""
        here = Circumstances(
            images.shape.classes, len(specs), self.device, dtype=images.shape.dtype, written_by=written_by
        )
        if configuration.training.trainer != "jax" and not trainer_choice.unsuited(configuration, here):
            here = here._replace(problem=self._load_native())
        choice = trainer_choice.choose(configuration, here)
        trainer = self._native if choice.trainer == "native" and self._native else self._jax
        group: Group = trainer.group(specs, images, snapshots)
        group.remark = choice.remark
        return group

    def _load_native(self) -> str:
        """Load the native trainer; return why there is none, or nothing."""
        if self._native is None:
            built = build.library()
            if built.path is None:
                return built.problem
            try:
                self._native = NativeTrainer(Library(built.path))
            except OSError as error:
                return f"The native trainer cannot be loaded: {error}"
        return ""
