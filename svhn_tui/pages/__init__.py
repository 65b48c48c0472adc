"""The six pages and their text."""
