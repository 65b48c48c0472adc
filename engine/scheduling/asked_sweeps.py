"""The sweeps that are asked for, and their missing runs. Pure."""

from collections.abc import Iterator, Mapping

from engine.core import sweep as plan
from engine.core.spec import RunSpec
from engine.core.sweep import Sweep
from engine.protocol import WaitingRun


class AskedSweeps(Mapping[str, Sweep]):
    """The sweeps by sweep_id, in the order in which they were asked for.

    Args:
        accuracies: those of the finished runs by run_id, now and later.
    """

    def __init__(self, accuracies: Mapping[str, float]) -> None:
        self._accuracies = accuracies
        self._sweeps: dict[str, Sweep] = {}
        self._first_stages: dict[str, set[str]] = {}
        """Missing runs of each sweep's first stage; the second stage follows when there are none."""

    def __getitem__(self, sweep_id: str) -> Sweep:
        """Return a sweep."""
        return self._sweeps[sweep_id]

    def __iter__(self) -> Iterator[str]:
        """Go through the sweep_ids."""
        return iter(self._sweeps)

    def __len__(self) -> int:
        """Count the sweeps."""
        return len(self._sweeps)

    def add(self, sweep: Sweep) -> tuple[str, dict[str, RunSpec]]:
        """Add a sweep, or examine it again; return its sweep_id, and its missing runs by run_id."""
        sweep_id = sweep.sweep_id  # a hash of all its seeds: computed once
        self._sweeps[sweep_id] = sweep
        missing = {spec.run_id: spec for spec in plan.missing(sweep, self._accuracies)}
        self._first_stages.pop(sweep_id, None)
        if missing and sweep.finalists is not None and not plan.finalists(sweep, self._accuracies):
            self._first_stages[sweep_id] = set(missing)
        return sweep_id, missing

    def remove_replaced(self, sweep: Sweep) -> tuple[Sweep, ...]:
        """Remove and return the sweeps that this one replaces by another choice of finalists."""
        old = tuple(some for some in self._sweeps.values() if plan.is_other_choice(some, sweep))
        for some in old:
            del self._sweeps[some.sweep_id]
            self._first_stages.pop(some.sweep_id, None)
        return old

    def missing(self, *others: Sweep) -> set[str]:
        """Return the missing runs of all these sweeps and of others."""
        sweeps = (*self._sweeps.values(), *others)
        return {spec.run_id for sweep in sweeps for spec in plan.missing(sweep, self._accuracies)}

    def asking_for(self, run: WaitingRun) -> Sweep | None:
        """Return the sweep that a run is trained for; where that no longer asks for it, another one that lacks it."""
        own = self._sweeps.get(run.sweep_id)
        if own and (own.finalists is None or run.spec in plan.asked(own, self._accuracies)):
            return own
        return next((some for some in self._sweeps.values() if run.spec in plan.missing(some, self._accuracies)), None)

    def reopen(self, run_id: str) -> bool:
        """Record that a finished run is gone; say whether the finalists of a sweep may be unknown again without it."""
        is_reopened = False
        for sweep_id, sweep in self._sweeps.items():
            if sweep.finalists is None or all(run_id != spec.run_id for spec in plan.missing(sweep, self._accuracies)):
                continue
            is_reopened |= sweep_id not in self._first_stages
            self.add(sweep)
        return is_reopened

    def finish(self, run_id: str) -> Iterator[Sweep]:
        """Record that a run is finished; yield the sweeps whose first stage it completes."""
        for sweep_id, missing in list(self._first_stages.items()):
            missing.discard(run_id)
            if not missing:
                yield self._sweeps[sweep_id]
