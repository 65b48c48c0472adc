"""Reads JSON written by hand, within bounds; errors name the line, those found later too. Pure."""

import ast
import json
import re
import unicodedata
from bisect import bisect_right
from functools import lru_cache
from typing import Any

Path = tuple[str | int, ...]

STEP = re.compile(
    r"""
    \.?(?P<field>[^\W\d]\w*)
    | \[(?P<index>\d+)\](\ \(.*?\)(?=[.:]))?
    | \[(?P<key>'(\\.|[^'\\])*' | "(\\.|[^"\\])*")\]
    """,
    re.VERBOSE,
)
"""Matches one step of a path such as `questions[1] (Q2).upload` or `networks['mine'].file`."""
MAX_DEPTH = 32
BETWEEN = re.compile(r"[\s,:]*")
HALF = re.compile(rb"\\u[dD][89a-fA-F]")
BLANKS = " \t\r\n"
NUMBER = re.compile(r"[+.]\d|-\D")
"""How a value begins that is a number elsewhere: `+1`, `.5`."""
NUMBER_TAIL = re.compile(r"[\w.]")
"""What follows on the digits of one: `0x1`, `1_000`, `01`, `1.`."""
BEGINNINGS = {
    re.compile(r"//|/\*|#"): "JSON has no comments; remove this one.",
    re.compile("'"): "JSON has double quotes, not single ones.",
    re.compile("True|False|None"): "JSON has true, false and null, in small letters.",
    re.compile("<{7}|={7}|>{7}"): "git left the marks of a conflict; choose one of the two versions.",
    NUMBER: "numbers are written like 10, 0.5 or 1e-5.",
}
"""What is said where the text that is no JSON begins like this."""
DECODER = json.JSONDecoder(strict=True)


class NotJSON(ValueError):
    """A text that is not JSON or repeats a key; the message says where."""


def parse(text: bytes, name: str) -> Any:
    """Parse the text of a file called `name`.

    Raises:
        NotJSON: it is not valid; the message names the line.
    """
    is_doubled = False

    def built(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal is_doubled
        value = dict(pairs)
        is_doubled |= len(value) < len(pairs)
        return value

    def refuse(constant: str) -> Any:
        raise NotJSON(f"{name}: {constant} is not a number that JSON knows.")

    if _depth(text) > MAX_DEPTH:
        raise NotJSON(f"{name}: nested more than {MAX_DEPTH} levels deep.")
    try:
        raw = json.loads(text, object_pairs_hook=built, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise NotJSON(f"{name}, line {error.lineno}, column {error.colno}: {_explained(error)}") from error
    except UnicodeDecodeError as error:
        raise NotJSON(f"{name}: not UTF-8 text (byte {error.start}).") from error
    except ValueError as error:
        raise error if isinstance(error, NotJSON) else NotJSON(f"{name}: a number of thousands of digits.") from error
    if HALF.search(text) and not _is_text(raw):
        raise NotJSON(f"{name}: \\ud800 to \\udfff stands for half a character; write the character itself.")
    if is_doubled and (twice := _doubled(text)):
        raise NotJSON(f"{name}, line {twice[1]}: the key {twice[0][:60]!r} stands twice in one object.")
    return raw


def located(problem: str, text: bytes, name: str) -> str:
    """Add the line to a message about a file called `name`: `name, path: ...` or `name: path: ...`.

    A message without a path in the text, which has to be valid JSON, is returned unchanged.
    """
    rest = problem.removeprefix(name)[2:]
    path: list[str | int] = []
    at = 0
    while problem.startswith(name) and (step := STEP.match(rest, at)):
        key = step["key"]
        path.append(int(step["index"]) if step["index"] else ast.literal_eval(key) if key else step["field"])
        at = step.end()
    lines = lines_of(text) if path else {}
    known = [end for end in range(len(path), 0, -1) if tuple(path[:end]) in lines]
    return f"{name}, line {lines[tuple(path[: known[0]])]}, {rest}" if known else problem


def _explained(error: json.JSONDecodeError) -> str:
    """Describe the error; the usual mistakes of JSON written by hand have a message each."""
    before, rest = error.doc[: error.pos].rstrip(BLANKS), error.doc[error.pos :].lstrip(BLANKS)
    if not error.doc.strip():
        return "the file is empty."
    if error.msg == "Extra data":
        return "something stands behind the end of the one object that a file holds; remove it."
    if error.msg.startswith("Invalid control character"):
        return "a text goes on over the end of its line or holds a tab; write \\n and \\t."
    if not rest:
        return "the file ends before its last bracket or quotation mark is closed."
    if before.endswith(",") and rest[0] in "]}":
        return f"a comma stands before the {rest[0]!r}; remove it."
    if before[-1:].isdigit() and NUMBER_TAIL.match(rest):
        return BEGINNINGS[NUMBER]
    if said := next((said for beginning, said in BEGINNINGS.items() if beginning.match(rest)), ""):
        return said
    if not rest[0].isascii() or not rest[0].isprintable():
        kind = unicodedata.name(rest[0], "a control character").lower()
        return f"the character U+{ord(rest[0]):04X} ({kind}) stands outside of a text; remove it."
    if not before and rest[0] not in "{[":
        return "a file holds one JSON object, which begins with a {."
    return f"{error.msg}."


def _is_text(raw: Any) -> bool:
    """Say whether the text can be written as UTF-8."""
    try:
        json.dumps(raw, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _doubled(text: bytes) -> tuple[str, int] | None:
    """Return the first repeated key of an object, with the line of the repetition; None if there is none."""
    seen = set[Path]()
    for path, line in _members(text):
        if path in seen:
            return str(path[-1]), line
        seen.add(path)
    return None


@lru_cache(maxsize=1)
def lines_of(text: bytes) -> dict[Path, int]:
    """Return the line of every member of a valid JSON text, by its path."""
    return dict(_members(text))


def _members(content: bytes) -> list[tuple[Path, int]]:
    """Return the path and the line of every member of a valid JSON text."""
    text = content.decode(json.detect_encoding(content), "surrogatepass").removeprefix("\ufeff")
    starts = [0, *(line.end() for line in re.finditer("\n", text))]
    members: list[tuple[Path, int]] = []

    def skip(at: int) -> int:
        between = BETWEEN.match(text, at)
        return between.end() if between else at

    def read(at: int, path: Path) -> int:
        """Record the members of the value that begins here; return its end."""
        if text[at] not in "{[":
            return DECODER.raw_decode(text, at)[1]
        is_object, index, at = text[at] == "{", 0, skip(at + 1)
        while text[at] not in "}]":
            key: str | int = index
            line = bisect_right(starts, at)
            if is_object:
                key, at = DECODER.raw_decode(text, at)
            members.append(((*path, key), line))
            at, index = skip(read(skip(at), (*path, key))), index + 1
        return at + 1

    read(skip(0), ())
    return members


def _depth(text: bytes) -> int:
    """Return how deep brackets nest, counting those inside strings too: an upper bound, in one pass."""
    depth = deepest = 0
    for byte in text:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest
