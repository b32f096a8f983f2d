"""From the run to the other side and back: real servers, what they refuse and what they take in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from flask_squidmesh import Mail, Setting, Webhook
from flask_squidmesh.storage import tables
from tests.integration.channels.conftest import Post, Service
from tests.shop import Script, Shop, opening_shops, single

OpenShop = Callable[..., Shop]


@pytest.fixture
def open_shop(migrated_url: str) -> Iterator[OpenShop]:
    with opening_shops(migrated_url) as open_one:
        yield open_one


@pytest.mark.rule("telling-again", "webhook-answers")
def test_a_service_that_is_down_busy_and_back_is_told_once_it_takes_it(
    open_shop: OpenShop, script: Script, service: Service
) -> None:
    answers = [(500, {}), (429, {"Retry-After": "300"}), (200, {})]
    service.answer = lambda _: (lambda answer: (answer[0], {**answer[1], "Content-Length": "0"}))(answers.pop(0))
    shop = open_shop(single(script))
    shop.app.config["HOOK_SECRET"] = "s3cret"
    shop.mesh.add_channel(Webhook(service.url, Setting("HOOK_SECRET")), on="run.completed")
    run_id = shop.run("single")
    assert shop.rows(tables.outbox)[0].error == "The service answered 500."
    shop.later(10)
    assert shop.rows(tables.outbox)[0].error == "The service answered 429."
    shop.later(290)
    assert len(answers) == 1
    shop.later(11)
    assert [row.outcome for row in shop.rows(tables.outbox)] == ["delivered"]
    assert {each["id"] for each in service.notices} == {shop.rows(tables.outbox)[0].id}
    assert {each["run_id"] for each in service.notices} == {run_id}


@pytest.mark.rule("telling-again", "mail-server")
def test_a_mail_server_that_is_down_for_a_day_is_shown_and_the_run_is_as_it_was(
    open_shop: OpenShop, script: Script, open_post: Callable[..., Post]
) -> None:
    post = open_post()
    post.answer = "451 later"
    shop = open_shop(single(script))
    channel = Mail(post.host, port=post.port, security=None, sender="shop@example.org")
    shop.mesh.add_channel(channel, on="run.completed", to=["ann@example.org", "bob@example.org"])
    run_id = shop.run("single")
    before = shop.look(run_id)
    for _ in range(40):
        shop.later(timedelta(hours=1))
    assert sorted(row.outcome for row in shop.rows(tables.outbox)) == ["addressed", "failed", "failed"]
    assert replace(shop.look(run_id), timeline=before.timeline) == before
    post.answer = "250 OK"
    for row in shop.rows(tables.outbox, tables.outbox.c.outcome == "failed"):
        shop.runtime.notice_commands.tell_again(row.id, actor="kim")
    shop.later(1)
    assert sorted(post.receivers) == ["ann@example.org", "bob@example.org"]
