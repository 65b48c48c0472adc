"""The pictures of the README and of docs/screen.md: each is there, small, well-formed, and drawn by `make pictures`."""

import re
from pathlib import Path
from xml.etree import ElementTree

from rich.segment import Segment
from rich.style import Style

from docs.drawing import HALF, moving, still
from docs.pictures import SIZES, file_of, recorded, scenes
from svhn_tui.pages.registry import PAGES

HERE = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
LARGEST = 300_000
PLAIN, BOLD = Style.parse("#ffffff on #000000"), Style.parse("bold #ff0000 on #222222")


def texts_in(drawn: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(drawn).iter(f"{SVG}text")]


def test_every_picture_of_the_documents_is_drawn_by_the_command_and_small():
    pages = [HERE / "README.md", *(HERE / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"\]\((?:docs/)?([\w-]+\.(?:svg|png))\)", page.read_text())}
    drawn = {file_of(name, size) for name in scenes(recorded()) for size in SIZES} | {"live-moving.svg", "report.png"}
    assert named == drawn
    for name in drawn:
        file = HERE / "docs" / name
        assert 1_000 < file.stat().st_size < LARGEST, name
        if file.suffix == ".svg":
            assert "svhn-tui" in texts_in(file.read_text()), name


def test_all_six_pages_are_drawn():
    assert {scene.page for scene in scenes(recorded()).values()} == {name for _, name, _ in PAGES}


def test_cells_become_texts_grounds_and_one_image():
    rows = (
        (Segment("  a < b ", PLAIN), Segment("c", BOLD)),
        (Segment(HALF, Style.parse("#010203 on #040506")), Segment("       x", PLAIN)),
    )
    drawn = still(rows, "#000000")
    assert texts_in(drawn) == ["a < b", "c", "x"]
    grounds = [element.get("fill") for element in ElementTree.fromstring(drawn).iter(f"{SVG}rect")]
    assert grounds == ["#000000", "#222222"], "the picture's own, and the one that differs"
    assert drawn.count("<image") == 1
    assert "font-weight:700" in drawn


def test_a_line_that_stays_is_drawn_once_and_one_that_changes_as_often_as_it_does():
    title = (Segment("title", PLAIN),)
    frames = [(title, (Segment(text, PLAIN),)) for text in ("one  ", "one  ", "two  ", "three")]
    drawn = moving(frames, "#000000", 0.5)
    assert texts_in(drawn) == ["title", "one", "two", "three"]
    assert ".f0-2{animation:f0-2 2s step-end infinite}" in drawn
    assert "@keyframes f2-3{0%{visibility:hidden}50%{visibility:visible}75%{visibility:hidden}}" in drawn
