"""A relative that was pruned is named, and leads nowhere."""

from __future__ import annotations

from datetime import timedelta

from tests.web.shop import Billing, advance, mesh_of, start, work
from tests.web.visiting import Visitor


def test_a_pruned_relative_is_shown_without_a_link(visitor: Visitor) -> None:
    app, billed = visitor.app, start(visitor.app, Billing, "7")
    with app.app_context():
        mesh_of(app).acknowledge_run(billed)
        again = mesh_of(app).replay_run(billed).id
    assert billed in _links(visitor, again)
    work(app)
    advance(app, timedelta(days=2))
    with app.app_context():
        mesh_of(app).prune(older_than=timedelta(days=1), status="failed")
    assert billed not in _links(visitor, again)
    assert f"Replays {billed} (pruned)" in visitor.read(f"/runs/{again}")


def _links(visitor: Visitor, run_id: str) -> set[str]:
    page = visitor.get(f"/runs/{run_id}").text
    return {part.split('"')[0] for part in page.split('href="/squidmesh/runs/')[1:]}
