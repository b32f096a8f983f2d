"""An expense by the people whom it concerns: submitted and corrected in the shop, decided on the dashboard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from tests.example.visiting import Visitor, text_of

Eventually = Callable[..., object]


@pytest.fixture
def visitor(working_shop: Flask, live_server: Callable[[Flask], str]) -> Iterator[Callable[[str], Visitor]]:
    """Somebody who has logged in; called with a name."""
    base, visitors = live_server(working_shop), []

    def enter(name: str) -> Visitor:
        visitors.append(Visitor(base))
        return visitors[-1].log_in(f"{name}@shop.test")

    yield enter
    for each in visitors:
        each.close()


def test_asked_back_corrected_and_paid_in_part(visitor: Callable[[str], Visitor], eventually: Eventually) -> None:
    emma, marco = visitor("emma"), visitor("marco")
    submit(emma, "tea", "90.00")
    eventually(lambda: "It waits for Marco until" in text_of(emma.open("/expenses/e-1")))

    marco.open("/squidmesh/")
    marco.follow("Ask back")
    assert marco.send("/decide", comment="Whose birthday was it?").status_code == 200
    eventually(lambda: "It waits for you." in text_of(emma.open("/expenses/e-1")))
    assert "Whose birthday was it?" in text_of(emma.page)
    emma.send("/correct", purpose="tea for Ben's birthday", amount="80.00", option="resubmit")
    eventually(lambda: "It waits for Marco until" in text_of(emma.open("/expenses/e-1")))

    marco.open("/squidmesh/")
    assert "Pay 80.00 EUR to emma@shop.test for tea for Ben's birthday?" in text_of(marco.page)
    marco.follow("Approve")
    name = "answer.review.approve.amount"
    refused = marco.send("/approve", **{name: "6000"})
    assert refused.status_code == 422
    assert marco.send("/approve", **{name: "75.50"}).status_code == 200
    eventually(lambda: "It is paid." in text_of(emma.open("/expenses/e-1")))
    assert "Paid 75.50 EUR" in text_of(emma.page)


def test_a_large_one_is_signed_by_finance_too(visitor: Callable[[str], Visitor], eventually: Eventually) -> None:
    emma, marco, fiona = visitor("emma"), visitor("marco"), visitor("fiona")
    submit(emma, "a stand at the fair", "2400.00")
    eventually(lambda: "It waits for Marco" in text_of(emma.open("/expenses/e-1")))
    marco.open("/squidmesh/")
    marco.follow("Approve")
    marco.send("/approve", **{"answer.review.approve.amount": "2400.00"})
    eventually(lambda: "It waits for finance until" in text_of(emma.open("/expenses/e-1")))
    fiona.open("/squidmesh/?tab=groups")
    assert "Sign for 2400.00 EUR to emma@shop.test too?" in text_of(fiona.page)
    fiona.follow("Approve")
    fiona.send("/approve")
    eventually(lambda: "It is paid." in text_of(emma.open("/expenses/e-1")))


def test_whoever_only_has_tasks_sees_these_and_no_colleagues_run(
    visitor: Callable[[str], Visitor], eventually: Eventually
) -> None:
    fiona, emma = visitor("fiona"), visitor("emma")
    submit(fiona, "a calculator", "30.00")
    eventually(lambda: "It waits for Hanna" in text_of(fiona.open("/expenses/e-1")))
    fiona.follow("See its run")
    assert fiona.page.status_code == 200
    assert emma.open(str(fiona.page.url.path)).status_code == 403
    assert emma.open("/expenses/e-1").status_code == 404
    assert emma.open("/squidmesh/runs").status_code == 403
    assert emma.open("/squidmesh/").status_code == 200
    assert "a calculator" not in text_of(emma.page)


def test_what_is_no_expense_is_told(visitor: Callable[[str], Visitor]) -> None:
    emma, ben = visitor("emma"), visitor("ben")
    submit(emma, "a car", "9000.00")
    assert "amount: Input should be less than or equal to 5000" in text_of(emma.page)
    assert "There are no expenses yet." in text_of(emma.page)
    assert ben.open("/expenses").status_code == 403


def submit(visitor: Visitor, purpose: str, amount: str) -> None:
    """Submit an expense by the shop's form."""
    visitor.open("/expenses")
    visitor.send("/expenses", purpose=purpose, amount=amount)


def test_the_head_hands_on_what_waits_to_somebody_from_the_list(
    visitor: Callable[[str], Visitor], eventually: Eventually
) -> None:
    emma, hanna, fiona = visitor("emma"), visitor("hanna"), visitor("fiona")
    submit(emma, "tea", "90.00")
    eventually(lambda: "It waits for Marco until" in text_of(emma.open("/expenses/e-1")))
    hanna.open("/squidmesh/bulk?workflow=reimbursement&action=assign")
    options = re.findall(r'<option value="(\w+)@shop.test">(\w+)</option>', hanna.page.text)
    assert options == [("fiona", "Fiona"), ("hanna", "Hanna"), ("marco", "Marco")]
    run_id = re.findall(r'name="run" value="([^"]+)"', hanna.page.text)
    assert hanna.send("/bulk", run=run_id[0], to="fiona@shop.test", comment="Marco is ill").status_code == 200
    assert "Finished. Done with 1 run." in text_of(hanna.page)
    fiona.open("/squidmesh/?tab=mine")
    assert "It is yours" in text_of(fiona.page)
