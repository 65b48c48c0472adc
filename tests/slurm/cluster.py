"""A Slurm cluster of one node with two fake GPUs, on loopback, in a folder of its own: nothing of the machine is used.

    python -m tests.slurm.cluster FOLDER     starts one, prints how to use it, and ends it when stdin ends

Needs root (slurmd runs jobs as their users) and the programs of Debian's `slurm-wlm` and `munge`.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.support.patience import PATIENCE

PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", "srun", "squeue", "scancel", "scontrol")
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM")
"""However this process ends, the daemons end with it."""
CPUS = 4
CONFIGURATION = """
ClusterName=test
SlurmctldHost={node}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0
ReturnToService=2
KillWait=5
SlurmctldTimeout=10
SlurmdTimeout=30
SlurmdParameters=config_overrides
MpiDefault=none
GresTypes=gpu
NodeName={node} NodeAddr=127.0.0.1 CPUs={cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={cpus} ThreadsPerCore=1 Gres=gpu:2 State=UNKNOWN
PartitionName=gpu Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""  # noqa: E501
GPUS = "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"


def lacking() -> str:
    """Say why no cluster can be started here, or nothing."""
    missing = [program for program in PROGRAMS if shutil.which(program, path=search_path()) is None]
    if missing:
        return f"Slurm is not installed: no {missing[0]}"
    return "" if os.geteuid() == 0 else "slurmd needs root"


def search_path() -> str:
    """Where the daemons may be, beside the user's own PATH."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Cluster:
    """The three daemons, started and ended together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node = socket.gethostname().partition(".")[0]
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": search_path()}
        """What programs need to use it."""
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for name in ("munge", "state", "spool"):
            (self.folder / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        text = CONFIGURATION.format(folder=self.folder, node=self.node, ports=free_ports(2), cpus=CPUS)
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text(GPUS)
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        try:
            munge = self.folder / "munge"
            self._start(
                "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge / 'socket'}",
                f"--pid-file={munge / 'pid'}", f"--log-file={munge / 'log'}", f"--seed-file={munge / 'seed'}",
            )  # fmt: skip
            self._wait(lambda: (munge / "socket").exists())
            self.start_controller()
            self._start("slurmd", "-D")
            self._wait(lambda: self.ask("sinfo", "-h", "-o", "%T").strip() == "idle")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.ask("scancel", f"--user={os.getuid()}")
        deadline = time.monotonic() + 10.0
        while self.ask("squeue", "-h").strip() and time.monotonic() < deadline:
            time.sleep(0.1)  # a job that outlives slurmd would never end
        for name in ("slurmd", "slurmctld", "munged"):
            if daemon := self._daemons.pop(name, None):
                daemon.terminate()
                try:
                    daemon.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()

    def start_controller(self) -> None:
        """Start slurmctld, on what it had saved if it ran before."""
        self._start("slurmctld", "-D")

    def kill_controller(self) -> None:
        """Kill -9, as a power cut of the head node would."""
        daemon = self._daemons.pop("slurmctld")
        daemon.kill()
        daemon.wait()

    def ask(self, *command: str) -> str:
        """Run one of Slurm's programs; return what it prints."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout

    def _start(self, *command: str) -> None:
        program = shutil.which(command[0], path=search_path()) or command[0]
        with (self.folder / f"{command[0]}.out").open("ab") as out:
            self._daemons[command[0]] = subprocess.Popen(
                [*DIE_WITH_PARENT, program, *command[1:]],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _wait(self, met: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not met():
            dead = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            if dead or time.monotonic() > deadline:
                output = "".join((self.folder / f"{name}.out").read_text()[-2000:] for name in self._daemons)
                raise RuntimeError(f"Slurm does not start; ended: {dead}\n{output}")
            time.sleep(0.05)  # daemons that tell nobody when they listen


def main() -> None:
    """Keep a cluster until stdin ends."""
    if reason := lacking():
        raise SystemExit(reason)
    with Cluster(Path(sys.argv[1]).absolute()) as cluster:
        print(f"export SLURM_CONF={cluster.environment['SLURM_CONF']}", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
