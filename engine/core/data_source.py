"""Where a data set's files are, as `experiments.json` names them. Pure."""

import re

from engine.core.data_shape import LAYOUTS
from engine.core.spec import Value

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._-]{0,39}")
WAYS = {("train", "test"), ("file",), ("folder",)}
"""Fields that are set together."""


class DataSource(Value, frozen=True):
    """Where a data set's files are: `folder`, `file`, or `train` and `test`. Relative paths start at the workspace."""

    train: str = ""
    test: str = ""
    file: str = ""
    folder: str = ""
    layout: str = ""
    """The order of the images' axes, such as `NHWC`, where their shape leaves it open."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that are opened."""
        return tuple(path for path in (self.train, self.test, self.file, self.folder) if path)


def source_problem(name: str, source: DataSource) -> str:
    """Return what is wrong with a data set of this name, its field first; empty when nothing is."""
    if not NAME.fullmatch(name):
        return ": a name has letters, digits, spaces, and . _ -, at most 40 of them."
    if tuple(field for field in ("train", "test", "file", "folder") if getattr(source, field)) not in WAYS:
        return ": give `folder`, `file`, or both `train` and `test`."
    if source.layout and source.layout not in LAYOUTS:
        return f".layout: no order {source.layout[:20]!r} of axes; there are {', '.join(LAYOUTS)}."
    return ""
