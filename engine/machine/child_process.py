"""Command lines and environments of child processes: every Python that the program starts is described here. Pure.

None of them reads Python from the current folder, and what trains, verifies or measures gets an environment that is
built from an allow-list, so that what it computes follows from what it was given alone.
"""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Collection, Mapping
from typing import NamedTuple

import engine

ISOLATED = ("-P",)
"""Options of Python: neither the current folder nor the one of a script is searched for modules."""
FOLDER = "/"
"""Where children run. They get absolute paths; nothing is found by standing in some folder, and none is kept busy."""

PYTHON_NEEDED = (
    "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONCOERCECLOCALE",
    "PYTHONNOUSERSITE",
)  # fmt: skip
"""Of Python's variables, those that bring in no other code and decide nothing of what it computes."""
PACKAGES = ("engine", "svhn_tui", "numpy", "keras", "jax", "tensorflow", "msgspec", "textual", "typer")
"""Where these are found is what the program was started with."""
SEARCHED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Lists of folders in which an empty or relative entry means the current one."""

ALLOWED = frozenset((
    "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ",
    "TERM", "TMPDIR", "TEMP", "TMP", "KRB5CCNAME", "SSH_AUTH_SOCK", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES", "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy", "HTTP_PROXY",
    "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY", *PYTHON_NEEDED,
))  # fmt: skip
"""What reaches training from the surroundings, beside what begins with these:"""
ALLOWED_PREFIXES = ("LC_", "XDG_", "CUDA_", "NVIDIA_", "SLURM", "SVHN_TUI_")
NEVER = frozenset(("NVIDIA_TF32_OVERRIDE",))
"""Decides how products are rounded."""

SLURM_SITE = frozenset((
    "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_ACCOUNT", "SLURM_PARTITION", "SLURM_QOS",
    "SLURM_RESERVATION", "SLURM_WCKEY",
))  # fmt: skip
"""How a site or a user sets Slurm up, in a profile; all other variables of Slurm belong to one job or one command."""
SLURM_PREFIXES = ("SLURM", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SCANCEL_", "PMI")
CARDS = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""What an allocation calls its own cards: said to a job of another one, they would be the wrong ones."""

Environment = dict[str, str]


class ChildCommand(NamedTuple):
    """A process to be started: its command line, and its whole environment. It runs in FOLDER."""

    argv: tuple[str, ...]
    environment: Environment


def program(module: str, *arguments: str) -> ChildCommand:
    """Describe a process that computes nothing, such as the bridge and the host: it runs as the user started us."""
    return ChildCommand((sys.executable, *module_line(module, *arguments)), program_environment(os.environ))


def tool(module: str, *arguments: str) -> ChildCommand:
    """Describe a process that trains, verifies, measures or reads data, on this machine."""
    environment = outside_allocation(training_environment(os.environ))
    return ChildCommand((sys.executable, *module_line(module, *arguments)), environment)


def module_line(module: str, *arguments: str) -> tuple[str, ...]:
    """Return what follows a Python's name, here or on another machine, to run a module of ours."""
    return (*ISOLATED, "-m", module, *arguments)


def program_environment(inherited: Mapping[str, str]) -> Environment:
    """Return what is inherited, without what makes Python run other code or programs be found in the current folder."""
    needed = {
        name: value for name, value in inherited.items() if not name.startswith("PYTHON") or name in PYTHON_NEEDED
    }
    for name in SEARCHED:
        if name in needed:
            needed[name] = os.pathsep.join(
                folder for folder in needed[name].split(os.pathsep) if folder.startswith("/")
            )
            if not needed[name]:
                del needed[name]
    return needed | _python_needed(inherited)


def training_environment(inherited: Mapping[str, str]) -> Environment:
    """Return what of the surroundings may reach training: by name, so that what nobody thought of stays out."""
    return {name: value for name, value in program_environment(inherited).items() if _is_allowed(name)}


def outside_allocation(environment: Mapping[str, str]) -> Environment:
    """Return an environment without that of the Slurm job in which we may run: another job is not a step of it."""
    return {
        name: value for name, value in environment.items() if name in SLURM_SITE or not name.startswith(SLURM_PREFIXES)
    }


def srun_environment(inherited: Mapping[str, str]) -> Environment:
    """Return the environment of `srun`, which hands it on to the worker and adds what describes the worker's job."""
    cards: Collection[str] = CARDS if "SLURM_JOB_ID" in inherited else ()
    environment = outside_allocation(training_environment(inherited))
    return {name: value for name, value in environment.items() if name not in cards}


def _is_allowed(name: str) -> bool:
    if name in NEVER:
        return False
    return name in ALLOWED or name in ("PYTHONPATH", "PYTHONUSERBASE") or name.startswith(ALLOWED_PREFIXES)


def _python_needed(inherited: Mapping[str, str]) -> Environment:
    """Return PYTHONPATH and PYTHONUSERBASE as far as the program itself was found through them."""
    base, path = inherited.get("PYTHONUSERBASE", ""), inherited.get("PYTHONPATH", "")
    home = os.path.dirname(os.path.dirname(os.path.abspath(engine.__file__)))  # noqa: PTH100, PTH120
    first = os.path.abspath(sys.path[0]) if sys.path else ""  # noqa: PTH100  the folder in which `python -m` stood
    needed = [home] if first == home and home not in sys.path[1:] else []
    if base or path:
        homes = _homes()
        given = (os.path.abspath(entry) for entry in path.split(os.pathsep) if entry)  # noqa: PTH100
        needed += [entry for entry in given if entry in homes and entry not in needed]
        if not any(home.startswith(f"{os.path.abspath(base)}/") for home in homes):  # noqa: PTH100
            base = ""
    variables = {"PYTHONPATH": os.pathsep.join(needed), "PYTHONUSERBASE": base}
    return {name: value for name, value in variables.items() if value}


def _homes() -> frozenset[str]:
    """Return the folders in which the program's packages are found by this process."""
    paths: list[str] = []
    for name in PACKAGES:
        with contextlib.suppress(ImportError, ValueError):  # it was hidden from this process
            spec = importlib.util.find_spec(name)
            paths += (spec.submodule_search_locations or ()) if spec else ()
    return frozenset(os.path.dirname(os.path.abspath(path)) for path in paths)  # noqa: PTH100, PTH120
