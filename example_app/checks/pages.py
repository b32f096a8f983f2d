"""The dashboard as a person who is logged in reads and uses it, without a browser."""

from __future__ import annotations

import re
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from html import unescape

from flask import current_app
from sqlalchemy import select

from ..models import User, db
from ..people import OPERATOR, Person
from .looking import Mismatch, expect

PREFIX = "/squidmesh"
FOR_OPERATORS = ("Take it", "Hand on", "Cancel run")
"""What an operator can do wherever somebody is asked, whoever may answer."""
MARK = re.compile(r'id="run-head".*?<span class="st [^"]*">(?P<mark>[^<]*)</span>', re.S)
HEADLINE = re.compile(r'<h2 id="verdict-heading">(?P<headline>.*?)</h2>', re.S)
BUTTON = re.compile(r'<a class="btn[^"]*" href="(?P<path>/squidmesh/runs/[^"]*)" hx-get[^>]*>(?P<label>[^<]*)</a>')
HIDDEN = re.compile(r'<input type="hidden" name="(?P<name>[^"]*)" value="(?P<value>[^"]*)"')


@dataclass(frozen=True, slots=True)
class RunPage:
    """A run's page. mark: its state in the operator's word. headline: why it is there. buttons: label to path."""

    mark: str
    headline: str
    buttons: dict[str, str]
    text: str


class Visitor:
    """A person who is logged in.

    :param person: Who it is.
    """

    def __init__(self, person: Person = OPERATOR) -> None:
        self._client = current_app.test_client()
        user_id = db.session.scalars(select(User.id).where(User.email == person.email)).one()
        Context().run(self._log_in, user_id)

    def open(self, path: str) -> str:
        """The HTML of a page below the dashboard's address, which must be there."""
        # Within the context of the caller's app the page would share its session and its log-in.
        answer = Context().run(self._client.get, PREFIX + path)
        expect(f"the answer to {path}", answer.status_code, 200)
        return answer.text

    def run(self, run_id: str) -> RunPage:
        """What the person sees of a run."""
        html = self.open(f"/runs/{run_id}")
        mark, headline = MARK.search(html), HEADLINE.search(html)
        if not mark or not headline:
            raise Mismatch(f"the page of run {run_id}: found no state or no headline, expected both")
        buttons = {_read(found["label"]).removesuffix("…"): _path(found["path"]) for found in BUTTON.finditer(html)}
        return RunPage(_read(mark["mark"]), _read(headline["headline"]), buttons, _read(html))

    def form(self, path: str) -> dict[str, str]:
        """The hidden fields of the form behind a button."""
        return {unescape(found["name"]): unescape(found["value"]) for found in HIDDEN.finditer(self.open(path))}

    def send(self, path: str, fields: dict[str, str]) -> tuple[int, str]:
        """Send the form behind a button: the status of the answer, and what can be read on it."""
        answer = Context().run(partial(self._client.post, PREFIX + path.partition("?")[0], data=fields))
        return answer.status_code, _read(answer.text)

    def _log_in(self, user_id: int) -> None:
        with self._client.session_transaction() as session:
            session["_user_id"], session["_fresh"] = str(user_id), True


def on_page(run_id: str, mark: str, *buttons: str, person: Person = OPERATOR, says: str = "") -> RunPage:
    """Look at the run's page, which shows this state, exactly these buttons, and these words in the headline.

    :raises Mismatch: It shows something else.
    """
    page = Visitor(person).run(run_id)
    expect("the state on the run's page", page.mark, mark)
    expect("the buttons on the run's page", sorted(page.buttons), sorted(buttons))
    expect_words("the headline of the run's page", page.headline, says)
    return page


def expect_words(what: str, text: str, *words: str) -> None:
    """Go on if the text has all these words in it.

    :raises Mismatch: It has not.
    """
    for each in words:
        if each not in text:
            raise Mismatch(f"{what}: found {text!r}, expected {each!r} in it")


def text_at(path: str, person: Person = OPERATOR) -> str:
    """What can be read on a page below the dashboard's address."""
    return _read(Visitor(person).open(path))


def _path(address: str) -> str:
    return unescape(address).removeprefix(PREFIX)


def _read(html: str) -> str:
    bare = re.sub(r"<(script|style|template)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", bare)).split())
