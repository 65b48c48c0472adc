"""The same program, start and order on the CPU and here: how far the weights are apart after twice 251 batches."""

import time
from typing import Any

from tests.gpu.children import result_of, start_child
from tests.gpu.common import epochs_of, group_of, hash_of, largest, relative, specs_of, weights_of
from tests.gpu.kit import Kit, Results

NETWORKS = (("relu 64", (64,), "relu"), ("linear", (), "linear"), ("tanh 256", (256,), "tanh"))
SMALL = NETWORKS[1:2]
AT_DEFAULT = 2
"""Networks that are compared at JAX's default precision too."""
PARTS = ("parameters", "others", "optimizer")
EPOCHS = 2


def begin_reference(kit: Kit, held: Results) -> None:
    """Train on the CPU, in a process of its own, while other sections are done here."""
    kit.begun["seeds"] = [0] if kit.small else [0, 1, 2]
    train, test = kit.parity
    given = {"train": train, "test": test, "networks": SMALL if kit.small else NETWORKS, "seeds": kit.begun["seeds"],
             "epochs": EPOCHS, "to": str(kit.work / "cpu.npz")}  # fmt: skip
    kit.begun["reference"] = start_child("reference", given, {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""})
    held["started"] = True


def parity(kit: Kit, held: Results) -> None:
    """Train the same here, at float32 and at JAX's default, and compare."""
    import numpy as np

    outcome = result_of(kit.begun["reference"], min(150, kit.left()))
    if "error" in outcome:
        raise RuntimeError(f"no reference: {outcome}")
    networks = SMALL if kit.small else NETWORKS
    with np.load(kit.work / "cpu.npz") as kept:
        for precision, some in (("float32", networks), ("default", networks[:AT_DEFAULT])):
            for network in some:
                held.setdefault(precision, {})[network[0]] = _compared(kit, kept, precision, network)
                kit.write()


def _compared(kit: Kit, kept: Any, precision: str, network: tuple[str, tuple[int, ...], str]) -> Results:
    """Return how far each seed of a network ends from the CPU's."""
    import numpy as np

    from engine import protocol as p
    from engine.training.jax_trainer import FastTrainer

    name, hidden, activation = network
    images, trainer = kit.images(kit.parity), FastTrainer()
    row: Results = {key: [] for key in ("max_weight", "relative", "loss", "accuracy", "test_correct", "group_s")}
    for seed in kit.begun["seeds"]:
        start, specs = _start(kept, name, seed), specs_of(hidden, activation, [seed])
        began = time.perf_counter()
        group = group_of(specs, images, precision, [start], trainer)
        row["group_s"].append(round(time.perf_counter() - began, 1))
        if seed == kit.begun["seeds"][0] and precision == "float32":
            own = group_of(specs, images, precision, trainer=trainer).snapshot(0, p.History())
            row["own_start_max"] = largest(own.parameters, start.parameters)  # weights drawn on this machine
            row["own_start_equal"] = hash_of(own.parameters) == hash_of(start.parameters)
        metrics, weights = epochs_of(group, EPOCHS), weights_of(group, 1)[0]
        theirs = [kept[f"{name}|{seed}|{index}"] for index in range(len(weights))]
        row["max_weight"].append(float(f"{largest(weights, theirs):.2e}"))
        row["relative"].append(float(f"{relative(weights, theirs):.2e}"))
        for key in ("loss", "accuracy"):
            on_cpu = kept[f"{name}|{seed}|{key}"]
            row[key].append(float(f"{np.max(np.abs(metrics[key] - on_cpu) / np.abs(on_cpu)):.2e}"))
        on_cpu = kept[f"{name}|{seed}|test_correct"]
        row["test_correct"].append([metrics["test_correct"][0].tolist(), on_cpu[0].tolist()])
    return row


def _start(kept: Any, name: str, seed: int) -> Any:
    """Return the state from which the CPU began."""
    from engine import protocol as p
    from engine.storage.checkpoint import Snapshot

    groups = []
    for part in PARTS:
        head = f"{name}|{seed}|start-{part}-"
        groups.append([kept[f"{head}{index}"] for index in range(sum(key.startswith(head) for key in kept.files))])
    return Snapshot(0, p.History(), *groups)


def reference(given: Results) -> Results:
    """In a child on the CPU: train the networks; keep the weights they began with and those they ended with."""
    import numpy as np

    from engine import protocol as p
    from tests.gpu.common import drawn

    images = drawn(given["train"], given["test"])
    kept = {}
    for name, hidden, activation in given["networks"]:
        for seed in given["seeds"]:
            group = group_of(specs_of(hidden, activation, [seed]), images, "default")
            start = group.snapshot(0, p.History())
            for part in PARTS:
                arrays = enumerate(getattr(start, part))
                kept |= {f"{name}|{seed}|start-{part}-{index}": array for index, array in arrays}
            metrics = epochs_of(group, given["epochs"])
            weights = weights_of(group, 1)[0]
            kept |= {f"{name}|{seed}|{index}": array for index, array in enumerate(weights)}
            kept |= {f"{name}|{seed}|{key}": values for key, values in metrics.items()}
    np.savez(given["to"], **kept)
    return {}
