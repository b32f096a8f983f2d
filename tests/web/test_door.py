"""Who may not enter learns nothing, leaves nothing, and costs nothing."""

from __future__ import annotations

import io
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from flask_wtf import CSRFProtect
from werkzeug.test import encode_multipart

from flask_squidmesh.storage.summaries import new_id
from tests.web.shop import Checkout, Import, allow_everything, mesh_of, start
from tests.web.visiting import Visitor, forms_of, text_of

FORM = "application/x-www-form-urlencoded"
OF_A_RUN = ["", ".json", "/payload/payload", "/reveal/payload", "/approve", "/cancel"]


def nobody(action: str, run: Any, permission: str | None) -> bool:
    return False


def readers(action: str, run: Any, permission: str | None) -> bool:
    return action in ("list", "view")


def token(visitor: Visitor) -> dict[str, str]:
    return forms_of(visitor.get("/help").text)["/squidmesh/prefs"]


class Unread(io.BytesIO):
    """A body that nobody may read."""

    def read(self, *_: Any) -> bytes:
        raise AssertionError("the body was read")

    readline = readinto = readlines = read  # type: ignore[assignment]


def of_size(size: int) -> dict[str, str]:
    return {"CONTENT_LENGTH": str(size)}


@pytest.fixture
def rights() -> dict[str, Any]:
    return {"authorize": allow_everything, "actor": lambda: "dana"}


@pytest.fixture
def changing(make: Any, rights: dict[str, Any]) -> Visitor:
    """With rights that a test may change."""
    hooks = {"authorize": lambda *asked: rights["authorize"](*asked), "actor": lambda: rights["actor"]()}
    visitor: Visitor = make(hooks)
    return visitor


@pytest.mark.rule("rights-before-form")
def test_a_run_is_refused_the_same_whether_or_not_there_is_one(make: Any) -> None:
    visitor = make({"authorize": nobody, "actor": lambda: "dana"})
    there, gone = start(visitor.app, Checkout), new_id()
    for end in OF_A_RUN:
        answers = [visitor.get(f"/runs/{each}{end}") for each in (there, gone, "nonsense", there.upper())]
        assert {answer.status_code for answer in answers} == {403}
        assert len({text_of(answer.text) for answer in answers}) == 1, end
    answers = [visitor.get(f"/pulse?view=run&run_id={each}") for each in (there, gone)]
    assert [answer.status_code for answer in answers] == [403, 403]
    answers = [visitor.get(f"/workflows/{each}/start") for each in ("checkout", "nonsense")]
    assert [answer.status_code for answer in answers] == [403, 403]


def test_who_may_look_is_told_that_there_is_none(visitor: Visitor) -> None:
    for end in OF_A_RUN:
        assert visitor.get(f"/runs/{new_id()}{end}").status_code == 404
    assert visitor.get("/workflows/nonsense/start").status_code == 404


SPELLINGS: list[Any] = [
    str.upper,
    "{{{}}}".format,
    "urn:uuid:{}".format,
    lambda id: UUID(id).hex,
    lambda id: f"{{{id.upper()}}}",
]


@pytest.mark.rule("pages-spelling")
def test_an_id_has_one_spelling_to_which_others_lead(changing: Visitor, rights: dict[str, Any]) -> None:
    run_id, fields = start(changing.app, Checkout), {**token(changing), "comment": "because"}
    for spell, end, method in product(SPELLINGS, ["", ".json", "/reveal/payload", "/approve"], ("GET", "HEAD")):
        asked = f"{end}?view=graph&step=r%C3%A9"
        answer = changing.client.open(f"/squidmesh/runs/{spell(run_id)}{asked}", method=method)
        assert (answer.status_code, answer.location) == (308, f"/squidmesh/runs/{run_id}{asked}")
    cancel = f"/squidmesh/runs/{run_id.upper()}/cancel"
    posted = changing.client.post(cancel, data=fields)
    assert (posted.status_code, posted.location) == (308, f"/squidmesh/runs/{run_id}/cancel")
    assert changing.status(run_id) == "paused"
    rights["authorize"] = readers
    assert changing.client.post(cancel, data=fields, follow_redirects=True).status_code == 403
    assert changing.events(run_id)[-1].type == "refused"
    rights["authorize"] = nobody
    assert changing.client.post(cancel, data=fields).status_code == 403
    assert len(changing.events(run_id)) == 3


@pytest.mark.rule("rights-before-form")
def test_the_person_is_asked_before_the_form_is_read(changing: Visitor, rights: dict[str, Any]) -> None:
    run_id = start(changing.app, Checkout)
    rights.update(authorize=nobody, actor=lambda: None)
    for path in (f"/runs/{run_id}/approve", "/workflows/checkout/start", "/bulk", f"/bulk/{new_id()}/stop"):
        answer = changing.client.post(
            "/squidmesh" + path, input_stream=Unread(), environ_overrides=of_size(100_000), content_type=FORM
        )
        assert answer.status_code == 403, path


