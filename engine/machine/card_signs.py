"""Whether this machine has an NVIDIA card at all, as the kernel tells without NVIDIA's driver.

Containers see the machine's cards here too, also where they were given none.
"""

from pathlib import Path

NVIDIA = "0x10de"
"""Its number among the makers of PCI devices."""
COMPUTING = ("0x0300", "0x0302")
"""Beginnings of the classes of a display adapter and of one without outputs."""
WSL = ("dev/dxg", "usr/lib/wsl/lib/libcuda.so.1")
"""Both are there where Windows has a card and its driver."""


def is_there(root: Path = Path("/")) -> bool:
    """Say whether there is a card of NVIDIA's, usable or not."""
    if all((root / path).exists() for path in WSL):
        return True
    try:
        devices = list((root / "sys/bus/pci/devices").iterdir())
    except OSError:
        return False
    return any(_word(device / "vendor") == NVIDIA and _word(device / "class").startswith(COMPUTING)
               for device in devices)  # fmt: skip


def _word(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
