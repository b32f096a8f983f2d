"""The languages of what people read, on pages and in messages, and their translations."""

from __future__ import annotations

from functools import cache
from gettext import NullTranslations, translation
from pathlib import Path
from typing import Final, Protocol

LOCALES: Final = ("en", "de")
DOMAIN: Final = "squidmesh"
TRANSLATIONS: Final = Path(__file__).resolve().parent / "translations"


class Phrases(Protocol):
    """Puts a text of ours into a language, as plain text with its {names} filled in."""

    def __call__(self, text: str, /, **values: object) -> str: ...


@cache
def catalogue(language: str) -> NullTranslations:
    """The translations into the language; none for English."""
    return translation(DOMAIN, TRANSLATIONS, [language], fallback=True)


def phrases(language: str) -> Phrases:
    """The texts of messages in the language."""

    def say(text: str, /, **values: object) -> str:
        return catalogue(language).gettext(text).format_map(values)

    return say


def offered(tag: object) -> str | None:
    """The language of ours that a tag such as "de-AT" or "de_AT" means; None where there is none."""
    code = tag.replace("_", "-").partition("-")[0].lower() if isinstance(tag, str) else ""
    return code if code in LOCALES else None
