"""Whatever a host's hooks answer or raise, pages are made, the host's developer is told, and nothing is opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import abort
from sqlalchemy.exc import OperationalError

from flask_squidmesh import Cron, Deny, Person, Scope, SquidMesh, Wait, Workflow
from tests.web.shop import Checkout, Import, allow_everything, mesh_of, start
from tests.web.visiting import Visitor, forms_of, text_of


class Nightly(Workflow):
    nightly = Cron("0 3 * * *")
    rest = Wait(1)


def token(visitor: Visitor) -> dict[str, str]:
    return forms_of(visitor.get("/help").text)["/squidmesh/prefs"]


class Late:
    """A translation that is made when it is shown, as Flask-Babel has them."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    __html__ = __str__


def raising(error: Exception) -> Any:
    def hook(*_: object) -> Any:
        raise error

    return hook


@pytest.mark.rule("rights-hooks")
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/workflows/checkout/start", {"action": "start", "workflow": "checkout"}),
        ("/schedules/nightly/nightly/run", {"action": "schedule_run", "workflow": "nightly"}),
        ("/schedules/nightly/nightly/pause", {"action": "schedule_pause", "workflow": "nightly"}),
        (
            "/runs/{run}/approve?step=customs",
            {
                "action": "approve",
                "workflow": "import",
                "step": "customs",
                "option": "approve",
                "permission": "customs",
            },
        ),
        ("/runs/{run}/reject?step=quality", {"action": "reject", "step": "quality", "option": "reject"}),
        ("/runs/{run}/cancel", {"action": "cancel", "workflow": "import", "step": None, "option": None}),
    ],
)
def test_authorize_is_told_what_it_is_about(make: Any, path: str, expected: dict[str, Any]) -> None:
    asked: list[dict[str, Any]] = []

    def may(**told: Any) -> bool:
        asked.append(told)
        return True

    visitor: Visitor = make({"authorize": may, "actor": lambda: "dana"})
    mesh_of(visitor.app).register(Nightly)
    run_id = start(visitor.app, Import)
    assert visitor.get(path.format(run=run_id)).status_code == 200
    assert any({**told, **expected, "actor": "dana"} == told for told in asked)
    asked.clear()
    visitor.get("/workflows" if "workflows" in path else "/schedules" if "schedules" in path else f"/runs/{run_id}")
    assert any({**told, **expected} == told for told in asked)


@pytest.mark.rule("rights-hooks")
@pytest.mark.parametrize(
    ("more", "tenant"),
    [
        ({"tenant": lambda: "acme"}, "acme"),
        ({"tenant": lambda: None}, ""),
        ({"scope": lambda: Scope(tenants=["globex"])}, "globex"),
        ({"scope": lambda: Scope(tenants=["acme", "globex"]), "tenant": lambda: "acme"}, "acme"),
        ({}, ""),
    ],
)
def test_a_start_is_asked_about_with_the_tenant_that_it_would_have(
    make: Any, more: dict[str, Any], tenant: str
) -> None:
    asked: list[tuple[str, str]] = []

    def may(action: str, workflow: str | None, tenant: str) -> bool:
        if action == "start":
            asked.append((workflow or "", tenant))
        return True

    visitor: Visitor = make({"authorize": may, "actor": lambda: "dana", **more})
    path = "/workflows/checkout/start"
    for page in (path, "/workflows", "/workflows/checkout"):
        visitor.read(page)
    answer = visitor.send(path, {**visitor.form(path), "payload.order_id": "7"})
    assert ("checkout", tenant) in asked
    assert {told for _, told in asked} == {tenant}
    with visitor.app.app_context():
        assert mesh_of(visitor.app).inspect_run(answer.location.rpartition("/")[2]).tenant == tenant
    visitor.read(answer.location.removeprefix("/squidmesh"))
    assert {told for _, told in asked} == {tenant}


