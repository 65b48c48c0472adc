"""The engine of svhn-tui: the host, its workers and its tools."""

import sys

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and not __file__.startswith(f"{sys.path[0]}/"):
    del sys.path[0]  # `python -m engine...` searches the current folder first, where a student's random.py may lie
