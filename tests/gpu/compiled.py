"""Compile the epoch for an H100 on a machine that has none, and say what it launches: a table, and one JSON line.

    python -m tests.gpu.compiled            compile all of NETWORKS, before and after; `make gpu-compile`
    python -m tests.gpu.compiled --install  install what it needs, or say why that cannot be
    python -m tests.gpu.compiled ONE        one compilation, in a process of its own: ONE is the JSON of `Asked`

It needs the real CUDA plugin of JAX's own version, 1 GB, which is installed once into a folder of its own; where that
cannot be, it says why and ends well. Nothing is tuned for the card: on a GPU tiles may be others, and cuBLAS may take
the place of Triton; kinds and numbers of launches are close.
"""

import collections
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

PACKAGES = ("nvidia-cuda-nvcc-cu12", "nvidia-nvjitlink-cu12", "nvidia-cuda-runtime-cu12", "nvidia-cuda-nvrtc-cu12")
INSTALL_SECONDS = 900
NETWORKS = ((64,), (256,), (1024,), (1024, 256))
LANES = 10
LOOP = "--xla_gpu_enable_command_buffer=+WHILE"
H100 = """gpu_device_info { threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 3352320000000
l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84929347584 shared_memory_per_block_optin: 232448
cuda_compute_capability { major: 9 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
driver_version: "12.9.0" runtime_version: "12.9.0" compile_time_toolkit_version: "12.9.0" dnn_version: "9.10.2" }
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 patch: 2 } runtime_version { major: 12 minor: 9 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
QUIET = ("parameter", "get-tuple-element", "tuple", "constant", "bitcast", "after-all")
"""Instructions that launch nothing."""


class Asked(msgspec.Struct, frozen=True):
    """One compilation."""

    hidden: tuple[int, ...]
    lanes: int = LANES
    precision: str = "float32"
    sums_metrics: bool = True
    flags: str = LOOP


class Compiled(msgspec.Struct, frozen=True):
    """What an epoch does. Memory in bytes, the data (184 MB) included in the arguments."""

    launches: tuple[int, ...]
    """In each loop's body, the training loop's first."""
    is_one_graph: bool
    """The training loop is part of a CUDA graph: the host launches it once, and not each step."""
    products: int
    tf32_products: int
    arguments: int
    temporary: int


BEFORE = Asked((), precision="default", sums_metrics=False, flags="")


def folder() -> Path:
    """Return where the plugin lies, or is to."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = importlib.metadata.version("jax")
    return Path(os.environ.get("SVHN_TUI_CUDA_PLUGIN") or cache / "svhn-tui" / f"cuda12-plugin-{version}")


def install() -> str:
    """Install the plugin unless it is there; return why that cannot be, or nothing."""
    if (folder() / "complete").exists():
        return ""
    version = importlib.metadata.version("jax")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target", folder(),
               "--constraint", root / "constraints-cuda12.txt",
               f"jax-cuda12-plugin=={version}", f"jax-cuda12-pjrt=={version}", *PACKAGES]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        return f"it took longer than {INSTALL_SECONDS} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    (folder() / "complete").touch()
    return ""


def ask(asked: Asked) -> Compiled:
    """Compile in a process of its own, since XLA reads its flags once."""
    with tempfile.TemporaryDirectory() as dump:
        flags = f"--xla_gpu_autotune_level=0 --xla_dump_to={dump} --xla_dump_emitter_re=triton-fusion {asked.flags}"
        environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "KERAS_BACKEND": "jax",
                       "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
        environment["PATH"] = f"{folder()}/nvidia/cuda_nvcc/bin:{environment['PATH']}"
        command = [sys.executable, "-m", "tests.gpu.compiled", msgspec.json.encode(asked).decode(), dump]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return msgspec.json.decode(done.stdout, type=Compiled)


