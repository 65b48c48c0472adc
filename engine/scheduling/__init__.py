"""Which runs train next, and where."""
