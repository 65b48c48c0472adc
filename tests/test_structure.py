"""Modules and classes stay small, or say in a sentence why they are whole; docstrings name parameters that exist."""

import ast
import re
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
    problems = {str(path.relative_to(ROOT)): list(too_large(path.read_text())) for path in MODULES}
    assert {name: what for name, what in problems.items() if what} == {}


def test_what_has_no_reason_is_told():
    long = '"""A module."""\n' + "x = 1\n" * LINES
    wide = "class Wide:\n" + "".join(f"    def f{number}(self): ...\n" for number in range(METHODS + 1))
    assert list(too_large(long)) == [f"{LINES + 1} lines"]
    assert list(too_large(long.replace("module.", f"module.\n\n{REASON}it is a table."))) == []
    assert list(too_large(wide)) == [f"Wide has {METHODS + 1} methods"]


def unknown_arguments(source: str) -> Iterator[str]:
    """Yield the names below `Args:` in docstrings that no parameter has."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        _, _, listed = (ast.get_docstring(node) or "").partition("\nArgs:\n")
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        functions = [child for child in inner if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)]
        makers = [function for function in functions if function is node or function.name == "__init__"]
        names = {argument.arg for maker in makers for argument in ast.walk(maker.args) if isinstance(argument, ast.arg)}
        named = re.findall(r"^    \**(\w+):", listed.partition("\n\n")[0], re.MULTILINE)
        yield from (f"{node.name}: {name}" for name in named if makers and name not in names)


def test_docstrings_describe_parameters_that_exist():
    unknown = {str(path.relative_to(ROOT)): list(unknown_arguments(path.read_text())) for path in MODULES}
    assert {name: what for name, what in unknown.items() if what} == {}
    lying = 'def f(path):\n    """Do it.\n\n    Args:\n        place: where.\n    """'
    assert list(unknown_arguments(lying)) == ["f: place"]
