"""Changes to long mappings while many events are folded at once."""

from collections.abc import Mapping
from typing import TypeVar, cast

M = TypeVar("M", bound=Mapping[str, object])


class Edits:
    """The edits of one fold. A mapping that was made during the fold is seen by nobody else and is changed in place: a
    thousand events cost one copy of a long mapping instead of a thousand."""

    def __init__(self) -> None:
        self._made: dict[int, object] = {}

    def more(self, mapping: M, new: Mapping[str, object]) -> M:
        """Return the mapping with these entries; new keys come last."""
        if not new:
            return mapping
        own = self._own(mapping)
        own.update(new)
        return cast(M, own)

    def less(self, mapping: M, *keys: str) -> M:
        """Return the mapping without these entries."""
        gone = [key for key in keys if key in mapping]
        if not gone:
            return mapping
        own = self._own(mapping)
        for key in gone:
            del own[key]
        return cast(M, own)

    def _own(self, mapping: Mapping[str, object]) -> dict[str, object]:
        kind = cast(type[dict[str, object]], type(mapping))
        own = cast(dict[str, object], mapping)
        if id(mapping) not in self._made:
            own = kind(mapping)
            self._made[id(own)] = own  # kept, so that its id stays its own
        elif kind is not dict:
            vars(own).clear()  # values that were computed from it are no longer valid
        return own
