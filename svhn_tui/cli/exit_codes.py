"""Exit codes that scripts may rely on."""

DONE = 0
FAILED = 1
WRONG_USE = 2
TIME_OVER = 3
"""Training was checkpointed and ended by `--stop-after`."""
INTERRUPTED = 130
"""The command was ended by Ctrl-C: 128 + SIGINT."""
