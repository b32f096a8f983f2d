"""Actions do what their page said, once, and nothing when the page was stale."""

from __future__ import annotations

import re
from html import unescape

import pytest

from tests.web.shop import Billing, Checkout, Import, Labels, Packing, Payout, Shipping, start, work
from tests.web.visiting import PREFIX, Visitor, text_of


def test_approve_records_who_and_why_and_the_run_goes_on(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    answer = visitor.send(f"/runs/{run_id}/approve", comment="known customer")
    assert (answer.status_code, answer.location) == (303, f"/squidmesh/runs/{run_id}")
    work(visitor.app)
    page = visitor.read(f"/runs/{run_id}")
    assert visitor.status(run_id) == "completed"
    assert "dana approved review known customer" in page
    assert "Approved." in page


def test_reject_goes_to_the_other_step(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    visitor.send(f"/runs/{run_id}/reject", comment="fraud")
    work(visitor.app)
    steps = visitor.app.extensions["mesh"]
    with visitor.app.app_context():
        done = {step.step: step.status for step in steps.inspect_run(run_id, include_history=True).steps}
    assert (done["decline"], done["capture"]) == ("completed", "waiting")


def test_the_page_of_an_action_says_what_it_leads_to(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    page = visitor.read(f"/runs/{run_id}/approve")
    assert "Step: review Question: Capture 120 EUR for order 7? Continues at capture , which cannot be undone" in page
    assert "Goes to decline" in visitor.read(f"/runs/{run_id}/reject")


def test_a_required_comment_is_asked_for_and_what_was_typed_stays(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    fields = visitor.form(f"/runs/{run_id}/reject")
    answer = visitor.send(f"/runs/{run_id}/reject", fields, comment="   ")
    assert answer.status_code == 422
    assert "Say why, in a few words" in text_of(answer.text)
    assert fields["key"] in answer.text
    assert visitor.status(run_id) == "paused"


def test_which_comments_are_required_is_the_hosts_to_say(make) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_COMMENT_REQUIRED=["approve"])
    run_id = start(visitor.app, Checkout, "7")
    assert visitor.send(f"/runs/{run_id}/approve", comment="").status_code == 422
    assert visitor.send(f"/runs/{run_id}/reject", comment="").status_code == 303


def test_a_stale_form_does_nothing_and_says_who_was_faster(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    stale = visitor.form(f"/runs/{run_id}/reject")
    with visitor.app.app_context():
        visitor.app.extensions["mesh"].approve_run(run_id, actor="lee")
    answer = visitor.send(f"/runs/{run_id}/reject", stale, comment="fraud")
    assert answer.status_code == 409
    assert "Nothing was done" in text_of(answer.text)
    assert "lee approved review" in text_of(answer.text)
    assert [event.type for event in visitor.events(run_id)].count("rejected") == 0


def test_sending_a_form_twice_does_it_once_and_answers_the_same(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    fields = visitor.form(f"/runs/{run_id}/approve")
    first = visitor.send(f"/runs/{run_id}/approve", fields)
    second = visitor.send(f"/runs/{run_id}/approve", fields)
    assert (first.status_code, first.location) == (second.status_code, second.location) == (303, second.location)
    assert [event.type for event in visitor.events(run_id)].count("approved") == 1


def test_two_replays_of_one_form_make_one_run(visitor: Visitor) -> None:
    run_id = start(visitor.app, Labels, "7")
    fields = visitor.form(f"/runs/{run_id}/replay")
    first = visitor.send(f"/runs/{run_id}/replay", fields)
    assert visitor.send(f"/runs/{run_id}/replay", fields).location == first.location


@pytest.mark.rule("expected-replayed")
def test_a_run_that_somebody_has_replayed_since_the_page_was_shown_is_not_replayed_again(visitor: Visitor) -> None:
    run_id = start(visitor.app, Labels, "7")
    stale = visitor.form(f"/runs/{run_id}/replay")
    with visitor.app.app_context():
        visitor.app.extensions["mesh"].replay_run(run_id, actor="lee")
    answer = visitor.send(f"/runs/{run_id}/replay", stale)
    assert answer.status_code == 409
    assert "lee replayed" in text_of(answer.text)
    assert [event.type for event in visitor.events(run_id)].count("replayed") == 1


def test_after_acting_from_the_inbox_one_is_back_there(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    answer = visitor.send(f"/runs/{run_id}/approve?next=/squidmesh/")
    assert answer.location == "/squidmesh/"


@pytest.mark.rule("needs-you-through")
def test_one_goes_through_the_inbox_one_by_one(visitor: Visitor) -> None:
    first, second, third = (start(visitor.app, Checkout, str(number)) for number in range(3))
    assert "Go through them one by one" in visitor.read("/")
    at_first = visitor.get("/next").location
    assert at_first.startswith(f"/squidmesh/runs/{first}?")
    skipped = re.search(
        r'href="/squidmesh(/next[^"]+)">Skip to the next', visitor.get(at_first.removeprefix(PREFIX)).text
    )
    assert skipped
    at_second = visitor.get(unescape(skipped[1])).location
    assert f"/runs/{second}?" in at_second
    page = visitor.get(at_second.removeprefix(PREFIX)).text
    button = re.search(rf'href="/squidmesh(/runs/{second}/approve[^"]+)"', page)
    assert button
    acted = visitor.send(unescape(button[1]))
    at_third = visitor.get(acted.location.removeprefix(PREFIX)).location
    assert f"/runs/{third}?" in at_third
    at_the_end = re.search(r"at=[^&]+", at_third)
    assert at_the_end
    assert visitor.get(f"/next?among=groups&{at_the_end[0]}").location == "/squidmesh/?tab=groups"


@pytest.mark.rule("rights-conflict")
def test_a_form_sent_by_htmx_moves_the_whole_page_when_it_is_done(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    path, by_htmx = f"/squidmesh/runs/{run_id}/reject", {"HX-Request": "true"}
    fields = visitor.form(f"/runs/{run_id}/reject")
    wrong = visitor.client.post(path, data=fields, headers=by_htmx)
    assert (wrong.status_code, 'id="action"' in wrong.text) == (422, True)
    answer = visitor.client.post(path, data={**fields, "comment": "fraud"}, headers=by_htmx)
    assert (answer.status_code, answer.text) == (200, "")
    assert answer.headers["HX-Redirect"] == f"/squidmesh/runs/{run_id}"


@pytest.mark.parametrize("target", ["//evil.example/", "https://evil.example/", "/\\evil.example", "evil", "/\n/evil"])
def test_next_leads_nowhere_else(visitor: Visitor, target: str) -> None:
    run_id = start(visitor.app, Checkout, "7")
    answer = visitor.send(f"/runs/{run_id}/approve", next=target)
    assert answer.location == f"/squidmesh/runs/{run_id}"


def test_resume_after_a_pause(visitor: Visitor) -> None:
    run_id = start(visitor.app, Packing, "7")
    visitor.send(f"/runs/{run_id}/resume")
    work(visitor.app)
    assert visitor.status(run_id) == "completed"


def test_cancel_undoes_only_what_was_asked_for(visitor: Visitor) -> None:
    kept, undone = start(visitor.app, Checkout, "7"), start(visitor.app, Checkout, "8")
    assert "Also undo what is done: reserve" in visitor.read(f"/runs/{kept}/cancel")
    visitor.send(f"/runs/{kept}/cancel", comment="not wanted")
    visitor.send(f"/runs/{undone}/cancel", comment="not wanted", compensate="yes")
    work(visitor.app)
    with visitor.app.app_context():
        mesh = visitor.app.extensions["mesh"]
        assert mesh.inspect_run(kept).compensation is None
        assert mesh.inspect_run(undone).compensation == "completed"


def test_replay_lands_on_the_new_run_and_both_are_linked(visitor: Visitor) -> None:
    run_id = start(visitor.app, Labels, "7")
    answer = visitor.send(f"/runs/{run_id}/replay")
    new_id = answer.location.rpartition("/")[2]
    assert new_id != run_id
    back = visitor.get(f"/runs/{new_id}").text
    assert f'href="/squidmesh/runs/{run_id}"' in back
    assert "replayed by this run" in text_of(back)
    assert f'href="/squidmesh/runs/{new_id}"' in visitor.get(f"/runs/{run_id}").text


def _completed(visitor: Visitor) -> str:
    run_id = start(visitor.app, Checkout, "7")
    visitor.send(f"/runs/{run_id}/approve")
    work(visitor.app)
    return run_id


def test_everything_that_is_wrong_with_a_form_is_said_at_once(visitor: Visitor) -> None:
    answer = visitor.send(f"/runs/{_completed(visitor)}/replay", comment=" ", confirm="captur")
    assert answer.status_code == 422
    assert 'id="confirm-problem"' in answer.text
    assert 'id="comment-problem"' in answer.text


def test_what_a_replay_repeats_is_said_for_the_step_at_which_it_begins(visitor: Visitor) -> None:
    answer = visitor.send(f"/runs/{_completed(visitor)}/replay", comment="again", from_step="receipt")
    assert answer.status_code == 422
    page = text_of(answer.text)
    assert "A replay from receipt repeats what cannot be undone: receipt has taken effect Type receipt" in page


def test_a_replay_that_repeats_the_irreversible_wants_the_steps_name_typed(visitor: Visitor) -> None:
    run_id = _completed(visitor)
    asked = visitor.read(f"/runs/{run_id}/replay")
    assert "Starts a new run with the same payload" in asked
    assert "A replay from the beginning repeats what cannot be undone: capture has taken effect" in asked
    refused = visitor.send(f"/runs/{run_id}/replay", comment="again", confirm="captur")
    assert refused.status_code == 422
    assert "Type capture to confirm" in text_of(refused.text)
    assert visitor.send(f"/runs/{run_id}/replay", comment="again", confirm="capture").status_code == 303


def test_an_irreversible_replay_wants_a_comment(visitor: Visitor) -> None:
    run_id = _completed(visitor)
    assert visitor.send(f"/runs/{run_id}/replay", confirm="capture").status_code == 422


def test_an_irreversible_replay_has_a_right_of_its_own(make) -> None:
    visitor = make({"authorize": lambda action, run, permission: action != "replay_irreversible", "actor": lambda: "x"})
    run_id = _completed(visitor)
    assert visitor.get(f"/runs/{run_id}/replay").status_code == 403
    assert "You cannot: You do not have the right" in visitor.read(f"/runs/{run_id}")


def test_a_replay_cannot_begin_where_the_run_never_was(visitor: Visitor) -> None:
    run_id = start(visitor.app, Billing, "7")
    answer = visitor.send(f"/runs/{run_id}/replay", from_step="take")
    assert answer.status_code == 422
    assert "compensated" in text_of(answer.text)


def test_acknowledge_takes_a_failed_run_off_the_inbox(visitor: Visitor) -> None:
    run_id = start(visitor.app, Labels, "7")
    assert "Label 7" in visitor.read("/")
    visitor.send(f"/runs/{run_id}/acknowledge")
    assert "Label 7" not in visitor.read("/")


def test_an_interrupted_step_can_be_resolved_with_its_output(visitor: Visitor) -> None:
    run_id = start(visitor.app, Payout, "7")
    assert visitor.send(f"/runs/{run_id}/resolve", output="{nonsense").status_code == 422
    assert visitor.send(f"/runs/{run_id}/resolve", output="[1]").status_code == 422
    assert visitor.send(f"/runs/{run_id}/resolve", output='{"transfer": "t-1"}').status_code == 303
    assert visitor.status(run_id) == "completed"


def test_an_interrupted_step_can_be_failed_for_a_reason(visitor: Visitor) -> None:
    run_id = start(visitor.app, Payout, "7")
    assert visitor.send(f"/runs/{run_id}/fail", reason=" ").status_code == 422
    assert visitor.send(f"/runs/{run_id}/fail", reason="the bank sent it back").status_code == 303
    assert visitor.status(run_id) == "failed"


def test_an_interrupted_step_can_be_run_again(visitor: Visitor) -> None:
    run_id = start(visitor.app, Payout, "7")
    assert visitor.send(f"/runs/{run_id}/retry").status_code == 303
    assert visitor.status(run_id) in ("pending", "running")


def test_what_is_not_possible_says_why(visitor: Visitor) -> None:
    run_id = start(visitor.app, Shipping, "7")
    page = visitor.get(f"/runs/{run_id}/approve")
    assert page.status_code == 409
    assert "not now: no approval is open" in text_of(page.text)


@pytest.mark.rule("rights-conflict")
@pytest.mark.parametrize("fields", [None, {"step": "review"}])
def test_a_decision_that_was_taken_is_told_as_such_to_who_might_have_taken_it(make, fields) -> None:
    def reviewer(action: str, _run: object, permission: str | None) -> bool:
        return action != "approve" or permission == "payments.review"

    visitor = make({"authorize": reviewer, "actor": lambda: "dana"})
    run_id = start(visitor.app, Checkout, "7")
    form = visitor.form(f"/runs/{run_id}/approve")
    token = {name: form[name] for name in form if name not in ("step", "expected", "key")}
    visitor.send(f"/runs/{run_id}/approve")
    for _ in range(2):
        assert visitor.get(f"/runs/{run_id}/approve", query_string=fields).status_code == 409
        assert visitor.send(f"/runs/{run_id}/approve", {**token, **(fields or {})}).status_code == 409
        work(visitor.app)


def test_somebody_with_one_of_two_permissions_chooses_among_what_they_may_decide(make) -> None:
    visitor = make({"authorize": lambda action, run, permission: permission != "customs", "actor": lambda: "dana"})
    run_id = start(visitor.app, Import, "7")
    page = visitor.read(f"/runs/{run_id}/approve")
    assert "Which one? quality" in page


def test_stopping_a_run_looks_dangerous(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    assert '<button class="btn danger">Cancel run</button>' in visitor.get(f"/runs/{run_id}/cancel").text


def test_an_unknown_action_is_an_unknown_page(visitor: Visitor) -> None:
    run_id = start(visitor.app, Shipping, "7")
    assert visitor.get(f"/runs/{run_id}/explode").status_code == 404


def test_where_several_decisions_are_open_one_says_which(visitor: Visitor) -> None:
    run_id = start(visitor.app, Import, "7")
    assert "Several steps wait. Which one? customs quality" in visitor.read(f"/runs/{run_id}/approve")
    page = visitor.read(f"/runs/{run_id}")
    assert "Approve customs…" in page
    assert "Approve quality…" in page
    assert visitor.send(f"/runs/{run_id}/approve?step=quality").status_code == 303
    assert [event.step for event in visitor.events(run_id) if event.type == "approved"] == ["quality"]


def test_a_decision_is_never_taken_without_its_step(visitor: Visitor) -> None:
    run_id = start(visitor.app, Import, "7")
    fields = visitor.form(f"/runs/{run_id}/approve?step=quality")
    del fields["step"]
    assert visitor.send(f"/runs/{run_id}/approve", fields).status_code != 303
    assert not [event for event in visitor.events(run_id) if event.type == "approved"]


def test_a_step_that_was_never_asked_about_cannot_be_decided(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    fields = visitor.form(f"/runs/{run_id}/approve")
    answer = visitor.send(f"/runs/{run_id}/approve", fields, step="capture", expected="capture#1")
    assert answer.status_code == 409
    assert visitor.status(run_id) == "paused"


def test_the_page_of_an_action_shows_question_and_payload(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    page = visitor.read(f"/runs/{run_id}/approve")
    assert "Question: Capture 120 EUR for order 7?" in page
    assert '"note": "leave at the door"' in page
