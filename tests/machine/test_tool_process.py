"""Short child processes, whatever they print."""

import os
import sys

from engine.machine import tool_process
from engine.machine.child_process import ChildCommand


async def test_of_what_is_printed_without_end_the_last_is_kept():
    text = "import sys; sys.stderr.write('x\\n' * 2_000_000); sys.stderr.write('why'); print('answer')"
    command = ChildCommand((sys.executable, "-c", text), dict(os.environ))
    outcome = await tool_process.run_beside(command, b"never read" * 100_000)
    assert (outcome.status, outcome.stdout, outcome.last_line) == (0, b"answer\n", "why")
    assert len(outcome.stderr) == tool_process.MAX_STDERR