@pytest.mark.rule("rights-hooks")
def test_a_schedule_is_asked_about_under_its_workflows_name_and_with_its_own_tenant(make: Any) -> None:
    class Payroll(Workflow):
        aliases = ("wages",)
        monthly = Cron("0 3 1 * *")
        rest = Wait(1)

    refused: list[tuple[str | None, str]] = []

    def may(action: str, workflow: str | None, tenant: str) -> bool:
        if action.startswith("schedule"):
            refused.append((workflow, tenant))
        return workflow != "payroll"

    visitor: Visitor = make({"authorize": may, "actor": lambda: "dana", "tenant": lambda: "acme"})
    mesh_of(visitor.app).register(Payroll)
    for name in ("payroll", "wages"):
        assert visitor.send(f"/schedules/{name}/monthly/run", token(visitor)).status_code == 403
    assert refused == [("payroll", "")] * 2
    with visitor.app.app_context():
        assert mesh_of(visitor.app).list_runs().runs == ()


@pytest.mark.rule("rights-senseless")
@pytest.mark.parametrize("hook", [raising(ValueError("4711")), lambda: 12, lambda: "\0"])
def test_a_tenant_that_is_none_starts_nothing_and_breaks_no_page(make: Any, caplog: Any, hook: Any) -> None:
    visitor: Visitor = make({"authorize": lambda **told: True, "actor": lambda: "dana", "tenant": hook})
    run_id = start(visitor.app, Checkout)
    for page in ("/", "/workflows", "/workflows/checkout", f"/runs/{run_id}"):
        assert "/checkout/start" not in visitor.get(page).text
        assert visitor.get(page).status_code == 200, page
    answer = visitor.send("/workflows/checkout/start", {**token(visitor), "payload.order_id": "7"})
    assert (answer.status_code, "The app could not say whose the run would be." in answer.text) == (403, True)
    assert "4711" not in answer.text
    assert "The hook mesh.tenant" in caplog.text


def test_where_the_scope_sends_somebody_to_log_in_every_address_answers(make: Any) -> None:
    visitor: Visitor = make({"authorize": allow_everything, "scope": lambda: abort(401)})
    visitor.app.config["PROPAGATE_EXCEPTIONS"] = False
    answers = {path: visitor.get(path).status_code for path in ("/", "/runs", "/help", "/nowhere", "/pulse?view=none")}
    assert answers == {"/": 401, "/runs": 401, "/help": 200, "/nowhere": 404, "/pulse?view=none": 404}
    assert visitor.send("/bulk", {"action": "cancel"}).status_code == 400


@pytest.mark.rule("rights-senseless")
def test_an_answer_of_authorize_that_is_none_opens_nothing(make: Any, caplog: Any) -> None:
    answers: list[Any] = [None, 1, "yes", object(), [True], Deny, {}, "", 0, Ellipsis]
    visitor = make({"authorize": lambda *asked: answers[0], "actor": lambda: "dana"})
    while answers:
        caplog.clear()
        assert visitor.get("/runs").status_code == 403
        [record] = [each for each in caplog.records if "The hook mesh.authorize" in each.message]
        assert 'it has to answer True, False or Deny("why not")' in record.message
        answers.pop(0)


def test_a_refusal_without_words_has_those_of_the_dashboard(make: Any) -> None:
    reasons: list[Any] = [None, 7, "", "  ", object(), ["no"]]
    visitor = make({"authorize": lambda *asked: Deny(reasons[0])})
    while reasons:
        page = visitor.get("/runs")
        assert page.status_code == 403
        assert "You do not have the right" in text_of(page.text)
        reasons.pop(0)


