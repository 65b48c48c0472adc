"""Which files hold the train and the test images: recognised by their names, as people rename, move and unpack them."""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from engine.machine import os_errors
from engine.storage.npz import DataError, names_in

TRAIN_FILE = "p4_2026_svhn_train.npz"
TEST_FILE = "p4_2026_svhn_test.npz"
IMAGES, LABELS = MEMBERS = ("images.npy", "labels.npy")
IN_ONE = ("x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy")
"""Members of a file that holds both halves."""
ROLES = {"train": TRAIN_FILE, "test": TEST_FILE}
MISLEADING = re.compile("latest|greatest|fastest|contest|strain")
"""Words that contain `train` or `test` and mean something else."""
YEAR = re.compile(r"(?<!\d)20\d\d(?!\d)")
DEPTH = 2
"""Levels of folders below the one that the user names: Kaggle adds one or two."""
MAX_ENTRIES = 5_000
"""Most entries of a folder; with more it is not the folder of a data set."""
BOTH = "give the two files themselves: --data TRAIN --data TEST."


def locate(source: Sequence[str | Path]) -> tuple[Path, Path]:
    """Return the train and the test file of a folder, or of two files given in any order; twice the one with both.

    A file is an `.npz`, a folder that one was unpacked into, or a `.mat`. Where several could be meant, none is
    guessed.

    Raises:
        DataError: they cannot be recognised.
    """
    paths = [Path(path) for path in source]
    if len(paths) == 2:
        return _ordered(paths[0], paths[1])
    if len(paths) != 1:
        raise DataError("Give one folder, or the train file and the test file.")
    folder, expected = paths[0], f"give the folder that holds {TRAIN_FILE} and {TEST_FILE}"
    if not os.path.lexists(folder):
        raise DataError(f"{folder} is not there; {expected}.")
    if folder.suffix.lower() == ".zip" and folder.is_file():
        raise DataError(f"{folder} is packed; unpack it (unzip {folder.name}) and {expected}.")
    is_half = folder.is_file() and names_in(folder).issuperset(MEMBERS)
    if _holds_both(folder) or (folder.is_file() and folder.suffix.lower() == ".npz" and not is_half):
        return folder, folder
    if not folder.is_dir():
        raise DataError(f"{folder} is a single file; {expected}, or both.")
    if _is_unpacked(folder):
        raise DataError(f"{folder} holds what one .npz file holds; give the folder above it, or {BOTH}")
    return _pair_in(folder)


def role_of(name: str) -> str:
    """Return which of the two a name says, `train` or `test`; empty where it says neither, or both."""
    text = MISLEADING.sub(" ", name.lower())
    roles = [role for role in ROLES if role in text]
    return roles[0] if len(roles) == 1 else ""


def _ordered(first: Path, second: Path) -> tuple[Path, Path]:
    """Return two files, that for training first: as their names say, or those of their folders, else as given.

    Raises:
        DataError: their names contradict each other.
    """
    if first == second and _holds_both(first):
        return first, second
    in_two_folders = first.parent != second.parent
    roles = [role_of(path.name) or (role_of(path.parent.name) if in_two_folders else "") for path in (first, second)]
    if roles[0] == roles[1] != "":
        raise DataError(f"{first} and {second} are both a {roles[0]} file by their names; give one of each.")
    is_swapped = roles[0] == "test" or roles[1] == "train"
    return (second, first) if is_swapped else (first, second)


def _pair_in(folder: Path) -> tuple[Path, Path]:
    """Return the pair of a folder, or of folders below it where it has none; or the one file that holds both.

    Raises:
        DataError: one is missing, several could be meant, or the two are of different years.
    """
    files: dict[str, list[Path]] = {role: [] for role in ROLES}
    others: list[Path] = []
    level = [folder]
    for _ in range(DEPTH + 1):
        below = []
        for each in level:
            for path in _entries(each) if each == folder else _entries_below(each):
                if not _is_archive(path):
                    below.append(path)
                elif role := role_of(path.name) or (role_of(each.name) if each != folder else ""):
                    files[role].append(path)
                else:
                    others.append(path)
        if all(files.values()):
            break
        level = [path for path in below if os.path.isdir(path)]  # noqa: PTH112  False without the right to look
    if not all(files.values()) and (both := [path for path in others if _holds_both(path)]):
        if len(both) > 1:
            names = " and ".join(str(path.relative_to(folder)) for path in both[:2])
            raise DataError(f"{folder} has {len(both)} data sets, {names}; name the file: --data {both[0]}.")
        return both[0], both[0]
    train, test = (_only(folder, role, files[role]) for role in ROLES)
    years = [set(YEAR.findall(path.name)) for path in (train, test)]
    if all(years) and not years[0] & years[1]:
        raise DataError(f"{train} and {test} are of different years; if they belong together, {BOTH}")
    return train, test


