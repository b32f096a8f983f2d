from __future__ import annotations

import pytest

from flask_squidmesh.engine.error_records import error, fingerprint
from flask_squidmesh.errors import ErrorRecord


@pytest.mark.rule("errors-kept")
def test_an_error_of_our_own_has_every_part() -> None:
    assert error("Rejected", "no", code="rejected") == {
        "type": "Rejected",
        "message": "no",
        "code": "rejected",
        "details": None,
        "traceback": None,
        "retryable": False,
    }


@pytest.mark.rule("errors-fingerprint")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 17 not found", "order 4711 not found"),
        ("run 01890a5d-ac96-774b-bcce-b302099a8057", "run 01890a5d-ac96-774b-bcce-b302099a8058"),
        ("object at 0x7f3a", "object at 0xdead"),
        ("token deadbeefdeadbeef", "token 0123456789abcdef"),
    ],
)
def test_errors_that_differ_in_numbers_and_ids_are_the_same(one: str, other: str) -> None:
    assert fingerprint("w", "s", error("E", one)) == fingerprint("w", "s", error("E", other))


@pytest.mark.parametrize(
    "other",
    [
        ("v", "s", error("E", "no")),
        ("w", "t", error("E", "no")),
        ("w", None, error("E", "no")),
        ("w", "s", error("F", "no")),
        ("w", "s", error("E", "yes")),
        ("w", "s", error("E", "no", code="c")),
    ],
)
def test_errors_elsewhere_or_of_another_kind_are_not(other: tuple[str, str | None, ErrorRecord]) -> None:
    assert fingerprint("w", "s", error("E", "no")) != fingerprint(*other)


def test_an_error_without_a_text_has_a_fingerprint_too() -> None:
    assert len(fingerprint("w", None, error("", ""))) == 32
