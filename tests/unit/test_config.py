"""Settings: what is taken, what is refused, and how."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_squidmesh import SquidMesh
from flask_squidmesh.config import KEYS, Config, DashboardConfig, read_config
from flask_squidmesh.errors import ConfigurationError
from flask_squidmesh.executor import Executor
from flask_squidmesh.secret_names import is_secret

SECRET = "sw0rdf1sh"


class Queue(Executor):
    def enqueue(self, payload, *, schedule_in=None):
        return {}


def test_defaults_need_no_setting() -> None:
    config = read_config({})
    assert config == Config()
    assert (config.executor, config.queue, config.url_prefix) == (None, "squidmesh", "/squidmesh")
    assert (config.claim_timeout, config.max_abandoned, config.stale_step_timeout) == (30.0, 3, None)
    assert (config.delivery_steps, config.delivery_seconds, config.max_payload_bytes) == (25, 30.0, 1_000_000)
    assert config.dashboard.page_sizes == (25, 50, 100)
    assert config.dashboard.comment_required == ("reject", "cancel", "replay_irreversible")


def test_every_field_has_a_key() -> None:
    expected = {f"SQUIDMESH_{each.name.upper()}" for each in fields(Config) if each.name != "dashboard"}
    assert set(KEYS) == expected | {f"SQUIDMESH_DASHBOARD_{each.name.upper()}" for each in fields(DashboardConfig)}


def test_settings_of_others_are_left_alone() -> None:
    settings = {"SECRET_KEY": SECRET, "SQUIDMESHY": 1, "SQUIDMESH_QUEUE": "slow"}
    before = dict(settings)
    assert read_config(settings).queue == "slow"
    assert settings == before


def test_the_configuration_cannot_be_changed_afterwards() -> None:
    with pytest.raises(FrozenInstanceError):
        read_config({}).queue = "slow"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("EXECUTOR", "database", "database"),
        ("EXECUTOR", Queue, Queue),
        ("URL_PREFIX", None, None),
        ("URL_PREFIX", "/ops/runs", "/ops/runs"),
        ("CLAIM_TIMEOUT", timedelta(minutes=1), 60.0),
        ("CLAIM_TIMEOUT", 5, 5.0),
        ("STALE_STEP_TIMEOUT", 0, 0.0),
        (
            "RETENTION",
            {"failed": timedelta(days=90), "checkout": None},
            {"failed": timedelta(days=90), "checkout": None},
        ),
        ("RETENTION", timedelta(days=1), dict.fromkeys(("completed", "failed", "cancelled"), timedelta(days=1))),
        ("RETENTION", {"completed": 60}, {"completed": timedelta(minutes=1)}),
    ],
)
def test_values_are_read(key: str, value: Any, read: Any) -> None:
    config = read_config({f"SQUIDMESH_{key}": value})
    assert getattr(config, key.lower()) == read


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("TIMEZONE", "Europe/Berlin", "Europe/Berlin"),
        ("PAGE_SIZES", [10, 20], (10, 20)),
        ("DISABLED_ACTIONS", ["cancel"], ("cancel",)),
        ("CSP", None, None),
        ("CSP", {"default-src": "'self'"}, {"default-src": "'self'"}),
        ("SHORTCUTS", False, False),
    ],
)
def test_dashboard_values_are_read(key: str, value: Any, read: Any) -> None:
    config = read_config({f"SQUIDMESH_DASHBOARD_{key}": value})
    assert getattr(config.dashboard, key.lower()) == read


@pytest.mark.rule("setup-unknown-key")
@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("EXECUTOR", "", "an import string"),
        ("EXECUTOR", 3, "a class or an instance"),
        ("EXECUTOR", ["database"], "a class or an instance"),
        ("QUEUE", "  ", "text that is not empty"),
        ("QUEUE", None, "text"),
        ("URL_PREFIX", "squidmesh", 'such as "/squidmesh"'),
        ("URL_PREFIX", "/", "without a slash at its end"),
        ("DEV_WORKER", "true", "True or False"),
        ("CLAIM_TIMEOUT", 0, "above 0"),
        ("CLAIM_TIMEOUT", True, "above 0"),
        ("CLAIM_TIMEOUT", float("nan"), "above 0"),
        ("CLAIM_TIMEOUT", None, "above 0"),
        ("MAX_ABANDONED", 1.5, "a whole number"),
        ("STALE_STEP_TIMEOUT", -1, "0 or more, or None"),
        ("RETENTION", {"failed": "90 days"}, "timedelta"),
        ("RETENTION", timedelta(0), "timedelta"),
        ("DASHBOARD_TIMEZONE", "Europe/Atlantis", "a time zone"),
        ("DASHBOARD_TIMEZONE", "../../etc/passwd", "a time zone"),
        ("DASHBOARD_PAGE_SIZES", [], "not empty"),
        ("DASHBOARD_DISABLED_ACTIONS", "cancel", "a list of actions"),
        ("DASHBOARD_DISABLED_ACTIONS", ["canel"], "a list of actions"),
        ("DASHBOARD_REDACT_KEYS", ["("], "regular expressions"),
        ("DASHBOARD_CSP", "default-src", '"auto"'),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(key: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read_config({f"SQUIDMESH_{key}": value})
    assert refusal.value.problems[0].startswith(f"SQUIDMESH_{key}: found ")
    assert expected in refusal.value.problems[0].partition(", expected ")[2]


@pytest.mark.rule("setup-unknown-key")
def test_all_faults_are_told_at_once() -> None:
    settings = {"SQUIDMESH_QUEUE": 1, "SQUIDMESH_DASHBOARD_READ_ONLY": "no", "SQUIDMESH_EXECUTR": "database"}
    with pytest.raises(ConfigurationError) as refusal:
        read_config(settings)
    assert len(refusal.value.problems) == 3


@pytest.mark.rule("setup-unknown-key")
@pytest.mark.parametrize(
    ("key", "near"),
    [("SQUIDMESH_EXECUTR", "SQUIDMESH_EXECUTOR"), ("SQUIDMESH_DASHBORD_TITLE", "SQUIDMESH_DASHBOARD_TITLE")],
)
def test_an_unknown_key_is_refused_with_the_nearest(key: str, near: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{key} is not a setting.*Did you mean {near}\?"):
        read_config({key: 1})


def test_an_unknown_key_like_no_other_is_refused_too() -> None:
    with pytest.raises(ConfigurationError, match=r"SQUIDMESH_X is not a setting.*Remove it"):
        read_config({"SQUIDMESH_X": 1})


def refusal_of(settings: dict[str, Any]) -> str:
    """What is said against the settings; nothing when they are taken."""
    try:
        read_config(settings)
    except ConfigurationError as refusal:
        return str(refusal)
    return ""


@pytest.mark.rule("setup-values-unquoted")
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [SECRET, [SECRET], {SECRET: object()}, {SECRET}, SECRET.encode(), (SECRET,)])
def test_values_are_never_quoted(key: str, value: Any) -> None:
    assert SECRET not in refusal_of({key: value})


def named(*names: str) -> dict[str, bool]:
    """Which of the names are hidden by default."""
    patterns = read_config({}).dashboard.redact_keys
    return {name: is_secret(name, patterns) for name in names}


@pytest.mark.rule("secret-names")
def test_names_of_secrets_are_hidden_by_default() -> None:
    assert all(
        named(
            *("password", "userPassword", "client_secret", "access_token", "Authorization", "api_key", "apiKey"),
            *("iban", "customer_iban", "card_number", "cardNumber", "cvc", "Set-Cookie", "session_id", "private_key"),
            *("api-key", "X-Api-Key", "APIKEY", "API_KEY", "apikey", "session-id", "sessionId", "JSESSIONID", "pwd"),
            *(
                "passwd",
                "db_pass",
                "passCode",
                "otp",
                "smsOtp",
                "cvv",
                "cvv2",
                "jwt",
                "customerIban",
                "IBAN",
                "userPIN",
            ),
            *(
                "refreshToken",
                "accesstoken",
                "client-secret",
                "clientSecret",
                "bearer",
                "proxy-authorization",
                "sms_tan",
            ),
            *(
                "private-key",
                "AWS_SECRET_ACCESS_KEY",
                "pan",
                "creditCard",
                "ccNumber",
                "account-number",
                "taxId",
                "ssn",
            ),
            *(
                "pin-code",
                "one.time.code",
                "recoveryCodes",
                "DATABASE_URL",
                "dsn",
                "Passwort",
                "ｐａｓｓｗｏｒｄ",
                "x-csrf-token",
            ),
        ).values()
    )


def test_ordinary_names_are_shown_by_default() -> None:
    assert not any(
        named(
            *(
                "order_id",
                "customer",
                "amount",
                "company",
                "shipping",
                "card_type",
                "authorized_by",
                "author",
                "authorId",
            ),
            *(
                "compass",
                "passenger",
                "bypass",
                "tokenizer",
                "keyboard",
                "monkey",
                "idempotency_key",
                "public_key",
                "key",
            ),
            *("spin", "spinner", "pinned", "option", "opinion", "span", "panel", "standard", "distance", "secretary"),
            *(
                "session",
                "assessment",
                "status_code",
                "countryCode",
                "account_id",
                "cards",
                "state",
                "tax_rate",
                "topic",
            ),
        ).values()
    )


def test_an_expression_of_the_hosts_is_searched_in_the_name_and_in_its_words() -> None:
    keys = read_config({"SQUIDMESH_DASHBOARD_REDACT_KEYS": [r"^X-Internal", r"(^|_)badge_no$"]}).dashboard.redact_keys
    found = [name for name in ("x-internal-note", "staffBadgeNo", "badge.no", "password") if is_secret(name, keys)]
    assert found == ["x-internal-note", "staffBadgeNo", "badge.no"]


def test_the_executor_is_made_once() -> None:
    made = []

    class Counting(Queue):
        def __init__(self) -> None:
            made.append(self)

    app = Flask("shop")
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", SQUIDMESH_EXECUTOR=Counting)
    SQLAlchemy(app)
    mesh = SquidMesh(app)
    with app.app_context():
        assert mesh.check_config() == []
        assert mesh.config.executor is Counting
        assert app.extensions["squidmesh"].executor is made[0]
    assert len(made) == 1
