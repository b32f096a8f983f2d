"""The colours of both themes can be told apart by everybody: worked out from the tokens of the style sheet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest

from flask_squidmesh.dashboard.static_files import STATIC

pytestmark = pytest.mark.source

TOKEN: Final = re.compile(r"--([\w-]+):light-dark\((#[0-9A-Fa-f]{3,6}),(#[0-9A-Fa-f]{3,6})\)")
THEMES: Final = ("light", "dark")
STATES: Final = (*("needs", "failed", "stuck", "retrying", "running", "waiting", "pending", "completed", "cancelled"),)
GROUNDS: Final = ("bg", "surface", "sunken")
TEXT_PAIRS: Final = [
    *((state, f"{state}-t") for state in STATES),
    *((text, ground) for text in ("text", "muted", "accent") for ground in GROUNDS),
    *(("on-accent", "accent"), ("failed", "bg"), ("failed", "surface"), ("bg", "needs"), ("bg", "text")),
]
BORDER_PAIRS: Final = [
    *(("ctl", ground) for ground in GROUNDS),
    *((border, "surface") for border in ("accent", *STATES)),
]


def colours(theme: str) -> dict[str, str]:
    """Each token's colour in the theme."""
    sheet = (STATIC / "squidmesh.css").read_text(encoding="utf-8")
    return {name: pair[THEMES.index(theme)] for name, *pair in TOKEN.findall(sheet)}


def luminance(colour: str) -> float:
    """How bright a colour is, from 0 to 1, as WCAG 2 reckons it."""
    digits = colour.lstrip("#")
    wide = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    red, green, blue = (_linear(int(wide[at : at + 2], 16) / 255) for at in (0, 2, 4))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """From 1 for the same colour to 21 for black on white."""
    darker, brighter = sorted((luminance(one), luminance(other)))
    return (brighter + 0.05) / (darker + 0.05)


def too_weak(theme: str, pairs: list[tuple[str, str]], least: float) -> Iterator[str]:
    given = colours(theme)
    for front, ground in pairs:
        found = contrast(given[front], given[ground])
        if found < least:
            yield f"{front} on {ground}: {found:.2f}"


def test_contrast_is_reckoned_as_wcag_does() -> None:
    assert round(contrast("#FFF", "#000000"), 2) == 21
    assert round(contrast("#767676", "#FFFFFF"), 2) == 4.54


@pytest.mark.parametrize("theme", THEMES)
def test_text_stands_out(theme: str) -> None:
    assert list(too_weak(theme, TEXT_PAIRS, 4.5)) == []


@pytest.mark.parametrize("theme", THEMES)
def test_borders_of_controls_and_shapes_stand_out(theme: str) -> None:
    assert list(too_weak(theme, BORDER_PAIRS, 3)) == []


def test_every_colour_is_a_token_of_both_themes() -> None:
    sheet = (STATIC / "squidmesh.css").read_text(encoding="utf-8")
    rules = sheet.partition("/* Text */")[2]
    assert set(re.findall(r"#[0-9A-Fa-f]{3,8}\b(?=[;}, )])", rules)) <= {"#0008"}
