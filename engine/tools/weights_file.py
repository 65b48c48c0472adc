"""Checks the weights file inside a `.keras` file without reading an array: HDF5 links may point anywhere."""

from typing import BinaryIO

import h5py

MAX_DEPTH = 64
MAX_ITEMS = 10_000
"""Most groups and arrays; a network of 64 layers with its optimizer has some hundred."""
MAX_ATTRIBUTE_BYTES = 2**12
"""Keras stores the names of layers in attributes."""
NUMBERS = "fiub"
OPTIMIZER = "optimizer"


class WeightsError(ValueError):
    """A weights file is not loaded; the message says why, after its name."""


def numbers_in(file: BinaryIO) -> tuple[int, int | None]:
    """Return how many numbers the layers' arrays hold, and how many batches the optimizer counted, if it is there.

    Args:
        file: an HDF5 file, open for reading.

    Raises:
        WeightsError: it links to other files, or its arrays are not plain numbers in this very file.
        OSError, ValueError, RuntimeError, KeyError, TypeError: it is damaged.
    """
    size = file.seek(0, 2)
    with h5py.File(file, "r") as weights:
        walk = _Walk(size)
        walk.check(weights)
        return walk.numbers, _iterations(weights)


def _iterations(weights: h5py.File) -> int | None:
    for name in ("optimizer/inner_optimizer/vars/0", "optimizer/vars/0"):
        count = weights.get(name)
        if isinstance(count, h5py.Dataset) and count.shape == () and count.dtype.kind in "iu":
            return int(count[()])
    return None


class _Walk:
    """The state of a check of a weights file, which may have cyclic links or unpack to terabytes."""

    def __init__(self, size: int) -> None:
        self.numbers = 0
        self._room = size
        """Bytes of the file that no array has claimed yet."""
        self._items = 0

    def check(self, group: h5py.Group, depth: int = 0, *, counted: bool = True) -> None:
        """Refuse links, arrays in other files, and more arrays than the file has bytes for."""
        if depth > MAX_DEPTH:
            raise WeightsError("is nested too deep")
        self._check_attributes(group)
        for name in group:
            self._items += 1
            if self._items > MAX_ITEMS:
                raise WeightsError(f"holds more than {MAX_ITEMS:,} things")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise WeightsError(f"links to another place ({name[:60]!r})")
            item = group[name]
            if isinstance(item, h5py.Group):
                self.check(item, depth + 1, counted=counted and not (depth == 0 and name == OPTIMIZER))
            elif isinstance(item, h5py.Dataset):
                self._check_array(name, item)
                self.numbers += item.size if counted else 0
            else:
                raise WeightsError(f"holds something other than arrays ({name[:60]!r})")

    def _check_array(self, name: str, item: h5py.Dataset) -> None:
        where = f"({name[:60]!r})"
        if item.external or item.is_virtual:
            raise WeightsError(f"keeps {name[:60]!r} in another file")
        if item.dtype.kind == "V" and not item.dtype.fields:
            raise WeightsError(f"has numbers of a kind that HDF5 does not know, such as bfloat16 {where}")
        if item.dtype.kind not in NUMBERS:
            raise WeightsError(f"holds something other than numbers {where}")
        self._room -= item.size * item.dtype.itemsize
        if self._room < 0:
            raise WeightsError(f"declares more than it holds {where}")
        if item.chunks is not None or item.id.get_create_plist().get_nfilters():
            raise WeightsError(f"has a compressed array, which Keras does not write {where}")
        if item.id.get_storage_size() != item.size * item.dtype.itemsize:
            raise WeightsError(f"declares more than it holds {where}")
        self._check_attributes(item)

    def _check_attributes(self, item: h5py.Group | h5py.Dataset) -> None:
        if h5py.h5a.get_num_attrs(item.id) > MAX_DEPTH:
            raise WeightsError("has more attributes than Keras writes")
        for name in item.attrs:
            attribute = item.attrs.get_id(name)
            if attribute.get_storage_size() > MAX_ATTRIBUTE_BYTES:
                raise WeightsError(f"has an attribute of {attribute.get_storage_size():,} bytes")
