"""Twice the same; compiled anew; alone or as a lane of ten; resumed or not: equal bits, else how far apart."""

import time
from typing import Any

from tests.gpu.common import epochs_of, group_of, largest, specs_of, state_hash, weights_of
from tests.gpu.kit import Kit, Results

NETWORKS = (("64", (64,)), ("256", (256,)), ("linear", ()))
SECONDS = 60
"""After so many no further network is begun."""


def determinism(kit: Kit, held: Results) -> None:
    """Compare each network with itself."""
    began = time.monotonic()
    for name, hidden in NETWORKS[2:] if kit.small else NETWORKS:
        if time.monotonic() - began > SECONDS and not kit.small:
            held["stopped_at"] = name
            return
        held[name] = _compared(kit, hidden)
        kit.write()


def _compared(kit: Kit, hidden: tuple[int, ...]) -> Results:
    from engine import protocol as p
    from engine.training.jax_trainer import FastTrainer

    images, lanes, trainer = kit.images(kit.parity), kit.lanes, FastTrainer()

    def begun(seeds: Any, start: Any = None, by: Any = None) -> Any:
        snapshots = [start] if start is not None else None
        return group_of(specs_of(hidden, "relu", seeds), images, kit.precision, snapshots, by or trainer)

    runs = []
    for by in (trainer, trainer, FastTrainer()):
        epochs_of(group := begun([1], by=by), 2)
        runs.append((state_hash(group, 0), weights_of(group, 1)[0]))
    (first, weights), (second, _), (anew, others) = runs
    row: Results = {"twice_equal": first == second, "compiled_anew_equal": first == anew}
    row["compiled_anew_max"] = largest(weights, others)
    epochs_of(cut := begun([1]), 1)
    epochs_of(resumed := begun([1], cut.snapshot(0, p.History())), 1)
    row["resumed_equal"] = state_hash(resumed, 0) == first
    epochs_of(together := begun(range(lanes)), 1)
    epochs_of(alone := begun([1], together.snapshot(1, p.History())), 1)  # as when memory ran out and lanes are halved
    epochs_of(together, 1)
    lane = weights_of(together, lanes)[1]
    row["lane_equal"] = state_hash(together, 1) == first
    row["lane_max"] = largest(lane, weights)
    row["regrouped_max"] = largest(weights_of(alone, 1)[0], lane)
    return row