def compiled(asked: Asked, dump: Path) -> Compiled:
    """Compile here."""
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    sys.path.insert(0, str(folder()))
    import jax
    import jax.numpy as jnp
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    from engine.core.data_shape import ASSIGNMENT
    from engine.core.spec import Configuration, Network, Training
    from engine.training.compiled_epoch import DeviceImages, Lane, Program

    device = topologies.get_topology_desc("h100", "cuda", target_config=H100, topology="1x1x1").devices[0]
    there, lead = SingleDeviceSharding(device), (asked.lanes,) if asked.lanes > 1 else ()

    def like(shape, dtype):
        return jax.ShapeDtypeStruct(tuple(shape), dtype, sharding=there)

    network = Network(asked.hidden, "relu" if asked.hidden else "linear")
    shape = ASSIGNMENT
    program = Program(Configuration(network, Training(epochs=1)), shape, asked.lanes, sums_metrics=asked.sums_metrics)
    groups = program.fresh(0, shape)
    lane = Lane(*[[like(lead + array.shape, array.dtype) for array in group] for group in groups])
    pixels = DeviceImages(
        like((50_000, *shape.inputs), jnp.uint8), like((50_000,), jnp.int32),
        like((10_000, *shape.inputs), jnp.uint8), like((10_000,), jnp.int32),
    )  # fmt: skip
    with jax.default_matmul_precision(asked.precision):
        executable = program._epochs.lower(lane, pixels, like((*lead, 50_000), jnp.int32)).compile()
    memory = executable.memory_analysis()
    triton = "".join(path.read_text() for path in dump.glob("*jit__epoch*.ttir.txt"))
    return Compiled(
        launches_in_loops(executable.as_text()),
        is_one_graph(sorted(dump.glob("*jit__epoch.thunk_sequence_after_thunk_passes.txt"))[-1].read_text()),
        triton.count("tt.dot "),
        triton.count("inputPrecision = tf32"),
        memory.argument_size_in_bytes,
        memory.temp_size_in_bytes,
    )


def launches_in_loops(text: str) -> tuple[int, ...]:
    """Count what each loop's body launches, in a compiled program as text."""
    bodies: dict[str, list[str]] = {}
    now: list[str] | None = None
    for line in text.splitlines():
        if begun := re.match(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            now = bodies[begun[2]] = []
        elif line.startswith("}"):
            now = None
        elif now is not None:
            now.append(line)
    counts = []
    for body in dict.fromkeys(re.findall(r"while\(.*?body=%?([\w.\-]+)", text)):
        kinds = collections.Counter(
            match[2] for line in bodies[body]
            if (match := re.match(r"^\s*(ROOT )?%?[\w.\-]+ = .*?(?:\]|\)|\})\S* ([a-z\-]+)\(", line))
        )  # fmt: skip
        counts.append(sum(count for kind, count in kinds.items() if kind not in QUIET))
    return tuple(counts)


def is_one_graph(thunks: str) -> bool:
    """Say whether the first loop stands inside a command buffer, in XLA's list of what is launched."""
    loop = next((line for line in thunks.splitlines() if "kWhile" in line), "")
    return loop.startswith(" ")


def main() -> None:
    """Print the table of what changed, and one JSON line."""
    if sys.argv[1:] == ["--install"]:
        reason = install()
        print(f"The tests with a compiler for an H100 are skipped: {reason}" if reason else f"The compiler: {folder()}")
        return
    if len(sys.argv) > 1:
        asked = msgspec.json.decode(sys.argv[1], type=Asked)
        out = os.dup(1)
        os.dup2(2, 1)
        os.write(out, msgspec.json.encode(compiled(asked, Path(sys.argv[2]))))
        os._exit(0)
    if reason := install():
        print(f"Skipped: JAX's CUDA plugin cannot be installed here: {reason}")
        return
    print(f"{LANES} lanes, compiled for an H100 by JAX {importlib.metadata.version('jax')}")
    print(f"{'network':12} {'':7} {'launches a step':>15} {'one graph':>10} {'TF32 of products':>17} {'memory':>8}")
    rows = []
    for hidden in NETWORKS:
        for name, kind in (("before", BEFORE), ("after", Asked(()))):
            outcome = ask(msgspec.structs.replace(kind, hidden=hidden))
            rows.append({"network": hidden, "when": name, **msgspec.to_builtins(outcome)})
            memory = f"{(outcome.arguments + outcome.temporary) / 1e9:.2f} GB"
            graph = "yes" if outcome.is_one_graph else "no"
            tf32 = f"{outcome.tf32_products} of {outcome.products}"
            print(
                f"{','.join(map(str, hidden)):12} {name:7} {outcome.launches[0]:>15} {graph:>10} {tf32:>17} {memory:>8}"
            )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
