"""Modules and classes stay small, or say in a sentence why they are whole."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for folder in ("engine", "svhn_tui") for path in (ROOT / folder).rglob("*.py"))
LINES, METHODS = 300, 20
REASON = "Whole because "
"""Begins a line in the docstring of what is larger."""


def has_reason(node: ast.Module | ast.ClassDef) -> bool:
    """Say whether a docstring has the sentence."""
    return any(line.startswith(REASON) for line in (ast.get_docstring(node) or "").splitlines())


def methods_of(node: ast.ClassDef) -> int:
    return sum(isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) for child in node.body)


def too_large(source: str) -> Iterator[str]:
    """Yield what is too large in a module and has no reason for it."""
    tree = ast.parse(source)
    lines = len(source.splitlines())
    if lines > LINES and not has_reason(tree):
        yield f"{lines} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and methods_of(node) > METHODS and not has_reason(node):
            yield f"{node.name} has {methods_of(node)} methods"


def test_what_is_large_says_why_it_is_whole():
    found = {str(path.relative_to(ROOT)): list(too_large(path.read_text())) for path in MODULES}
    assert {name: what for name, what in found.items() if what} == {}


def test_what_has_no_reason_is_told():
    long = '"""A module."""\n' + "x = 1\n" * LINES
    wide = "class Wide:\n" + "".join(f"    def f{number}(self): ...\n" for number in range(METHODS + 1))
    assert list(too_large(long)) == [f"{LINES + 1} lines"]
    assert list(too_large(long.replace("module.", f"module.\n\n{REASON}it is a table."))) == []
    assert list(too_large(wide)) == [f"Wide has {METHODS + 1} methods"]
