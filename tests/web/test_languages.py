"""Every word of the pages is in the reader's language, and the German ones are complete."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from gettext import GNUTranslations, NullTranslations, translation
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask_babel import Babel
from werkzeug.test import TestResponse

from flask_squidmesh.catalogues import DOMAIN, LOCALES, TRANSLATIONS
from flask_squidmesh.config import ACTIONS
from flask_squidmesh.dashboard import authorization
from flask_squidmesh.dashboard.text import language, times
from tests.web import tour
from tests.web.test_words import NOW
from tests.web.visiting import PREFIX, Visitor, forms_of, text_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

GERMAN = "de-DE,de;q=0.9,en;q=0.8"
PLACEHOLDER, TAG = re.compile(r"\{\w*\}"), re.compile(r"</?\w+>")
HIDDEN_FROM_READERS = {"script", "style", "pre", "code", "kbd"}
SPOKEN = ("title", "aria-label", "placeholder", "alt")
OF_THE_HOST = (
    *(
        "Capture 120 EUR for order",
        "Is parcel",
        "sealed?",
        "Order Id",
        "Card Token",
        "Amount",
        "Note",
        "known customer",
    ),
    *("Order", "Parcel", "Label", "Bill", "Payout", "Shipment", "Reminder", "release", "payments.review"),
    *("buyer@shop.test", "dana", "Lee L.", "host:1:a", "squidmesh", "nothing"),
)
NAMES = ("Workflows", "UTC", "Europe/Berlin", "CSV", "JSON", "payload")


def _catalogue_of(code: str) -> GNUTranslations:
    return translation(DOMAIN, TRANSLATIONS, [code])


class Unknown(NullTranslations):
    """Asked where a catalogue has no translation."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def gettext(self, message: str) -> str:
        self.texts.append(message)
        return message

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        self.texts.append(msgid1)
        return msgid1 if n == 1 else msgid2


class Veiled(NullTranslations):
    """Makes every translated word unreadable, so that what can be read was never translated."""

    def __init__(self) -> None:
        super().__init__()
        self.unknown = Unknown()
        self._german = _catalogue_of("de")
        self._german.add_fallback(self.unknown)

    def gettext(self, message: str) -> str:
        return veil(self._german.gettext(message))

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return veil(self._german.ngettext(msgid1, msgid2, n))


def veil(text: str) -> str:
    """The text with a dot for each letter, but for its placeholders and tags."""
    parts = re.split(rf"({PLACEHOLDER.pattern}|<[^>]*>)", text)
    return "".join(part if part[:1] in ("{", "<") else re.sub(r"[^\W\d_]", "·", part) for part in parts)


