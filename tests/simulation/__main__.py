"""`make simulate`: the real host with a thousand workers and a hundred thousand runs, and what that costs it.

Real: the bridge, the host and all that it does (pipes, queue, index, run folders, one client that reads everything), a
process for each worker behind a stand-in for `srun`. Not real: training, Slurm, the workers' journals and syncs. On one
machine the workers take most of its cores, so what counts is the host's own CPU time.

Variables: SIMULATE_WORKERS (1,000), SIMULATE_RUNS (100,000; a tenth and a hundredth of it come first),
SIMULATE_EPOCHS (10), SIMULATE_EPOCH_SECONDS (0: as fast as it goes).
"""

import os
import shlex
import sys
import tempfile
from pathlib import Path

from tests.simulation.measure import ROWS, Measured, measure
from tests.simulation.worker import EPOCH_SECONDS

WORKERS = int(os.environ.get("SIMULATE_WORKERS", "1000"))
RUNS = int(os.environ.get("SIMULATE_RUNS", "100000"))
EPOCHS = int(os.environ.get("SIMULATE_EPOCHS", "10"))

SRUN = """#!/bin/sh
# In place of Slurm's: options out of the way, then the worker itself.
while case "$1" in -*) true ;; *) false ;; esac; do shift; done
exec "$@"
"""


def stand_ins(folder: Path) -> dict[str, str]:
    """Put programs that look like Slurm's into a folder; return the environment in which they are found."""
    for name, text in (("srun", SRUN), ("squeue", "#!/bin/sh\n"), ("scancel", "#!/bin/sh\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    worker = shlex.join([sys.executable, "-I", "-S", str(Path(__file__).with_name("worker.py"))])
    pace = {"SVHN_TUI_SIMULATE_EPOCH_SECONDS": os.environ.get("SIMULATE_EPOCH_SECONDS", "0")}
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "SVHN_TUI_WORKER": worker, **pace}


def table(rows: list[Measured]) -> str:
    """Lay the figures out: a column for each size."""
    lines = [f"| {WORKERS:,} workers | {' | '.join(f'{some.runs:,} runs' for some in rows)} |"]
    lines.append("|---|" + "---|" * len(rows))
    for field, name in ROWS.items():
        values = (getattr(some, field) for some in rows)
        lines.append(f"| {name} | {' | '.join(f'{value:,.{2 if value < 10 else 0}f}' for value in values)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure every size in a workspace of its own, and print the table."""
    sizes = sorted({max(WORKERS, RUNS // part) for part in (100, 10, 1)})
    rows = []
    with tempfile.TemporaryDirectory(prefix="simulate-") as folder:
        environment = stand_ins(Path(folder))
        for runs in sizes:
            print(f"{runs:,} runs of {EPOCHS} epochs, {EPOCH_SECONDS:g} s each …", file=sys.stderr, flush=True)
            workspace = Path(folder) / f"workspace-{runs}"
            rows.append(measure(workspace, environment, workers=WORKERS, runs=runs, epochs=EPOCHS))
            print(table(rows), file=sys.stderr, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
