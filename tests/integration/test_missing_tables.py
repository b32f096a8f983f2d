"""Before `flask db upgrade`: every call says which commands to run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_squidmesh import Manual, SchemaError, Step, Workflow
from tests.shop import Shop


def nothing() -> None:
    """A step."""


class Plain(Workflow):
    begin = Manual()
    work = Step(nothing)
    flow = [work]


@pytest.mark.parametrize(
    "call",
    [
        lambda shop: shop.mesh.start_run(Plain),
        lambda shop: shop.mesh.start_run(Plain, session=shop.db.session),
        lambda shop: shop.mesh.list_runs(),
        lambda shop: shop.mesh.approve_run("01a203f0-d214-713b-8121-f4b680a5952e", actor="dana"),
        lambda shop: shop.deliver("01a203f0-d214-713b-8121-f4b680a5952e", "work"),
    ],
    ids=["start", "joined start", "list", "approve", "perform"],
)
def test_a_missing_table_is_answered_with_the_commands_to_run(
    database_url: str, call: Callable[[Shop], object]
) -> None:
    shop = Shop(database_url, Plain)
    with shop.app.app_context():
        with pytest.raises(SchemaError, match=r"flask squidmesh install\n  flask db upgrade"):
            call(shop)
        shop.db.session.rollback()
    shop.runtime.database.dispose()
