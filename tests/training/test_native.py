"""The native epoch is the one that NumPy computes, whatever the sizes, the threads and the instruction set."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engine.training.native import build, reference, trial
from engine.training.native.library import EpochMetrics, Labelled, Library
from engine.training.native.trial import TOLERANCE, Case, difference

pytestmark = pytest.mark.skipif(build.find_compiler() is None, reason="no C compiler is on the path")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def library() -> Library:
    built = build.library()
    assert built.path is not None, built.problem
    return Library(built.path)


def compiled(folder: Path, *flags: str, source: Path = build.SOURCE, compiler: str | None = None) -> Path:
    compiler, path = compiler or build.find_compiler(), folder / "epoch.so"
    assert compiler is not None
    subprocess.run([compiler, *build.FLAGS, *flags, source, "-o", path, "-lm"], check=True, capture_output=True)
    return path


def trained(library: Library, case: Case, *, threads: int = 1, shift: int = 0) -> tuple[list, EpochMetrics | None]:
    """Train a case's epoch on arrays that begin `shift` bytes (a multiple of 4) behind a cache line."""
    generator = np.random.default_rng(1)
    layers = reference.drawn_layers(case.sizes, generator)
    train = reference.drawn_images(case.images, case.sizes[0], case.sizes[-1], generator)
    test = reference.drawn_images(case.tests, case.sizes[0], case.sizes[-1], generator)
    order = generator.permutation(case.images).astype(np.int32)
    layers = [tuple(shifted(array, shift) for array in layer) for layer in layers]
    found = library.epoch(
        layers, case.activation, train, order, test, step=0, learning_rate=1e-3, batch_size=case.batch_size,
        threads=threads,
    )  # fmt: skip
    return layers, found


def shifted(array: np.ndarray, shift: int) -> np.ndarray:
    room = np.empty(array.nbytes + 128, np.uint8)
    start = -room.ctypes.data % 64 + shift
    place = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    place[...] = array
    return place


def is_same(one: tuple[list, EpochMetrics | None], other: tuple[list, EpochMetrics | None]) -> bool:
    arrays = zip(*([array for layer in layers for array in layer] for layers, _ in (one, other)), strict=True)
    return one[1] == other[1] and all(a.tobytes() == b.tobytes() for a, b in arrays)


SIZES = [
    *(Case((40, 12, classes)) for classes in (2, 3, 9, 11, 16, 17, 31, 64, 100, 1_000)),
    *(Case((70, classes), "linear") for classes in (2, 10, 100)),
    *(Case((40, 12, 10), batch_size=size, images=130) for size in (1, 2, 7, 31, 33, 64, 100, 130, 1000)),
    *(Case((units, units, 5), images=40) for units in (1, 2, 3, 15, 17, 31, 33, 65, 127)),
    *(Case((33, units, 20, 10), images=40) for units in (255, 257, 300, 520)),
    *(Case((33, 20, units, 10), images=40) for units in (1, 96, 257, 520)),
    *(Case((30, *[9] * hidden, 10)) for hidden in range(16)),
    *(Case((20, 10), "linear", tests=tests) for tests in (1, 63, 64, 65, 128)),
    *(Case((40, 24, 10), "tanh", tests=tests) for tests in (1, 65)),
    *(Case((40, 24, 10), adam=adam) for adam in ((0, 0, 1e-3), (0.5, 0.9, 1e-8), (0.95, 0.99, 1e-5))),
]


@pytest.mark.parametrize("case", SIZES, ids=str)
def test_sizes_of_every_kind_are_trained_as_numpy_trains_them(library: Library, case: Case):
    for threads in (1, 3):
        assert difference(library, case, threads) < TOLERANCE


def test_last_batches_of_every_size(library: Library):
    for left in range(1, 33):
        assert difference(library, Case((20, 8, 4), images=32 + left)) < TOLERANCE


@pytest.mark.parametrize(
    "case",
    [Case((96, 10), "linear"), Case((200, 64, 10)), Case((96, 300, 70, 17), "tanh", 20), Case((50, *[24] * 14, 3))],
    ids=str,
)
def test_threads_and_alignment_change_no_bit(library: Library, case: Case):
    alone = trained(library, case)
    for threads in (1, 2, 3, 7):
        for shift in (0, 4, 36):
            assert is_same(alone, trained(library, case, threads=threads, shift=shift))


