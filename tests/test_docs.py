"""The documents: what they name is there, and what they show can be typed."""

import ast
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from engine.core.results import DataSet
from engine.tools.verification import Verification
from svhn_tui.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FLOORS = [
    [re.sub(r"\w+", rf"{contract['containers'][0]}.\g<0>", layer) for layer in contract["layers"]]
    for contract in PROJECT["tool"]["importlinter"]["contracts"]
    if contract["type"] == "layers"
]
HOP = re.compile(r"^\d+\. `([\w/]+\.py)`: `([\w.]+)`", re.MULTILINE)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
FOLDERS = ("engine/", "svhn_tui/", "tests/", "docs/", "scripts/", ".ci/")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def code_lines(page: Path) -> Iterator[str]:
    """Lines of indented code blocks, without the comments behind them."""
    for line in page.read_text().splitlines():
        if line.startswith("    "):
            yield re.sub(r"\s+#.*", "", line.strip())


def code_words(page: Path) -> Iterator[str]:
    """What stands between backquotes in the running text."""
    for line in page.read_text().splitlines():
        if not line.startswith("    "):
            yield from re.findall(r"`([^`]+)`", line)


def command_lines(lines: Iterator[str]) -> Iterator[list[str]]:
    """What follows `svhn-tui`, as a shell would read it."""
    for line in lines:
        for part in line.split("&&"):
            match = re.fullmatch(r"(?:!|systemd-run [a-z -]+ )?(?:\S*/bin/)?svhn-tui((?: \S.*)?)", part.strip())
            if match and "──" not in line:
                yield shlex.split(match[1])


def read(command: Any, words: list[str]) -> None:
    """Read a command line with the program's own parser; nothing is carried out.

    Raises:
        typer.TyperException: it is wrong.
    """
    inner = getattr(command, "commands", None)
    rest: list[str] = []
    if inner is not None:
        _, rest, _ = command.make_parser(command.context_class(command)).parse_args(list(words))
        assert not rest or rest[0] in inner, f"there is no command {rest[0]}"
    command.make_context("svhn-tui", words[: len(words) - len(rest)])
    if rest:
        read(inner[rest[0]], rest[1:])


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Put a file or folder that is there in the place of one that a document names."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("SVHN_TUI_WORKSPACE", str(tmp_path / "folder"))
    names = {"FILE": "file", "DIR": "folder", "OUT": "folder", "FILE.png": "new.png"}

    def named(word: str) -> str:
        if word.endswith(".zip"):
            return str(tmp_path / "file")
        if word.startswith("/"):
            return str(tmp_path / "folder")
        return str(tmp_path / names[word]) if word in names else word.replace("RUN", "0123456789ab")

    return named


@each_page
def test_every_command_is_one_of_the_program(page: Path, there: Callable[[str], str]):
    """In running text a command may stand without what it needs."""
    program = typer.main.get_command(app)
    for lines, is_whole in ((code_lines(page), True), (code_words(page), False)):
        for words in command_lines(lines):
            try:
                read(program, [there(word) for word in words if word not in ("COMMAND", "--help")])
            except typer.TyperException as error:
                if is_whole or not error.format_message().startswith("Missing argument"):
                    pytest.fail(f"svhn-tui {shlex.join(words)}: {error.format_message()}")


@each_page
def test_every_make_target_is_in_the_makefile(page: Path):
    lines = [*code_lines(page), *code_words(page)]
    named = {target for line in lines for target in re.findall(r"(?:^|\s)make ([a-z-]+)", line)}
    assert named <= TARGETS


def named_paths(page: Path) -> set[str]:
    words = [word for line in (*code_lines(page), *code_words(page)) for word in line.split()]
    return {word for word in words if word.startswith(FOLDERS) and "*" not in word}


@each_page
def test_every_file_that_is_named_is_there(page: Path):
    assert {path for path in named_paths(page) if not (ROOT / path).exists()} == set()


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@each_page
def test_every_link_leads_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target


def test_the_readme_is_short_and_names_the_test_command_of_ci():
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 160
    assert "    make test " in readme
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_page_of_the_docs_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in PAGES if page.name != "README.md" and f"{page.name})" not in readme] == []


def test_a_source_distribution_holds_what_the_readme_links_to():
    included = tuple(PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    linked = re.findall(r"\]\(([^)\s#]+)", (ROOT / "README.md").read_text())
    assert [link for link in linked if not link.startswith(("http", *included))] == []


# --- architecture.md -------------------------------------------------------------------------------------------------


def packages() -> dict[str, str]:
    """Return the first sentence of each folder of modules."""
    sentences = {}
    for root in ("engine", "svhn_tui"):
        for file in ROOT.glob(f"{root}/**/__init__.py"):
            docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
            sentences[f"{file.parent.relative_to(ROOT)}/"] = docstring.split("\n\n")[0].replace("\n", " ")
    return sentences


def test_each_folder_stands_there_with_its_own_sentence():
    assert dict(re.findall(r"^\| `([\w/]+/)` \| (.+) \|$", ARCHITECTURE, re.MULTILINE)) == packages()


def test_the_floors_are_those_that_make_check_enforces():
    for layers in FLOORS:
        assert "\n".join(f"    {layer}" for layer in layers) in ARCHITECTURE


def defined(tree: ast.AST, name: str) -> bool:
    """Say whether a module or a class defines `Class.method`, `Class` or `function`."""
    first, _, rest = name.partition(".")
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == first:
            return not rest or defined(node, rest)
    return False


def test_the_three_journeys_name_functions_that_exist():
    hops = HOP.findall(ARCHITECTURE)
    assert len(re.findall(r"^1\. `", ARCHITECTURE, re.MULTILINE)) == 3
    assert [hop for hop in hops if not defined(ast.parse((ROOT / hop[0]).read_text()), hop[1])] == []


def test_each_word_of_the_vocabulary_has_one_line():
    words = re.findall(r"^\| ([\w, ]+) \|", ARCHITECTURE.partition("## Vocabulary")[2], re.MULTILINE)
    each = [word for entry in words for word in entry.split(", ")]
    assert len(each) == len(set(each)) > 30


def test_the_latest_measurements_of_faults_lost_nothing():
    table = re.findall(r"^\| (.+?) +\| +(\d+) \| (\d+) \| (\d+) \| (\d+) \|$",
                       (ROOT / "docs" / "measurements.md").read_text(), re.MULTILINE)  # fmt: skip
    *rows, total = [(name, *map(int, figures)) for name, *figures in table]
    assert total == ("in all", *(sum(column) for column in list(zip(*rows, strict=True))[1:]))
    assert total[2:] == (0, 0, 0)


def test_the_json_of_scripts_has_the_fields_that_the_document_names():
    text = (ROOT / "docs" / "scripting.md").read_text()
    for command, kind in (("verify FILE --data DIR", Verification), ("data check DIR", DataSet)):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{command} --json`"))
        named = [word for word in re.findall(r"`(\w+)`", row) if word != "ok"]
        assert named and set(named) <= set(kind.__struct_fields__)
