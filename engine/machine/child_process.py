"""Command lines and environments of all Python processes that the program starts. Pure.

None of them imports from the current folder, and those that train, verify or measure get an environment built from an
allow-list, so that their results depend on their input alone.
"""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Collection, Mapping
from importlib.machinery import PathFinder
from typing import NamedTuple

import engine

ISOLATED = ("-P",)
"""Options of Python that exclude the current folder, and that of a script, from the search for modules."""
FOLDER = "/"
"""The current folder of children, which get absolute paths: nothing is found through it, and it can be unmounted."""

PYTHON_NEEDED = (
    "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONCOERCECLOCALE",
    "PYTHONNOUSERSITE",
)  # fmt: skip
"""Python's variables that neither load other code nor change what is computed."""
OWN_PACKAGES = ("engine", "svhn_tui")
PACKAGES = ("numpy", "keras", "jax", "tensorflow", "msgspec", "textual", "typer")
"""Packages of others; the folders in which these are found belong to the program."""
SEARCHED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Lists of folders in which an empty or relative entry means the current one."""

ALLOWED = frozenset((
    "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ",
    "TERM", "TMPDIR", "TEMP", "TMP", "KRB5CCNAME", "SSH_AUTH_SOCK", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES", "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy", "HTTP_PROXY",
    "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY", *PYTHON_NEEDED,
))  # fmt: skip
"""Variables that reach training, beside those that begin with:"""
ALLOWED_PREFIXES = ("LC_", "XDG_", "CUDA_", "NVIDIA_", "SLURM", "SVHN_TUI_")
NEVER = frozenset(("NVIDIA_TF32_OVERRIDE",))
"""Decides how products are rounded."""

SLURM_SITE = frozenset((
    "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_ACCOUNT", "SLURM_PARTITION", "SLURM_QOS",
    "SLURM_RESERVATION", "SLURM_WCKEY",
))  # fmt: skip
"""Settings of Slurm by a site or a user; all other variables of Slurm belong to one job or one command."""
SLURM_PREFIXES = ("SLURM", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SCANCEL_", "PMI")
CARDS = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""The cards of one allocation: in a job of another allocation they would be the wrong ones."""

Environment = dict[str, str]


class ChildCommand(NamedTuple):
    """A process to be started: its command line, and its whole environment. It runs in FOLDER."""

    argv: tuple[str, ...]
    environment: Environment


def own_folders() -> list[str]:
    """Return `sys.path` without those folders of PYTHONPATH that the program's packages do not need."""
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    needed = program_environment(os.environ).get("PYTHONPATH", "").split(os.pathsep)
    others = {os.path.abspath(entry) for entry in given}.difference(needed)  # noqa: PTH100
    return [entry for entry in sys.path if os.path.abspath(entry) not in others]  # noqa: PTH100


def program(module: str, *arguments: str) -> ChildCommand:
    """Describe a process that computes nothing, such as the bridge and the host: it inherits the environment."""
    return ChildCommand((sys.executable, *module_line(module, *arguments)), program_environment(os.environ))


def tool(module: str, *arguments: str) -> ChildCommand:
    """Describe a process that trains, verifies, measures or reads data, on this machine."""
    environment = outside_allocation(training_environment(os.environ))
    return ChildCommand((sys.executable, *module_line(module, *arguments)), environment)


def module_line(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the arguments of a Python, here or on another machine, that run a module of ours."""
    return (*ISOLATED, "-m", module, *arguments)


def program_environment(inherited: Mapping[str, str]) -> Environment:
    """Return the inherited environment without variables that load other code or search the current folder."""
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
    """Return the inherited variables that may reach training, from an allow-list."""
    return {name: value for name, value in program_environment(inherited).items() if _is_allowed(name)}


def outside_allocation(environment: Mapping[str, str]) -> Environment:
    """Return an environment without the variables of the Slurm job in which we may run: a new job is not its step."""
    return {
        name: value for name, value in environment.items() if name in SLURM_SITE or not name.startswith(SLURM_PREFIXES)
    }


def srun_environment(inherited: Mapping[str, str]) -> Environment:
    """Return the environment of `srun`, which passes it to the worker and adds the variables of the worker's job."""
    cards: Collection[str] = CARDS if "SLURM_JOB_ID" in inherited else ()
    environment = outside_allocation(training_environment(inherited))
    return {name: value for name, value in environment.items() if name not in cards}


def _is_allowed(name: str) -> bool:
    if name in NEVER:
        return False
    return name in ALLOWED or name in ("PYTHONPATH", "PYTHONUSERBASE") or name.startswith(ALLOWED_PREFIXES)


def _python_needed(inherited: Mapping[str, str]) -> Environment:
    """Return PYTHONPATH and PYTHONUSERBASE as far as the program itself was imported through them."""
    base, path = inherited.get("PYTHONUSERBASE", ""), inherited.get("PYTHONPATH", "")
    home = os.path.dirname(os.path.dirname(os.path.abspath(engine.__file__)))  # noqa: PTH100, PTH120
    first = os.path.abspath(sys.path[0]) if sys.path else ""  # noqa: PTH100  the folder in which `python -m` stood
    needed = [home] if first == home and home not in sys.path[1:] else []
    if base or path:
        given = [os.path.abspath(entry) for entry in path.split(os.pathsep) if entry]  # noqa: PTH100
        homes = _homes(given)
        needed += [entry for entry in given if entry in homes and entry not in needed]
        if not any(home.startswith(f"{os.path.abspath(base)}/") for home in homes):  # noqa: PTH100
            base = ""
    variables = {"PYTHONPATH": os.pathsep.join(needed), "PYTHONUSERBASE": base}
    return {name: value for name, value in variables.items() if value}


def _homes(given: Collection[str]) -> frozenset[str]:
    """Return the folders in which children are to find the program's packages.

    Ours are where this process found them. Others are taken from PYTHONPATH only where they are nowhere else: a
    cluster's modules put a NumPy of their own into it.

    Args:
        given: the folders of PYTHONPATH.
    """
    elsewhere = [entry for entry in sys.path if os.path.abspath(entry) not in given]  # noqa: PTH100
    paths: list[str] = []
    for name in (*OWN_PACKAGES, *PACKAGES):
        with contextlib.suppress(ImportError, ValueError):  # this process excludes it
            spec = PathFinder.find_spec(name, elsewhere) if name in PACKAGES else None
            spec = spec or importlib.util.find_spec(name)
            paths += (spec.submodule_search_locations or ()) if spec else ()
    return frozenset(os.path.dirname(os.path.abspath(path)) for path in paths)  # noqa: PTH100, PTH120