@pytest.mark.rule("rights-before-form")
@pytest.mark.parametrize("size", [100_000_000, 6_000_000])
def test_a_body_that_is_too_large_is_not_read_and_nobody_asked_about(
    changing: Visitor, rights: dict[str, Any], size: int
) -> None:
    run_id, asked = start(changing.app, Checkout), list[str]()
    rights["authorize"] = lambda action, *_: asked.append(action)
    for kind in (FORM, "multipart/form-data; boundary=x", "application/json"):
        answer = changing.client.post(
            f"/squidmesh/runs/{run_id}/approve",
            input_stream=Unread(),
            environ_overrides=of_size(size),
            content_type=kind,
        )
        assert (answer.status_code, "approve" in asked) == (413, False)
        assert "more than this dashboard takes" in text_of(answer.text)


@pytest.mark.rule("rights-before-form")
@pytest.mark.parametrize("protected", [False, True])
def test_a_form_of_countless_fields_is_not_taken_apart(make: Any, protected: bool) -> None:
    """Neither by the host's own check, which looks for its token before anybody is asked."""
    visitor = make(MAX_FORM_PARTS=None)
    if protected:
        CSRFProtect(visitor.app)
    run_id, fields = start(visitor.app, Checkout), token(visitor)
    known = "&".join(f"{name}={value}" for name, value in fields.items())
    answer = visitor.client.post(
        f"/squidmesh/runs/{run_id}/approve", data=f"{known}{'&a=' * 1_000_000}", content_type=FORM
    )
    assert answer.status_code == 413
    parts = "".join(f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n\r\n' for n in range(5_000))
    answer = visitor.client.post(
        f"/squidmesh/runs/{run_id}/approve", data=f"{parts}--x--", content_type="multipart/form-data; boundary=x"
    )
    assert answer.status_code == 413
    assert visitor.status(run_id) == "paused"


def test_the_hosts_own_check_reads_no_more_either_and_keeps_its_settings(make: Any) -> None:
    visitor = make(MAX_CONTENT_LENGTH=None, MAX_FORM_MEMORY_SIZE=None)
    CSRFProtect(visitor.app)
    run_id = start(visitor.app, Checkout)
    answer = visitor.client.post(
        f"/squidmesh/runs/{run_id}/approve",
        input_stream=Unread(),
        environ_overrides=of_size(100_000_000),
        content_type=FORM,
    )
    assert answer.status_code == 413
    assert visitor.app.config["MAX_CONTENT_LENGTH"] is None


def test_a_payload_of_the_size_that_is_allowed_may_be_sent(visitor: Visitor) -> None:
    fields = visitor.form("/workflows/checkout/start")
    typed = {"payload.order_id": "7", "payload.note": "\u00fc" * 400_000}
    answer = visitor.send("/workflows/checkout/start", fields, **typed)
    assert answer.status_code == 303, text_of(answer.text)[:400]
    boundary, parts = encode_multipart({**fields, **typed})
    answer = visitor.client.post(
        "/squidmesh/workflows/checkout/start", data=parts, content_type=f"multipart/form-data; boundary={boundary}"
    )
    assert answer.status_code == 303, text_of(answer.text)[:400]


@pytest.mark.rule("rights-unnamed")
def test_nothing_is_kept_of_somebody_without_a_name(changing: Visitor, rights: dict[str, Any]) -> None:
    run_id, fields = start(changing.app, Checkout), token(changing)
    rights.update(authorize=nobody, actor=lambda: None)
    for _ in range(3):
        assert changing.send(f"/runs/{run_id}/cancel", fields, comment="because").status_code == 403
    rights["actor"] = lambda: "kim"
    assert changing.send(f"/runs/{run_id}/cancel", {"comment": "because"}).status_code == 403
    assert [event.type for event in changing.events(run_id)] == ["paused"]


def test_acting_at_another_step_than_the_address_names_takes_the_right_there(make: Any) -> None:
    visitor = make({"authorize": lambda action, run, permission: permission != "quality", "actor": lambda: "kim"})
    run_id = start(visitor.app, Import)
    fields = visitor.form(f"/runs/{run_id}/approve?step=customs")
    answer = visitor.client.post(f"/squidmesh/runs/{run_id}/approve?step=customs", data={**fields, "step": "quality"})
    with visitor.app.app_context():
        waiting = mesh_of(visitor.app).explain_run(run_id)
    assert "quality" in {action.step for action in waiting.next_actions}, answer.status_code
