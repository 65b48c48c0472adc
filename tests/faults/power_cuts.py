"""What a power cut may leave of files: recorded while a program writes them, worked out for a cut after each step."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Change = tuple[str, Path, Path | bytes | None]
Names = dict[Path, bytes | None]
"""What a name stands for after a cut: a file's content, or None for a folder."""


class Disk:
    """Records what a program does to files, and says what a power cut after any of it may leave."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._start: Names = {path.relative_to(root): path.read_bytes() if path.is_file() else None
                              for path in root.rglob("*")}  # fmt: skip
        self.log: list[Change] = []
        fsync, move = os.fsync, os.rename

        def at(name: str | Path, folder: int | None) -> Path:
            return (Path(f"/proc/self/fd/{folder}").readlink() / name if folder else Path(name)).relative_to(root)

        def note_fsync(descriptor: int) -> None:
            fsync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            self.log.append(("sync", path.relative_to(root), None if path.is_dir() else path.read_bytes()))

        def note_move(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
            places = at(source, src_dir_fd), at(target, dst_dir_fd)
            move(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            self.log.append(("moved" if (root / places[1]).is_dir() else "name", *places))

        def noting(kind: str, call: Callable[..., None]) -> Callable[..., None]:
            def note(name: str, *rest: int, dir_fd: int | None = None) -> None:
                call(name, *rest, dir_fd=dir_fd)
                self.log.append((kind, at(name, dir_fd), None))

            return note

        monkeypatch.setattr(os, "fsync", note_fsync)
        monkeypatch.setattr(os, "rename", note_move)
        monkeypatch.setattr(os, "replace", note_move)
        for kind, call in (("gone", os.unlink), ("gone", os.rmdir), ("made", os.mkdir)):
            monkeypatch.setattr(os, call.__name__, noting(kind, call))

    def after_cuts(self) -> Iterator[Names]:
        """Return what may be found after a cut at any point: names in doubt are old or new, unsynced files empty."""
        for length in range(len(self.log) + 1):
            synced: dict[Path, bytes] = {}
            names = dict(self._start)
            doubtful: list[Change] = []
            for kind, path, more in self.log[:length]:
                if kind == "sync" and isinstance(more, bytes):
                    synced[path] = more
                elif kind == "sync":
                    for change in [some for some in doubtful if _place(some).parent == path]:
                        names = _changed(names, change, synced)
                        doubtful.remove(change)
                else:
                    doubtful.append((kind, path, more))
            for done in itertools.product((False, True), repeat=len(doubtful)):
                state = dict(names)
                for change, is_done in zip(doubtful, done, strict=True):
                    state = _changed(state, change, synced) if is_done else state
                yield {path: content for path, content in state.items() if set(path.parents) - {Path()} <= set(state)}


def _place(change: Change) -> Path:
    return change[2] if isinstance(change[2], Path) else change[1]


def _changed(names: Names, change: Change, synced: dict[Path, bytes]) -> Names:
    kind, path, target = change
    if kind == "made":
        return {**names, path: None}
    if kind == "gone":
        return {name: content for name, content in names.items() if name != path}
    assert isinstance(target, Path)
    if kind == "name":
        rest = {name: content for name, content in names.items() if name != path}
        return {**rest, target: synced.get(path, names.get(path) or b"")}
    inside = {name: content for name, content in names.items() if name == path or path in name.parents}
    rest = {name: content for name, content in names.items() if name not in inside}
    return {**rest, **{target / name.relative_to(path): content for name, content in inside.items()}}
