"""What is asked of files that are verified, and what came of it."""

import msgspec

from engine.core.spec import Configuration
from engine.tools.comparison import Check


class Requirement(msgspec.Struct, frozen=True):
    """What a question wants the file to be."""

    configuration: Configuration
    limit_mib: float | None = None
    fitted: bool = True


class VerifyTask(msgspec.Struct, frozen=True):
    """A `.keras` file, the data to count on, and what is asked of the file."""

    file: str
    data: tuple[str, ...]
    layout: str = ""
    asked: Requirement | None = None
    model_file: str | None = None
    """Of an own model, which the user approved: it is run."""


class Verification(msgspec.Struct, frozen=True):
    """What a file is."""

    file: str
    sha256: str
    bytes: int
    trainable_parameters: int
    test_correct: int
    test_images: int
    test_accuracy: float
    has_optimizer_state: bool
    versions: dict[str, str]
    checks: tuple[Check, ...]
    iterations: int | None = None
    """Batches that its optimizer counted; None where the file holds no state of it."""

    @property
    def ok(self) -> bool:
        """Nothing is other than asked."""
        return all(check.ok is not False for check in self.checks)


class VerifyOutcome(msgspec.Struct, frozen=True):
    """What came of a task: the verification, or the problem that prevented it, a sentence."""

    verification: Verification | None = None
    problem: str = ""