class Readable(HTMLParser):
    """What a reader of the page sees or hears, but for code and for what is said to be English."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._open.append((tag, tag in HIDDEN_FROM_READERS or given.get("lang") == "en"))
        self.texts += [given[name] or "" for name in SPOKEN if name in given]

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            continue

    def handle_data(self, data: str) -> None:
        if not any(left_out for _tag, left_out in self._open):
            self.texts.append(data)


def readable(page: str) -> list[str]:
    """The texts of the page."""
    reader = Readable()
    reader.feed(page)
    return reader.texts


def names_of(app: Flask) -> list[str]:
    """Everything that the app itself has named, the longest first."""
    specs = list(app.extensions["squidmesh"].registry)
    named = {*OF_THE_HOST, *NAMES, *(step for spec in specs for step in (*spec.steps, *spec.triggers, *spec.hears))}
    named |= {text for spec in specs for text in (spec.name, spec.title, spec.description or "")}
    return sorted(named - {""}, key=len, reverse=True)


def words_beside(names: list[str], text: str) -> list[str]:
    """The words of a text that are neither names nor numbers nor ids."""
    rest = re.sub(r"[0-9a-f]{8}(-[0-9a-f…-]+)?|\w+:\d+:[0-9a-f]+", " ", text)
    for name in names:
        rest = rest.replace(name, " ")
    return re.findall(r"[^\W\d_]{2,}", rest)


@pytest.fixture
def german(make: Any) -> Visitor:
    """Looks at pages in German."""
    visitor: Visitor = make(SQUIDMESH_DASHBOARD_LOCALE="de")
    return visitor


@pytest.fixture
def veiled(monkeypatch: pytest.MonkeyPatch) -> Veiled:
    """Has every translated word unreadable."""
    found = Veiled()
    monkeypatch.setattr(language, "catalogue", lambda _code: found)
    return found


@pytest.fixture
def catalogues() -> Any:
    """Each translation as its source has it, beside the texts that it should have."""
    from tools import translations

    wanted = {message.id: message for message in translations.extracted() if message.id}
    return [(path, translations.read(path), wanted) for path in translations.files()]


def kept(text: str) -> set[str]:
    """What a translation must leave as it is."""
    return set(PLACEHOLDER.findall(text))


@pytest.mark.rule("language-complete")
@pytest.mark.source
def test_every_text_is_translated_and_none_is_left_over(catalogues: Any) -> None:
    assert sorted(path.parent.parent.name for path, _catalogue, _wanted in catalogues) == sorted({*LOCALES} - {"en"})
    for path, catalogue, wanted in catalogues:
        said = {message.id: message for message in catalogue if message.id}
        assert set(said) == set(wanted), f"run `make translations`, then translate what is empty in {path}"
        forms = {id: [message.string] if isinstance(id, str) else message.string for id, message in said.items()}
        assert [id for id, texts in forms.items() if not all(texts)] == []
        assert [id for id, message in said.items() if message.fuzzy] == []


@pytest.mark.rule("language-complete")
@pytest.mark.source
def test_a_translation_keeps_placeholders_tags_and_the_spaces_around(catalogues: Any) -> None:
    for _path, catalogue, _wanted in catalogues:
        for message in catalogue:
            given = [message.id] if isinstance(message.id, str) else list(message.id)
            said = [message.string] if isinstance(message.id, str) else list(message.string)
            for text, translated in zip(given, said, strict=True) if message.id else ():
                assert kept(text) <= kept(translated) <= kept(given[-1]), translated
                assert sorted(TAG.findall(translated)) == sorted(TAG.findall(text)), translated
                assert [text.startswith(" "), text.endswith(" ")] == [
                    translated.startswith(" "),
                    translated.endswith(" "),
                ]


@pytest.mark.source
def test_the_compiled_translations_are_those_of_the_sources(catalogues: Any) -> None:
    for path, catalogue, _wanted in catalogues:
        compiled = _catalogue_of(path.parent.parent.name)
        for message in catalogue:
            if message.id and isinstance(message.id, str):
                assert compiled.gettext(message.id) == message.string, "run `make translations`"


def left_in_english(app: Flask, pages: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The words on each page that were never translated, by its address."""
    names = names_of(app)
    left = {path: [word for text in readable(page) for word in words_beside(names, text)] for path, page in pages}
    return {path: words for path, words in left.items() if words}


@pytest.mark.rule("language-complete")
def test_nothing_on_any_page_is_left_in_english(german: Visitor, veiled: Veiled) -> None:
    paths = tour.pages(tour.furnish(german.app))
    assert left_in_english(german.app, ((path, german.get(path).text) for path in paths)) == {}
    assert veiled.unknown.texts == []


@pytest.mark.rule("language-complete")
def test_nothing_is_left_in_english_where_there_is_nothing(german: Visitor, veiled: Veiled) -> None:
    assert left_in_english(german.app, ((path, german.get(path).text) for path in tour.EMPTY_PAGES)) == {}
    assert veiled.unknown.texts == []


@pytest.mark.rule("language-complete")
def test_nothing_is_left_in_english_where_something_is_wrong(german: Visitor, veiled: Veiled) -> None:
    ids = tour.furnish(german.app)
    start, run = "/workflows/checkout/start", f"/runs/{ids['decision']}"
    answers = {
        "no token": german.client.post(f"/squidmesh{run}/approve"),
        "no comment": german.send(f"{run}/reject"),
        "no JSON": german.send(f"/runs/{ids['interrupted']}/resolve", output="{"),
        "no reason": german.send(f"/runs/{ids['interrupted']}/fail"),
        "no such payload": send(german, start, start, {"payload.amount": "many"}),
        "no comment for many": send(german, "/bulk?word=decision&action=reject", "/bulk?action=reject", {}),
        "taken already": german.get(f"/runs/{ids['approved']}/approve"),
        "closed": german.client.get("/closed/runs"),
    }
    assert {name: answer.status_code for name, answer in answers.items()} == {
        **dict.fromkeys(answers, 422),
        **{"no token": 400, "taken already": 409, "closed": 403},
    }
    assert left_in_english(german.app, ((name, answer.text) for name, answer in answers.items())) == {}
    assert veiled.unknown.texts == []


def send(visitor: Visitor, path: str, action: str, more: dict[str, str]) -> TestResponse:
    """Send the form that the page holds for the action."""
    fields = forms_of(visitor.get(path).text)[PREFIX + action]
    return visitor.client.post(PREFIX + action, data={**fields, **more})


