"""How long a test waits for what must come: a wait ends by its condition, or fails by this deadline."""

PATIENCE = 300.0
"""Seconds; many times what anything takes on a machine that is busy with other things as well."""