@pytest.mark.parametrize("reason", ["Not now\0", "Not now \ud800", Late("Not now")])
def test_any_words_of_a_refusal_can_be_shown_and_kept(make: Any, reason: Any) -> None:
    rights: dict[str, Any] = {"authorize": allow_everything}
    visitor = make({"authorize": lambda *asked: rights["authorize"](*asked), "actor": lambda: "dana"})
    run_id, fields = start(visitor.app, Checkout), token(visitor)
    rights["authorize"] = lambda action, run, permission: action == "view" or Deny(reason)
    refused = visitor.send(f"/runs/{run_id}/cancel", fields, comment="because")
    assert refused.status_code == 403
    assert "Not now" in text_of(refused.text)
    assert visitor.events(run_id)[-1].type == "refused"


@pytest.mark.rule("rights-senseless")
def test_an_authorize_that_raises_opens_nothing_and_is_told_of_once_a_page(make: Any, caplog: Any) -> None:
    visitor = make({"authorize": raising(KeyError("role"))})
    page = visitor.get("/runs")
    assert page.status_code == 403
    assert "The app could not say whether you may do this." in text_of(page.text)
    [record] = [each for each in caplog.records if "raised KeyError" in each.message]
    assert record.exc_info


def test_under_debug_the_page_itself_says_what_the_hook_did(make: Any) -> None:
    visitor = make({"authorize": lambda action: None})
    visitor.app.debug = True
    assert "answered None; it has to answer True" in text_of(visitor.get("/runs").text)


def test_an_answer_of_the_hosts_own_stands(make: Any) -> None:
    assert make({"authorize": lambda *asked: abort(401)}).get("/runs").status_code == 401
    away = raising(OperationalError("select", {}, Exception("away")))
    assert make({"authorize": away}).get("/runs").status_code == 503


def test_such_an_answer_about_a_link_leaves_out_the_link_alone(make: Any) -> None:
    visitor = make({"authorize": lambda action, run, permission: action in ("list", "view") or abort(401)})
    run_id = start(visitor.app, Checkout)
    for path in ("/", "/runs", f"/runs/{run_id}"):
        assert visitor.get(path).status_code == 200
        assert "/squidmesh/audit" not in visitor.get(path).text


@pytest.mark.rule("rights-senseless")
def test_somebody_whom_the_host_does_not_name_well_cannot_act(make: Any, caplog: Any) -> None:
    answers: list[Any] = [None, 7, True, "", " ", {}, {"id": 7, "x": object()}, {"id": ""}, {"id": [1]}, Person("", "")]
    visitor = make({"authorize": allow_everything, "actor": lambda: answers[0]})
    run_id, fields = start(visitor.app, Checkout), token(visitor)
    while answers:
        caplog.clear()
        assert visitor.get(f"/runs/{run_id}").status_code == 200
        for path in (f"/runs/{run_id}/approve", f"/runs/{run_id}/reveal/payload", "/workflows/checkout/start"):
            assert visitor.get(path).status_code == 403, path
            assert visitor.send(path, fields).status_code == 403, path
        assert visitor.status(run_id) == "paused"
        told = [each.message for each in caplog.records if "The hook mesh.actor" in each.message]
        assert bool(told) == (answers.pop(0) is not None)


def test_an_actor_that_raises_names_nobody_and_is_told_of_where_somebody_acts(make: Any, caplog: Any) -> None:
    visitor = make({"authorize": allow_everything, "actor": raising(AttributeError("email"))})
    run_id = start(visitor.app, Checkout)
    assert visitor.get(f"/runs/{run_id}").status_code == 200
    assert not caplog.records
    assert visitor.get(f"/runs/{run_id}/approve").status_code == 403
    assert [each for each in caplog.records if "The hook mesh.actor" in each.message and each.exc_info]


