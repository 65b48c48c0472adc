"""The kit's child processes: a reference on the CPU, one group from scratch under other flags, and Keras's own fit."""

import contextlib
import json
import os
import subprocess
import sys
import time

from tests.gpu.common import SHAPE, drawn, epochs_of, group_of, specs_of, state_hash, weights_of

BEGAN = time.monotonic()


def child_reference(given):
    """On the CPU: train the parity networks; keep the weights they began with and those they ended with."""
    import numpy as np

    from engine import protocol as p

    images = drawn(given["train"], given["test"])
    kept = {}
    for name, hidden, activation in given["networks"]:
        for seed in given["seeds"]:
            group = group_of(specs_of(hidden, activation, [seed]), images, "default")
            start = group.snapshot(0, p.History())
            for part in ("parameters", "others", "optimizer"):
                kept |= {
                    f"{name}|{seed}|start-{part}-{index}": array for index, array in enumerate(getattr(start, part))
                }
            metrics = epochs_of(group, given["epochs"])
            for index, array in enumerate(weights_of(group, 1)[0]):
                kept[f"{name}|{seed}|{index}"] = array
            for key, values in metrics.items():
                kept[f"{name}|{seed}|{key}"] = values
    np.savez(given["to"], **kept)
    return {}


def change_program(change):
    """Try what might suit a GPU otherwise: stacked logits as on a CPU, Keras's own dense layer, a loop unrolled."""
    import jax

    from engine.training import compiled_epoch

    if "plain" in change:  # no transposed narrow kernels, no barriers
        compiled_epoch.NARROW, compiled_epoch.KINDS = 0, {}
    if "stacked" in change:
        compiled_epoch.Program._train_summing = compiled_epoch.Program._train_stacking
    if "unroll" in change:
        scan = jax.lax.scan
        jax.lax.scan = lambda *given, **named: scan(*given, **{**named, "unroll": change["unroll"]})


def child_once(given):
    """Train one group from scratch: hash, seconds to compile, microseconds a batch. The parent sets flags and cache."""
    import jax

    change_program(given.get("change", {}))

    images = drawn(given["train"], given["test"])
    began = time.perf_counter()
    group = group_of(specs_of(given["hidden"], given["activation"], range(given["lanes"])), images, given["precision"])
    compiled = time.perf_counter() - began
    seconds = []
    for _ in range(given["epochs"]):
        began = time.perf_counter()
        group.train_epoch()
        seconds.append(time.perf_counter() - began)
    batches = -(-given["train"] // 32)
    warm = sorted(seconds[1:]) or seconds
    return {
        "hash": state_hash(group, 0),
        "group_s": round(compiled, 2),
        "device": str(jax.devices()[0]),
        "us_per_batch": round(1e6 * warm[len(warm) // 2] / batches, 1),
    }


def child_fit(given):
    """Keras's own model.fit on the JAX backend, as the assignment writes it, on whatever device JAX takes."""
    import keras
    import numpy as np

    from engine.core.spec import Network, Training
    from engine.training import models

    images = drawn(given["train"], given["test"])
    network = Network(tuple(given["hidden"]), given["activation"] if given["hidden"] else "linear")
    model = models.build(network, SHAPE, softmax=True, seed=0)
    model.compile(
        loss=models.LOSS,
        metrics=[models.METRIC],
        optimizer=models.optimizer_of(Training()),
        steps_per_execution=given["steps"],
    )
    hot = np.eye(10, dtype=np.float32)
    seconds = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.perf_counter() - self.began)
            if time.monotonic() - BEGAN > given["limit"]:
                self.model.stop_training = True

    model.fit(
        images.train_images.astype(np.float32),
        hot[images.train_labels],
        batch_size=32,
        epochs=given["epochs"],
        validation_data=(images.test_images.astype(np.float32), hot[images.test_labels]),
        verbose=0,
        callbacks=[Clock()],
    )
    batches = -(-given["train"] // 32)
    return {
        "epoch_s": [round(s, 3) for s in seconds],
        "us_per_batch": round(1e6 * min(seconds[1:] or seconds) / batches, 1),
    }


CHILDREN = {"reference": child_reference, "once": child_once, "fit": child_fit}


def start_child(kind, given, environment=None, cache=""):
    env = {**os.environ, **(environment or {}), "GPU_CHECK_CACHE": cache}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.gpu", "--child", kind, "--payload", json.dumps(given)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def result_of(process, seconds):
    """Return what a child said; it is ended when it takes longer."""
    try:
        out, err = process.communicate(timeout=max(1.0, seconds))
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.communicate()
        return {"error": f"took more than {seconds:.0f} s"}
    noise = [line for line in err.splitlines() if line.strip()]
    try:
        told = json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"error": f"exit {process.returncode}", "stderr": noise[-8:]}
    told["stderr_lines"] = len(noise)
    if noise:
        told["stderr"] = [line[:240] for line in noise[:4]]
    return told