@pytest.mark.rule("language-complete")
def test_no_page_in_german_scrolls_sideways_on_a_phone(
    german: Visitor, live_server: Callable[[Flask], str], page: Page
) -> None:
    paths, base = tour.pages(tour.furnish(german.app)), live_server(german.app)
    page.set_viewport_size({"width": 390, "height": 800})
    wide = []
    for path in paths:
        page.goto(f"{base}/squidmesh{path}")
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            wide.append(path)
    assert wide == []


def test_a_page_reads_in_german(german: Visitor) -> None:
    run_id = tour.furnish(german.app)["decision"]
    page = german.get(f"/runs/{run_id}").text
    assert '<html lang="de" dir="ltr"' in page
    text = text_of(page)
    assert "Der Lauf wartet bei review auf eine Entscheidung, seit 1 h überfällig" in text
    assert "Freigeben führt weiter zu capture , was nicht rückgängig zu machen ist" in text


@pytest.mark.rule("language-complete")
def test_numbers_dates_and_durations_in_german(german: Visitor) -> None:
    with german.app.test_request_context():
        assert [times.duration(seconds) for seconds in (0.012, 0.8, 124, 187200)] == [
            *("12 ms", "0,8 s", "2 min 4 s", "2 Tg. 4 h"),
        ]
        assert language.number(1234567.5, 1) == "1.234.567,5"
        assert language.percent(0.25) == "25 %"
        assert times.exact(NOW, NOW.tzinfo, NOW).startswith("22. Nov 12:00:00")  # type: ignore[arg-type]


def test_every_right_has_words() -> None:
    assert set(authorization.NAMES) == set(ACTIONS)


@pytest.mark.rule("language")
@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (GERMAN, "de"),
        ("fr,de;q=0.4", "de"),
        ("en-GB,de;q=0.5", "en"),
        ("fr", "en"),
        ("de;q=0", "en"),
        (None, "en"),
    ],
)
def test_the_browser_chooses_the_language(visitor: Visitor, wanted: str | None, code: str) -> None:
    answer = visitor.get("/", headers={"Accept-Language": wanted} if wanted else {})
    assert f'<html lang="{code}"' in answer.text
    assert ("Zu erledigen" in answer.text) == (code == "de")
    assert "Accept-Language" in answer.headers["Vary"]


@pytest.mark.rule("language")
@pytest.mark.parametrize("code", LOCALES)
def test_the_setting_comes_before_the_browser(make: Any, code: str) -> None:
    answer = make(SQUIDMESH_DASHBOARD_LOCALE=code).get("/", headers={"Accept-Language": "de" if code == "en" else "en"})
    assert f'<html lang="{code}"' in answer.text
    assert "Accept-Language" not in answer.headers.get("Vary", "")


@pytest.mark.rule("language")
@pytest.mark.parametrize(("chosen", "code"), [("de_AT", "de"), ("fr", "en"), (None, "en")])
def test_the_hosts_flask_babel_comes_before_the_browser(visitor: Visitor, chosen: str | None, code: str) -> None:
    Babel(visitor.app, locale_selector=lambda: chosen)
    answer = visitor.get("/", headers={"Accept-Language": "de" if code == "en" else "en"})
    assert f'<html lang="{code}"' in answer.text
    assert "Accept-Language" not in answer.headers.get("Vary", "")


@pytest.mark.rule("language")
def test_the_setting_comes_before_flask_babel(german: Visitor) -> None:
    Babel(german.app, locale_selector=lambda: "en")
    assert '<html lang="de"' in german.get("/").text


@pytest.mark.rule("language-callers")
def test_what_the_library_says_is_marked_as_english(visitor: Visitor) -> None:
    said = "after=&#39;nonsense&#39; is no cursor."
    assert f'<span lang="en">{said}' in visitor.get("/runs?after=nonsense", headers={"Accept-Language": "de"}).text
    page = visitor.get("/runs?after=nonsense", headers={"Accept-Language": "en"}).text
    assert said in page
    assert 'lang="en">after' not in page


@pytest.mark.rule("language-cron")
def test_a_schedule_is_told_in_words_only_in_english(visitor: Visitor) -> None:
    tour.furnish(visitor.app)
    in_words = "At 03:00 every day"
    assert in_words in text_of(visitor.get("/schedules").text)
    in_german = text_of(visitor.get("/schedules", headers={"Accept-Language": "de"}).text)
    assert in_words not in in_german
    assert "0 3 * * *" in in_german
