"""Receiving events over HTTP: signed, once, and with an answer that tells nothing of ours."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request as Call
from urllib.request import urlopen

import pytest
import sqlalchemy as sa
from flask import Flask, Request
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect
from pydantic import BaseModel

from flask_squidmesh import (
    ConfigurationError,
    Event,
    HmacSignature,
    Manual,
    Setting,
    SquidMesh,
    WaitForEvent,
    Workflow,
    receiving,
)
from flask_squidmesh.storage import events, tables
from tests.serving import serving
from tests.shop import PATIENT_SQLITE

ADDRESS = "/hooks/payments"
SECRET = "s3cret"


class Order(BaseModel):
    payment_id: str = "p-1"


class Settlement(BaseModel):
    status: str


class Purchase(Workflow):
    place = Manual(Order)
    paid = WaitForEvent("payment.settled", key="{payment_id}", model=Settlement)


def payments(request: Request) -> Event | list[Event] | None:
    said = request.get_json()
    if said.get("type") == "ping":
        return None
    if said.get("type") == "broken":
        raise RuntimeError(f"the secret is {SECRET}")
    found = [
        Event("payment.settled", key=each["id"], payload={"status": each["status"]}, event_id=each.get("event"))
        for each in said["payments"]
    ]
    return found[0] if len(found) == 1 else found


Host = tuple[Flask, SquidMesh]


@contextmanager
def hosting(url: str, verify: Any, **settings: Any) -> Iterator[Host]:
    app = Flask("host")
    patient = PATIENT_SQLITE if url.startswith("sqlite") else {}
    app.config.update(
        SECRET_KEY="for tests only",
        PAY_SECRET=SECRET,
        SQLALCHEMY_DATABASE_URI=url,
        SQLALCHEMY_ENGINE_OPTIONS=patient,
        SQUIDMESH_EXECUTOR="database",
        SQUIDMESH_MAX_PAYLOAD_BYTES=10_000,
        **settings,
    )
    SQLAlchemy(app)
    CSRFProtect(app)
    mesh = SquidMesh()
    mesh.register(Purchase)
    mesh.receive(ADDRESS, verify=verify)(payments)
    mesh.init_app(app)
    yield app, mesh
    app.extensions["squidmesh"].database.dispose()


@pytest.fixture
def host(migrated_url: str) -> Iterator[Host]:
    with hosting(migrated_url, HmacSignature("X-Signature", Setting("PAY_SECRET"), prefix="sha256=")) as made:
        yield made


def signed(body: bytes, secret: str = SECRET, at: str | None = None) -> str:
    over = body if at is None else f"{at}.".encode() + body
    return hmac.new(secret.encode(), over, hashlib.sha256).hexdigest()


def post(app: Flask, said: Any, **headers: str) -> Any:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    given = {"Content-Type": "application/json", "X-Signature": f"sha256={signed(body)}"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return app.test_client().post(ADDRESS, data=body, headers=given)


def settled(key: str = "p-1", event: str | None = "evt-1", status: str = "settled") -> dict[str, Any]:
    return {"payments": [{"id": key, "event": event, "status": status}]}


def kept(app: Flask) -> list[Any]:
    with app.app_context(), app.extensions["squidmesh"].database.read() as connection:
        return list(connection.execute(tables.events.select()))


@pytest.mark.rule("receiving")
def test_a_signed_request_is_answered_with_the_receipt_and_a_repeat_with_the_first(host: Host) -> None:
    app, mesh = host
    with app.app_context():
        run_id = str(mesh.start_run(Purchase, {}).id)
    first, again = post(app, settled()), post(app, settled())
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json["runs"] == again.json["runs"] == [run_id]
    assert "Set-Cookie" not in first.headers
    with app.app_context():
        assert mesh.inspect_run(run_id).status == "completed"


@pytest.mark.rule("receiving")
def test_several_events_and_none(host: Host) -> None:
    app, _ = host
    several = {"payments": [*settled("a", "1")["payments"], *settled("b", "2")["payments"]]}
    answer = post(app, several)
    assert (answer.status_code, [each["key"] for each in answer.json["receipts"]]) == (202, ["a", "b"])
    ping = post(app, {"type": "ping"})
    assert (ping.status_code, ping.json) == (200, {"receipts": []})


@pytest.mark.rule("receiving-signature")
@pytest.mark.parametrize(
    "signature", ["", "sha256=", f"sha256={signed(b'{}')}", signed(b"{}"), "sha256=é", f"sha256={signed(b'{}', 'x')}"]
)
def test_what_is_not_signed_is_not_taken(host: Host, signature: str) -> None:
    app, _ = host
    answer = post(app, settled(), X_Signature=signature)
    assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
    assert kept(app) == []


@pytest.mark.rule("receiving-signature")
def test_an_old_request_is_not_taken_and_each_of_several_secrets_is_tried(migrated_sqlite_url: str) -> None:
    verify = HmacSignature(
        "X-Signature", ["new", Setting("PAY_SECRET")], timestamp_header="X-Time", tolerance=timedelta(minutes=1)
    )
    with hosting(migrated_sqlite_url, verify) as (app, _):
        body, now = json.dumps(settled()).encode(), int(time.time())
        for secret, at, status in (("new", now, 202), (SECRET, now, 200), ("other", now, 401), ("new", now - 61, 401)):
            answer = post(app, body, X_Signature=signed(body, secret, str(at)), X_Time=str(at))
            assert answer.status_code == status, (secret, at)
        assert post(app, body, X_Signature=signed(body, "new", "x"), X_Time="x").status_code == 401


@pytest.mark.rule("receiving-refused")
@pytest.mark.parametrize(
    ("said", "headers", "status"),
    [
        ({"payments": "x" * 10_001}, {}, 413),
        (b"{", {}, 400),
        (b"<a/>", {"Content_Type": "text/xml"}, 415),
        ({"type": "broken"}, {}, 400),
        (settled(status=None), {}, 400),  # type: ignore[arg-type]
        (settled(key=""), {}, 400),
    ],
    ids=["large", "no JSON", "XML", "raises", "unfit", "no key"],
)
def test_what_cannot_be_taken_is_refused_without_a_word_of_ours(
    host: Host, said: Any, headers: dict[str, str], status: int
) -> None:
    app, _ = host
    answer = post(app, said, **headers)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    assert kept(app) == []


@pytest.mark.rule("receiving-refused")
def test_another_payload_under_an_id_and_another_method_are_refused(host: Host) -> None:
    app, _ = host
    assert post(app, settled()).status_code == 202
    assert post(app, settled(status="declined")).status_code == 400
    assert app.test_client().get(ADDRESS).status_code == 405
    assert app.test_client().post("/hooks/other").status_code in (400, 404)


@pytest.mark.rule("receiving")
def test_fifty_requests_at_once_over_http_are_one_event_each(host: Host) -> None:
    app, _ = host

    def call(number: int) -> int:
        body = json.dumps(settled(f"p-{number % 25}", f"evt-{number % 25}")).encode()
        headers = {"Content-Type": "application/json", "X-Signature": f"sha256={signed(body)}"}
        try:
            with urlopen(Call(address, data=body, headers=headers), timeout=120) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code

    with serving(app) as base, ThreadPoolExecutor(10) as pool:
        address = f"{base}{ADDRESS}"
        answers = sorted(pool.map(call, range(50)))
    assert answers == [200] * 25 + [202] * 25
    assert len(kept(app)) == 25


@pytest.mark.rule("receiving-committed")
def test_what_is_answered_as_taken_is_committed_before_the_answer_is_made(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = host
    seen: list[int] = []
    made = receiving._answer

    def counted(*given: Any) -> Any:
        with ThreadPoolExecutor(1) as elsewhere:  # by another connection
            seen.append(len(elsewhere.submit(kept, app).result()))
        return made(*given)

    monkeypatch.setattr(receiving, "_answer", counted)
    assert [post(app, settled()).status_code for _ in range(2)] == [202, 200]
    assert seen == [1, 1]


@pytest.mark.rule("receiving-away")
def test_a_database_that_is_away_has_the_sender_come_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    app, _ = host

    def away(*_: object) -> None:
        raise sa.exc.OperationalError("INSERT", {"secret": SECRET}, OSError("gone"))

    with monkeypatch.context() as outage:
        outage.setattr(events, "insert", away)
        answer = post(app, settled())
    assert (answer.status_code, answer.mimetype, kept(app)) == (503, "application/problem+json", [])
    assert SECRET not in answer.text
    assert post(app, settled()).status_code == 202


@pytest.mark.rule("receiving-some")
def test_a_list_that_is_refused_in_the_middle_can_be_sent_again(host: Host) -> None:
    app, _ = host
    good, bad, mended = settled("a", "1"), settled("b", "2", status=None), settled("b", "2")  # type: ignore[arg-type]
    assert post(app, {"payments": [*good["payments"], *bad["payments"]]}).status_code == 400
    assert [row.key for row in kept(app)] == ["a"]
    answer = post(app, {"payments": [*good["payments"], *mended["payments"]]})
    assert (answer.status_code, [each["repeated"] for each in answer.json["receipts"]]) == (202, [True, False])
    assert sorted(row.key for row in kept(app)) == ["a", "b"]


@pytest.mark.rule("receiving-declared")
@pytest.mark.parametrize("address", ["hooks", "", "/hooks/<name>", 5])
def test_an_address_that_is_none(address: Any) -> None:
    with pytest.raises(ConfigurationError, match="receive takes an address"):
        SquidMesh().receive(address, verify=bool)(payments)


@pytest.mark.rule("receiving-declared")
def test_an_address_is_declared_once_and_before_the_app_is_set_up(host: Host) -> None:
    _, mesh = host
    with pytest.raises(ConfigurationError, match="comes after init_app"):
        mesh.receive("/hooks/late", verify=bool)(payments)
    other = SquidMesh()
    other.receive(ADDRESS, verify=bool)(payments)
    with pytest.raises(ConfigurationError, match="declared twice"):
        other.receive(ADDRESS, verify=bool)(payments)


@pytest.mark.rule("receiving-declared")
@pytest.mark.parametrize(
    "make",
    [
        lambda: HmacSignature("", "x"),
        lambda: HmacSignature("X-Signature", ""),
        lambda: HmacSignature("X-Signature", []),
        lambda: HmacSignature("X-Signature", "x", tolerance=timedelta(0)),
    ],
)
def test_a_signature_that_is_none(make: Callable[[], HmacSignature]) -> None:
    with pytest.raises(ConfigurationError):
        make()
