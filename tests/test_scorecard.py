"""The scorecard of the dashboard names tests and pictures that exist, and the tour shows what its script takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_contract import functions_in

pytestmark = pytest.mark.source

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGE = (DOCS / "dashboard.md").read_text(encoding="utf-8").partition("## Scorecard")[2]
ROW = re.compile(r"^\| (\d+) \| (.+) \| (yes|part|no) \|(?: (?:yes|part|no|–) \|){4} (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
PICTURE = re.compile(r"\]\((images/[\w-]+\.png)\)")
LIMIT = 2_000_000


def pictures_in(name: str) -> set[str]:
    return set(PICTURE.findall((DOCS / name).read_text(encoding="utf-8")))


def test_every_point_is_shown_by_a_test_or_a_picture() -> None:
    rows = ROW.findall(PAGE)
    assert [int(number) for number, *_ in rows] == list(range(1, 51))
    assert [point for _, point, _, shown in rows if not TEST.search(shown) and not PICTURE.search(shown)] == []


def test_every_test_exists() -> None:
    named = sorted(set(TEST.findall(PAGE)))
    missing = [
        f"{path}::{name}" for path, name in named if not (ROOT / path).is_file() or name not in functions_in(path)
    ]
    assert missing == []


def test_what_is_not_whole_is_explained() -> None:
    missing = PAGE.partition("What is missing")[2]
    partly = [number for number, _, mark, _ in ROW.findall(PAGE) if mark != "yes"]
    assert [number for number in partly if f"\n- {number}: " not in missing] == []


def test_every_picture_is_taken_and_shown_and_all_are_small() -> None:
    shown = pictures_in("tour.md") | pictures_in("dashboard.md") | pictures_in("../README.md")
    taken = {path.relative_to(DOCS).as_posix() for path in (DOCS / "images").glob("*.png")}
    script = (ROOT / "tools" / "pictures.py").read_text(encoding="utf-8")
    assert taken == {f"images/{name}.png" for name in re.findall(r'name="([\w-]+)"', script)}
    assert {picture.removeprefix("docs/") for picture in shown} <= taken
    assert taken <= pictures_in("tour.md")
    assert sum(path.stat().st_size for path in (DOCS / "images").glob("*.png")) < LIMIT
