"""An expense by the three people whom it concerns, in a browser: by keyboard alone, and without scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, request
from playwright.sync_api import expect
from pydantic import BaseModel, Field

from flask_squidmesh import Approval, Decision, Escalate, Manual, Option, Person, Step, Workflow
from tests.web.shop import advance, make_app, mesh_of, work

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Serve = Callable[[Flask], str]
PEOPLE = {
    "emma": Person("emma", "Emma"),
    "marco": Person("marco", "Marco"),
    "fiona": Person("fiona", "Fiona", ("finance",)),
}
HOUR = timedelta(hours=1)
FOCUSED = """() => {
  const at = document.activeElement;
  const {outlineStyle, outlineWidth} = getComputedStyle(at);
  const label = at.labels && at.labels[0] ? at.labels[0] : null;
  return {
    name: (label || at).textContent.trim().replace(/\\s+/g, " "),
    isField: Boolean(label),
    isNowhere: at === document.body,
    isShown: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2,
  };
}"""


class Claim(BaseModel):
    purpose: str = Field(min_length=3)
    amount: Decimal = Field(gt=0, le=5000)


class Granted(BaseModel):
    amount: Decimal = Field(gt=0, le=5000)


def ask(review: dict[str, Any]) -> dict[str, Any]:
    return {"question": review["comment"]}


def nothing() -> None:
    """Do nothing."""


class Travel(Workflow):
    """Have an expense decided, corrected and signed."""

    subject = "Travel: {purpose}"
    submit = Manual(Claim)
    review = Decision(
        "Pay {amount} EUR for {purpose}?",
        options=(Option("approve", form=Granted), Option("ask_back", comment_required=True)),
        updates=("amount",),
        assignee="marco",
        within=48 * HOUR,
        escalate=Escalate(after=36 * HOUR, assignee="fiona"),
    )
    ask = Step(ask)
    correct = Decision(
        "{question}",
        options=(Option("resubmit", form=Claim), "withdraw"),
        updates=("purpose", "amount"),
        assignee="emma",
    )
    second = Approval("Sign for {amount} EUR too?", groups=("finance",), not_by=("review",))
    pay, drop, lapse = Step(nothing), Step(nothing), Step(nothing)
    flow = [
        review.on("approve").when("amount", greater_than=1000) >> second >> pay,
        review.on("approve") >> pay,
        review.on("ask_back") >> ask >> correct,
        correct.on("resubmit") >> review,
        correct.on("withdraw") >> drop,
        review.on_timeout >> lapse,
        second.on_reject >> drop,
    ]


class ByMouse:
    """One person at a window, who clicks."""

    def __init__(self, page: Page, base: str) -> None:
        self.page, self.base = page, base

    def go(self, path: str) -> None:
        self.page.goto(self.base + path)

    def press(self, name: str) -> None:
        self.page.get_by_role("link", name=name, exact=True).or_(
            self.page.get_by_role("button", name=name, exact=True)
        ).first.click()

    def fill(self, label: str, text: str) -> None:
        self.page.get_by_label(label).first.fill(text)

    def sees(self, text: str) -> None:
        expect(self.page.get_by_text(text).first).to_be_visible()


class ByKeyboard(ByMouse):
    """One who has a keyboard alone; whatever has the focus on the way shows it."""

    def press(self, name: str) -> None:
        self._tab_to(name, is_field=False)
        self.page.keyboard.press("Enter")

    def fill(self, label: str, text: str) -> None:
        self._tab_to(label, is_field=True)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def _tab_to(self, name: str, *, is_field: bool) -> None:
        for pressed in range(90):
            focused = self.page.evaluate(FOCUSED)
            if focused["isField"] == is_field and focused["name"].startswith(name):
                return
            assert focused["isShown"] or focused["isNowhere"] or not pressed, (
                f"{focused['name']!r} has the focus and does not show it"
            )
            self.page.keyboard.press("Tab")
        pytest.fail(f"{name} cannot be reached by Tab")


@pytest.fixture(params=[True, False], ids=["by keyboard", "without scripts"])
def windows(
    request: pytest.FixtureRequest, chromium: Browser, migrated_sqlite_url: str, live_server: Serve
) -> Iterator[dict[str, ByMouse]]:
    """A window for each of the people, and the app that they look at."""
    app = make_app(migrated_sqlite_url, hooks={"authorize": lambda action: True, "actor": whoever})
    mesh_of(app).register(Travel)
    base = live_server(app)
    made, contexts = {}, []
    for name in PEOPLE:
        context = chromium.new_context(java_script_enabled=request.param, reduced_motion="reduce")
        context.set_default_timeout(20_000)
        context.add_cookies([{"name": "who", "value": name, "url": base}])
        contexts.append(context)
        made[name] = (ByKeyboard if request.param else ByMouse)(context.new_page(), f"{base}/squidmesh")
    made["emma"].app = app  # type: ignore[attr-defined]
    yield made
    for context in contexts:
        context.close()


def whoever() -> Person | None:
    """Who is at the page, as their cookie says."""
    return PEOPLE.get(request.cookies.get("who", ""))


def submit(emma: ByMouse, purpose: str, amount: str) -> None:
    emma.go("/workflows/travel/start")
    emma.fill("Purpose", purpose)
    emma.fill("Amount", amount)
    emma.press("Start the run")
    emma.sees(f"Pay {amount} EUR for {purpose}?")


@pytest.mark.rule("pages-people")
def test_asked_back_corrected_approved_with_less_and_signed(windows: dict[str, ByMouse]) -> None:
    emma, marco, fiona = windows.values()
    app: Flask = emma.app  # type: ignore[attr-defined]
    submit(emma, "tea", "2000")
    work(app)

    marco.go("/")
    marco.press("Ask back…")
    marco.sees("Ask back: Travel: tea")
    marco.fill("Comment", "Whose birthday was it?")
    marco.press("Ask back")
    marco.sees("Decided: Ask back.")
    work(app)

    emma.go("/")
    emma.sees("Whose birthday was it?")
    emma.press("Resubmit…")
    emma.sees("Resubmit: Travel: tea")
    emma.fill("Purpose", "tea for Ben")
    emma.fill("Amount", "1800")
    emma.press("Resubmit")
    emma.sees("Decided: Resubmit.")
    work(app)

    marco.go("/")
    marco.sees("Pay 1800 EUR for tea for Ben?")
    marco.press("Approve…")
    marco.sees("Approve: Travel: tea")
    marco.fill("Amount", "1500")
    marco.press("Approve")
    marco.sees("Approved.")
    work(app)

    marco.go("/?tab=others")
    marco.press("Travel: tea")
    marco.sees("You have decided at review, and somebody else has to decide here.")
    fiona.go("/?tab=groups")
    fiona.sees("Sign for 1500 EUR too?")
    fiona.press("Approve…")
    fiona.sees("Approve: Travel: tea")
    fiona.press("Approve")
    fiona.sees("Approved.")
    work(app)
    with app.app_context():
        run = mesh_of(app).list_runs(workflow=Travel).runs[0]
        assert (run.status, run.outcome) == ("completed", None)
        assert mesh_of(app).inspect_run(run.id).context["amount"] == "1500"


@pytest.mark.rule("pages-people")
def test_what_nobody_answers_becomes_somebody_elses_and_then_ends(windows: dict[str, ByMouse]) -> None:
    emma, marco, fiona = windows.values()
    app: Flask = emma.app  # type: ignore[attr-defined]
    submit(emma, "a stand", "300")
    work(app)
    fiona.go("/?tab=mine")
    assert fiona.page.get_by_text("Pay 300 EUR").count() == 0

    advance(app, 37 * HOUR)
    work(app)
    fiona.go("/?tab=mine")
    fiona.sees("Pay 300 EUR for a stand?")
    fiona.press("Travel: a stand")
    fiona.sees("It is yours")
    marco.go("/?tab=mine")
    assert marco.page.get_by_text("Pay 300 EUR").count() == 0

    advance(app, 12 * HOUR)
    work(app)
    fiona.press("Approve")
    fiona.sees("Nothing was done")
    emma.go("/runs")
    emma.press("Travel: a stand")
    emma.sees("It ended because nobody decided in time")
    with app.app_context():
        assert [run.outcome for run in mesh_of(app).list_runs(workflow=Travel).runs] == ["timed_out"]


@pytest.mark.rule("pages-people")
def test_what_waits_for_many_is_taken_and_handed_on(windows: dict[str, ByMouse]) -> None:
    emma, marco, fiona = windows.values()
    app: Flask = emma.app  # type: ignore[attr-defined]
    submit(emma, "tea", "10")
    work(app)
    marco.go("/runs")
    tick = marco.page.get_by_label("Choose Travel: tea")
    tick.focus()
    marco.page.keyboard.press("Space")
    expect(tick).to_be_checked()
    marco.press("With the ticked runs…")
    marco.sees("What should be done with 1 run?")
    marco.press("Hand on…")
    marco.sees("What waits in 1 run becomes theirs.")
    marco.fill("To whom", "fiona")
    marco.press("Hand on 1 task")
    marco.sees("Hand on to fiona: many runs")
    fiona.go("/")
    fiona.press("Travel: tea")
    fiona.sees("It is yours")
