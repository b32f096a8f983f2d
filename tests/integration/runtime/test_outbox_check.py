"""What `flask squidmesh check` says of telling."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import ChannelError, Notice
from flask_squidmesh.testing import drain
from tests.shop import Script, Shop, single

OpenShop = Callable[..., Shop]


def hear(notice: Notice) -> None:
    """Hear it."""


def said(shop: Shop) -> list[str]:
    return [
        f"{'wrong' if each.wrong else ''} {each.text}"
        for each in shop.runtime.app_check.results()
        if each.subject == "outbox"
    ]


def lives(shop: Shop, kind: Any) -> None:
    shop.runtime.heartbeats.record(kind, f"{kind}:1", queue="squidmesh")


@pytest.mark.rule("telling-check")
def test_where_nobody_subscribes_it_says_nothing(open_shop: OpenShop, script: Script) -> None:
    assert said(open_shop(single(script))) == []


@pytest.mark.rule("telling-check")
def test_it_says_that_nobody_is_there_to_tell(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(single(script))
    shop.mesh.subscribe("run.failed", name="ours")(hear)
    [nobody] = said(shop)
    assert nobody.startswith("wrong Nobody is there to tell")
    lives(shop, "relay")
    assert said(shop) == [
        "wrong No worker is there to call ours: a relay tells by channels alone. Keep a worker running."
    ]
    lives(shop, "worker")
    assert said(shop) == [" told: ours"]
    shop.clock.advance(timedelta(minutes=10))
    assert said(shop)[0].startswith("wrong Nobody is there to tell")


@pytest.mark.rule("telling-check")
def test_it_says_what_is_late_fails_is_not_known_or_was_given_up(open_shop: OpenShop, script: Script) -> None:
    shop, down = open_shop(single(script), external_url="https://shop.example.org"), [True]

    def post(notice: Notice, receiver: str) -> None:
        if down:
            raise ChannelError("The chat is closed.")

    shop.mesh.add_channel(post, on="run.completed", name="chat")
    lives(shop, "worker")
    shop.start("single")
    shop.perform(shop.claim_due()[0])
    shop.clock.advance(timedelta(minutes=6))
    lives(shop, "worker")
    [late] = said(shop)
    assert late.startswith("wrong 1 notice for 'chat' late since")
    drain()
    assert said(shop) == [" told: chat"]
    shop.clock.advance(timedelta(minutes=59))
    lives(shop, "worker")
    drain()
    [failing] = said(shop)
    assert failing.startswith("wrong 'chat' has failed since")
    assert failing.endswith("with 1 notice waiting: The chat is closed.")
    known = shop.runtime.subscriptions._by_name.pop("chat")
    [unknown] = said(shop)
    assert "'chat', which this app does not subscribe any more" in unknown
    shop.runtime.subscriptions._by_name["chat"] = known
    for _ in range(30):
        shop.later(timedelta(hours=1))
    lives(shop, "worker")
    assert said(shop) == ["wrong 1 notice could not be delivered. The page System lists them and has them tried again."]


@pytest.mark.rule("telling-check")
def test_it_says_what_links_need(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(single(script))
    shop.mesh.add_channel(hear, on="run.completed", name="chat")
    lives(shop, "relay")
    assert "set SQUIDMESH_EXTERNAL_URL" in said(shop)[0]