def test_two_networks_train_at_once_in_one_process(library: Library):
    cases = (Case((200, 64, 10), images=3_000), Case((64, 32, 16, 5), "tanh", images=3_000))
    alone = [trained(library, case, threads=2) for case in cases]
    together: dict[int, tuple[list, EpochMetrics | None]] = {}

    def train(index: int) -> None:
        together[index] = trained(library, cases[index], threads=2)

    threads = [threading.Thread(target=train, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(is_same(alone[index], together[index]) for index in (0, 1))


@pytest.mark.parametrize(
    "case", [Case((40, 10), "linear", tests=65), Case((40, 24, 16, 5), "tanh", tests=130)], ids=str
)
def test_images_are_evaluated_alone_as_they_are_after_an_epoch(library: Library, case: Case):
    layers, _ = trained(library, case)
    generator = np.random.default_rng(2)
    images = reference.drawn_images(case.tests, case.sizes[0], case.sizes[-1], generator)
    before = reference.copied(layers)
    order = np.zeros(1, np.int32)
    for threads in (1, 3):
        evaluated = library.evaluate(layers, case.activation, images, threads=threads)
        assert is_same((layers, None), (before, None))
    found = library.epoch(layers, case.activation, images, order, images, step=0, learning_rate=0.0)
    assert found is not None
    assert evaluated == (found.test_loss, found.test_correct)


def test_a_stop_leaves_everything_as_it_was_and_comes_before_the_second_batch(library: Library):
    """`order` names ten million batches of one image: an epoch that did not look at each would be here for minutes."""
    generator = np.random.default_rng(1)
    layers = reference.drawn_layers((40, 12, 10), generator)
    before = reference.copied(layers)
    images = reference.drawn_images(50, 40, 10, generator)
    order = np.zeros(10_000_000, np.int32)
    for threads in (1, 3):
        found = library.epoch(
            layers, "relu", images, order, images, step=0, learning_rate=1e-3, batch_size=1, threads=threads,
            stop=np.ones(1, np.int32),
        )  # fmt: skip
        assert is_same((layers, found), (before, None))


LONG = [
    ("large batches", (200, 200, 200, 10), 3_000_000, 10_000, 1),
    ("many batches", (200, 64, 10), 5_000_000, 32, 1),
    ("many test images", (200, 3_000, 10), 32, 32, 100_000),
    ("a large layer", (200, 20_000, 10), 20_000, 32, 1),
]


@pytest.mark.parametrize(("sizes", "images", "batch_size", "tests"), [case[1:] for case in LONG],
                         ids=[case[0] for case in LONG])  # fmt: skip
def test_a_stop_in_the_middle_takes_effect_at_once(
    library: Library, sizes: tuple[int, ...], images: int, batch_size: int, tests: int
):
    """Whatever an epoch is at, which is long here (seconds to minutes): by processor time, others only disturb."""
    generator = np.random.default_rng(1)
    layers = reference.drawn_layers(sizes, generator)
    before = reference.copied(layers)
    few = reference.drawn_images(2_000, sizes[0], sizes[-1], generator)
    test = reference.drawn_images(tests, sizes[0], sizes[-1], generator)
    order = (np.arange(images) % len(few.labels)).astype(np.int32)
    for threads in (1, 3):
        stop = np.zeros(1, np.int32)
        with ThreadPoolExecutor(1) as pool:
            began = pool.submit(library.epoch, layers, "relu", few, order, test, step=0, learning_rate=1e-3,
                                batch_size=batch_size, threads=threads, stop=stop)  # fmt: skip
            start = time.process_time()
            while time.process_time() < start + 0.3:
                time.sleep(0.01)
            stop[0], at = 1, time.process_time()
            found = began.result(60)
            assert time.process_time() - at < 0.1 * threads
        assert is_same((layers, found), (before, None))


COUNTING = """
#include <stdatomic.h>
#include <stdint.h>
long svhn_polls, svhn_stop_at;
int32_t *svhn_stop;
#undef atomic_load_explicit
#define atomic_load_explicit(p, order) (++svhn_polls == svhn_stop_at ? (*svhn_stop = 1) : 0, *(p))
"""
"""Counts how often a thread looks whether it is to stop, and stops it at one of these looks."""


def test_after_a_stop_every_loop_ends_at_its_next_look(tmp_path: Path):
    """By counting: however much is left of an epoch, it looks but a few times more, wherever the stop comes."""
    source = tmp_path / "counting.c"
    source.write_text(f'{COUNTING}#include "{build.SOURCE}"\n')
    path = compiled(tmp_path, "-O1", source=source)
    library, loaded = Library(path), ctypes.CDLL(str(path))
    polls, stop_at = (ctypes.c_long.in_dll(loaded, name) for name in ("svhn_polls", "svhn_stop_at"))
    stop, generator = np.zeros(1, np.int32), np.random.default_rng(1)
    ctypes.c_void_p.in_dll(loaded, "svhn_stop").value = stop.ctypes.data
    sizes = (200, 96, 64, 10)
    layers, images = reference.drawn_layers(sizes, generator), reference.drawn_images(1_000, 200, 10, generator)
    most = []
    for count in (100, 1_000):
        order, test = np.arange(count, dtype=np.int32), images._replace(pixels=images.pixels[:count],
                                                                        labels=images.labels[:count])  # fmt: skip

        def epoch(at: int, order: np.ndarray = order, test: Labelled = test) -> tuple[list, EpochMetrics | None]:
            polls.value, stop_at.value, stop[0] = 0, at, 0
            trained = reference.copied(layers)
            return trained, library.epoch(trained, "relu", images, order, test, step=0, learning_rate=1e-3, stop=stop)

        assert epoch(0)[1] is not None
        whole = polls.value
        later = []
        for at in range(1, whole, max(1, whole // 100)):
            assert is_same(epoch(at), (layers, None))
            later.append(polls.value - at)
        most.append(max(later))
    assert whole > 1_000
    assert most[0] == most[1] < 50


def test_what_c_cannot_be_given_is_refused(library: Library):
    generator = np.random.default_rng(1)
    layers, images = reference.drawn_layers((40, 12, 10), generator), reference.drawn_images(50, 40, 10, generator)
    order = np.arange(50, dtype=np.int32)
    good = {"layers": layers, "train": images, "order": order, "test": images, "batch_size": 32, "learning_rate": 1e-3}
    kernel, *others = layers[0]
    read_only = kernel.copy()
    read_only.flags.writeable = False
    labels = images.labels
    bad = {
        "an index that is not there": {"order": np.array([50], np.int32)},
        "a negative index": {"order": np.array([-1], np.int32)},
        "no image": {"order": order[:0]},
        "an order of another type": {"order": order.astype(np.int64)},
        "a label too many": {"train": images._replace(labels=labels + 10)},
        "a label below 0": {"test": images._replace(labels=labels - 10)},
        "a label too few": {"train": images._replace(labels=labels[:-1])},
        "labels of another type": {"train": images._replace(labels=labels.astype(np.int64))},
        "pixels that are floats": {"train": images._replace(pixels=images.pixels.astype(np.float32))},
        "pixels with gaps": {"train": images._replace(pixels=np.zeros((50, 80), np.uint8)[:, ::2])},
        "test images of another size": {"test": images._replace(pixels=images.pixels[:, :39].copy())},
        "a kernel of another shape": {"layers": [(kernel[:, :11].copy(), *others), layers[1]]},
        "a transposed kernel": {"layers": [(np.ones((12, 40), np.float32).T, *others), layers[1]]},
        "float64": {"layers": [(kernel.astype(np.float64), *others), layers[1]]},
        "what must not be written": {"layers": [(read_only, *others), layers[1]]},
        "no batch": {"batch_size": 0},
        "a rate too many": {"learning_rate": np.ones(3, np.float32)},
        "too many classes": {"layers": reference.drawn_layers((40, 1_001), generator)},
        "too many layers": {"layers": reference.drawn_layers((40, *[9] * 16, 10), generator)},
    }
    for name, changed in bad.items():
        given = good | changed
        with pytest.raises(ValueError):
            library.epoch(
                given["layers"], "relu", given["train"], given["order"], given["test"], step=0,
                learning_rate=given["learning_rate"], batch_size=given["batch_size"],
            )  # fmt: skip
            pytest.fail(name)


def test_what_is_not_a_number_stays_so(library: Library):
    case = Case((40, 12, 10))
    layers = reference.drawn_layers(case.sizes, np.random.default_rng(1))
    layers[0][0][3, 4] = np.nan
    images = reference.drawn_images(64, 40, 10, np.random.default_rng(2))
    order = np.arange(64, dtype=np.int32)
    found = library.epoch(layers, "relu", images, order, images, step=0, learning_rate=1e-3)
    assert found is not None
    assert np.isnan(found.loss) and np.isnan(found.test_loss)
    assert np.isnan(layers[1][0]).all(), "as it spreads on JAX"


X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86")


@X86
@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (("-mavx2", "-mfma"), "avx2"),
        (("-mavx2", "-O1"), "avx"),
        (("-msse2",), "128 bits"),
        (("-march=x86-64", "-O1"), "128 bits"),
    ],
)
def test_other_instruction_sets_compute_the_same(tmp_path: Path, flags: tuple[str, ...], name: str):
    if name.startswith("avx") and " avx2 " not in build.processor():
        pytest.skip("this processor has no AVX2")
    library = Library(compiled(tmp_path, *flags))
    assert library.instructions == name
    for case in (*trial.CASES, *SIZES[::4]):
        assert difference(library, case, threads=2) < TOLERANCE
    for case in trial.CASES:
        assert is_same(trained(library, case), trained(library, case, threads=3))


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not on the path")
def test_clang_makes_the_same_of_it(tmp_path: Path):
    library = Library(compiled(tmp_path, "-O1", build.tuned_for_this(), compiler="clang"))
    for case in trial.CASES:
        assert difference(library, case, threads=2) < TOLERANCE


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not on the path")
def test_clang_accepts_the_source_for_arm64_where_it_finds_the_systems_headers():
    command = ["clang", "--target=aarch64-linux-gnu", "-fsyntax-only", "-x", "c"]
    headers = "#include <math.h>\n#include <pthread.h>\n#include <stdatomic.h>\n"
    if subprocess.run([*command, "-"], input=headers, text=True, capture_output=True, check=False).returncode:
        pytest.skip("there are no headers for ARM64")
    subprocess.run([*command, build.SOURCE], check=True)


def test_threads_that_cannot_be_made_are_done_without(tmp_path: Path, library: Library):
    shim = tmp_path / "shim.c"
    shim.write_text(f'#include <pthread.h>\n#define pthread_create(...) 11\n#include "{build.SOURCE}"\n')
    case = Case((96, 64, 10))
    without = trained(Library(compiled(tmp_path, "-march=native", source=shim)), case, threads=3)
    assert is_same(without, trained(library, case, threads=3))


@pytest.mark.slow
def test_nothing_is_read_or_written_beside_its_buffer(tmp_path: Path):
    """Under the address and undefined-behaviour sanitizers; `epoch.c` poisons what lies between its own buffers."""
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("the sanitizers' library is preloaded as GCC has it on Linux")
    found = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    if not all(Path(path).is_absolute() for path in found):
        pytest.skip("this compiler has no sanitizers")
    flags = ("-O1", "-g", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    path = tmp_path / "epoch.so"
    subprocess.run([compiler, *build.FLAGS, *flags, build.SOURCE, "-o", path, "-lm"], check=True, capture_output=True)
    script = (
        "import sys; from pathlib import Path; from engine.training.native.library import Library; "
        "from tests.training.test_native import SIZES, difference, TOLERANCE; library = Library(Path(sys.argv[1])); "
        "assert all(difference(library, case, threads) < TOLERANCE for case in SIZES for threads in (1, 3))"
    )
    environment = {**os.environ, "LD_PRELOAD": " ".join(found), "PYTHONPATH": str(ROOT), "PYTHONMALLOC": "malloc"}
    environment |= {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("other", [("aarch64-linux-gnu-gcc", "qemu-aarch64", "neon")], ids=["ARM64"])
def test_another_processor_in_an_emulator_computes_the_same(tmp_path: Path, other: tuple[str, str, str]):
    compiler, emulator, name = other
    own = build.find_compiler()
    if own is None or shutil.which(compiler) is None or shutil.which(emulator) is None:
        pytest.skip(f"{compiler} and {emulator} are not installed")
    flags = [f'-DEPOCH="{build.SOURCE}"', "-O2", *(flag for flag in build.FLAGS if flag not in ("-O3", "-shared"))]
    source = ROOT / "tests/support/epoch_driver.c"
    printed = []
    for run, with_compiler, linked in (([], own, ()), ([emulator], compiler, ("-static",))):
        program = tmp_path / Path(with_compiler).name
        subprocess.run([with_compiler, *flags, source, *linked, "-o", program, "-lm"], check=True)
        done = subprocess.run([*run, program], capture_output=True, text=True, check=True)
        *lines, instructions = done.stdout.splitlines()
        printed.append([line.split() for line in lines])
    assert instructions == name
    for ours, theirs in zip(*printed, strict=True):
        assert np.allclose(np.array(ours, float), np.array(theirs, float), rtol=1e-4)
    assert printed[1][:3] == printed[1][3:], "one thread and three"
