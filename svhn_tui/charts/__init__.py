"""Lines in a terminal's cells."""