@pytest.mark.rule("actor-one-form")
@pytest.mark.parametrize(
    ("named", "recorded"),
    [
        (Person("dana", "Dana Vos", ("finance",)), {"id": "dana", "label": "Dana Vos"}),
        (Person(" dana ", "Dana"), {"id": "dana", "label": "Dana"}),
        (" dana ", "dana"),
        ("Zoe\u0308", "Zo\u00eb"),
        ({"id": "Zoe\u0308 ", "label": "Zoe"}, {"id": "Zo\u00eb", "label": "Zoe"}),
        ({"id": 7}, {"id": 7}),
    ],
)
def test_a_person_is_recorded_in_one_form_and_hooks_are_told_that_form(make: Any, named: Any, recorded: Any) -> None:
    heard: list[Any] = []

    def may(actor: Any, action: str) -> bool:
        heard.append(actor)
        return True

    visitor = make({"authorize": may, "actor": lambda: named})
    run_id = start(visitor.app, Checkout)
    assert visitor.send(f"/runs/{run_id}/approve").status_code == 303
    assert visitor.events(run_id)[-1].actor == recorded
    assert all(actor == recorded for actor in heard)


def junk() -> Iterator[Any]:
    yield from [("Order", "/orders/7"), None, ("only",), ("a", "b", "c"), (1, 2), "text", ("", "/x"), ("x", None)]
    yield Late("late"), "/late"
    yield Late("pair"), "/pair"
    raise RuntimeError("halfway")


@pytest.mark.rule("rights-senseless")
def test_links_that_are_none_are_left_out(make: Any, caplog: Any) -> None:
    visitor = make({"authorize": allow_everything, "actor": lambda: "dana", "links": lambda run: junk()})
    page = visitor.get(f"/runs/{start(visitor.app, Checkout)}")
    assert page.status_code == 200
    assert all(f'href="{address}"' in page.text for address in ("/orders/7", "/late", "/pair"))
    assert [each for each in caplog.records if "raised RuntimeError" in each.message]


def test_an_answer_of_links_that_is_none_shows_none(make: Any) -> None:
    answers: list[Any] = [None, 7, "text", {"Order": "/orders/7"}, object(), [7], [[[], []]]]
    visitor = make({"authorize": allow_everything, "actor": lambda: "dana", "links": lambda run: answers[0]})
    run_id = start(visitor.app, Checkout)
    while answers:
        assert visitor.get(f"/runs/{run_id}").status_code == 200
        answers.pop(0)


@pytest.mark.rule("rights-senseless")
def test_a_nonce_that_is_none_stays_out_of_the_policy(make: Any, caplog: Any) -> None:
    answers: list[Any] = [None, 7, "", b"abc", "'; script-src *", "a b", "abc;", 'x" onload="', "\u00e4", "abc\n"]
    visitor = make({"authorize": allow_everything, "actor": lambda: "dana", "csp_nonce": lambda: answers[0]})
    while answers:
        caplog.clear()
        page = visitor.get("/runs")
        assert page.status_code == 200
        assert "script-src 'self'; style-src 'self';" in page.headers["Content-Security-Policy"]
        assert [each for each in caplog.records if "The hook mesh.csp_nonce" in each.message]
        answers.pop(0)


@pytest.mark.rule("rights-senseless")
def test_what_redact_does_not_answer_well_is_hidden(make: Any, caplog: Any) -> None:
    hooks: list[Any] = [lambda *_: object(), lambda *_: {1, 2}, lambda *_: b"x", raising(KeyError("x"))]
    visitor = make({"authorize": allow_everything, "actor": lambda: "dana", "redact": lambda *given: hooks[0](*given)})
    run_id = start(visitor.app, Checkout)
    while hooks:
        caplog.clear()
        assert "leave at the door" not in visitor.read(f"/runs/{run_id}")
        part = visitor.get(f"/runs/{run_id}/payload/payload")
        assert (part.status_code, part.json) == (200, "[redacted]")
        assert [each for each in caplog.records if "The hook mesh.redact" in each.message]
        hooks.pop(0)


def test_hooks_are_given_by_decorators_too() -> None:
    mesh = SquidMesh()

    @mesh.authorize
    def may(action: str) -> bool:
        return True

    assert may("list") is True
