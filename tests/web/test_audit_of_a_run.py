"""What is kept of refused attempts, and how a run's page shows a long audit."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh.storage import tables
from tests.web.shop import Checkout, allow_everything, make_app, start
from tests.web.visiting import Visitor, forms_of, pulse_of, text_of


@pytest.fixture
def rights() -> dict[str, Any]:
    return {"authorize": allow_everything, "actor": "dana"}


def visiting(url: str, rights: dict[str, Any]) -> Visitor:
    hooks = {"authorize": lambda *asked: rights["authorize"](*asked), "actor": lambda: rights["actor"]}
    return Visitor(make_app(url, hooks=hooks))


def readers(action: str, run: Any, permission: str | None) -> bool:
    return action in ("list", "view", "audit", "export")


@pytest.mark.rule("rights-unnamed")
def test_a_refusal_that_is_repeated_is_counted_in_one_row(migrated_url: str, rights: dict[str, Any]) -> None:
    visitor = visiting(migrated_url, rights)
    run_id, other = start(visitor.app, Checkout, "1"), start(visitor.app, Checkout, "2")
    fields = {**forms_of(visitor.get("/help").text)["/squidmesh/prefs"], "comment": "because"}
    rights["authorize"] = readers
    for _ in range(12):
        assert visitor.send(f"/runs/{run_id}/cancel", fields).status_code == 403
    visitor.send(f"/runs/{run_id}/approve", fields)
    visitor.send(f"/runs/{other}/cancel", fields)
    visitor.send("/workflows/checkout/start", fields)
    visitor.send("/workflows/checkout/start", fields)
    rights["actor"] = {"id": "kim"}
    visitor.send(f"/runs/{run_id}/cancel", fields)
    refused = [event for event in visitor.events(run_id) if event.type == "refused"]
    assert [(event.actor, event.metadata["action"], event.times) for event in refused] == [
        ("dana", "cancel", 12),
        ("dana", "approve", 1),
        ({"id": "kim"}, "cancel", 1),
    ]
    assert [event.last_at is None for event in refused] == [False, True, True]
    assert [event.times for event in visitor.events(other) if event.type == "refused"] == [1]
    for path in (f"/runs/{run_id}", "/audit"):
        assert "tried to cancel without the right to 12 times, last just now" in visitor.read(path)
    assert "tried to start without the right to 2 times" in visitor.read("/audit")
    assert re.search(r'"12","20\d\d-', visitor.get("/audit.csv").text)


@pytest.mark.rule("rights-unnamed")
def test_a_long_audit_is_paged_on_the_runs_page(migrated_url: str, rights: dict[str, Any]) -> None:
    visitor = visiting(migrated_url, rights)
    run_id = start(visitor.app, Checkout, "1")
    with visitor.app.app_context(), visitor.app.extensions["squidmesh"].database.write() as connection:
        at = visitor.app.extensions["squidmesh"].clock.now()
        rows = [
            {"run_id": run_id, "type": "revealed", "actor": f"nr-{number}", "metadata": {"part": "payload"}, "at": at}
            for number in range(250)
        ]
        connection.execute(sa.insert(tables.audit_events), rows)
    seen: list[str] = []
    path = f"/runs/{run_id}"
    while path:
        page = visitor.get(path)
        assert page.status_code == 200
        assert "audit=" not in path or f"audit={path.partition('audit=')[2]}" in pulse_of(page.text)
        seen += re.findall(r"nr-\d+", text_of(page.text))
        older = re.search(r'href="/squidmesh([^"#]+)#history">Older entries', page.text)
        path = older[1] if older else ""
    assert sorted(seen) == sorted(f"nr-{number}" for number in range(250))
    assert "started the run" in text_of(page.text)
    assert "nr-249" not in text_of(page.text)
    assert len(visitor.get(f"/runs/{run_id}.json").json["audit_events"]) == 251  # type: ignore[index]
    assert visitor.get(f"/runs/{run_id}?audit=nonsense").status_code == 200
