from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import (
    ConfigurationError,
    ConflictError,
    Cron,
    FilterError,
    Manual,
    ManualActionError,
    Pause,
    RunNotFoundError,
    Scope,
    Step,
    StepContext,
    Workflow,
    signals,
)
from flask_squidmesh.queries import figures, run_list
from flask_squidmesh.queries.frame_counts import frame_counts
from flask_squidmesh.queries.open_waits import WaitReader
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]


def nothing() -> None:
    """A step without effect."""


class Parcel(Workflow):
    place = Manual(Order)
    pack = Step(nothing)


class Asking(Workflow):
    place = Manual(Order)
    hold = Pause("Go on?")


class Nightly(Workflow):
    nightly = Cron("0 2 * * *", timezone="UTC")
    count = Step(nothing)


@pytest.mark.rule("tenant")
def test_a_run_keeps_its_tenant_wherever_it_is_looked_at(open_shop: OpenShop) -> None:
    shop = open_shop(Parcel)
    run = shop.mesh.start_run(Parcel, {}, tenant="acme")
    assert run.tenant == shop.look(run.id).tenant == "acme"
    assert [each.tenant for each in shop.mesh.list_runs().runs] == ["acme"]
    assert run.to_dict()["tenant"] == "acme"
    assert shop.mesh.start_run(Parcel, {}).tenant == ""


@pytest.mark.rule("tenant")
@pytest.mark.parametrize(
    ("given", "kept"),
    [("acme", "acme"), ("  acme\n", "acme"), ("Zu\u0308rich", "Zürich"), ("", ""), ("x" * 200, "x" * 200)],
)
def test_ids_of_tenants_are_stripped_and_composed(open_shop: OpenShop, given: str, kept: str) -> None:
    shop = open_shop(Parcel)
    assert shop.mesh.start_run(Parcel, {}, tenant=given).tenant == kept


@pytest.mark.rule("tenant")
@pytest.mark.parametrize("given", [5, ["acme"], b"acme", "   ", "x" * 201, "ac\0me", "ac\nme", "ac\x7fme", "ac\ud800"])
def test_what_is_no_tenant_is_refused_and_nothing_is_written(open_shop: OpenShop, given: Any) -> None:
    shop = open_shop(Parcel)
    with pytest.raises(ManualActionError, match="tenant") as refused:
        shop.mesh.start_run(Parcel, {}, tenant=given)
    assert refused.value.field == "tenant"
    assert shop.rows(tables.runs) == []


@pytest.mark.rule("starting-key-scope")
def test_an_idempotency_key_is_a_key_of_its_tenant(open_shop: OpenShop) -> None:
    shop = open_shop(Parcel)
    ids = {
        tenant: shop.start(Parcel, {"order_id": tenant}, tenant=tenant, idempotency_key="k")
        for tenant in ("", "acme", "globex")
    }
    assert len(set(ids.values())) == 3
    for tenant, run_id in ids.items():
        assert shop.start(Parcel, {"order_id": tenant}, tenant=tenant, idempotency_key="k") == run_id
    with pytest.raises(ConflictError) as conflict:
        shop.start(Parcel, {"order_id": "globex"}, tenant="acme", idempotency_key="k")
    assert conflict.value.current == ids["acme"]


@pytest.mark.rule("starting-key-scope")
def test_a_key_of_one_tenant_is_forgotten_alone(open_shop: OpenShop) -> None:
    shop = open_shop(Parcel, key_retention=60.0)
    for tenant in ("acme", "globex"):
        shop.run(Parcel, {}, tenant=tenant, idempotency_key="k")
        shop.clock.advance(timedelta(hours=1))
    shop.mesh.prune(older_than=timedelta(minutes=90))
    shop.clock.advance(timedelta(minutes=2))
    shop.mesh.prune(older_than=timedelta(minutes=90))
    assert [row.tenant for row in shop.rows(tables.start_keys)] == ["globex"]


@pytest.mark.rule("tenant-kept")
def test_children_and_replays_are_of_their_runs_tenant(open_shop: OpenShop, script: Script) -> None:
    def begin(ctx: StepContext) -> dict[str, Any]:
        return {"child": ctx.start_child(Parcel, {}, key="k")}

    class Parent(Workflow):
        place = Manual(Order)
        begin_ = Step(begin)

    shop = open_shop(Parcel, Parent)
    run_id = shop.run(Parent, {}, tenant="acme")
    [child] = shop.look(run_id).children
    replay = shop.mesh.replay_run(run_id, actor="dana")
    assert (shop.look(child).tenant, replay.tenant) == ("acme", "acme")


@pytest.mark.rule("tenant-kept")
def test_a_cron_run_is_of_its_schedules_tenant(open_shop: OpenShop) -> None:
    shop = open_shop(Nightly)
    run_id = shop.runtime.perform({"kind": "cron", "workflow": "nightly", "trigger": "nightly"}).run_id
    assert run_id is not None
    assert shop.look(run_id).tenant == ""


