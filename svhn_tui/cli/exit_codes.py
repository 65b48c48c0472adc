"""Exit codes that scripts may rely on."""

DONE = 0
FAILED = 1
WRONG_USE = 2
TIME_OVER = 3
"""Checkpointed and left, as `--stop-after` asked."""
INTERRUPTED = 130
"""By Ctrl-C: 128 + SIGINT."""
