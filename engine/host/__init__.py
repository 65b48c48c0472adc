"""The daemon of a workspace."""
