"""The language of the pages: every word on a page passes through here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flask import current_app, has_request_context, request
from markupsafe import Markup, escape

from ...catalogues import LOCALES, catalogue
from ...runtime.runtime import current_runtime

_KEPT = "squidmesh.language"


def N_(text: str) -> str:
    """A text that is translated later, where it is shown."""
    return text


def _(text: str, /, **values: object) -> Markup:
    """The text in the reader's language, with its {names} filled in and their values escaped.

    text: trusted, as it stands in the code; it may hold markup.
    """
    return _filled(catalogue(current_language()).gettext(text), values) if text else Markup("")


def plural(count: int, one: str, many: str, /, **values: object) -> Markup:
    """`one` for a count of 1, else `many`, as the reader's language counts; {count} is filled in."""
    return _filled(catalogue(current_language()).ngettext(one, many, count), {"count": count, **values})


def current_language() -> str:
    """The language of the page: what SQUIDMESH_DASHBOARD_LOCALE says, else the host's Flask-Babel, else the reader's
    browser, as far as there is a translation; else English."""
    if not has_request_context():
        return LOCALES[0]
    environ = request.environ
    language: str = environ.get(_KEPT) or environ.setdefault(_KEPT, _chosen())
    return language


def speak(language: str) -> None:
    """Answer this request in the language, whoever reads it."""
    request.environ[_KEPT] = language


def is_negotiated() -> bool:
    """Whether the language depends on what the reader's browser asks for."""
    return current_runtime().settings.dashboard.locale is None and "babel" not in current_app.extensions


def number(value: float, digits: int = 0) -> str:
    """A number as the reader's language writes it. digits: how many after the point."""
    example = _("1,234.5")
    return f"{value:,.{digits}f}".translate({ord(","): example[1], ord("."): example[-2]})


def percent(share: float) -> Markup:
    """A share of 1 as a whole percentage."""
    return _("{number}%", number=number(share * 100))


def in_english(text: str) -> Markup:
    """What the library itself says, which is in English whatever the page is in."""
    return Markup.escape(text) if current_language() == "en" else Markup('<span lang="en">{}</span>').format(text)


def code(value: object) -> Markup:
    """A name as it stands in the host's code."""
    return _filled("<b>{name}</b>", {"name": value})


def joined(items: Iterable[str]) -> Markup:
    """The names in bold, with commas between them."""
    return Markup(", ").join(code(item) for item in items)


def any_of(items: Iterable[str]) -> Markup:
    """The names in bold, of which one is meant."""
    return Markup(" {} ").format(_("or")).join(code(item) for item in items)


def _chosen() -> str:
    fixed = current_runtime().settings.dashboard.locale
    if fixed is not None:
        return fixed
    if "babel" in current_app.extensions:
        return _of_host()
    wanted = (tag.partition("-")[0].lower() for tag, quality in request.accept_languages if quality)
    return next((language for language in wanted if language in LOCALES), LOCALES[0])


def _of_host() -> str:
    from flask_babel import get_locale

    locale = get_locale()
    return locale.language if locale and locale.language in LOCALES else LOCALES[0]


def _filled(text: str, values: Mapping[str, object]) -> Markup:
    """What `Markup.format` makes of it, which cuts the text up in Python each time."""
    return Markup(text.format_map({name: escape(value) for name, value in values.items()}))