def _only(folder: Path, role: str, candidates: list[Path]) -> Path:
    """Return the only candidate for a role, or the one with the assignment's name.

    Raises:
        DataError: there is none, or none that is clearly meant.
    """
    distinct = list({os.path.realpath(path): path for path in reversed(candidates)}.values())[::-1]
    packed = {path.with_suffix("") for path in distinct if path.is_file()}
    distinct = [path for path in distinct if path.is_file() or path not in packed]  # unpacked beside its archive
    named = [path for path in distinct if path.name == ROLES[role]] or distinct
    if len(named) == 1:
        return named[0]
    if not named:
        raise DataError(_lacking(folder, role))
    names = " and ".join(str(path.relative_to(folder)) for path in named[:2])
    raise DataError(f"{folder} has {len(named)} files that may be the {role} file, {names}; {BOTH}")


def _lacking(folder: Path, role: str) -> str:
    """Say that a folder has no file for a role, and what to do, by what else is there."""
    stubs = (path.name[1:].removesuffix(".icloud") for path in folder.glob(".*.icloud"))
    for name in stubs:  # macOS leaves one for each file that it moved to iCloud
        if role_of(name) == role:
            return f"{folder / name} is in iCloud and not on this machine; download it in the Finder first."
    there = list(_entries(folder))
    zips = [path.name for path in there if path.suffix.lower() == ".zip"]
    near = [path.name for path in there if role_of(path.name) == role and path.is_file() and path.suffix != ".zip"]
    others = f"no .npz file or folder with `{role}` in its name, nor have the folders in it"
    kind = f"; {near[0]} is neither .npz nor .mat" if near else ""
    advice = f"unpack {zips[0]} first" if zips else "give the folder with the assignment's files, or the two files"
    return f"{folder} has no {ROLES[role]}, and {others}{kind}; {advice}."


def _entries(folder: Path) -> Iterator[Path]:
    """Yield the entries of a folder, without hidden files and those that macOS adds beside each file.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in islice(entries, MAX_ENTRIES))
    except OSError as error:
        raise DataError(
            os_errors.sentence_of(error, folder) or f"{folder} cannot be read: {error.strerror}."
        ) from error
    return (folder / name for name in names if not name.startswith((".", "__MACOSX")))


def _entries_below(folder: Path) -> Iterator[Path]:
    """Yield the entries of a folder that the user did not name; none without the right to look, as in `lost+found`."""
    try:
        return _entries(folder)
    except DataError as error:
        if isinstance(error.__cause__, PermissionError):
            return iter(())
        raise


def _is_archive(path: Path) -> bool:
    return is_npz(path) or path.suffix.lower() == ".mat"


def is_npz(path: Path) -> bool:
    """Say whether this is an `.npz`, also one that was renamed to `.zip`, or a folder that one was unpacked into."""
    is_renamed = path.suffix.lower() == ".zip" and names_in(path).issuperset(MEMBERS)
    return path.suffix.lower() == ".npz" or is_renamed or _is_unpacked(path)


def _is_unpacked(path: Path) -> bool:
    """Say whether a folder has a member in it; False without the right to look."""
    return any(os.path.isfile(path / member) for member in (*MEMBERS, *IN_ONE))  # noqa: PTH113


def _holds_both(path: Path) -> bool:
    """Say whether a file holds both halves, by the names of its members."""
    return is_npz(path) and any(member in names_in(path) for member in IN_ONE)
