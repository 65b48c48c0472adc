"""Other compilers, instruction sets and processors make the same of the native epoch, and none reads beside it."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.training.native import build, trial
from engine.training.native.library import Library
from engine.training.native.trial import TOLERANCE, Case, difference
from tests.training.native_epochs import NEEDS_COMPILER, compiled, is_same, trained
from tests.training.test_native import SIZES

pytestmark = NEEDS_COMPILER
ROOT = Path(__file__).parents[2]
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
def test_clang_accepts_the_source_for_arm64_and_keeps_sums_in_registers(tmp_path: Path):
    """As on a Mac: a loop over a tile's 16 sums that is not unrolled has them in memory, at half the speed."""
    command = ["clang", "--target=aarch64-linux-gnu", "-x", "c"]
    headers = "#include <math.h>\n#include <pthread.h>\n#include <stdatomic.h>\n"
    if subprocess.run(
        [*command, "-fsyntax-only", "-"], input=headers, text=True, capture_output=True, check=False
    ).returncode:
        pytest.skip("there are no headers for ARM64")
    flags = [flag for flag in build.FLAGS if flag not in ("-O3", "-shared")]
    subprocess.run([*command, *flags, "-O1", "-S", build.SOURCE, "-o", tmp_path / "epoch.s"], check=True)
    _, _, tile = (tmp_path / "epoch.s").read_text().partition("\ntile_plain:")
    assert tile.partition(".cfi_endproc")[0].count("fmla") >= 16


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
    completed = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    if not all(Path(path).is_absolute() for path in completed):
        pytest.skip("this compiler has no sanitizers")
    flags = ("-O1", "-g", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    path = tmp_path / "epoch.so"
    subprocess.run([compiler, *build.FLAGS, *flags, build.SOURCE, "-o", path, "-lm"], check=True, capture_output=True)
    script = (
        "import sys; from pathlib import Path; from engine.training.native.library import Library; "
        "from tests.training.test_native import SIZES, difference, TOLERANCE; library = Library(Path(sys.argv[1])); "
        "assert all(difference(library, case, threads) < TOLERANCE for case in SIZES for threads in (1, 3))"
    )
    environment = {**os.environ, "LD_PRELOAD": " ".join(completed), "PYTHONPATH": str(ROOT), "PYTHONMALLOC": "malloc"}
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
