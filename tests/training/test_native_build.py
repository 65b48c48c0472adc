"""The native trainer builds itself: once, for this processor, and is trusted only after a trial."""

import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.machine.user_folders import cache_folder
from engine.training.native import build

ROOT = Path(__file__).parents[2]
REAL = build.find_compiler()
needs_compiler = pytest.mark.skipif(REAL is None, reason="no C compiler is on the path")
FLAGS = (*build.FLAGS, "-O1", build.tuned_for_this())


class Compiler:
    """A stand-in that notes each use and then compiles, with something added."""

    def __init__(self, folder: Path, added: str = "", body: str = "") -> None:
        self.path = folder / "cc"
        self._uses = folder / "uses"
        self._uses.touch()
        body = body or f'exec {REAL} {added} "$@"'
        asked = 'if [ "$1" = --version ]; then echo "stand-in 1.0"; exit 0; fi'
        self.path.write_text(f"#!/bin/sh\n{asked}\necho x >> {self._uses}\n{body}\n")
        self.path.chmod(0o700)

    @property
    def uses(self) -> int:
        return len(self._uses.read_text().splitlines())

    def build(self, folder: Path) -> build.Built:
        return build.build(str(self.path), FLAGS, folder)


def private(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    build.library.cache_clear()
    yield
    build.library.cache_clear()


@needs_compiler
def test_it_is_built_once_and_lies_in_a_folder_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiler, folder = Compiler(tmp_path), cache_folder("native")
    first, second = compiler.build(folder), compiler.build(folder)
    assert first == second
    assert first.path is not None and first.path.parent == folder
    assert compiler.uses == 1
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".lock", ".so"]


@needs_compiler
def test_processes_that_want_it_at_once_build_it_once(tmp_path: Path):
    compiler, folder = Compiler(tmp_path), private(tmp_path / "native")
    code = "from engine.training.native import build; from pathlib import Path; "
    code += f"print(build.build({str(compiler.path)!r}, {FLAGS!r}, Path({str(folder)!r})).path)"

    def other(_: int) -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(other, range(3)))) == 1
    assert compiler.uses == 1


@needs_compiler
def test_another_processor_compiler_or_flag_is_another_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    compiler, folder = Compiler(tmp_path), private(tmp_path / "native")
    paths = {compiler.build(folder).path, build.build(str(compiler.path), (*FLAGS, "-g"), folder).path}
    monkeypatch.setattr(build, "processor", lambda: "another one")
    paths.add(compiler.build(folder).path)
    compiler.path.write_text(compiler.path.read_text().replace("stand-in 1.0", "stand-in 2.0"))
    paths.add(compiler.build(folder).path)
    assert len(paths) == 4 and None not in paths


def test_the_hash_covers_all_that_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = (build.SOURCE, *build.HEADERS)
    assert set(build.SOURCE.parent.glob("*.[ch]")) == set(files)
    hashes = {build.source_hash()}
    for file in files:
        changed = tmp_path / file.name
        changed.write_text(file.read_text() + "\n")
        source, *headers = (changed if each == file else each for each in files)
        monkeypatch.setattr(build, "SOURCE", source)
        monkeypatch.setattr(build, "HEADERS", headers)
        hashes.add(build.source_hash())
    assert len(hashes) == 1 + len(files)


@needs_compiler
def test_a_library_that_computes_something_else_is_not_trusted_and_not_built_again(tmp_path: Path):
    compiler, folder = Compiler(tmp_path, "-Dsqrtf=cbrtf"), private(tmp_path / "native")
    for _ in range(2):
        built = compiler.build(folder)
        assert built.path is None
        assert "does not compute what NumPy does" in built.problem
    assert compiler.uses == 1


@needs_compiler
def test_an_illegal_instruction_costs_nothing_but_speed(tmp_path: Path):
    trap = tmp_path / "trap.h"
    trap.write_text("__attribute__((constructor)) static void trap(void) { __builtin_trap(); }\n")
    compiler, folder = Compiler(tmp_path, f"-include {trap}"), private(tmp_path / "native")
    for _ in range(2):
        assert "SIGILL" in compiler.build(folder).problem
    assert compiler.uses == 1


def test_a_compiler_that_fails_is_told_in_a_sentence_and_tried_again(tmp_path: Path):
    body = "echo 'epoch.c:10:10: fatal error: math.h: No such file or directory' >&2; exit 1"
    compiler, folder = Compiler(tmp_path, body=body), private(tmp_path / "native")
    for _ in range(2):
        built = compiler.build(folder)
        assert "math.h: No such file or directory" in built.problem
        assert "libc6-dev" in built.advice
    assert compiler.uses == 2, "headers may have been installed meanwhile"
    assert not [path for path in folder.iterdir() if path.suffix == ".so"]


@needs_compiler
def test_where_the_first_compiler_fails_the_next_one_is_used_and_what_came_of_it_is_known_without_building(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(private(tmp_path / "cache")))
    broken = Compiler(private(tmp_path / "first"), body="echo 'error: not today' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{broken.path.parent}:/bin")
    monkeypatch.setattr(build, "COMPILERS", ("cc", "compiler-that-is-not-there"))
    assert build.known() == build.Built(), "nothing was tried so far"
    assert build.library().problem == build.known().problem != ""
    assert "not today" in build.known().problem and build.known().advice
    works = tmp_path / "first" / "gcc"
    works.symlink_to(str(REAL))
    monkeypatch.setattr(build, "COMPILERS", ("cc", "gcc"))
    build.library.cache_clear()
    built = build.library()
    assert built.path is not None
    assert build.known() == built
    assert broken.uses == 2


@needs_compiler
def test_a_damaged_library_is_built_again(tmp_path: Path):
    compiler, folder = Compiler(tmp_path), private(tmp_path / "native")
    first = compiler.build(folder)
    assert first.path is not None
    content = first.path.read_bytes()
    first.path.write_bytes(content[: len(content) // 2])
    assert compiler.build(folder) == first
    assert first.path.read_bytes()[: len(content) // 2] == content[: len(content) // 2]
    assert compiler.uses == 2


@needs_compiler
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path):
    compiler, folder = Compiler(tmp_path), private(tmp_path / "native")
    folder.chmod(0o777)
    with pytest.raises(PermissionError):
        compiler.build(folder)
    folder.chmod(0o700)
    assert compiler.build(folder).path is not None
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(OSError):
        compiler.build(link)
    if os.getuid() == 0:
        os.chown(folder, 12345, -1)
        with pytest.raises(PermissionError):
            compiler.build(folder)


def test_without_a_compiler_a_sentence_says_what_would_help(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    built = build.library()
    assert built.path is None
    assert built == build.absence()
    assert "No C compiler" in built.problem and "apt install gcc" in built.advice
    command = [sys.executable, "-m", "engine.training.native.build"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0
    assert "No C compiler" in done.stdout


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(build.SWITCH, "off")
    assert build.SWITCH in build.library().problem


def test_the_wheel_contains_the_source(tmp_path: Path):
    wheel = pytest.importorskip("hatchling.builders.wheel")
    path = next(wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    names = zipfile.ZipFile(path).namelist()
    assert {f"engine/training/native/{file.name}" for file in (build.SOURCE, *build.HEADERS)} <= set(names)
