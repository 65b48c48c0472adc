"""The folder of an export: each file is either replaced whole or unchanged, and foreign files are not replaced.

`answers.json` holds, under `sha256`, the hash of every exported file; its own is that of the rest of it. A file with
another hash was not written by an export, or was changed since.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from engine.machine.files import Folder
from engine.storage.file_hashes import sha256_of
from engine.storage.run_check import MODEL
from engine.storage.run_folder import RunFolder

MANIFEST = "answers.json"
MAX_MANIFEST_BYTES = 2**26
CHUNK = 2**20


class ExportError(OSError):
    """A run's file is missing, changed or unsuitable."""


class ExportFolder:
    """An open export folder."""

    def __init__(self, folder: Folder) -> None:
        self.path = folder.path
        self._folder = folder
        self._known = _hashes(folder, "sha256")
        """SHA-256 of the files that an export wrote here, by name."""
        self._replaced = _hashes(folder, "replaced")
        """SHA-256 of the files that the last export was about to replace when it was interrupted."""

    def refuse_foreign(self, expected: Mapping[str, str]) -> None:
        """Check the files that are to be replaced, before any is.

        Args:
            expected: the files to be written, each with its SHA-256 where that is known.

        Raises:
            FileExistsError: there is one that no export wrote, or that was changed since.
        """
        for name, sha256 in expected.items():
            if self._folder.kind(name) == "nothing":
                continue
            present = _sha256(self._folder, name)
            if not present or present not in (sha256, self._known.get(name), self._replaced.get(name)):
                why = "it is not what svhn-tui exported; --force replaces it, another folder leaves it as it is"
                raise FileExistsError(errno.EEXIST, why, str(self.path / name))

    def write(self, name: str, content: bytes) -> None:
        """Write a file.

        Raises:
            OSError: it cannot be written; the previous file is intact.
        """
        self._folder.write_atomically(name, content)
        self._known[name] = hashlib.sha256(content).hexdigest()

    def write_pages(self, pages: Mapping[str, bytes], manifest: Mapping[str, object]) -> None:
        """Write the pages about the files. After an interruption it is known which were still to be replaced.

        Raises:
            OSError: as `write`.
        """
        there = {name: sha256 for name, sha256 in self._known.items() if self._folder.kind(name) == "file"}
        hashes = there | {name: hashlib.sha256(content).hexdigest() for name, content in pages.items()}
        replaced = {name: _sha256(self._folder, name) for name in pages if self._folder.kind(name) == "file"}
        self._write_manifest({**manifest, "replaced": replaced}, hashes)
        for name, content in pages.items():
            self._folder.write_atomically(name, content)
        self._write_manifest(manifest, hashes)

    def _write_manifest(self, content: Mapping[str, object], hashes: dict[str, str]) -> None:
        own = {MANIFEST: hashlib.sha256(_text(content)).hexdigest()}
        self._folder.write_atomically(MANIFEST, _text({**content, "sha256": dict(sorted((hashes | own).items()))}))

    def copy_model(self, run: RunFolder, name: str, sha256: str, finish: Callable[[Path], object]) -> int:
        """Copy a run's file if its hash is that of the trained one; return its size.

        Args:
            run: the run.
            name: the file's name here.
            sha256: of the trained file.
            finish: may change the copy, before it has its name, or refuse it with an ExportError.

        Raises:
            ExportError: it is missing or changed.
            OSError: it cannot be written; the previous file is intact.
        """
        temporary = f".{name.removesuffix('.keras')}.{secrets.token_hex(4)}.keras"
        try:
            with self._folder.create(temporary) as file:
                for chunk in _checked(run, sha256):
                    file.write(chunk)
            finish(self.path / temporary)
            self._known[name] = _sha256(self._folder, temporary)
            self._folder.publish(temporary, name)
            return self._folder.status(name).st_size
        finally:
            self._folder.remove(temporary)


@contextlib.contextmanager
def opened(path: Path, workspace: Path) -> Iterator[ExportFolder]:
    """Open the folder, which is made if it is missing. Below the workspace, links are not followed.

    Raises:
        OSError: it cannot be made, or is not a folder.
    """
    workspace, path = workspace.resolve(), Path(os.path.abspath(path))  # noqa: PTH100  resolve() would follow a link
    if path.is_relative_to(workspace):
        folder = Folder.at(workspace, *path.relative_to(workspace).parts, make=True)
    else:
        path.mkdir(parents=True, exist_ok=True)
        folder = Folder.at(path)
    with folder:
        yield ExportFolder(folder)


def _checked(run: RunFolder, sha256: str) -> Iterator[bytes]:
    """Yield the content of a run's file; raise at its end if the hash is not that of the trained one."""
    source, digest = run.path / MODEL, hashlib.sha256()
    again = "delete the run and train it again"
    try:
        with run.open_model() as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                yield chunk
    except FileNotFoundError:
        raise ExportError(f"{source} is gone; {again}") from None
    except OSError as error:
        raise ExportError(f"{source} cannot be read: {error.strerror}") from error
    if digest.hexdigest() != sha256:
        raise ExportError(f"{source} changed since it was trained; {again}")


def _hashes(folder: Folder, field: str) -> dict[str, str]:
    """Return the manifest's hashes; none if it is missing or was changed."""
    try:
        content = folder.read(MANIFEST, MAX_MANIFEST_BYTES)
        manifest = json.loads(content)
        is_ours = content == _text(manifest)
        hashes = {str(name): str(sha256) for name, sha256 in manifest.get(field, {}).items()}
        own = manifest.pop("sha256")[MANIFEST]
        is_ours = is_ours and own == hashlib.sha256(_text(manifest)).hexdigest()
        return {**hashes, MANIFEST: hashlib.sha256(content).hexdigest()} if is_ours else {}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return {}


def _text(content: Mapping[str, object]) -> bytes:
    return f"{json.dumps(content, indent=2)}\n".encode()


def _sha256(folder: Folder, name: str) -> str:
    """Return the hash of a file; empty if it cannot be read."""
    try:
        return sha256_of(folder, name)
    except OSError:
        return ""
