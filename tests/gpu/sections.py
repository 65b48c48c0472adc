"""What is looked at on a GPU, section by section; each stands alone, and what was found is written after each."""

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

from engine.machine.xla_flags import DETERMINISTIC_FLAG, LOOP_FLAG
from tests.gpu.children import BEGAN, result_of, start_child
from tests.gpu.common import (
    NETWORKS,
    SHAPE,
    drawn,
    epochs_of,
    group_of,
    hash_of,
    largest,
    relative,
    specs_of,
    state_hash,
    weights_of,
)

# The assignment: (network, lanes, groups). Deep shapes that are not timed take the figure of the nearest timed one.
ASSIGNMENT = [("linear", 1, 1), ("256", 10, 2), ("64", 10, 1), ("1024", 10, 1)]
DEEP = {
    "64,64": "64",
    "64,256": "64",
    "256,64": "256",
    "256,256": "256,256,256",
    "1024,256": "1024,256",
    "256,1024": "256,256,256",
    "64,64,64": "64",
    "256,256,256": "256,256,256",
}
FINALISTS = ("1024,256", "256,256,256")


class Check:
    def __init__(self, given):
        self.small = given.small
        self.precision = given.precision
        self.total = given.seconds or (200 if given.small else 380)
        self.found = {"precision_of_timed": given.precision, "small": given.small, "sections": {}, "skipped": []}
        self.out = Path(os.environ.get("OUT") or tempfile.mkdtemp(prefix="gpu_check."))
        self.work = Path(tempfile.mkdtemp(prefix="gpu_check.work."))
        self.parity = (250 * 32 + 16, 500) if not given.small else (20 * 32 + 16, 100)
        self.timed = (50_000, 10_000) if not given.small else (640, 250)
        self._images = {}

    def left(self):
        return self.total - (time.monotonic() - BEGAN)

    def write(self):
        self.found["seconds"] = round(time.monotonic() - BEGAN, 1)
        path = self.out / "gpu.json.part"
        path.write_text(json.dumps(self.found, indent=1))
        path.replace(self.out / "gpu.json")

    def images(self, sizes):
        if sizes not in self._images:
            self._images[sizes] = drawn(*sizes)
        return self._images[sizes]

    def section(self, name, do, least=5.0):
        if self.left() < least:
            self.found["skipped"].append(name)
            return
        print(f"[{time.monotonic() - BEGAN:6.1f} s] {name}", file=sys.stderr, flush=True)
        began, held = time.monotonic(), {}
        self.found["sections"][name] = held
        try:
            do(held)
        except BaseException as error:
            held["error"] = f"{type(error).__name__}: {str(error)[:400]}"
            held["traceback"] = traceback.format_exc()[-1500:]
            if isinstance(error, KeyboardInterrupt):
                raise
        held["section_s"] = round(time.monotonic() - began, 1)
        self.write()

    # ------------------------------------------------------------------------------------------------------------------

    def machine(self, held):
        import platform

        held["python"] = platform.python_version()
        for name in (
            "jax",
            "jaxlib",
            "jax-cuda13-plugin",
            "jax-cuda12-plugin",
            "keras",
            "numpy",
            "tensorflow",
            "nvidia-ml-py",
            "nvidia-cudnn-cu13",
            "nvidia-cublas",
            "nvidia-cuda-nvcc",
            "msgspec",
            "textual",
            "tinydb",
        ):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                held.setdefault("versions", {})[name] = importlib.metadata.version(name)
        held["cores"] = len(os.sched_getaffinity(0))
        held["environment"] = {
            k: v for k, v in os.environ.items() if re.match(r"CUDA_|NVIDIA_|XLA_|JAX_|TF_|LD_LIBRARY_PATH", k)
        }
        for command in (
            ["nvidia-smi", "-L"],
            [
                "nvidia-smi",
                "--query-gpu=name,driver_version,compute_cap,memory.total,memory.used,mig.mode.current,compute_mode,persistence_mode",
                "--format=csv,noheader",
            ],
        ):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                said = subprocess.run(command, capture_output=True, text=True, timeout=20)
                held.setdefault("nvidia_smi", []).append((said.stdout or said.stderr).strip()[:400])
        import jax

        device = jax.devices()[0]
        held["jax_devices"] = [str(d) for d in jax.devices()]
        held["device_kind"], held["platform"] = device.device_kind, device.platform
        held["memory_stats"] = device.memory_stats()
        self.found["device"] = device.device_kind

    def nvml(self, held):
        """Every call that engine/devices.py makes or might make, one by one."""
        import pynvml

        pynvml.nvmlInit()
        calls = {
            "count": lambda h: pynvml.nvmlDeviceGetCount(),
            "name": pynvml.nvmlDeviceGetName,
            "uuid": pynvml.nvmlDeviceGetUUID,
            "driver": lambda h: pynvml.nvmlSystemGetDriverVersion(),
            "cuda": lambda h: pynvml.nvmlSystemGetCudaDriverVersion_v2(),
            "capability": pynvml.nvmlDeviceGetCudaComputeCapability,
            "memory": lambda h: (lambda m: (int(m.used), int(m.total)))(pynvml.nvmlDeviceGetMemoryInfo(h)),
            "utilisation": lambda h: pynvml.nvmlDeviceGetUtilizationRates(h).gpu,
            "temperature": lambda h: pynvml.nvmlDeviceGetTemperature(h, pynvml.NVML_TEMPERATURE_GPU),
            "power": pynvml.nvmlDeviceGetPowerUsage,
            "mig": pynvml.nvmlDeviceGetMigMode,
            "processes": lambda h: [(q.pid, q.usedGpuMemory) for q in pynvml.nvmlDeviceGetComputeRunningProcesses(h)],
            "own_pid": lambda h: os.getpid(),
        }
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        for name, call in calls.items():
            try:
                began = time.perf_counter()
                held[name] = str(call(handle))[:200]
                held.setdefault("ms", {})[name] = round(1e3 * (time.perf_counter() - began), 2)
            except Exception as error:  # noqa: BLE001
                held[name] = f"raises {type(error).__name__}: {error}"
        from engine.machine import devices

        held["product_gpus"] = len(devices.choose_gpus().gpus)
        held["product_samples"] = [repr(sample) for sample in devices.sample()]

    def begin_reference(self, held):
        self.networks = [("relu 64", (64,), "relu"), ("linear", (), "linear"), ("tanh 256", (256,), "tanh")]
        self.seeds = [0, 1, 2] if not self.small else [0]
        given = {
            "train": self.parity[0],
            "test": self.parity[1],
            "networks": self.networks,
            "seeds": self.seeds,
            "epochs": 2,
            "to": str(self.work / "cpu.npz"),
        }
        self._reference = start_child("reference", given, {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""})
        held["started"] = True

    def parity_with_cpu(self, held):
        """The same program, start and order on the CPU and here: twice 251 batches."""
        import numpy as np

        from engine import protocol as p
        from engine.storage.checkpoint import Snapshot
        from engine.training.jax_trainer import FastTrainer

        told = result_of(self._reference, min(150, self.left()))
        if "error" in told:
            raise RuntimeError(f"no reference: {told}")
        kept, images = np.load(self.work / "cpu.npz"), self.images(self.parity)

        def start_of(name, seed):
            groups = []
            for part in ("parameters", "others", "optimizer"):
                head = f"{name}|{seed}|start-{part}-"
                groups.append(
                    [kept[f"{head}{index}"] for index in range(sum(key.startswith(head) for key in kept.files))]
                )
            return Snapshot(0, p.History(), *groups)

        for precision in ("float32", "default"):
            for name, hidden, activation in self.networks[: 3 if precision == "float32" else 2]:
                trainer = FastTrainer()
                row = held.setdefault(precision, {}).setdefault(
                    name,
                    {"max_weight": [], "relative": [], "loss": [], "accuracy": [], "test_correct": [], "group_s": []},
                )
                for seed in self.seeds:
                    start, specs = start_of(name, seed), specs_of(hidden, activation, [seed])
                    began = time.perf_counter()
                    group = group_of(specs, images, precision, [start], trainer)
                    row["group_s"].append(round(time.perf_counter() - began, 1))
                    if seed == self.seeds[0] and precision == "float32":
                        own = group_of(specs, images, precision, trainer=trainer).snapshot(0, p.History())
                        row["own_start_max"] = largest(own.parameters, start.parameters)  # weights drawn on this device
                        row["own_start_equal"] = hash_of(own.parameters) == hash_of(start.parameters)
                    metrics, weights = epochs_of(group, 2), weights_of(group, 1)[0]
                    theirs = [kept[f"{name}|{seed}|{index}"] for index in range(len(weights))]
                    row["max_weight"].append(float(f"{largest(weights, theirs):.2e}"))
                    row["relative"].append(float(f"{relative(weights, theirs):.2e}"))
                    for key in ("loss", "accuracy"):
                        cpu = kept[f"{name}|{seed}|{key}"]
                        row[key].append(float(f"{np.max(np.abs(metrics[key] - cpu) / np.abs(cpu)):.2e}"))
                    row["test_correct"].append(
                        [metrics["test_correct"][0].tolist(), kept[f"{name}|{seed}|test_correct"][0].tolist()]
                    )
                self.write()

    def determinism(self, held):
        """Twice the same; compiled anew; alone or as a lane of ten; resumed or not: bits, else how far."""
        from engine import protocol as p
        from engine.training.jax_trainer import FastTrainer

        images, lanes = self.images(self.parity), 10 if not self.small else 3
        began = time.monotonic()
        for name, hidden in (("64", (64,)), ("256", (256,)), ("linear", ())):
            if time.monotonic() - began > 60 and not self.small:
                held["stopped_at"] = name
                return
            row = held[name] = {}
            trainer = FastTrainer()
            runs = []
            for fresh in (False, False, True):
                group = group_of(
                    specs_of(hidden, "relu", [1]), images, self.precision, trainer=FastTrainer() if fresh else trainer
                )
                epochs_of(group, 2)
                runs.append((state_hash(group, 0), weights_of(group, 1)[0]))
            row["twice_equal"] = runs[0][0] == runs[1][0]
            row["compiled_anew_equal"] = runs[0][0] == runs[2][0]
            row["compiled_anew_max"] = largest(runs[0][1], runs[2][1])
            first = group_of(specs_of(hidden, "relu", [1]), images, self.precision, trainer=trainer)
            epochs_of(first, 1)
            cut = first.snapshot(0, p.History())
            resumed = group_of(specs_of(hidden, "relu", [1]), images, self.precision, [cut], trainer)
            epochs_of(resumed, 1)
            row["resumed_equal"] = state_hash(resumed, 0) == runs[0][0]
            together = group_of(specs_of(hidden, "relu", range(lanes)), images, self.precision, trainer=trainer)
            epochs_of(together, 2)
            lane = weights_of(together, lanes)[1]
            row["lane_equal"] = state_hash(together, 1) == runs[0][0]
            row["lane_max"] = largest(lane, runs[0][1])
            # resumed in a smaller group: ten lanes for one epoch, then alone (what halving after out-of-memory does)
            many = group_of(specs_of(hidden, "relu", range(lanes)), images, self.precision, trainer=trainer)
            epochs_of(many, 1)
            alone = group_of(
                specs_of(hidden, "relu", [1]), images, self.precision, [many.snapshot(1, p.History())], trainer
            )
            epochs_of(alone, 1)
            row["regrouped_max"] = largest(weights_of(alone, 1)[0], lane)
            self.write()

    def timing(self, held):
        """Microseconds a batch and a run, two warm epochs after one; compile seconds; memory."""
        import jax

        images = self.images(self.timed)
        batches = -(-self.timed[0] // 32)
        device = jax.devices()[0]
        mine, other = self.precision, "float32" if self.precision == "default" else "default"
        plan = (
            [(mine, n, 10) for n in NETWORKS]
            + [(mine, "64", 20), (mine, "256", 20)]
            + [(mine, n, 1) for n in ("linear", "64", "256", "1024")]
        )
        plan += [(mine, n, 3) for n in ("1024,256", "256,256,256", "64")] + [
            (other, n, 10) for n in ("256", "64", "1024", "1024,256")
        ]
        plan += [(mine, n, k) for k in (1, 3) for n in NETWORKS if (mine, n, k) not in plan] + [
            (other, "256", 1),
            (other, "64", 1),
        ]
        if self.small:
            plan = [(mine, "linear", 3), (mine, "64", 3), (mine, "linear", 1), (mine, "64", 1), (other, "64", 3)]
        reserve = 20 if self.small else 0.36 * self.total  # for Keras's fit, the product and the flags
        for precision, name, lanes in plan:
            if self.left() < reserve:
                held.setdefault("not_timed", []).append(f"{precision} {name} x{lanes}")
                continue
            key = f"{name} x{lanes}"
            try:
                began = time.perf_counter()
                group = group_of(specs_of(NETWORKS[name], "relu", range(lanes)), images, precision)
                compiled = time.perf_counter() - began
                seconds = []
                for _ in range(3):
                    start = time.perf_counter()
                    group.train_epoch()
                    seconds.append(time.perf_counter() - start)
                stats = device.memory_stats() or {}
                analysis = group._program._compiled.memory_analysis()
                row = {
                    "group_s": round(compiled, 2),
                    "first_epoch_s": round(seconds[0], 4),
                    "epoch_s": round(min(seconds[1:]), 4),
                    "us_per_batch": round(1e6 * min(seconds[1:]) / batches, 2),
                    "us_per_run_batch": round(1e6 * min(seconds[1:]) / batches / lanes, 2),
                    "spread": round(max(seconds[1:]) / min(seconds[1:]), 3),
                    "peak_MB": round(stats.get("peak_bytes_in_use", 0) / 1e6),
                    "in_use_MB": round(stats.get("bytes_in_use", 0) / 1e6),
                    "temp_MB": round(analysis.temp_size_in_bytes / 1e6, 1) if analysis else None,
                }
                with contextlib.suppress(Exception):
                    row["smi_MB"] = int(
                        subprocess.run(
                            ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
                            capture_output=True,
                            text=True,
                            timeout=5,
                        ).stdout.split()[0]
                    )
                del group
            except Exception as error:  # noqa: BLE001
                row = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
            held.setdefault(precision, {})[key] = row
            print(f"    {precision} {key}: {row.get('us_per_batch', row)}", file=sys.stderr, flush=True)
            self.write()

    def parts(self, held):
        """Where an epoch's time outside the device goes: drawing the orders, stacking, the transfer back."""
        import jax
        import numpy as np

        from engine.training.shuffling import order_of

        lanes, images = (10 if not self.small else 3), self.timed[0]
        began = time.perf_counter()
        orders = np.stack([order_of(seed, 0, images) for seed in range(lanes)])
        held["orders_ms"] = round(1e3 * (time.perf_counter() - began), 2)
        began = time.perf_counter()
        jax.block_until_ready(jax.device_put(orders))
        held["orders_to_device_ms"] = round(1e3 * (time.perf_counter() - began), 2)
        group = group_of(specs_of(NETWORKS["64"], "relu", range(lanes)), self.images(self.timed), self.precision)
        group.train_epoch()
        began = time.perf_counter()
        from engine import protocol as p

        group.snapshot(0, p.History())
        held["snapshot_of_a_lane_ms"] = round(1e3 * (time.perf_counter() - began), 2)
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            group.finish(0).save(Path(folder) / "model.keras", SHAPE)
            held["save_keras_ms"] = round(1e3 * (time.perf_counter() - began), 1)
            began = time.perf_counter()
            group.finish(1).save(Path(folder) / "model2.keras", SHAPE)
            held["save_keras_again_ms"] = round(1e3 * (time.perf_counter() - began), 1)
            began = time.perf_counter()
            group.finish(0).activity()
            held["activity_ms"] = round(1e3 * (time.perf_counter() - began), 1)

    def fit(self, held):
        """The baseline that a user would have: Keras's own fit on JAX on this device, validation included."""
        names = list(NETWORKS) if not self.small else ["linear", "64"]
        for name in names:
            for steps in (1, 50) if name in ("64", "256") else (1,):
                if self.left() < (15 if self.small else 0.26 * self.total):
                    held.setdefault("not_timed", []).append(name)
                    continue
                given = {
                    "train": self.timed[0],
                    "test": self.timed[1],
                    "hidden": NETWORKS[name],
                    "activation": "relu",
                    "epochs": 2,
                    "steps": steps,
                    "limit": 40,
                }
                child = start_child("fit", given, {"XLA_FLAGS": ""})  # as a user would have it
                held[f"{name} steps_per_execution={steps}"] = result_of(child, min(60, self.left()))
                self.write()

    def estimate(self, held):
        """The assignment, 79 runs of 100 epochs, from the epochs that were timed."""
        timing = self.found["sections"].get("timing", {})
        for precision in ("default", "float32"):
            rows = timing.get(precision, {})
            epochs = {key: row["epoch_s"] for key, row in rows.items() if "epoch_s" in row}
            compiles = [row["group_s"] for row in rows.values() if "group_s" in row]

            def epoch(name, lanes, epochs=epochs):
                known = {
                    int(key.rpartition("x")[2]): value
                    for key, value in epochs.items()
                    if key.rpartition(" x")[0] == name
                }
                if lanes in known:
                    return known[lanes]
                if not known:
                    raise KeyError(name)
                if 10 in known and (3 in known or 1 in known):
                    low = 3 if 3 in known and lanes >= 3 else 1 if 1 in known else 3
                    return known[low] + (known[10] - known[low]) * (lanes - low) / (10 - low)
                nearest = min(known, key=lambda have: abs(have - lanes))
                return known[nearest] * max(1.0, lanes / nearest)

            try:
                groups = [(n, k) for n, k, count in ASSIGNMENT for _ in range(count)]
                groups += [(DEEP[n], 3) for n in DEEP] + [(n, 7) for n in FINALISTS]
                training = sum(100 * epoch(name, lanes) for name, lanes in groups)
                mean = sum(compiles) / max(1, len(compiles))
                held[precision] = {
                    "training_s": round(training, 1),
                    "groups": len(groups),
                    "compiling_s": round(mean * len(groups), 1),
                    "all_s": round(training + mean * len(groups), 1),
                }
            except KeyError as error:
                held[precision] = {"missing": str(error)}
        held["note"] = (
            "deep shapes that were not timed take the nearest timed one; files, checkpoints and start not included"
        )

    def one_group_at_a_time(self, held):
        """The same with one group on a card at a time: what sharing gains or costs."""
        self.product(held, groups=1)

    def product(self, held, groups=2):
        """svhn-tui itself, without a screen: Q2 and Q7 on demo data."""
        import numpy as np

        from engine.data import demo
        from engine.data.pairing import TEST_FILE, TRAIN_FILE

        train, test, epochs = (*self.timed, 20) if not self.small else (1_000, 300, 2)
        folder = self.work / "data"
        if folder.exists():
            pass
        elif self.small:
            demo.write(folder, train=train, test=test)
        else:  # the assignment's layout, from the images that are drawn already
            images = self.images(self.timed)
            folder.mkdir()
            for name, pixels, labels in (
                (TRAIN_FILE, images.train_images, images.train_labels),
                (TEST_FILE, images.test_images, images.test_labels),
            ):
                np.savez(
                    folder / name,
                    images=np.ascontiguousarray(pixels.transpose(2, 3, 1, 0)),
                    labels=labels.astype("<U1").reshape(-1, 1),
                )
        from engine.machine import devices

        environment = {k: v for k, v in os.environ.items() if k != "GPU_CHECK_CACHE"}
        environment |= {
            "XDG_RUNTIME_DIR": str(self.work),
            "XDG_CONFIG_HOME": str(self.work),
            "XDG_CACHE_HOME": str(self.work / f"cache-{groups}"),
            "SVHN_TUI_GROUPS_ON_A_CARD": str(groups),
        }
        held["gpus_seen"] = [gpu.label for gpu in devices.choose_gpus().gpus]
        environment["PYTHONPATH"] = f"{Path.cwd()}:{environment.get('PYTHONPATH', '')}"
        workspace = self.work / f"w{groups}"
        command = [sys.executable, "-c", "from svhn_tui.cli.main import main; main()"]
        asked = [
            "run",
            "Q2",
            "Q7",
            "--epochs",
            str(epochs),
            "--data",
            str(folder),
            "--workspace",
            str(workspace),
            "--json",
            "--on-interrupt",
            "stop",
        ]
        began = time.monotonic()
        samples, stop = [], threading.Event()

        def watch():
            while not stop.wait(0.5):
                with contextlib.suppress(Exception):
                    said = subprocess.run(
                        [
                            "nvidia-smi",
                            "--query-gpu=utilization.gpu,memory.used,power.draw",
                            "--format=csv,noheader,nounits",
                        ],
                        capture_output=True,
                        text=True,
                        timeout=5,
                    ).stdout.split(",")
                    samples.append(tuple(float(x) for x in said[:3]))

        watcher = threading.Thread(target=watch, daemon=True)
        if shutil.which("nvidia-smi"):
            watcher.start()
        process = subprocess.Popen(
            [*command, *asked],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        kinds, first, devices_seen, epoch_seconds, noticed = {}, {}, set(), [], []
        timer = threading.Timer(max(20.0, min(180.0, self.left() - 8)), lambda: os.killpg(process.pid, 2))
        timer.start()
        for line in process.stdout:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                kind = event.get("kind", "?")
                kinds[kind] = kinds.get(kind, 0) + 1
                first.setdefault(kind, round(time.monotonic() - began, 2))
                if event.get("device"):
                    devices_seen.add(event["device"])
                if kind == "EpochEnded":
                    epoch_seconds.append((len(event.get("runs", ())), event.get("seconds")))
                if kind in ("Noticed", "RunFailed", "RunInterrupted", "Refused"):
                    noticed.append(str(event.get("text") or event.get("reason"))[:200])
        err = process.stderr.read()
        process.wait()
        timer.cancel()
        stop.set()
        held.update(
            seconds=round(time.monotonic() - began, 1),
            exit=process.returncode,
            kinds=kinds,
            first_s=first,
            devices=sorted(devices_seen),
            noticed=noticed[:6],
            stderr=err.strip().splitlines()[-5:],
        )
        by = {}
        for lanes, seconds in epoch_seconds:
            by.setdefault(lanes, []).append(seconds)
        held["epoch_s_by_lanes"] = {
            lanes: [round(min(values), 4), round(sorted(values)[len(values) // 2], 4), len(values)]
            for lanes, values in by.items()
        }
        results = [json.loads(path.read_text()) for path in sorted((workspace / "runs").glob("*/result.json"))]
        held["finished"] = len(results)
        held["result_device"] = sorted({r.get("device", "") for r in results})
        held["result_versions"] = results[0].get("versions") if results else None
        held["sha256_first"] = [r.get("model_sha256", "")[:12] for r in results[:3]]
        logs = [path.read_text(errors="replace") for path in (workspace / "runs").glob("*/engine.log")]
        lines = sorted(
            {re.sub(r"[\d:.]{6,}|0x[0-9a-f]+", "#", line)[:200] for log in logs for line in log.splitlines()}
        )
        held["engine_log_lines"] = lines[:12]
        if samples:
            held["gpu_percent_mean_max"] = [
                round(sum(s[0] for s in samples) / len(samples), 1),
                max(s[0] for s in samples),
            ]
            held["memory_MB_max"] = max(s[1] for s in samples)
            held["power_W_max"] = max(s[2] for s in samples)
        host = [*command, "stop", "--workspace", str(workspace)]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(host, env=environment, capture_output=True, timeout=30)
        doctor = subprocess.run(
            [*command, "doctor", "--workspace", str(workspace)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        held["doctor"] = (doctor.stdout + doctor.stderr).strip().splitlines()[:25]

    def processes(self, held):
        """In processes of their own: bits without and with a compile cache, and XLA flags with their cost."""
        lanes = 10 if not self.small else 3
        base = {
            "train": self.parity[0] if not self.small else 656,
            "test": self.parity[1],
            "hidden": (256,),
            "activation": "relu",
            "lanes": lanes,
            "epochs": 4,
            "precision": self.precision,
        }
        cache = str(self.work / "jaxcache")
        flags = os.environ.get("XLA_FLAGS", "")
        on_gpu = self.found["sections"].get("machine", {}).get("platform") == "gpu"
        small, steps = {"hidden": (64,)}, flags.replace(LOOP_FLAG, "").strip()
        plan = [("no cache, 1", flags, "", {}), ("no cache, 2", flags, "", {})]
        if on_gpu:  # what matters most comes first: the time may be over before the end
            plan += [
                ("deterministic", f"{flags} {DETERMINISTIC_FLAG}", "", {}),
                ("steps one by one", steps, "", {}),
                ("64 units", flags, "", small),
                ("64 units, deterministic", f"{flags} {DETERMINISTIC_FLAG}", "", small),
                ("64 units, steps one by one", steps, "", small),
                ("cache cold", flags, cache, {}),
                ("cache warm", flags, cache, {}),
                ("deterministic, 2", f"{flags} {DETERMINISTIC_FLAG}", "", {}),
                ("exclude_nondeterministic_ops", f"{flags} --xla_gpu_exclude_nondeterministic_ops=true", "", {}),
                ("plain dense", flags, "", {"change": {"plain": 1}}),
                ("stacked logits", steps, "", {"change": {"stacked": 1}}),
                ("64 units, 8 steps unrolled", flags, "", {**small, "change": {"unroll": 8}}),
                ("no command buffers", f"{steps} --xla_gpu_enable_command_buffer=", "", {}),
                ("no triton gemm", f"{flags} --xla_gpu_enable_triton_gemm=false", "", {}),
                ("no autotuning", f"{flags} --xla_gpu_autotune_level=0", "", {}),
            ]
        plan += [
            ("cache cold", flags, cache, {}),
            ("cache warm", flags, cache, {}),
            ("plain dense", flags, "", {"change": {"plain": 1}}),
            ("stacked logits", steps, "", {"change": {"stacked": 1}}),
        ]
        plan = list({entry[0]: entry for entry in plan}.values())
        for name, flag, where, change in plan:
            if self.left() < 25 and not self.small:
                held.setdefault("not_run", []).append(name)
                continue
            began = time.monotonic()
            child = start_child("once", {**base, **change}, {"XLA_FLAGS": flag.strip()}, where)
            told = result_of(child, min(90, self.left()))
            told["process_s"] = round(time.monotonic() - began, 1)
            held[name] = told
            print(
                f"    {name}: {told.get('us_per_batch')} us, {told.get('hash', told.get('error'))}",
                file=sys.stderr,
                flush=True,
            )
            self.write()
        held["verdict"] = verdict(held)


def verdict(found):
    """Say what is to be decided: deterministic kernels are on where they cost less than 5 %, loops where they gain."""

    def cost(name, than):
        one, other = (found.get(key, {}).get("us_per_batch") for key in (name, than))
        return round(100 * (one / other - 1), 1) if one and other else None

    hashes = [found.get(name, {}).get("hash") for name in ("deterministic", "deterministic, 2")]
    costs = [cost("deterministic", "no cache, 1"), cost("64 units, deterministic", "64 units")]
    return {
        "deterministic_costs_percent": costs,
        "deterministic_equal": hashes[0] == hashes[1] if all(hashes) else None,
        "deterministic_to_be_on": all(some < 5 for some in costs) if None not in costs else None,
        "steps_one_by_one_cost_percent": [
            cost("steps one by one", "no cache, 1"),
            cost("64 units, steps one by one", "64 units"),
        ],
    }
