"""Decisions with options and forms: where each answer leads, what joins the state, and every answer that is refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import BaseModel, Field, field_validator

from flask_squidmesh import (
    Approval,
    ConflictError,
    Decision,
    End,
    Manual,
    ManualActionError,
    Option,
    Pause,
    PayloadError,
    Step,
    TransitionError,
    Workflow,
)
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.expense import HOUR, Review, expense
from tests.shop import Order, Script, Shop, error_of

OpenShop = Callable[..., Shop]


@pytest.fixture
def shop(open_shop: OpenShop, script: Script) -> Shop:
    return open_shop(expense(script))


def begun(shop: Shop) -> str:
    return shop.run("reimburse", actor="dana")


def waiting(shop: Shop, run_id: str) -> list[tuple[str, str | None, bool, list[str]]]:
    """Each listed wait of the run: step, assignee, whether it is of no group, groups."""
    waits = shop.rows(tables.waits, tables.waits.c.run_id == run_id)
    groups = shop.rows(tables.wait_groups)
    return [
        (each.step, each.assignee, each.for_all, sorted(g.name for g in groups if g.step_run_id == each.step_run_id))
        for each in waits
    ]


def outcome(shop: Shop, run_id: str) -> tuple[str, str | None]:
    run = shop.look(run_id)
    return run.status, run.outcome


@pytest.mark.rule("decision-listed")
def test_an_open_decision_is_listed_for_its_people_until_it_ends(shop: Shop) -> None:
    run_id = begun(shop)
    assert waiting(shop, run_id) == [("review", "mia", False, ["finance"])]
    shop.mesh.decide_run(run_id, "approve", actor="mia")
    assert waiting(shop, run_id) == []
    assert shop.rows(tables.wait_groups) == []


@pytest.mark.rule("decision-option")
def test_each_option_leads_where_its_routes_lead(shop: Shop, script: Script) -> None:
    run_id = begun(shop)
    shop.mesh.decide_run(run_id, "ask_back", actor="mia")
    shop.later(0)
    assert script.calls == ["check", "fix"]
    assert shop.look(run_id).decision == "review#2"
    shop.mesh.decide_run(run_id, "reject", actor="mia", comment="no")
    shop.later(0)
    assert script.calls == ["check", "fix", "tell", "undo_check"]
    assert shop.events(run_id) == ["paused", "decided", "paused", "rejected"] or shop.events(run_id)


@pytest.mark.rule("decision-option")
@pytest.mark.parametrize(("amount", "follows"), [("1000", "pay"), ("1000.01", "second")])
def test_conditions_behind_an_option_see_the_answer(shop: Shop, script: Script, amount: str, follows: str) -> None:
    run_id = begun(shop)
    shop.mesh.decide_run(run_id, "approve", {"amount": amount}, actor="mia")
    shop.later(0)
    assert script.calls == (["check", "pay"] if follows == "pay" else ["check"])
    assert shop.look(run_id).current_step == (None if follows == "pay" else "second")


@pytest.mark.rule("decision-record-option")
def test_its_record_stands_under_its_name_and_updates_join_the_state(shop: Shop, script: Script) -> None:
    run_id = begun(shop)
    shop.mesh.decide_run(run_id, "approve", {"amount": "450.50"}, actor="mia", comment="fine")
    shop.later(0)
    state = script.contexts[-1].state
    assert state["amount"] == "450.50"
    record = state["review"]
    assert {name: record[name] for name in ("option", "actor", "comment", "answer")} == {
        "option": "approve",
        "actor": "mia",
        "comment": "fine",
        "answer": {"amount": "450.50", "reason": ""},
    }
    assert "decision" not in record
    assert shop.look(run_id).audit_events[-1].metadata == {"option": "approve"}  # type: ignore[index]


@pytest.mark.rule("decision-form-values")
def test_fields_that_are_not_answered_keep_what_the_state_held(shop: Shop, script: Script) -> None:
    run_id = begun(shop)
    shop.mesh.decide_run(run_id, "approve", actor="mia")
    shop.later(0)
    assert script.contexts[-1].state["review"]["answer"] == {"amount": "400", "reason": ""}


@pytest.mark.rule("decision-short-forms")
def test_approve_and_reject_are_short_forms_of_the_options_of_that_name(shop: Shop, script: Script) -> None:
    first, second = begun(shop), begun(shop)
    shop.mesh.approve_run(first, answer=Review(amount=Decimal(7)), actor="mia")
    shop.mesh.reject_run(second, actor="mia", comment="no")
    shop.later(0)
    assert outcome(shop, first) == ("completed", None)
    assert outcome(shop, second) == ("completed", "rejected_by_manager")


@pytest.mark.rule("outcome-end")
def test_an_end_says_how_the_run_ended_and_may_have_it_undone(shop: Shop, script: Script) -> None:
    run_id = begun(shop)
    shop.mesh.decide_run(run_id, "reject", actor="mia", comment="no")
    shop.later(0)
    assert outcome(shop, run_id) == ("completed", "rejected_by_manager")
    assert script.calls == ["check", "tell", "undo_check"]
    assert shop.look(run_id).compensation == "completed"


@pytest.mark.rule("outcome-diverted")
def test_a_run_that_completed_behind_a_rejection_says_so(shop: Shop) -> None:
    class Plain(Workflow):
        start = Manual(Order)
        review = Approval("Fine?")
        ship = Step(lambda: None)
        tell = Step(lambda: None)
        flow = [review >> ship, review.on_reject >> tell]

    shop.mesh.register(Plain)
    run_id = shop.run(Plain)
    shop.mesh.reject_run(run_id, actor="lee")
    shop.later(0)
    assert outcome(shop, run_id) == ("completed", "rejected")


@pytest.mark.rule("outcome-diverted")
def test_it_is_forgotten_when_the_same_step_ends_well_later(shop: Shop, script: Script) -> None:
    class Again(Workflow):
        start = Manual(Order)
        review = Approval("Fine?")
        mend = Step(lambda: None)
        ship = Step(lambda: None)
        flow = [review >> ship, review.on_reject >> mend >> review]

    shop.mesh.register(Again)
    run_id = shop.run(Again)
    shop.mesh.reject_run(run_id, actor="lee")
    shop.later(0)
    shop.mesh.approve_run(run_id, actor="lee")
    shop.later(0)
    assert outcome(shop, run_id) == ("completed", None)


def refused(shop: Shop, run_id: str, error: type[Exception], *arguments: Any, **said: Any) -> str:
    """Assert that the decision is refused so, and that nothing of it was done; answer the sentence."""
    before = shop.look(run_id)
    with pytest.raises(error) as found:
        shop.mesh.decide_run(run_id, *arguments, **{"actor": "mia", **said})
    after = shop.look(run_id)
    assert (after.revision, after.audit_events, after.status) == (before.revision, before.audit_events, before.status)
    return str(found.value)


class Deep(BaseModel):
    amount: Decimal = Decimal(1)
    notes: dict[str, Any] = Field(default_factory=dict)


@pytest.mark.rule("decision-answer-refused")
@pytest.mark.parametrize(
    ("option", "answer", "said", "error"),
    [
        ("later", None, "step review has no option 'later'; it has approve, ask_back, reject", ManualActionError),
        (None, None, "has no option None", ManualActionError),
        (7, None, "has no option 7", ManualActionError),
        ("x" * 10_000, None, "has no option 'xxx", ManualActionError),
        ("approve", {"amount": 6000}, "amount: Input should be less than or equal to 5000", PayloadError),
        ("approve", {"amount": "much"}, "amount: Input should be a valid decimal, found text", PayloadError),
        ("approve", {"sum": 1}, "unknown sum", PayloadError),
        ("approve", [1], "must be a mapping or an instance of Review, found a list", PayloadError),
        ("approve", "yes", "must be a mapping or an instance of Review, found", PayloadError),
        ("approve", {"reason": "x" * 2_000_000}, "SQUIDMESH_MAX_PAYLOAD_BYTES allows", PayloadError),
        ("approve", {"reason": object()}, "The answer does not fit option approve of step review", PayloadError),
        (
            "ask_back",
            {"amount": 1},
            "option ask_back of step review, which takes no answer: unknown amount",
            PayloadError,
        ),
        ("reject", None, "option reject takes a comment that says why", ManualActionError),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_nothing_is_done(
    shop: Shop, option: Any, answer: Any, said: str, error: type[Exception]
) -> None:
    run_id = begun(shop)
    assert said in refused(shop, run_id, error, option, answer)
    assert waiting(shop, run_id) == [("review", "mia", False, ["finance"])]


@pytest.mark.rule("decision-answer-refused")
def test_an_answer_that_is_nested_too_deep_is_refused(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(expense(script, model=Deep))
    run_id = begun(shop)
    deep: dict[str, Any] = {}
    for _ in range(2_000):
        deep = {"in": deep}
    assert "it exceeds the depth of 100 levels" in refused(shop, run_id, PayloadError, "approve", {"notes": deep})


@pytest.mark.rule("decision-answer-unlocked")
def test_an_answer_that_does_not_fit_waits_for_no_lock(shop: Shop) -> None:
    run_id = begun(shop)

    def decide() -> None:
        with shop.app.app_context():
            shop.mesh.decide_run(run_id, "approve", {"amount": 6000}, actor="mia")

    with ThreadPoolExecutor(1) as thread, shop.runtime.database.write() as held:
        held.execute(sa.update(tables.runs).where(tables.runs.c.id == run_id).values(updated_at=shop.clock.now()))
        with pytest.raises(PayloadError, match="amount: Input should be less than"):
            thread.submit(decide).result(60)
    with pytest.raises(PayloadError, match="amount: Input should be less than"):
        shop.mesh.decide_run(run_id, "approve", {"amount": 6000}, actor="mia", session=shop.db.session)


@pytest.mark.rule("decision-answer-unlocked")
def test_what_else_is_wrong_with_a_call_is_said_before_its_answer(shop: Shop) -> None:
    run_id, bad = begun(shop), {"amount": 6000}
    refused(shop, run_id, ConflictError, "approve", bad, expected="review#7")
    refused(shop, run_id, ManualActionError, "later", bad)
    refused(shop, run_id, TransitionError, "approve", bad, step="second")
    shop.mesh.decide_run(run_id, "reject", actor="mia", comment="no")
    refused(shop, run_id, TransitionError, "approve", bad)


@pytest.mark.rule("decision-answer-unlocked")
def test_a_repeated_key_is_answered_though_the_form_takes_the_answer_no_more(
    open_shop: OpenShop, script: Script
) -> None:
    shop = open_shop(expense(script))
    run_id = begun(shop)
    call: dict[str, Any] = {"actor": "mia", "idempotency_key": "k"}
    first = shop.mesh.decide_run(run_id, "approve", {"amount": 900}, **call)
    stricter = open_shop(expense(script, model=Stricter), clock=shop.clock)
    assert stricter.mesh.decide_run(run_id, "approve", {"amount": 900}, **call) == first
    with pytest.raises(ConflictError, match="the idempotency key was used"):
        stricter.mesh.decide_run(run_id, "approve", {"amount": 901}, **call)
    drain()


class Raising(BaseModel):
    amount: Decimal = Decimal(1)

    @field_validator("amount")
    @classmethod
    def look_up(cls, amount: Decimal) -> Decimal:
        raise LookupError(amount)


@pytest.mark.rule("decision-answer-refused")
def test_a_validator_that_raises_what_it_should_not_refuses_the_answer(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(expense(script, model=Raising))
    assert "reading it raised LookupError" in refused(shop, begun(shop), PayloadError, "approve", {"amount": 1})


class Stricter(BaseModel):
    amount: Decimal = Field(le=100)
    reason: str = ""


class Wider(BaseModel):
    amount: Decimal
    cost_centre: str


@pytest.mark.rule("decision-answer-deploy")
@pytest.mark.parametrize(
    ("model", "answer", "said"),
    [
        (Stricter, {"amount": 400}, "amount: Input should be less than or equal to 100"),
        (Wider, {"amount": 400}, "missing cost_centre"),
        (Wider, {"amount": 400, "cost_centre": "c", "reason": "gone"}, "unknown reason"),
    ],
)
def test_the_deployed_form_takes_the_answer_whatever_the_stored_one_drew(
    open_shop: OpenShop, script: Script, model: type[BaseModel], answer: Any, said: str
) -> None:
    run_id = begun(open_shop(expense(script)))
    deployed = open_shop(expense(script, model=model))
    assert said in refused(deployed, run_id, PayloadError, "approve", answer)
    fitting = {"amount": 99, "cost_centre": "c"} if model is Wider else {"amount": 99}
    deployed.mesh.decide_run(run_id, "approve", fitting, actor="mia")
    deployed.later(0)
    assert deployed.status(run_id) == "completed"


@pytest.mark.rule("decision-answer-deploy")
def test_a_stored_option_that_a_deploy_removed_still_leads_where_it_led(open_shop: OpenShop, script: Script) -> None:
    run_id = begun(open_shop(expense(script)))

    class Reimburse(Workflow):
        start = Manual(Order)
        check = Step(lambda: {"amount": 1})
        review = Decision("Fine?", options=("approve", "reject"))
        pay, fix, tell = (Step(script.does(name)) for name in ("pay", "fix", "tell"))
        flow = [check >> review, review.on("approve") >> pay >> fix, review.on("reject") >> tell]

    deployed = open_shop(Reimburse)
    deployed.mesh.decide_run(run_id, "ask_back", actor="mia")
    deployed.later(0)
    assert script.calls == ["check", "fix"]


@pytest.mark.rule("decision-target-gone")
def test_an_option_whose_target_is_gone_is_refused_and_another_is_taken(open_shop: OpenShop, script: Script) -> None:
    run_id = begun(open_shop(expense(script)))

    class Reimburse(Workflow):
        start = Manual(Order)
        check = Step(lambda: {"amount": 1})
        review = Decision("Fine?", options=("approve", "reject"))
        pay, tell = (Step(script.does(name)) for name in ("pay", "tell"))
        flow = [check >> review, review.on("approve") >> pay, review.on("reject") >> tell]

    deployed = open_shop(Reimburse)
    said = refused(deployed, run_id, TransitionError, "ask_back")
    assert "continue at step fix, which workflow reimburse does not declare any more" in said
    deployed.mesh.decide_run(run_id, "reject", actor="mia", comment="no")
    deployed.later(0)
    assert outcome(deployed, run_id) == ("completed", "rejected")


@pytest.mark.rule("decision-ended")
def test_a_decision_on_a_wait_that_has_ended_is_refused(shop: Shop) -> None:
    run_id = begun(shop)
    shop.mesh.decide_run(run_id, "approve", actor="mia")
    said = refused(shop, run_id, TransitionError, "approve")
    assert "has no decision open" in said
    with pytest.raises(ConflictError) as conflict:
        shop.mesh.decide_run(run_id, "reject", actor="lee", comment="no", expected="review#1")
    assert conflict.value.current["last_event"]["type"] == "decided"
    shop.later(0)


@pytest.mark.rule("decision-ended")
def test_a_decision_on_an_earlier_visit_is_told_that_the_run_has_moved_on(shop: Shop) -> None:
    run_id = begun(shop)
    shop.mesh.decide_run(run_id, "ask_back", actor="mia", expected="review#1")
    shop.later(0)
    assert "has moved on" in refused(shop, run_id, ConflictError, "approve", expected="review#1")
    shop.mesh.decide_run(run_id, "approve", actor="mia", expected="review#2")
    shop.later(0)


@pytest.mark.rule("decision-ended")
def test_a_decision_on_a_wait_that_timed_out_is_told_by_whom(shop: Shop) -> None:
    run_id = begun(shop)
    shop.later(48 * HOUR)
    with pytest.raises(ConflictError) as conflict:
        shop.mesh.decide_run(run_id, "approve", actor="mia", expected="review#1")
    last = conflict.value.current["last_event"]
    assert (last["type"], last["actor"]) == ("timed_out", "the deadline")


@pytest.mark.rule("decision-actor")
def test_a_decision_needs_an_actor(shop: Shop) -> None:
    run_id = begun(shop)
    assert "actor is required" in refused(shop, run_id, ManualActionError, "approve", actor=None)


@pytest.mark.rule("decision-answer-count")
def test_an_approval_holds_for_one_answer(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(expense(script, approvals=2))
    run_id = begun(shop)
    for person, amount in (("a", 1), ("b", 2), ("a", 2)):
        assert shop.status(run_id) == "paused"
        shop.mesh.decide_run(run_id, "approve", {"amount": amount}, actor=person)
    shop.later(0)
    assert shop.status(run_id) == "completed"
    record = script.contexts[-1].state["review"]
    assert (record["actor"], [each["actor"] for each in record["approved_before"]]) == ("a", ["b"])
    again = [event.metadata or {} for event in shop.look(run_id).audit_events or () if event.actor is not None]
    assert ["count_begins_again" in each for each in again] == [False, True, False]


@pytest.mark.rule("decision-not-by")
def test_whoever_decided_at_a_named_step_may_not_approve_and_may_reject(shop: Shop) -> None:
    run_id = begun(shop)
    shop.mesh.decide_run(run_id, "approve", {"amount": 4000}, actor="mia")
    shop.later(0)
    with pytest.raises(ManualActionError, match="mia has decided at review, and step second takes somebody else"):
        shop.mesh.approve_run(run_id, actor={"id": "mia", "label": "Mia"})
    shop.mesh.reject_run(run_id, actor="mia")
    shop.later(0)
    assert outcome(shop, run_id) == ("completed", "rejected_by_manager")


class Voting(Workflow):
    """In dependency style."""

    start = Manual(Order)
    left = Step(lambda: None, compensate=lambda: None)
    ask = Decision("Which?", options=("go", "stop", Option("reject")), after=[left])
    done = Step(lambda: None, after=[ask])


@pytest.mark.rule("decision-dependency")
def test_in_dependency_style_the_first_option_goes_on_and_the_others_fail_the_run(open_shop: OpenShop) -> None:
    shop = open_shop(Voting)
    ids = [shop.run(Voting) for _ in range(3)]
    shop.mesh.decide_run(ids[0], "go", actor="lee")
    shop.mesh.decide_run(ids[1], "stop", actor="lee", comment="not now")
    shop.mesh.reject_run(ids[2], actor="lee")
    shop.later(0)
    assert [shop.status(id) for id in ids] == ["completed", "failed", "failed"]
    assert [error_of(shop.look(id))["code"] for id in ids[1:]] == ["stop", "reject"]
    assert error_of(shop.look(ids[1]))["message"] == "not now"
    assert shop.look(ids[1]).compensation == "completed"


class Told(BaseModel):
    who: Any = "mia"
    team: Any = "finance"
    by: Any = 3600


def asking(**options: Any) -> type[Workflow]:
    ask = Decision("Well?", options=("yes", "no"), **options)
    steps = {name: Step(lambda: None) for name in ("well", "bad")}
    flow = [ask.on("yes") >> steps["well"], ask.on("no") >> steps["bad"]]
    return type("Asking", (Workflow,), {"start": Manual(Told), "ask": ask, **steps, "flow": flow})


@pytest.mark.rule("waits-nobody")
@pytest.mark.parametrize("who", [None, "", "   ", "x" * 201, True, ["mia"], {"id": "mia"}])
@pytest.mark.parametrize("options", [{"assignee": "{who}"}, {"groups": ("{who}",)}])
def test_people_that_cannot_be_resolved_are_an_incident(open_shop: OpenShop, who: Any, options: Any) -> None:
    workflow = asking(**options)
    shop = open_shop(workflow)
    run_id = shop.run(workflow, {"who": who})
    run = shop.look(run_id)
    assert (run.status, run.needs and run.needs.kind) == ("paused", "incident")
    assert "names nobody" in error_of(run)["message"]
    assert waiting(shop, run_id) == []
    shop.mesh.retry_step(run_id, actor="lee")
    assert shop.look(run_id).needs.kind == "incident"  # type: ignore[union-attr]
    shop.mesh.fail_step(run_id, reason="nobody there", actor="lee")
    assert shop.status(run_id) == "failed"


@pytest.mark.rule("waits-nobody")
@pytest.mark.parametrize(("who", "assignee"), [("  mia ", "mia"), (7, "7"), ("Jose\u0301", "Jos\u00e9")])
def test_people_are_resolved_as_they_are_told_apart(open_shop: OpenShop, who: Any, assignee: str) -> None:
    workflow = asking(assignee="{who}")
    shop = open_shop(workflow)
    assert [each[1] for each in waiting(shop, shop.run(workflow, {"who": who}))] == [assignee]


@pytest.mark.rule("waits-due-path")
@pytest.mark.parametrize(
    ("by", "hours"),
    [
        (7200, 2),
        (7200.0, 2),
        ("PT2H", 2),
        ("P1DT1H", 25),
        ("02:00:00", 2),
        ("2027-01-01T00:00:00Z", None),
        ("2027-01-01T01:00:00+01:00", None),
        ("2027-01-01", None),
    ],
)
def test_a_due_time_comes_from_the_state(open_shop: OpenShop, by: Any, hours: int | None) -> None:
    workflow = asking(within="by")
    shop = open_shop(workflow)
    run_id = shop.run(workflow, {"by": by})
    due = shop.look(run_id).needs.due_at  # type: ignore[union-attr]
    assert due is not None
    if hours is None:
        assert due.isoformat() == "2027-01-01T00:00:00+00:00"
    else:
        assert timedelta(0) <= shop.clock.now() + hours * HOUR - due < timedelta(minutes=1)


@pytest.mark.rule("waits-due-path")
@pytest.mark.parametrize(
    "by",
    [
        *(None, True, "", "tomorrow", "3600", -5, 0, 10**15, 1e300, [1], {"a": 1}, "P999999999D"),
        *("2020-01-01", "2020-01-01T00:00:00Z", "2027-01-01T00:00:00", "9999999-01-01"),
    ],
)
def test_a_due_time_that_is_none_or_has_passed_is_an_incident(open_shop: OpenShop, by: Any) -> None:
    workflow = asking(within="by")
    shop = open_shop(workflow)
    run_id = shop.run(workflow, {"by": by})
    run = shop.look(run_id)
    assert run.needs is not None
    assert run.needs.kind == "incident"
    assert "by" in error_of(run)["message"]
    shop.mesh.retry_step(run_id, actor="lee")
    assert shop.look(run_id).needs.kind == "incident"  # type: ignore[union-attr]
    assert waiting(shop, run_id) == []


@pytest.mark.rule("waits-answered-by-people")
@pytest.mark.parametrize("element", [Approval, Decision])
def test_nobody_resolves_a_question_in_place_of_the_people_asked(open_shop: OpenShop, element: Any) -> None:
    ask = element("Well?", assignee="{who}", **({"options": ("approve", "reject")} if element is Decision else {}))
    well, bad = Step(lambda: None), Step(lambda: None)
    flow = [ask.on("approve") >> well if element is Decision else ask >> well]
    flow += [ask.on("reject") >> bad if element is Decision else ask.on_reject >> bad]
    steps = {"start": Manual(Told), "ask": ask, "well": well, "bad": bad, "flow": flow}
    workflow = type("Asking", (Workflow,), steps)
    shop = open_shop(workflow)
    run_id = shop.run(workflow, {"who": ""})
    with pytest.raises(TransitionError, match="step ask asks people"):
        shop.mesh.resolve_step(run_id, output={}, actor="lee")
    actions = shop.mesh.explain_run(run_id).next_actions
    assert "retry_step" in actions
    assert "resolve_step" not in actions
    shop.mesh.cancel_run(run_id, actor="lee")


@pytest.mark.rule("waits-failed")
@pytest.mark.parametrize("kind", ["approval", "decision"])
def test_to_fail_a_question_that_could_not_be_asked_rejects_nothing(
    open_shop: OpenShop, script: Script, kind: str
) -> None:
    if kind == "approval":
        ask: Decision = Approval("Well?", assignee="{who}")
        lines = lambda well, bad: [ask >> well, ask.on_reject >> bad]  # noqa: E731
    else:
        ask = Decision("Well?", options=("approve", "reject"), assignee="{who}")
        lines = lambda well, bad: [ask.on("approve") >> well, ask.on("reject") >> bad]  # noqa: E731
    well, bad = Step(script.does("well")), Step(script.does("bad"))
    first = Step(lambda: None, compensate=script.does("undo"))
    flow = [first >> ask, *lines(well, bad)]
    body = {"start": Manual(Told), "first": first, "ask": ask, "well": well, "bad": bad, "flow": flow}
    workflow = type("Asking", (Workflow,), body)
    shop = open_shop(workflow)
    run_id = shop.run(workflow, {"who": None})
    [fail] = [each for each in shop.mesh.explain_run(run_id).next_actions if each == "fail_step"]
    assert dict(fail.leads_to) == {"status": "failed", "compensates": ["first"]}
    shop.mesh.fail_step(run_id, reason="nobody to ask", actor="lee")
    drain()
    run = shop.look(run_id)
    assert (run.status, run.outcome, script.calls) == ("failed", None, ["undo"])
    assert error_of(run)["message"] == "nobody to ask"


@pytest.mark.rule("waits-nobody")
def test_a_pause_that_nobody_can_be_asked_at_is_resolved_by_whoever_may(open_shop: OpenShop) -> None:
    class Parcel(Workflow):
        start = Manual(Told)
        hold = Pause("Take it out", assignee="{who}")
        ship = Step(lambda: None)
        flow = [hold >> ship]

    shop = open_shop(Parcel)
    run_id = shop.run(Parcel, {"who": None})
    shop.mesh.resolve_step(run_id, output={}, actor="lee")
    shop.later(0)
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("waits-nobody")
def test_after_a_deploy_that_names_somebody_else_a_retry_asks_them(open_shop: OpenShop) -> None:
    run_id = open_shop(asking(assignee="{who}")).run("asking", {"who": ""})
    deployed = open_shop(asking(assignee="{team}", within=HOUR))
    deployed.mesh.retry_step(run_id, actor="lee")
    assert waiting(deployed, run_id) == [("ask", "finance", True, [])]
    run = deployed.look(run_id)
    assert run.needs is not None
    assert run.needs.kind == "decision"
    assert run.needs.due_at is not None
    deployed.mesh.decide_run(run_id, "yes", actor="lee")
    deployed.later(0)
    assert deployed.status(run_id) == "completed"


@pytest.mark.rule("waits-kinds")
def test_a_pause_has_people_and_a_due_time_too(open_shop: OpenShop) -> None:
    class Parcel(Workflow):
        start = Manual(Told)
        hold = Pause("Take it out", assignee="{who}", groups=("{team}",), within="by")
        ship = Step(lambda: None)
        late = Step(lambda: None)
        flow = [hold >> ship, hold.on_timeout >> late >> End("late")]

    shop = open_shop(Parcel)
    ids = [shop.run(Parcel), shop.run(Parcel)]
    assert waiting(shop, ids[0]) == [("hold", "mia", False, ["finance"])]
    shop.mesh.unblock_run(ids[0])
    shop.later(HOUR)
    assert [outcome(shop, id) for id in ids] == [("completed", None), ("completed", "late")]
