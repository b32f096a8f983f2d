"""One action on many runs."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import ConflictError, Scope
from flask_squidmesh.runtime import bulk_jobs
from flask_squidmesh.runtime.bulk_jobs import BulkRunner
from flask_squidmesh.runtime.run_commands import CommandHandler
from tests.web.shop import Checkout, Import, Labels, Shipping, make_app, mesh_of, start
from tests.web.visiting import Visitor, forms_of, pulse_of, text_of


@pytest.fixture
def waiting(visitor: Visitor) -> list[str]:
    return [start(visitor.app, Checkout, order) for order in ("1", "2", "3")]


def items_of(run_ids: list[str]) -> list[bulk_jobs.BulkItem]:
    return [bulk_jobs.BulkItem(run_id=run_id, token="review#1") for run_id in run_ids]


def preview(visitor: Visitor, query: str) -> dict[str, Any]:
    """The form of the page, with every chosen run."""
    page = visitor.get(f"/bulk?{query}")
    assert page.status_code == 200
    [given] = [found for action, found in forms_of(page.text).items() if "/bulk" in action]
    fields: dict[str, Any] = dict(given)
    fields["run"] = [item.partition("~")[0] for item in fields["items"].split()]
    return fields


def send(visitor: Visitor, action: str, fields: dict[str, Any], **more: str) -> Any:
    return visitor.client.post(f"/squidmesh/bulk?action={action}", data={**fields, **more})


def job_of(visitor: Visitor, answer: Any) -> bulk_jobs.BulkJobState:
    assert answer.status_code == 303, text_of(answer.text)
    with visitor.app.app_context(), visitor.app.extensions["squidmesh"].database.read() as connection:
        job = bulk_jobs.look(connection, Scope.all(), answer.location.rpartition("/")[2])
    assert job is not None
    return job


def test_it_tells_what_each_action_would_take(visitor: Visitor, waiting: list[str]) -> None:
    page = visitor.read("/bulk?workflow=checkout")
    assert "What should be done with 3 runs?" in page
    assert "Approve… takes 3 of them" in page
    assert "Replay" not in page


@pytest.mark.rule("bulk-exactly")
def test_what_it_cannot_take_is_left_out_with_the_reason(visitor: Visitor, waiting: list[str]) -> None:
    failed = start(visitor.app, Labels, "4")
    page = visitor.read("/bulk?action=approve&" + "&".join(f"run={each}" for each in (*waiting, failed)))
    assert "Approve for 3 runs" in page
    assert "Label 4 : not possible: the run has ended" in page.partition("Left out")[2]


@pytest.mark.rule("bulk-run-by-run")
def test_it_is_done_with_each_and_kept_on_record(visitor: Visitor, waiting: list[str]) -> None:
    fields = preview(visitor, "action=approve&workflow=checkout")
    job = job_of(visitor, send(visitor, "approve", fields, comment="all known"))
    assert (job.status, job.succeeded, job.failed) == ("completed", 3, 0)
    assert "dana approved review all known" in visitor.read(f"/runs/{waiting[0]}")
    assert "Finished. Done with 3 runs." in visitor.read(f"/bulk/{job.id}")
    assert "dana began an action on many runs: approve" in visitor.read("/audit")


def test_runs_that_moved_on_meanwhile_are_left_as_they_are(visitor: Visitor, waiting: list[str]) -> None:
    fields = preview(visitor, "action=approve&workflow=checkout")
    with visitor.app.app_context():
        mesh_of(visitor.app).reject_run(waiting[1], actor="lee", comment="fraud")
    job = job_of(visitor, send(visitor, "approve", fields))
    assert {item.run_id: item.done for item in job.items} == {waiting[0]: True, waiting[2]: True}
    assert "1 run was left as it is: it has changed." in visitor.read(f"/bulk/{job.id}")
    assert [event.type for event in visitor.events(waiting[1])] == ["paused", "rejected"]


@pytest.mark.rule("bulk-exactly")
def test_only_the_runs_on_the_page_are_taken(visitor: Visitor, waiting: list[str]) -> None:
    fields = preview(visitor, "action=approve&workflow=checkout")
    late = start(visitor.app, Checkout, "late")
    job_of(visitor, send(visitor, "approve", {**fields, "run": [*fields["run"], late]}))
    assert visitor.status(late) == "paused"


@pytest.mark.rule("bulk-run-by-run")
def test_a_run_that_changes_in_the_middle_is_told_of(visitor: Visitor, waiting: list[str], monkeypatch) -> None:
    runtime = visitor.app.extensions["squidmesh"]
    with visitor.app.app_context():
        items = items_of(waiting)
        job_id = runtime.bulk.begin("approve", items, scope=Scope.all(), actor="dana")
        mesh_of(visitor.app).approve_run(waiting[2], actor="lee")
        runtime.bulk.go_on_with_all(60)
    page = visitor.read(f"/bulk/{job_id}")
    assert "Done with 2 runs. Not possible with 1 run." in page
    assert "the run has moved on since the page was shown" in page


@pytest.mark.rule("bulk-cut-off")
def test_what_was_cut_off_goes_on_and_does_nothing_twice(visitor: Visitor, waiting: list[str], monkeypatch) -> None:
    runtime = visitor.app.extensions["squidmesh"]
    tried: list[str] = []
    record = BulkRunner._record

    def dying(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(BulkRunner, "_record", dying)
    with visitor.app.app_context():
        job_id = runtime.bulk.begin("approve", items_of(waiting), scope=Scope.all(), actor="dana")
        with pytest.raises(KeyboardInterrupt):
            runtime.bulk.go_on(job_id, 60)
        monkeypatch.setattr(BulkRunner, "_record", record)
        runtime.bulk.go_on(job_id, 60)
        tried += [event.type for event in visitor.events(waiting[0])]
        runtime.clock.source.advance(31)
        runtime.bulk.go_on(job_id, 60)
    assert tried == ["paused", "approved"]
    assert [event.type for event in visitor.events(waiting[0])].count("approved") == 1
    assert "Finished. Done with 3 runs." in visitor.read(f"/bulk/{job_id}")


@pytest.mark.rule("bulk-run-by-run")
def test_the_upkeep_of_a_worker_does_what_was_asked_for(visitor: Visitor, waiting: list[str]) -> None:
    runtime = visitor.app.extensions["squidmesh"]
    with visitor.app.app_context():
        job_id = runtime.bulk.begin("approve", items_of(waiting), scope=Scope.all(), actor="dana")
    runtime.upkeep(threads=1).once()
    assert "Finished. Done with 3 runs." in visitor.read(f"/bulk/{job_id}")


@pytest.mark.rule("bulk-one-process")
def test_one_process_at_a_time_works_at_a_job(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_jobs, "BATCH", 1)
    mine, other = make_app(migrated_url), make_app(migrated_url)
    taken: dict[str, list[str]] = {"mine": [], "other": []}
    runtime, beside = mine.extensions["squidmesh"], other.extensions["squidmesh"]

    def take_beside(_: bulk_jobs.BulkJobState, item: bulk_jobs.BulkItem) -> None:
        taken["other"].append(item.run_id)

    def take(job: bulk_jobs.BulkJobState, item: bulk_jobs.BulkItem) -> None:
        taken["mine"].append(item.run_id)
        for app_runtime in (runtime, beside):
            app_runtime.clock.source.advance(20)
        with other.app_context():
            beside.bulk.go_on(job.id, 60, take_beside)

    run_ids = [start(mine, Checkout, order) for order in ("1", "2", "3")]
    with mine.app_context():
        job_id = runtime.bulk.begin("approve", items_of(run_ids), scope=Scope.all(), actor="dana")
        runtime.bulk.go_on(job_id, 60, take)
    assert taken == {"mine": run_ids, "other": []}


@pytest.mark.rule("bulk-cut-off")
def test_the_rest_may_be_left_undone(visitor: Visitor, waiting: list[str]) -> None:
    runtime = visitor.app.extensions["squidmesh"]
    with visitor.app.app_context():
        job_id = runtime.bulk.begin("approve", items_of(waiting), scope=Scope.all(), actor="dana")
    page = visitor.get(f"/bulk/{job_id}").text
    fields = forms_of(page)[f"/squidmesh/bulk/{job_id}/stop"]
    visitor.client.post(f"/squidmesh/bulk/{job_id}/stop", data=fields)
    with visitor.app.app_context():
        runtime.bulk.go_on_with_all(60)
    assert "Stopped; 3 were left as they are." in visitor.read(f"/bulk/{job_id}")
    assert visitor.status(waiting[0]) == "paused"


@pytest.mark.rule("bulk-cut-off")
def test_what_was_stopped_stays_so_though_the_batch_at_work_is_done(visitor: Visitor, waiting: list[str]) -> None:
    runtime = visitor.app.extensions["squidmesh"]

    def stop(job: bulk_jobs.BulkJobState, item: bulk_jobs.BulkItem) -> None:
        if item.run_id == waiting[0]:
            runtime.bulk.cancel(job.id, actor="kim")

    with visitor.app.app_context():
        job_id = runtime.bulk.begin("approve", items_of(waiting), scope=Scope.all(), actor="dana")
        runtime.bulk.go_on(job_id, 60, stop)
    assert "Stopped; 0 were left as they are." in visitor.read(f"/bulk/{job_id}")


def test_the_page_of_a_job_is_live_until_it_ends(visitor: Visitor, waiting: list[str]) -> None:
    runtime = visitor.app.extensions["squidmesh"]
    with visitor.app.app_context():
        job_id = runtime.bulk.begin("approve", items_of(waiting), scope=Scope.all(), actor="dana")
    pulse = pulse_of(visitor.get(f"/bulk/{job_id}").text)
    assert visitor.get(pulse).status_code == 204
    with visitor.app.app_context():
        runtime.bulk.go_on(job_id, 60)
    assert visitor.get(pulse).status_code == 286


@pytest.mark.rule("bulk-exactly")
def test_a_limit_holds(make: Any) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_BULK_LIMIT=2)
    for order in ("1", "2", "3"):
        start(visitor.app, Checkout, order)
    assert "There are more; this is as many as one action may take" in visitor.read("/bulk?workflow=checkout")
    assert len(preview(visitor, "action=approve&workflow=checkout")["run"]) == 2


def test_nothing_chosen_is_nothing_done(visitor: Visitor) -> None:
    assert "No run is chosen." in visitor.read("/bulk")
    assert "No run is chosen." in visitor.read("/bulk?workflow=nothing")
    assert visitor.get("/bulk/nonsense").status_code == 404


def test_a_required_comment_is_asked_for(visitor: Visitor, waiting: list[str]) -> None:
    fields = preview(visitor, "action=reject&workflow=checkout")
    assert send(visitor, "reject", fields, comment=" ").status_code == 422
    assert visitor.status(waiting[0]) == "paused"


@pytest.mark.parametrize("missing", ["bulk", "approve"])
def test_it_takes_the_right_and_that_of_each_run(make: Any, missing: str) -> None:
    allowed = make()
    run_id = start(allowed.app, Checkout, "1")
    fields = preview(allowed, f"action=approve&run={run_id}")
    visitor = make({"authorize": lambda action, run, permission: action != missing, "actor": lambda: "kim"})
    fields |= {"csrf_token": "", **{k: v for k, v in visitor.form(f"/runs/{run_id}/cancel").items() if "csrf" in k}}
    answer = send(visitor, "approve", fields)
    assert answer.status_code in (303, 403)
    assert visitor.status(run_id) == "paused"


@pytest.mark.parametrize(("action", "event", "runs"), [("replay", "replayed", 2), ("acknowledge", "acknowledged", 1)])
def test_a_form_sent_twice_makes_one_job(visitor: Visitor, action: str, event: str, runs: int) -> None:
    run_id = start(visitor.app, Labels, "1")
    fields = preview(visitor, f"action={action}&run={run_id}")
    jobs = {job_of(visitor, send(visitor, action, fields)).id for _ in range(2)}
    assert len(jobs) == 1
    assert [each.type for each in visitor.events(run_id)].count(event) == 1
    with visitor.app.app_context():
        assert len(mesh_of(visitor.app).list_runs(workflow="labels").runs) == runs


def test_a_form_cannot_name_a_decision_that_is_not_open(visitor: Visitor) -> None:
    run_id = start(visitor.app, Shipping, "1")
    fields = preview(visitor, f"action=cancel&run={run_id}")
    answer = send(visitor, "approve", {**fields, "items": f"{run_id}~review#1", "run": [run_id]})
    assert "None of these runs takes it any more" in visitor.read("/runs")
    assert answer.location == "/squidmesh/runs"


def test_a_job_keeps_to_the_step_that_its_page_showed(make: Any) -> None:
    visitor = make({"authorize": lambda action, run, permission: permission != "quality", "actor": lambda: "kim"})
    run_id = start(visitor.app, Import, "1")
    assert "several decisions are open" in visitor.read(f"/bulk?action=approve&run={run_id}")
    with visitor.app.app_context():
        mesh_of(visitor.app).approve_run(run_id, step="customs", actor="dana")
    fields = visitor.form(f"/runs/{run_id}/cancel")
    send(visitor, "approve", {**fields, "items": f"{run_id}~quality#1", "run": [run_id]})
    assert visitor.status(run_id) == "paused"


def test_a_job_that_breaks_keeps_no_other_waiting(visitor: Visitor, waiting: list[str], monkeypatch: Any) -> None:
    runtime = visitor.app.extensions["squidmesh"]

    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("card 4711")

    monkeypatch.setattr(CommandHandler, "cancel", broken)
    with visitor.app.app_context():
        first = runtime.bulk.begin(
            "cancel",
            [bulk_jobs.BulkItem(run_id=waiting[0], token="review#1")],
            scope=Scope.all(),
            actor="dana",
        )
        runtime.bulk.begin(
            "approve",
            [bulk_jobs.BulkItem(run_id=waiting[1], token="review#1")],
            scope=Scope.all(),
            actor="dana",
        )
        runtime.bulk.go_on_with_all(60)
    assert [event.type for event in visitor.events(waiting[1])] == ["paused", "approved"]
    page = visitor.read(f"/bulk/{first}")
    assert "It could not be done (KeyError)." in page
    assert "4711" not in page


def test_a_job_is_the_persons_who_asked_for_it(visitor: Visitor, waiting: list[str]) -> None:
    runtime = visitor.app.extensions["squidmesh"]
    items = [bulk_jobs.BulkItem(run_id=waiting[0], token="review#1")]
    with visitor.app.app_context():
        job_id = runtime.bulk.begin("approve", items, scope=Scope.all(), actor="dana")
        assert runtime.bulk.begin("approve", items, scope=Scope.all(), actor={"id": "dana"}, job_id=job_id) == job_id
        with pytest.raises(ConflictError):
            runtime.bulk.begin("approve", items, scope=Scope.all(), actor="lee", job_id=job_id)


class Changing:
    """Hooks whose answers a test changes; the one for rights takes who acts."""

    def __init__(self) -> None:
        self.person: str | None = "dana"
        self.refused: set[tuple[str, str | None]] = set()
        self.asked: list[dict[str, Any]] = []

    def may(self, action: str, run: Any, actor: Any, **more: Any) -> bool:
        self.asked.append({"action": action, "run": run and run.id, "actor": actor, **more})
        return not {(action, run and run.id), (action, None), (action, actor)} & self.refused

    def who(self) -> str | None:
        return self.person


@pytest.fixture
def hooks() -> Changing:
    return Changing()


@pytest.fixture
def others(make: Any, hooks: Changing) -> Visitor:
    visitor: Visitor = make({"authorize": hooks.may, "actor": hooks.who})
    return visitor


@pytest.mark.rule("bulk-rights")
def test_a_run_that_the_person_may_not_view_is_neither_shown_nor_taken(others: Visitor, hooks: Changing) -> None:
    mine, hidden = (start(others.app, Checkout, order) for order in ("mine", "hidden"))
    fields = preview(others, f"action=approve&run={mine}&run={hidden}")
    assert len(fields["run"]) == 2
    hooks.refused = {("view", hidden)}
    assert "hidden" not in others.read(f"/bulk?action=approve&run={mine}&run={hidden}")
    assert "No run is chosen." in others.read(f"/bulk?action=approve&run={hidden}")
    job = job_of(others, send(others, "approve", fields))
    assert [(item.run_id, item.done) for item in job.items] == [(mine, True)]
    assert others.status(hidden) == "paused"


def begun(visitor: Visitor, monkeypatch: pytest.MonkeyPatch, query: str) -> bulk_jobs.BulkJobState:
    """A job of which nothing has been done within the request that began it."""
    fields = preview(visitor, query)
    with monkeypatch.context() as patch:
        patch.setattr("flask_squidmesh.dashboard.views.bulk.SLICE_SECONDS", 0.0)
        return job_of(visitor, send(visitor, "approve", fields))


def work_on(visitor: Visitor) -> None:
    with visitor.app.app_context():
        visitor.app.extensions["squidmesh"].bulk.go_on_with_all(60)


@pytest.mark.rule("bulk-rights", "rights-permission")
@pytest.mark.parametrize("withdrawn", ["view", "approve"])
def test_each_run_is_asked_for_again_when_its_turn_comes(
    others: Visitor, hooks: Changing, monkeypatch: pytest.MonkeyPatch, withdrawn: str
) -> None:
    first, second = (start(others.app, Checkout, order) for order in ("1", "2"))
    job = begun(others, monkeypatch, f"action=approve&run={first}&run={second}")
    hooks.refused, hooks.person = {(withdrawn, second)}, None
    hooks.asked.clear()
    work_on(others)
    assert (others.status(first), others.status(second)) != ("paused", "completed")
    assert others.status(second) == "paused"
    expected = {"action": "approve", "run": second, "actor": "dana", "step": "review", "option": "approve"}
    told = {"permission": "payments.review", "workflow": "checkout", "tenant": ""}
    assert ({**expected, **told} in hooks.asked) == (withdrawn == "approve")
    hooks.person = "dana"
    assert "Done with 1 run. Not possible with 1 run." in others.read(f"/bulk/{job.id}")


@pytest.mark.rule("bulk-rights")
@pytest.mark.parametrize("person", ["dana", "kim"])
def test_a_job_lists_no_run_that_the_reader_may_not_view(others: Visitor, hooks: Changing, person: str) -> None:
    first, second, third = (start(others.app, Labels) for _ in range(3))
    query = "&".join(["action=replay", *(f"run={run_id}" for run_id in (first, second, third))])
    job = job_of(others, send(others, "replay", preview(others, query)))
    became = {item.run_id: item.became for item in job.items}
    hooks.person = person
    hooks.refused = {("view", second), ("view", became[third])}
    page = others.get(f"/bulk/{job.id}").text
    told = {id for id in (*became, *became.values()) if id and id in page}
    assert told == {first, became[first], third}
    assert "1 run that you may not view is not listed." in page


def test_the_owner_who_goes_on_is_asked_as_at_every_page(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rights: dict[str, bool] = {"approve": True}
    may = {"authorize": lambda action, run, permission: rights.get(action, True), "actor": lambda: "dana"}
    visitor = make(may)
    run_id = start(visitor.app, Checkout, "1")
    job = begun(visitor, monkeypatch, f"action=approve&run={run_id}")
    fields = forms_of(visitor.get(f"/bulk/{job.id}").text)[f"/squidmesh/bulk/{job.id}/continue"]
    rights["approve"] = False
    visitor.client.post(f"/squidmesh/bulk/{job.id}/continue", data=fields)
    assert visitor.status(run_id) == "paused"
    assert "Not possible with 1 run." in visitor.read(f"/bulk/{job.id}")


@pytest.mark.rule("bulk-rights")
def test_a_hook_without_the_actor_is_not_asked_while_nobody_is_there(
    visitor: Visitor, waiting: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begun(visitor, monkeypatch, f"action=approve&run={waiting[0]}")
    work_on(visitor)
    assert visitor.status(waiting[0]) == "paused"
    assert "its authorize takes no actor" in visitor.read(f"/bulk/{job.id}")


def test_check_tells_of_a_hook_that_cannot_be_asked_while_nobody_is_there(visitor: Visitor, others: Visitor) -> None:
    said = [each.app.test_cli_runner().invoke(args=["squidmesh", "check"]).output for each in (visitor, others)]
    assert "note   rights: The hook mesh.authorize (tests.web.shop.allow_everything)" in said[0]
    assert "rights" not in said[1]


def test_read_only_holds_for_what_is_left_of_a_job(
    others: Visitor, hooks: Changing, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start(others.app, Checkout, "1")
    begun(others, monkeypatch, f"action=approve&run={run_id}")
    work_on(make({"authorize": hooks.may, "actor": hooks.who}, SQUIDMESH_DASHBOARD_READ_ONLY=True))
    assert others.status(run_id) == "paused"


@pytest.mark.rule("bulk-rights")
def test_a_job_is_there_for_its_owner_and_for_whoever_may_see_all(
    others: Visitor, hooks: Changing, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start(others.app, Checkout, "1")
    job = begun(others, monkeypatch, f"action=approve&run={run_id}")
    forms = forms_of(others.get(f"/bulk/{job.id}").text)
    stop, go_on = (forms[f"/squidmesh/bulk/{job.id}/{verb}"] for verb in ("stop", "continue"))
    assert others.get(f"/bulk/{job.id.upper()}").location == f"/squidmesh/bulk/{job.id}"
    hooks.refused = {("bulk_any", None)}
    for person in ("kim", None):
        hooks.person = person
        assert others.get(f"/bulk/{job.id}").status_code == 404
        assert others.get(f"/pulse?view=bulk&job_id={job.id}").status_code == 404
        answers = [others.client.post(f"/squidmesh/bulk/{job.id}/{each}", data=stop) for each in ("stop", "continue")]
        assert {answer.status_code for answer in answers} <= {403, 404}
    hooks.person, hooks.refused = "kim", {("approve", "dana")}
    assert others.get(f"/bulk/{job.id}").status_code == 200
    assert others.client.post(f"/squidmesh/bulk/{job.id}/continue", data=go_on).status_code == 303
    assert others.status(run_id) == "paused"  # what kim goes on with is done in dana's name, who may not any more


@pytest.mark.rule("call-key-bound")
@pytest.mark.parametrize(("name", "value"), [("comment", "else"), ("person", "kim"), ("items", "others")])
def test_a_forms_key_is_that_of_one_person_and_one_request(
    others: Visitor, hooks: Changing, name: str, value: str
) -> None:
    run_id, other = start(others.app, Labels, "1"), start(others.app, Labels, "2")
    fields = preview(others, f"action=acknowledge&run={run_id}")
    job_of(others, send(others, "acknowledge", fields, comment="seen"))
    if name == "person":
        hooks.person = value
    second = {**preview(others, f"action=acknowledge&run={other}"), "key": fields["key"], "comment": "seen"}
    send(others, "acknowledge", second, **({name: value} if name == "comment" else {}))
    assert "Somebody was faster; nothing was done." in others.read("/runs")
    assert [event.type for event in others.events(other)] == []


@pytest.mark.rule("scope-starting")
@pytest.mark.parametrize(
    ("scope", "said"),
    [
        (Scope(tenants=[]), "Run ids are UUIDs as start_run returned them."),
        (Scope(workflows=["billing"]), "Run ids are UUIDs as start_run returned them."),
        (None, "The app could not say which runs you may know of."),
        (Scope.all(), None),
    ],
)
def test_who_has_lost_the_scope_meanwhile_reaches_no_run_by_a_worker(
    make: Any, hooks: Changing, monkeypatch: pytest.MonkeyPatch, scope: Scope | None, said: str | None
) -> None:
    scopes: dict[Any, Scope | None] = {"dana": Scope.all()}
    by_actor = {"scope": lambda actor: scopes[actor], "authorize": hooks.may, "actor": hooks.who}
    visitor = make(by_actor)
    run_id = start(visitor.app, Checkout, "1")
    job = begun(visitor, monkeypatch, f"action=approve&run={run_id}")
    scopes["dana"], hooks.person = scope, None
    work_on(visitor)
    assert (visitor.status(run_id) == "paused") == (said is not None)
    scopes["dana"], hooks.person = Scope.all(), "dana"
    assert (said or "Done with 1 run.") in visitor.read(f"/bulk/{job.id}")


def test_a_form_that_counts_no_more_leads_to_the_page_of_the_job(visitor: Visitor, waiting: list[str]) -> None:
    fields = preview(visitor, "action=approve&workflow=checkout")
    job = job_of(visitor, send(visitor, "approve", fields, comment="all known"))
    answer = visitor.send(f"/bulk/{job.id}/stop", {"comment": "no token"})
    assert answer.status_code == 400
    assert f'href="/squidmesh/bulk/{job.id}">Open the page again' in answer.text


def test_past_actions_are_listed_for_those_who_may_see_them(make: Any) -> None:
    who = {"actor": "dana", "any": False}
    visitor = make(
        {
            "authorize": lambda action, run, permission: action != "bulk_any" or who["any"],
            "actor": lambda: who["actor"],
        }
    )
    run_id = start(visitor.app, Labels, "7")
    preview = visitor.get(f"/bulk?run={run_id}&action=acknowledge")
    fields = forms_of(preview.text)["/squidmesh/bulk?action=acknowledge"]
    job = visitor.client.post("/squidmesh/bulk?action=acknowledge", data={**fields, "comment": "seen to"})
    page = visitor.get("/jobs").text
    assert "Finished Acknowledge: many runs dana seen to" in text_of(page)
    assert f'href="{job.location}"' in page
    who["actor"] = "lee"
    assert "Nothing has been done with many runs at once." in visitor.read("/jobs")
    who["any"] = True
    assert "seen to" in visitor.read("/jobs")


def test_past_actions_are_listed_page_by_page(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_squidmesh.dashboard.views.bulk.LISTED", 2)
    runtime = visitor.app.extensions["squidmesh"]
    with visitor.app.app_context():
        for number in range(3):
            run_id = start(visitor.app, Labels, str(number))
            items = [bulk_jobs.BulkItem(run_id=run_id, token="?")]
            runtime.bulk.begin("acknowledge", items, scope=Scope.all(), actor="dana", comment=f"c{number}")
            runtime.clock.source.advance(timedelta(seconds=1))
    first = visitor.get("/jobs").text
    older = re.search(r'href="/squidmesh(/jobs[^"]+)" rel="next"', first)
    assert older
    second = visitor.read(older[1])
    assert [comment for comment in ("c2", "c1", "c0") if comment in text_of(first)] == ["c2", "c1"]
    assert ("c0" in second, "c1" in second) == (True, False)
    assert "c2" in visitor.read("/jobs?before=nonsense")


@pytest.mark.parametrize(
    ("scope", "seen"),
    [(Scope(workflows=["labels"]), True), (Scope(workflows=["checkout"]), False), (Scope(tenants=["acme"]), False)],
)
def test_past_actions_on_runs_outside_the_scope_are_not_listed(make: Any, scope: Scope, seen: bool) -> None:
    visitor = make({"scope": lambda: scope, "authorize": lambda *_: True, "actor": lambda: "dana"})
    run_id = start(visitor.app, Labels, "7")
    with visitor.app.app_context():
        items = [bulk_jobs.BulkItem(run_id=run_id, token="?")]
        bulk = visitor.app.extensions["squidmesh"].bulk
        bulk.begin("acknowledge", items, scope=Scope.all(), actor="dana", comment="seen to")
    assert ("seen to" in visitor.read("/jobs")) is seen
