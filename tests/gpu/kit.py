"""What all sections of the kit share: sizes, the time that is left, images, and the file that is written after each."""

import contextlib
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.gpu.children import BEGAN
from tests.gpu.common import drawn

Results = dict[str, Any]
"""What a section found, as JSON."""


class Kit:
    """One pass of the kit.

    Args:
        small: tiny sizes, for a machine without a GPU.
        precision: of the networks that are timed.
        seconds: of the whole; 0: as long as it usually takes.
        work: a folder that is removed at the end.
    """

    def __init__(self, *, small: bool, precision: str, seconds: float, work: Path) -> None:
        self.small, self.precision = small, precision
        self.total = seconds or (200 if small else 380)
        self.results: Results = {"precision_of_timed": precision, "small": small, "sections": {}, "skipped": []}
        self.out = Path(os.environ.get("OUT") or tempfile.mkdtemp(prefix="gpu_check."))
        self.work = work
        self.parity = (20 * 32 + 16, 100) if small else (250 * 32 + 16, 500)
        """Images to train and to test with, where bits are compared."""
        self.timed = self.parity if small else (50_000, 10_000)
        """The same where time is measured."""
        self.lanes = 3 if small else 10
        self.begun: Results = {}
        """What a section has begun for a later one."""
        self._images: dict[tuple[int, int], Any] = {}

    @property
    def sections(self) -> Results:
        """What was found so far, by section."""
        return self.results["sections"]

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.total - (time.monotonic() - BEGAN)

    def images(self, sizes: tuple[int, int]) -> Any:
        """Return drawn images, the same for the same sizes."""
        if sizes not in self._images:
            self._images[sizes] = drawn(*sizes)
        return self._images[sizes]

    def write(self) -> None:
        """Write what was found so far."""
        self.results["seconds"] = round(time.monotonic() - BEGAN, 1)
        path = self.out / "gpu.json.part"
        path.write_text(json.dumps(self.results, indent=1))
        path.replace(self.out / "gpu.json")

    def section(self, name: str, measure: Callable[["Kit", Results], None], least: float) -> None:
        """Do a section unless less than `least` seconds are left; what goes wrong in it is part of what is found."""
        if self.left() < least:
            self.results["skipped"].append(name)
            return
        print(f"[{time.monotonic() - BEGAN:6.1f} s] {name}", file=sys.stderr, flush=True)
        began = time.monotonic()
        held = self.sections[name] = {}
        try:
            measure(self, held)
        except Exception as error:  # noqa: BLE001  the other sections are worth having all the same
            held["error"] = f"{type(error).__name__}: {str(error)[:400]}"
            held["traceback"] = traceback.format_exc()[-1500:]
        held["section_s"] = round(time.monotonic() - began, 1)
        self.write()


@contextlib.contextmanager
def stopwatch(held: Results, name: str, digits: int = 2) -> Iterator[None]:
    """Add the milliseconds that are spent within."""
    began = time.perf_counter()
    yield
    held[name] = round(1e3 * (time.perf_counter() - began), digits)