@pytest.mark.rule("tenant-kept")
def test_a_step_is_told_its_tenant(open_shop: OpenShop, script: Script) -> None:
    class Told(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    shop = open_shop(Told)
    shop.run(Told, {}, tenant="acme")
    shop.run(Told, {})
    assert [context.tenant for context in script.contexts] == ["acme", ""]


@pytest.mark.rule("tenant-kept")
def test_every_signal_tells_the_tenant(open_shop: OpenShop) -> None:
    shop, told = open_shop(Asking), []

    def tell(_sender: Any, **facts: Any) -> None:
        told.append(facts["tenant"])

    names = [name for name in vars(signals) if name.startswith(("run_", "step_", "manual_"))]
    for name in names:
        getattr(signals, name).connect(tell, shop.app)
    run_id = shop.run(Asking, {}, tenant="acme")
    shop.mesh.unblock_run(run_id, actor="dana")
    shop.mesh.replay_run(run_id, actor="dana")
    assert len(told) >= 5
    assert set(told) == {"acme"}


@pytest.mark.rule("tenant-kept")
def test_audit_events_are_of_their_runs_tenant_and_workflow(open_shop: OpenShop) -> None:
    shop = open_shop(Asking)
    run_id = shop.run(Asking, {}, tenant="acme")
    shop.mesh.unblock_run(run_id, actor="dana")
    assert {(row.tenant, row.workflow) for row in shop.rows(tables.audit_events)} == {("acme", "asking")}


@pytest.mark.rule("tenant")
def test_within_a_request_the_hook_says_the_tenant(open_shop: OpenShop) -> None:
    shop = open_shop(Parcel)
    asked = []

    @shop.mesh.tenant
    def tenant() -> str | None:
        asked.append(True)
        return " acme "

    with shop.app.test_request_context("/"):
        assert shop.mesh.start_run(Parcel, {}).tenant == "acme"
        assert shop.mesh.start_run(Parcel, {}, tenant="globex").tenant == "globex"
        assert shop.mesh.start_run(Parcel, {}, tenant="").tenant == ""
    assert len(asked) == 1
    assert shop.mesh.start_run(Parcel, {}).tenant == ""
    assert len(asked) == 1


def test_a_hook_may_say_that_there_is_no_tenant(open_shop: OpenShop) -> None:
    shop = open_shop(Parcel)
    shop.mesh.tenant(lambda: None)
    with shop.app.test_request_context("/"):
        assert shop.mesh.start_run(Parcel, {}).tenant == ""


@pytest.mark.rule("tenant")
@pytest.mark.parametrize("answer", [5, " ", "a\0b", ("acme",)])
def test_a_hook_that_names_no_tenant_is_told_so(open_shop: OpenShop, answer: Any) -> None:
    shop = open_shop(Parcel)
    shop.mesh.tenant(lambda: answer)
    with shop.app.test_request_context("/"), pytest.raises(ConfigurationError, match=r"mesh\.tenant"):
        shop.mesh.start_run(Parcel, {})
    assert shop.rows(tables.runs) == []
    drain()


@pytest.mark.rule("tenant-python")
def test_python_calls_take_a_tenant_as_a_filter(open_shop: OpenShop) -> None:
    shop = open_shop(Asking)
    acme, nobodys = shop.run(Asking, {}, tenant="acme"), shop.run(Asking, {})
    for tenant, found in (("acme", {acme}), ("", {nobodys}), (["acme", ""], {acme, nobodys}), ("other", set())):
        assert {run.id for run in shop.mesh.list_runs(tenant=tenant).runs} == found
    assert {run.id for run in shop.mesh.list_runs().runs} == {acme, nobodys}
    calls: list[Callable[..., Any]] = [
        shop.mesh.inspect_run,
        shop.mesh.explain_run,
        shop.mesh.inspect_graph,
        shop.mesh.unblock_run,
        shop.mesh.cancel_run,
        shop.mesh.replay_run,
    ]
    for call in calls:
        with pytest.raises(RunNotFoundError):
            call(acme, tenant="globex")
        with pytest.raises(RunNotFoundError):
            call(acme, tenant="")
    assert shop.mesh.inspect_run(acme, tenant=" acme ").status == "paused"
    assert shop.mesh.unblock_run(acme, actor="dana", tenant="acme").id == acme


@pytest.mark.rule("tenant-python")
@pytest.mark.parametrize("tenant", [5, " ", ["acme", None], {"acme": 1}])
def test_a_filter_that_is_no_tenant_is_refused(open_shop: OpenShop, tenant: Any) -> None:
    shop = open_shop(Asking)
    with pytest.raises(FilterError) as refused:
        shop.mesh.list_runs(tenant=tenant)
    assert refused.value.name == "tenant"


@pytest.mark.rule("scope")
def test_lists_of_tenants_are_paged_and_counted_as_if_there_were_no_other(open_shop: OpenShop) -> None:
    shop = open_shop(Parcel, Asking)
    tenants = ["", *"abcdef"]
    made: dict[str, list[str]] = {tenant: [] for tenant in tenants}
    for number in range(21):
        tenant = tenants[number % 7]
        made[tenant].append(shop.start(Asking if number % 2 else Parcel, {}, tenant=tenant))
    drain()
    for chosen in (["a"], ["a", ""], ["a", "b", "c"], tenants):
        scope, seen, after = Scope(tenants=chosen), list[str](), None
        with shop.runtime.database.read() as connection:
            while True:
                page = run_list.list_runs(connection, scope, limit=2, after=after)
                seen += [run.id for run in page.runs]
                after = page.next
                if after is None:
                    break
            counts = run_list.counts(connection, scope)
            standing = run_list.standing(connection, scope, size=50, now=shop.clock.now())
            of_asking = run_list.list_runs(connection, scope, workflow="asking").runs
            ended = figures.last_runs(connection, scope, ["parcel"])["parcel"]
            frame = frame_counts(connection, scope, WaitReader("nobody"), now=shop.clock.now(), silence=timedelta(1))
        expected = sorted((id for tenant in chosen for id in made[tenant]), reverse=True)
        assert seen == expected
        asking = [run.id for run in of_asking]
        assert set(asking) <= set(expected)
        assert counts["paused"].value == standing.counts["paused"].value == frame.needs["resume"].value == len(asking)
        assert counts["completed"].value == len(ended) == len(expected) - len(asking)
