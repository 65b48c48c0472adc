"""The first look at a real GPU: parity, determinism, speed, memory, Keras's own fit, the program itself.

    python -m tests.gpu                 nine minutes; `make gpu`
    python -m tests.gpu --small         the whole of it on a CPU in a minute or two

Prints a table, and one JSON object last; everything found so far is in $OUT/gpu.json after each step.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.gpu import box, determinism, keras_fit, parity, product, speed, variants
from tests.gpu.kit import Kit


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="tiny sizes, for a machine without a GPU")
    parser.add_argument(
        "--seconds", type=float, default=0, help="of the whole; sections that no longer fit are skipped"
    )
    parser.add_argument(
        "--precision", default="float32", help="of the timed networks (default, float32, ...); the project's own"
    )
    parser.add_argument("--sections", default="", help="comma separated; all without it")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--payload", default="{}", help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(cache=""):
    """As a worker does, with the compile cache in our hands: flags as this driver takes them, unless they are given."""
    from engine.machine import gpus, xla_flags

    os.environ.setdefault("XLA_FLAGS", xla_flags.flags_for(gpus.read().cuda, os.environ))
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    if cache:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"
    sys.modules["tensorflow"] = None


def table(results):
    """Print microseconds a batch, and what is equal to what."""
    sections = results["sections"]
    print(f"{results.get('device', 'no device')}: {sections.get('machine', {}).get('versions', {})}")
    for precision, rows in sections.get("timing", {}).items():
        if not isinstance(rows, dict):
            continue
        for key, row in rows.items():
            if "us_per_batch" in row:
                print(f"{precision:8} {key:18} {row['us_per_batch']:9.1f} us a batch {row['peak_MB']:6} MB")
    for key, row in sections.get("fit", {}).items():
        if isinstance(row, dict) and "us_per_batch" in row:
            print(f"keras    {key:18} {row['us_per_batch']:9.1f} us a batch")
    for name, value in sections.get("processes", {}).get("verdict", {}).items():
        print(f"verdict  {name}: {value}")
    for number in ("twenty", "forty"):
        for name, percent in sections.get("estimate", {}).get(f"{number}_lanes_gain_percent", {}).items():
            print(f"verdict  {number} lanes of {name} instead of ten, percent less time a run: {percent}")
    for name in ("product", "one_group_at_a_time"):
        if "seconds" in (row := sections.get(name, {})):
            print(f"{name}: {row['finished']} runs in {row['seconds']} s on {row['devices']}, {row['kinds']}")
    for name, row in sections.get("determinism", {}).items():
        if isinstance(row, dict):
            print(f"{name:8} " + ", ".join(f"{key} {value}" for key, value in row.items()))


def short(section):
    """What fits into the 12,000 characters that come back: no tracebacks, no stderr."""
    if isinstance(section, dict):
        return {
            key: short(value)
            for key, value in section.items()
            if key not in ("traceback", "stderr", "environment", "ms", "memory_stats")
        }
    return section


PLAN = (
    ("reference", parity.begin_reference, 5),
    ("machine", box.machine, 5),
    ("nvml", box.nvml, 5),
    ("determinism", determinism.determinism, 20),
    ("parity", parity.parity, 20),
    ("timing", speed.timing, 20),
    ("parts", speed.parts, 10),
    ("fit", keras_fit.fit, 10),
    ("estimate", speed.estimate, 0),
    ("product", product.product, 25),
    ("processes", variants.processes, 20),
    ("one_group_at_a_time", product.one_group_at_a_time, 30),
)
"""Sections in their order, and the seconds below which each is skipped."""
NEEDS = {"parity": ("reference",), "processes": ("machine",), "estimate": ("timing",)}
CHILDREN = {"reference": parity.reference, "once": variants.once, "fit": keras_fit.fitted}


def main():
    given = arguments()
    if given.child:
        prepare(os.environ.get("GPU_CHECK_CACHE", ""))
        out = os.dup(1)
        os.dup2(2, 1)  # what native libraries print is no answer
        outcome = CHILDREN[given.child](json.loads(given.payload))
        os.write(out, (json.dumps(outcome) + "\n").encode())
        os._exit(0)
    work = Path(tempfile.mkdtemp(prefix="gpu_check.work."))
    prepare(str(work / "programs") if given.small else "")  # small, each program is compiled once
    wanted = set(filter(None, given.sections.split(",")))
    wanted |= {needed for name in wanted for needed in NEEDS.get(name, ())}
    kit = Kit(small=given.small, precision=given.precision, seconds=given.seconds, work=work)
    for name, measure, least in PLAN:
        if not wanted or name in wanted:
            kit.section(name, measure, least)
    kit.write()
    shutil.rmtree(work, ignore_errors=True)
    table(kit.results)
    print(json.dumps(short(kit.results), separators=(",", ":")))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
