"""Options of decisions, with their forms and consequences, on the pages and without JavaScript."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from pydantic import BaseModel, Field

from flask_squidmesh import Approval, Decision, End, Escalate, Manual, Option, Pause, Person, Scope, Step, Workflow
from flask_squidmesh.runtime.bulk_jobs import BulkItem
from tests.web.shop import advance, mesh_of, work
from tests.web.visiting import PREFIX, Visitor, forms_of, queries, text_of

MIA = Person("mia", "Mia", ("sales",))
FINN = Person("finn", "Finn", ("finance", "audit"))
HANS = Person("hans", "Hans")


class Payment(StrEnum):
    SALARY = "salary"
    TRANSFER = "transfer"


class Review(BaseModel):
    amount: Decimal = Field(gt=0, le=5000, description="In EUR")
    pay_on: date | None = None
    payment: Payment = Payment.SALARY
    codes: list[str] = []
    urgent: bool = False
    reason: str = ""


class Claim(BaseModel):
    amount: Decimal = Decimal(2140)
    supplier: str = "ACME"
    manager: str = "mia"
    api_key: str = "sk-live-1"


class Secrets(BaseModel):
    api_key: str
    word: str = ""


def note() -> None:
    """Do nothing."""


class Expenses(Workflow):
    """Have an expense reviewed."""

    subject = "Expense of {supplier}"
    start = Manual(Claim)
    review = Decision(
        "Pay {amount} EUR to {supplier}?",
        options=(Option("approve", form=Review), "ask_back", Option("turn_down", comment_required=True)),
        updates=("amount",),
        assignee="{manager}",
        groups=("finance",),
        within=timedelta(hours=48),
        remind=timedelta(hours=24),
        escalate=Escalate(after=timedelta(hours=36), assignee="hans"),
    )
    second = Approval("Really?", not_by=("review",))
    pay = Step(note)
    fix = Step(note)
    tell = Step(note)
    park = Step(note)
    flow = [
        review.on("approve").when("amount", greater_than=1000) >> second >> pay,
        review.on("approve") >> pay,
        review.on("ask_back") >> fix >> review,
        review.on("turn_down") >> End("turned_down"),
        review.on_timeout >> park,
        second.on_reject >> tell,
    ]


class Rotation(Workflow):
    """Take a new key."""

    start = Manual(Claim)
    check = Decision("Which key?", options=(Option("use", form=Secrets), "keep"), input={"word": "api_key"})
    go = Step(note)
    flow = [check.on("use") >> go, check.on("keep") >> go]


class Twice(Workflow):
    """Have an amount looked at by two."""

    start = Manual(Claim)
    first = Decision("How much?", options=(Option("pass_on", form=Review),), updates=("amount",))
    second = Decision("So much?", options=(Option("pay", form=Review), "drop"))
    go = Step(note)
    flow = [first.on("pass_on") >> second, second.on("pay") >> go, second.on("drop") >> End("dropped")]


class Holding(Workflow):
    """Hold until finance says so."""

    start = Manual(Claim)
    hold = Pause("Ready?", groups=("finance",))
    go = Step(note)
    flow = [hold >> go]


class Words(BaseModel):
    words: str


class Unasked(Workflow):
    """Ask for what nobody has said."""

    start = Manual(Claim)
    say = Decision("What?", options=(Option("pass_on", form=Words),))
    go = Step(note)
    flow = [say.on("pass_on") >> go]


class Refusable(Workflow):
    """Ask, and take no for an answer."""

    start = Manual(Claim)
    ask = Decision("May we?", options=("approve", "reject"))
    go = Step(note)
    flow = [ask.on("approve") >> go, ask.on("reject") >> End("rejected")]


class Desk:
    """Visitors of one app, each a person. denied: the rights that nobody has but hans."""

    def __init__(self, make: Any, *workflows: type[Workflow], **hooks: Any) -> None:
        self.now: Person = MIA
        self.denied: set[str] = set()
        self.asked: list[tuple[str, str | None]] = []
        self.visitor: Visitor = make({"authorize": self._authorize, "actor": lambda: self.now, **hooks})
        self.app = self.visitor.app
        with self.app.app_context():
            mesh_of(self.app).register(*workflows)

    def _authorize(self, action: str, run: Any, permission: Any, option: Any) -> bool:
        self.asked.append((action, option))
        return action not in self.denied or self.now is HANS

    def start(self, workflow: type[Workflow], **payload: Any) -> str:
        with self.app.app_context():
            run_id = str(mesh_of(self.app).start_run(workflow, payload, actor="dana").id)
        work(self.app)
        return run_id

    def as_(self, person: Person) -> Visitor:
        self.now = person
        return self.visitor

    def run(self, run_id: str) -> Any:
        with self.app.app_context():
            return mesh_of(self.app).inspect_run(run_id, include_history=True)


@pytest.fixture
def desk(make: Any) -> Desk:
    found = Desk(make, Expenses, Rotation, Twice, Holding)
    found.denied = {"assign"}
    return found


def page_of(run_id: str, option: str) -> str:
    verb = option if option in ("approve", "reject") else "decide"
    return f"/runs/{run_id}/{verb}?step=review" + (f"&option={option}" if verb == "decide" else "")


AMOUNT = "answer.review.approve.amount"


@pytest.mark.rule("card-options")
def test_each_option_says_what_it_leads_to(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    page = desk.as_(MIA).read(f"/runs/{run_id}")
    assert "Pay 2140 EUR to ACME?" in page
    assert "Approve continues at second or pay" in page
    assert "Ask back continues at fix" in page
    assert "Turn down ends the run as turned down" in page
    assert "It is yours" in page
    assert "ecomes hans 's in" in page
    assert "goes on to park when the time is over" in page.replace("Goes", "goes")


@pytest.mark.rule("card-form")
def test_the_form_is_drawn_from_the_schema_and_begins_with_the_state(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    page = desk.as_(MIA).get(page_of(run_id, "approve")).text
    assert f'id="{AMOUNT}" name="{AMOUNT}" aria-describedby="{AMOUNT}-help" aria-required="true" value="2140"' in page
    assert "more than 0, up to 5,000" in page
    assert 'type="date"' in page
    assert "&#34;transfer&#34;" in page
    assert "one in each line" in page


def test_an_answer_is_recorded_and_the_run_goes_on(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    more: dict[str, Any] = {
        AMOUNT: "900.50",
        "answer.review.approve.codes": "a\n\nb",
        "answer.review.approve.payment": '"transfer"',
        "answer.review.approve.pay_on": "2026-12-24",
        "answer.review.approve.urgent": "true",
    }
    answer = desk.as_(MIA).send(page_of(run_id, "approve"), **more)
    assert answer.status_code == 303, text_of(answer.text)
    work(desk.app)
    run = desk.run(run_id)
    assert run.status == "completed"
    record = run.context["review"]
    assert record["option"] == "approve"
    assert record["actor"] == {"id": "mia", "label": "Mia"}
    said = {"codes": ["a", "b"], "payment": "transfer", "pay_on": "2026-12-24", "urgent": True, "reason": ""}
    assert record["answer"] == {"amount": "900.50", **said}
    assert ("approve", "approve") in desk.asked


@pytest.mark.rule("card-faults")
def test_what_was_typed_stays_and_each_fault_stands_at_its_field(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    typed: dict[str, Any] = {AMOUNT: "6000", "answer.review.approve.reason": "taxi <b>"}
    answer = desk.as_(MIA).send(page_of(run_id, "approve"), **typed)
    assert answer.status_code == 422
    assert f'id="{AMOUNT}-problem" role="alert">Input should be less than or equal to 5000' in answer.text
    assert 'value="6000"' in answer.text
    assert "taxi &lt;b&gt;" in answer.text
    assert desk.run(run_id).status == "paused"


@pytest.mark.rule("card-faults")
def test_a_needed_field_that_was_emptied_is_asked_for(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    blank: dict[str, Any] = {AMOUNT: " "}
    answer = desk.as_(MIA).send(page_of(run_id, "approve"), **blank)
    assert answer.status_code == 422
    assert f'id="{AMOUNT}-problem" role="alert">This is needed.' in answer.text


@pytest.mark.rule("card-faults")
def test_an_option_that_takes_a_comment_asks_for_it(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    address = page_of(run_id, "turn_down")
    answer = desk.as_(MIA).send(address)
    assert answer.status_code == 422
    assert "Say why, in a few words" in text_of(answer.text)
    answer = desk.as_(MIA).send(address, comment="no receipt")
    assert answer.status_code == 303
    assert desk.run(run_id).outcome == "turned_down"
    assert ("decide", "turn_down") in desk.asked
    page = desk.as_(MIA).read(f"/runs/{run_id}")
    assert "Mia answered review with Turn down no receipt" in page
    assert "The run has ended as turned down ." in page


@pytest.mark.rule("card-stale")
def test_a_stale_page_decides_nothing(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    stale = desk.as_(MIA).form(page_of(run_id, "ask_back"))
    desk.as_(MIA).send(page_of(run_id, "ask_back"))
    work(desk.app)
    answer = desk.as_(FINN).send(page_of(run_id, "ask_back"), stale)
    assert answer.status_code == 409
    assert "Mia answered review with Ask back" in text_of(answer.text)


@pytest.mark.rule("card-options")
def test_who_lacks_the_right_to_an_option_is_not_offered_it(desk: Desk) -> None:
    desk.denied |= {"decide"}
    run_id = desk.start(Expenses)
    page = desk.as_(MIA).get(f"/runs/{run_id}").text
    assert "option=ask_back" not in page
    assert f"/runs/{run_id}/approve" in page
    assert desk.as_(MIA).get(page_of(run_id, "ask_back")).status_code == 403


@pytest.mark.rule("card-whose")
def test_others_are_told_whose_it_is_and_cannot_decide(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    other = Person("lee", "Lee", ("sales",))
    page = desk.as_(other).read(f"/runs/{run_id}")
    assert "Only mia or finance can do this." in page
    assert f"/runs/{run_id}/decide" not in desk.as_(other).get(f"/runs/{run_id}").text
    fields = desk.as_(MIA).form(page_of(run_id, "ask_back"))
    answer = desk.as_(other).send(page_of(run_id, "ask_back"), fields)
    assert answer.status_code == 403
    assert desk.run(run_id).status == "paused"


@pytest.mark.rule("card-whose")
def test_a_member_of_the_group_and_who_may_assign_can_decide(desk: Desk) -> None:
    first, second = desk.start(Expenses), desk.start(Expenses)
    assert desk.as_(FINN).send(page_of(first, "ask_back")).status_code == 303
    assert desk.as_(HANS).send(page_of(second, "ask_back")).status_code == 303


@pytest.mark.rule("card-whose")
def test_whose_it_is_is_compared_under_the_lock_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = desk.start(Holding)
    other = Person("lee", "Lee")
    fields = desk.as_(FINN).form(f"/runs/{run_id}/resume")
    monkeypatch.setattr("flask_squidmesh.dashboard.command_attempt.not_theirs", lambda *_: None)
    answer = desk.as_(other).send(f"/runs/{run_id}/resume", fields)
    assert answer.status_code == 422
    assert "step hold is of finance" in text_of(answer.text)
    assert desk.run(run_id).status == "paused"


@pytest.mark.rule("card-whose")
def test_who_decided_before_is_told_that_somebody_else_has_to(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    desk.as_(MIA).send(page_of(run_id, "approve"))
    work(desk.app)
    page = desk.as_(MIA).read(f"/runs/{run_id}")
    assert "You have decided at review , and somebody else has to decide here." in page
    assert "Not by who decided at review" in page
    assert desk.as_(MIA).get(f"/runs/{run_id}/approve").status_code == 403
    assert desk.as_(HANS).send(f"/runs/{run_id}/approve").status_code == 303


@pytest.mark.rule("card-secrets")
def test_secret_names_and_sources_stay_hidden_and_blank_keeps_them(desk: Desk) -> None:
    run_id = desk.start(Rotation)
    address = f"/runs/{run_id}/decide?step=check&option=use"
    page = desk.as_(MIA).get(address)
    assert "sk-live-1" not in page.text
    assert text_of(page.text).count("It has a value that you may not see; left blank, that stays.") == 2
    assert desk.as_(MIA).send(address).status_code == 303
    assert desk.run(run_id).context["check"]["answer"] == {"api_key": "sk-live-1", "word": "sk-live-1"}


@pytest.mark.rule("card-secrets")
def test_what_the_host_redacts_is_not_filled_in(make: Any) -> None:
    desk = Desk(make, Expenses, redact=lambda path, value, run: "***" if path[-1] == "amount" else value)
    run_id = desk.start(Expenses)
    page = desk.as_(MIA).get(page_of(run_id, "approve")).text
    assert 'value="2140"' not in page


def test_the_time_over_is_told_on_the_page_and_in_the_audit(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    for hours in (25, 12, 12):
        advance(desk.app, timedelta(hours=hours))
        work(desk.app)
    page = desk.as_(MIA).read(f"/runs/{run_id}")
    assert "the deadline reminded mia , finance of review" in page
    assert "the deadline escalated review to hans" in page
    assert "the deadline ended the wait at review : nobody had decided in time" in page


@pytest.mark.rule("card-options")
def test_the_inbox_offers_each_option(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    page = desk.as_(MIA).get("/").text
    for address in (page_of(run_id, "approve"), page_of(run_id, "ask_back")):
        assert f"{PREFIX}{address}".replace("&", "&amp;") in page


@pytest.mark.rule("card-form")
def test_the_card_holds_the_form_and_a_button_for_each_option(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    page = desk.as_(MIA).get(f"/runs/{run_id}").text
    assert f'name="{AMOUNT}"' in page
    assert "required for Turn down" in text_of(page)
    fields = forms_of(page)[f"{PREFIX}/runs/{run_id}/approve?step=review"]
    address = f"{PREFIX}{page_of(run_id, 'ask_back')}"
    assert f'formaction="{address}"'.replace("&", "&amp;") in page
    answer = desk.visitor.client.post(address, data={**fields, "comment": "why so much?"})
    assert answer.status_code == 303
    assert "Decided: Ask back." in desk.as_(MIA).read(f"/runs/{run_id}")
    assert "Mia answered review with Ask back why so much?" in desk.as_(MIA).read(f"/runs/{run_id}")


@pytest.mark.rule("card-faults")
def test_a_card_that_was_refused_leads_to_the_page_of_the_option_with_what_was_typed(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    page = desk.as_(MIA).get(f"/runs/{run_id}").text
    fields = forms_of(page)[f"{PREFIX}/runs/{run_id}/approve?step=review"]
    address = f"{PREFIX}{page_of(run_id, 'approve')}"
    answer = desk.visitor.client.post(address, data={**fields, AMOUNT: "5001", "comment": "as agreed"})
    assert answer.status_code == 422
    assert 'value="5001"' in answer.text
    assert "as agreed" in answer.text
    assert "Nothing was done: 1 field needs another look." in text_of(answer.text)


@pytest.mark.rule("card-changes")
def test_a_change_is_shown_to_whoever_comes_next_with_who_and_when(desk: Desk) -> None:
    run_id = desk.start(Twice)
    address = f"/runs/{run_id}/decide?step=first&option=pass_on"
    more: dict[str, Any] = {"answer.first.pass_on.amount": "1840"}
    assert desk.as_(MIA).send(address, **more).status_code == 303
    page = desk.as_(FINN).read(f"/runs/{run_id}")
    assert "was 2140 → 1840 by Mia, just now" in page
    assert "1840" in desk.as_(FINN).get(f"/runs/{run_id}").text


def sent(visitor: Visitor, address: str, fields: dict[str, str] | None = None, **more: Any) -> Any:
    """The answer to the form of a page whose address says the step."""
    given = forms_of(visitor.get(address).text)[PREFIX + address] if fields is None else fields
    return visitor.client.post(PREFIX + address, data={**given, **more})


@pytest.mark.rule("card-assigning")
def test_a_wait_is_taken_given_back_and_handed_on(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    place = f"/runs/{run_id}/assignment"
    page = desk.as_(FINN).get(f"/runs/{run_id}").text
    assert f"{place}/take?step=review" in page
    assert f"{place}/hand-on" not in page
    assert sent(desk.as_(FINN), f"{place}/take?step=review").status_code == 303
    assert "It is yours" in desk.as_(FINN).read(f"/runs/{run_id}")
    assert "Finn took review" in desk.as_(FINN).read(f"/runs/{run_id}")
    assert f"{place}/give-back?step=review" in desk.as_(FINN).get(f"/runs/{run_id}").text
    assert sent(desk.as_(FINN), f"{place}/give-back?step=review").status_code == 303
    assert "For finance" in desk.as_(FINN).read(f"/runs/{run_id}")
    answer = sent(desk.as_(HANS), f"{place}/hand-on?step=review", to="lee")
    assert answer.status_code == 303
    assert "It is lee 's; finance can do it too" in desk.as_(FINN).read(f"/runs/{run_id}")


@pytest.mark.rule("card-stale")
def test_what_has_become_somebody_elses_since_the_page_was_shown_is_not_taken(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    address = f"/runs/{run_id}/assignment/take?step=review"
    stale = forms_of(desk.as_(FINN).get(address).text)[PREFIX + address]
    with desk.app.app_context():
        mesh_of(desk.app).assign_run(run_id, to="hans", actor="mia")
    answer = sent(desk.as_(FINN), address, stale)
    assert answer.status_code == 409
    assert "it has become somebody else's since this page was shown" in text_of(answer.text)


@pytest.mark.rule("card-assigning")
def test_nobody_takes_what_is_others_and_only_who_may_assign_hands_on(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    lee = Person("lee", "Lee")
    refused = desk.as_(lee).get(f"/runs/{run_id}/assignment/take?step=review")
    assert (refused.status_code, "Only mia or finance can do this." in text_of(refused.text)) == (403, True)
    assert desk.as_(MIA).get(f"/runs/{run_id}/assignment/hand-on?step=review").status_code == 403
    desk.denied.add("take")
    assert desk.as_(FINN).get(f"/runs/{run_id}/assignment/take?step=review").status_code == 403


@pytest.mark.rule("card-assigning")
def test_handing_on_asks_whom(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    address = f"/runs/{run_id}/assignment/hand-on?step=review"
    assert sent(desk.as_(HANS), address, to=" ").status_code == 422
    assert sent(desk.as_(HANS), address, to="x" * 201).status_code == 422


def test_a_note_is_kept_with_the_run_and_shown_in_its_history(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    fields = forms_of(desk.as_(MIA).get(f"/runs/{run_id}").text)[f"{PREFIX}/runs/{run_id}/note"]
    for text, status in ((" ", 422), ("called <i>them</i>", 303)):
        answer = desk.as_(MIA).send(f"/runs/{run_id}/note", {**fields, "text": text})
        assert answer.status_code == status
    page = desk.as_(MIA).get(f"/runs/{run_id}").text
    assert "Mia noted called <i>them</i>" in text_of(page)
    assert "called &lt;i&gt;them&lt;/i&gt;" in page
    desk.denied.add("note")
    assert f"/runs/{run_id}/note" not in desk.as_(MIA).get(f"/runs/{run_id}").text
    assert desk.as_(MIA).send(f"/runs/{run_id}/note", {**fields, "text": "x"}).status_code == 403


def test_a_decision_needs_no_more_queries_than_other_pages(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    desk.now = MIA
    assert len(queries(desk.visitor, f"/runs/{run_id}")) <= 8
    assert len(queries(desk.visitor, page_of(run_id, "approve"))) <= 8


def test_an_option_is_taken_for_many_by_those_whose_they_are(desk: Desk) -> None:
    mine, others = desk.start(Expenses), desk.start(Expenses, manager="lee")
    ticked = f"run={mine}&run={others}"
    choices = desk.as_(MIA).read(f"/bulk?{ticked}")
    assert "Ask back… takes 1 of them" in choices
    address = f"/bulk?action=decide&option=ask_back&{ticked}"
    page = desk.as_(MIA).get(address).text
    assert "Only lee or finance can do this." in text_of(page).partition("Left out")[2]
    [fields] = [found for action, found in forms_of(page).items() if "/bulk" in action]
    answer = desk.visitor.client.post(f"{PREFIX}/bulk?action=decide&option=ask_back", data={**fields, "run": [mine]})
    assert answer.status_code == 303
    assert "Finished. Done with 1 run." in desk.as_(MIA).read(answer.location.removeprefix(PREFIX))
    assert [each.metadata["option"] for each in desk.run(mine).audit_events if each.type == "decided"] == ["ask_back"]
    assert desk.run(others).current_step == "review"


def test_a_wait_that_has_become_others_is_left_out_of_what_goes_on_for_many(desk: Desk) -> None:
    run_id = desk.start(Holding)
    with desk.app.app_context():
        runtime = desk.app.extensions["squidmesh"]
        token = mesh_of(desk.app).inspect_run(run_id).decision
        item = BulkItem(run_id=run_id, token=token, step="hold")
        asked = {"scope": Scope.all(), "actor": "kim", "mount": "squidmesh"}
        job_id = runtime.bulk.begin("resume", [item], **asked, groups=["sales"])
        runtime.bulk.go_on(job_id, 10, lambda _job, _item: None)
        assert desk.run(run_id).status == "paused"
        job_id = runtime.bulk.begin("resume", [item], **asked, groups=["finance"])
        runtime.bulk.go_on(job_id, 10, lambda _job, _item: None)
    assert desk.run(run_id).current_step == "go"


def test_an_option_with_a_form_to_fill_in_is_none_for_many(desk: Desk) -> None:
    with desk.app.app_context():
        mesh_of(desk.app).register(Unasked)
    run_id = desk.start(Unasked)
    page = desk.as_(MIA).read(f"/bulk?action=decide&option=pass_on&run={run_id}")
    assert "it has a form to fill in; decide it on its own page" in page


@pytest.mark.rule("card-secrets")
def test_secret_sources_stay_hidden_in_all_that_a_run_tells(desk: Desk) -> None:
    run_id = desk.start(Rotation)
    assert "sk-live-1" not in desk.as_(MIA).get(f"/runs/{run_id}.json").text
    assert desk.as_(MIA).send(f"/runs/{run_id}/decide?step=check&option=use").status_code == 303
    for address in (f"/runs/{run_id}.json", f"/runs/{run_id}?step=check", f"/runs/{run_id}?view=data"):
        assert "sk-live-1" not in desk.as_(MIA).get(address).text


def test_a_wait_that_cannot_be_opened_says_what_is_missing(desk: Desk) -> None:
    run_id = desk.start(Expenses, manager=" ")
    page = desk.as_(MIA).read(f"/runs/{run_id}")
    assert "review cannot begin, because the run does not hold a person or a time that it needs" in page
    assert "names nobody" in page


@pytest.mark.rule("card-options")
def test_what_keeps_somebody_from_every_option_is_said_once(desk: Desk) -> None:
    run_id = desk.start(Expenses)
    page = desk.as_(Person("lee", "Lee")).read(f"/runs/{run_id}")
    assert page.count("Only mia or finance can do this.") == 1
    assert "You cannot" not in page.partition("More actions")[0]
    assert "Ask back Continues" in page.replace("continues", "Continues")


def test_a_decision_that_was_answered_with_reject_is_not_shown_as_done(desk: Desk) -> None:
    with desk.app.app_context():
        mesh_of(desk.app).register(Refusable)
    run_id = desk.start(Refusable)
    assert desk.as_(MIA).send(f"/runs/{run_id}/reject?step=ask", comment="no").status_code == 303
    page = desk.as_(MIA).get(f"/runs/{run_id}").text
    assert '<span class="st st-rejected">Rejected</span>' in page
    assert '<span class="st st-completed">' not in page
