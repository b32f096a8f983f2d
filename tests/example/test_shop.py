"""Buying, and what each role may see and do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from httpx import Response

from flask_squidmesh import RunSummary
from tests.example.visiting import Visitor, text_of

Eventually = Callable[..., object]


@pytest.fixture
def visitor(address: str) -> Iterator[Callable[[str], Visitor]]:
    """Somebody who has logged in; called with a name."""
    visitors: list[Visitor] = []

    def enter(name: str) -> Visitor:
        visitors.append(Visitor(address))
        return visitors[-1].log_in(f"{name}@shop.test")

    yield enter
    for each in visitors:
        each.close()


def test_an_order_waits_for_finance_and_is_paid_after_approval(
    working_shop: Flask, visitor: Callable[[str], Visitor], eventually: Eventually
) -> None:
    ben, fiona = visitor("ben"), visitor("fiona")
    buy(ben, "teapot")
    eventually(lambda: "A colleague from finance looks at your payment" in text_of(ben.open("/orders/o-1")))
    fiona.open("/squidmesh/")
    fiona.follow("Approve")
    fiona.send("/approve", comment="known customer")
    assert fiona.page.status_code == 200, text_of(fiona.page)
    eventually(lambda: "Paid. The receipt has been sent." in text_of(ben.open("/orders/o-1")))
    assert "Receipt for order o-1: 27.50 EUR" in text_of(ben.page)


def test_a_form_sent_twice_orders_once(shop: Flask, visitor: Callable[[str], Visitor]) -> None:
    ben = visitor("ben")
    ben.open("/products/kettle")
    form = ben.page
    assert ben.send("/orders", quantity="1").url.path == "/orders/o-1"
    ben.page = form
    assert ben.send("/orders", quantity="1").url.path == "/orders/o-1"
    assert len(runs(shop)) == 1


def test_more_than_there_is_is_refused_with_a_sentence(shop: Flask, visitor: Callable[[str], Visitor]) -> None:
    ben = visitor("ben")
    buy(ben, "samovar", quantity="2")
    assert "Please choose between 1 and 1 pieces." in text_of(ben.page)
    assert runs(shop) == []


def test_an_order_that_cannot_be_started_is_not_placed(
    shop: Flask, visitor: Callable[[str], Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    from example_app.extensions import mesh

    def refuse(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(mesh, "start_run", refuse)
    shop.config["PROPAGATE_EXCEPTIONS"] = False
    ben = visitor("ben")
    buy(ben, "kettle")
    assert ben.page.status_code == 500
    assert "There are no orders yet." in text_of(ben.open("/orders"))


def test_a_buyer_sees_no_dashboard_and_no_other_orders(shop: Flask, visitor: Callable[[str], Visitor]) -> None:
    ben, fiona = visitor("ben"), visitor("fiona")
    buy(fiona, "kettle")
    assert ben.open("/orders/o-1").status_code == 404
    refused = ben.open("/squidmesh/")
    assert refused.status_code == 403
    assert "It is for people who work here." in text_of(refused)
    assert "Workflows" not in text_of(ben.open("/"))


def test_an_operator_may_cancel_but_not_approve_a_payment(
    working_shop: Flask, visitor: Callable[[str], Visitor], eventually: Eventually
) -> None:
    ben, olivia = visitor("ben"), visitor("olivia")
    buy(ben, "teapot")
    eventually(lambda: "A colleague from finance" in text_of(ben.open("/orders/o-1")))
    address = f"/squidmesh/runs/{runs(working_shop)[0].id}"
    refused = olivia.open(f"{address}/approve")
    assert refused.status_code == 403
    assert "It needs the role finance." in text_of(refused)
    olivia.open(f"{address}/cancel")
    assert olivia.send("/cancel", comment="asked for by the buyer").status_code == 200
    assert runs(working_shop)[0].status == "cancelled"


def test_finance_may_not_cancel(shop: Flask, visitor: Callable[[str], Visitor]) -> None:
    ben, fiona = visitor("ben"), visitor("fiona")
    buy(ben, "teapot")
    refused = fiona.open(f"/squidmesh/runs/{runs(shop)[0].id}/cancel")
    assert refused.status_code == 403
    assert "It needs the role operator." in text_of(refused)


def test_pages_of_ones_own_ask_to_log_in_and_come_back(shop: Flask, live_server: Callable[[Flask], str]) -> None:
    somebody = Visitor(live_server(shop))
    assert somebody.open("/orders").url.path == "/login"
    somebody.send("/login", email="ben@shop.test", password="demo")
    assert somebody.page.url.path == "/orders"
    somebody.close()


@pytest.mark.parametrize("elsewhere", ["//evil.test/", "/\\evil.test/", "https://evil.test/"])
def test_logging_in_leads_nowhere_else(shop: Flask, live_server: Callable[[Flask], str], elsewhere: str) -> None:
    somebody = Visitor(live_server(shop))
    somebody.page = somebody.http.get("/login", params={"next": elsewhere})
    somebody.send("/login", email="ben@shop.test", password="demo")
    assert somebody.page.url.path == "/"
    somebody.close()


def test_a_wrong_password_is_told(shop: Flask, live_server: Callable[[Flask], str]) -> None:
    somebody = Visitor(live_server(shop))
    somebody.open("/login")
    answer = somebody.send("/login", email="ben@shop.test", password="guess")
    assert answer.status_code == 422
    assert "Address or password is wrong." in text_of(answer)
    somebody.close()


def test_a_post_without_token_is_refused(shop: Flask, visitor: Callable[[str], Visitor]) -> None:
    ben = visitor("ben")
    data = {"sku": "kettle", "quantity": "1", "form_key": "k"}
    assert ben.http.post("/orders", data=data).status_code == 400
    assert runs(shop) == []


def test_the_gateway_page_changes_the_payment_company(shop: Flask, visitor: Callable[[str], Visitor]) -> None:
    ben = visitor("ben")
    ben.open("/gateway")
    ben.send("/gateway", mode="busy")
    assert "for 3 calls more" in text_of(ben.page)


def test_a_payment_is_confirmed_by_hand_on_the_gateways_page(
    working_shop: Flask, visitor: Callable[[str], Visitor], eventually: Eventually
) -> None:
    ben = visitor("ben")
    ben.open("/gateway")
    ben.send("/gateway", mode="never")
    buy(ben, "teapot")
    eventually(lambda: "Your bank is confirming the payment." in text_of(ben.open("/orders/o-1")))
    assert "o-1" in text_of(ben.open("/gateway"))
    assert "not told yet" in text_of(ben.page)
    ben.send("/callbacks/" + callback_of(ben.page))
    assert "accepted" in text_of(ben.page)
    ben.send("/callbacks/" + callback_of(ben.page))
    assert "accepted, then known already" in text_of(ben.page)
    eventually(lambda: "A colleague from finance" in text_of(ben.open("/orders/o-1")))


def callback_of(page: Response) -> str:
    """The id of the one event on the gateway's page."""
    [found] = set(re.findall(r"evt-pay-\w+", page.text))
    return str(found)


def buy(visitor: Visitor, sku: str, quantity: str = "1") -> None:
    """Order from the product's page."""
    visitor.open(f"/products/{sku}")
    visitor.send("/orders", quantity=quantity)


def runs(app: Flask) -> list[RunSummary]:
    """All runs there are."""
    from example_app.extensions import mesh

    with app.app_context():
        return list(mesh.list_runs(limit=100).runs)
