"""Whether this machine has an NVIDIA card, as the kernel reports it without NVIDIA's libraries.

A container sees all of the machine's cards here, even those that it may not use.
"""

from pathlib import Path

NVIDIA = "0x10de"
"""NVIDIA's vendor id on the PCI bus."""
COMPUTING = ("0x0300", "0x0302")
"""PCI classes, by their first digits: a display adapter, and one without outputs."""
WSL = ("dev/dxg", "usr/lib/wsl/lib/libcuda.so.1")
"""Files of WSL; both exist where Windows has a card and its driver."""
MODULE = "proc/driver/nvidia/version"
"""Exists while the kernel has loaded NVIDIA's driver, also in containers and sandboxes that hide the PCI bus."""


def is_there(root: Path = Path("/")) -> bool:
    """Say whether there is an NVIDIA card, usable or not."""
    if (root / MODULE).exists() or all((root / path).exists() for path in WSL):
        return True
    try:
        devices = list((root / "sys/bus/pci/devices").iterdir())
    except OSError:
        return False
    return any(_text_of(device / "vendor") == NVIDIA and _text_of(device / "class").startswith(COMPUTING)
               for device in devices)  # fmt: skip


def _text_of(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
