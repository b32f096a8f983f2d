"""What the pages show, and that looking changes nothing."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest

from flask_squidmesh import Fixed, Manual, Retry, Step, Workflow
from tests.web.shop import (
    Billing,
    Checkout,
    Import,
    Labels,
    Order,
    Packing,
    Payout,
    Reminder,
    advance,
    broken,
    fill,
    make_app,
    mesh_of,
    reserve,
    start,
    work,
)
from tests.web.visiting import Visitor, pulse_of, queries, text_of


@pytest.fixture
def everywhere(migrated_url: str) -> Visitor:
    """On SQLite and on PostgreSQL."""
    return Visitor(make_app(migrated_url))


def test_the_inbox_lists_what_needs_a_person_overdue_first(everywhere: Visitor) -> None:
    start(everywhere.app, Packing, "early")
    start(everywhere.app, Checkout, "late")
    start(everywhere.app, Reminder, "quiet")
    start(everywhere.app, Labels, "broken")
    start(everywhere.app, Payout, "half")
    advance(everywhere.app, timedelta(hours=5))
    page, problems = everywhere.read("/"), everywhere.read("/?tab=problems")
    for text, names in ((page, ("Order late", "Parcel early")), (problems, ("Label broken", "Payout half"))):
        order = [text.index(name) for name in names]
        assert order == sorted(order)
    assert ("quiet" in page, "Label broken" in page, "Parcel early" in problems) == (False, False, False)
    assert "1 h overdue" in page
    assert "Capture 120 EUR for order late?" in page
    assert "Approve continues at capture , which cannot be undone ; Reject goes to decline" in page


def test_the_count_of_what_needs_a_person_is_in_navigation_and_title(visitor: Visitor) -> None:
    start(visitor.app, Checkout, "7")
    start(visitor.app, Labels, "8")
    page = visitor.get("/runs").text
    assert "<title>(2) Runs" in page
    assert '<span class="count hot">2</span>' in page


def test_what_was_settled_elsewhere_is_gone_at_the_next_look(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    assert "Order 7" in visitor.read("/")
    with visitor.app.app_context():
        visitor.app.extensions["mesh"].reject_run(run_id, actor="lee")
    assert "Order 7" not in visitor.read("/")


def test_an_empty_inbox_says_what_is_going_on(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    visitor.send(f"/runs/{run_id}/approve")
    work(visitor.app)
    start(visitor.app, Reminder, "8")
    page = visitor.read("/")
    assert re.search(r"Nothing needs you. Last decision: dana, (just now|\d+ s ago) . 1 run is in progress.", page)


def test_failures_of_one_kind_are_one_item(visitor: Visitor) -> None:
    for _ in range(3):
        start(visitor.app, Labels, "same")
    page = visitor.read("/")
    assert "3 runs same error Failed Labels: label" in page
    assert "Replay: all 3…" in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("word=decision", {"Order 88213"}),
        ("word=paused", {"Parcel 441"}),
        ("word=stuck", {"Payout 12"}),
        ("word=failed", {"Label 90017", "Bill 90018"}),
        ("word=retrying", {"Shipment 90030"}),
        ("word=waiting", {"Reminder 77"}),
        ("workflow=billing", {"Bill 90018"}),
        ("step=review", {"Order 88213"}),
        ("q=Order", {"Order 88213"}),
        ("q=step:take", {"Bill 90018"}),
        ("q=workflow:packing", {"Parcel 441"}),
        ("since=1h&word=decision", {"Order 88213"}),
    ],
)
def test_every_filter_is_in_the_address(visitor: Visitor, query: str, expected: set[str]) -> None:
    fill(visitor.app)
    subjects = ("Order 88213", "Parcel 441", "Payout 12", "Label 90017", "Bill 90018", "Shipment 90030", "Reminder 77")
    page = visitor.read(f"/runs?{query}")
    assert {subject for subject in subjects if subject in page} == expected


def test_a_run_is_found_by_its_id_by_how_it_begins_and_as_it_is_shown(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    for text in (run_id, run_id[:13], f"{run_id[:13]}…{run_id[-4:]}"):
        assert "Order 7" in visitor.read(f"/runs?q={text}")


def test_a_search_that_means_nothing_says_what_does(visitor: Visitor) -> None:
    start(visitor.app, Checkout, "7")
    assert "Search takes a run id" in visitor.read("/runs?after=nonsense")


def test_a_list_without_matches_offers_to_remove_each_filter(visitor: Visitor) -> None:
    start(visitor.app, Checkout, "7")
    page = visitor.get("/runs?workflow=billing&q=Order").text
    assert "No run matches." in page
    assert 'href="/squidmesh/runs?q=Order"' in page
    assert 'href="/squidmesh/runs?workflow=billing"' in page


def test_a_new_installation_is_told_how_to_begin(visitor: Visitor) -> None:
    assert "mesh.start_run(" in visitor.read("/runs")


def test_pages_of_a_list_follow_each_other_without_gap_or_repeat(make) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_PAGE_SIZES=[2])
    for number in range(5):
        start(visitor.app, Reminder, f"n{number}")
    seen, path = [], "/runs"
    while path:
        page = visitor.get(path.removeprefix("/squidmesh")).text
        seen += [word for word in text_of(page).split() if word.startswith("n") and word[1:].isdigit()]
        path = _older(page)
    assert seen == ["n4", "n3", "n2", "n1", "n0"]


def _older(page: str) -> str:
    found = re.search(r'href="([^"]+)" rel="next"', page)
    return unescape(found[1]) if found else ""


def test_counts_are_capped_and_say_so(make) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_COUNT_LIMIT=1)
    start(visitor.app, Labels, "7")
    start(visitor.app, Labels, "8")
    assert "Failed (1+)" in visitor.read("/runs")


def test_the_run_page_explains_shows_and_offers(everywhere: Visitor) -> None:
    run_id = start(everywhere.app, Checkout, "7")
    page = everywhere.read(f"/runs/{run_id}")
    for text in (
        "It waits for a decision at review , due in 3 h",
        "Capture 120 EUR for order 7? review",
        "Approve continues at capture , which cannot be undone",
        "Cancel run… stops the run here, for good; you choose whether to undo reserve",
        "Replay not now: the run has not ended",
        "buyer@shop.test started the run",
    ):
        assert text in page


def test_a_failed_step_shows_its_own_frames_first(visitor: Visitor) -> None:
    run_id = start(visitor.app, Labels, "7")
    page = visitor.read(f"/runs/{run_id}")
    assert "label failed: ValueError: the label printer of 7 is out of paper" in page
    assert "Traceback, 1 frame of yours" in page
    assert page.index("in broken") < page.index("Everything, as Python prints it")


def test_a_step_is_chosen_by_the_address(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    output = 'Output { "reservation": "r-7"'
    assert output not in visitor.read(f"/runs/{run_id}")
    assert output in visitor.read(f"/runs/{run_id}?step=reserve")


def test_undone_steps_are_shown_as_such(visitor: Visitor) -> None:
    run_id = start(visitor.app, Billing, "7")
    page = visitor.read(f"/runs/{run_id}")
    assert "Undone hold undoing" in page
    assert "Undone since: hold" in page


def test_what_a_run_that_has_ended_did_not_reach_is_not_said_to_come_yet(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    assert "Not yet" in visitor.read(f"/runs/{run_id}")
    visitor.send(f"/runs/{run_id}/approve")
    work(visitor.app)
    for view in ("", "?view=graph"):
        page = visitor.read(f"/runs/{run_id}{view}")
        assert "Not reached" in page
        assert "Not yet" not in page


def test_what_could_not_be_undone_can_be_tried_again_from_the_inbox(visitor: Visitor) -> None:
    class Refund(Workflow):
        refund = Manual(Order)
        hold = Step(reserve, compensate=broken)
        send = Step(broken)
        flow = [hold >> send]

    mesh_of(visitor.app).register(Refund)
    start(visitor.app, Refund, "7")
    page = visitor.read("/")
    assert "Try again to undo…" in page
    assert "It failed, and hold could not be undone: ValueError: the label printer of 7" in page


def test_the_inbox_counts_by_the_same_words_as_the_list(visitor: Visitor) -> None:
    fill(visitor.app)
    page, problems = visitor.read("/"), visitor.read("/?tab=problems")
    for text in ("Mine 0 My groups 2 Others 0 Problems 3", "Decision", "Paused"):
        assert text in page
    for text in ("Mine 0 My groups 2 Others 0 Problems 3", "Stuck (1)", "Failed (2)"):
        assert text in problems
    narrowed = visitor.read("/?word=stuck")
    assert "Payout 12" in narrowed
    assert "Label 90017" not in narrowed


def test_the_graph_names_every_step(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    page = visitor.read(f"/runs/{run_id}?view=graph")
    assert all(step in page for step in ("reserve", "review", "capture", "receipt", "decline", "reject"))


def test_workflows_are_listed_with_their_runs(visitor: Visitor) -> None:
    start(visitor.app, Checkout, "7")
    for number in range(2):
        start(visitor.app, Labels, str(number))
    page = visitor.get("/workflows").text
    rows = re.findall(r"<tr data-row>.*?</tr>", page, re.DOTALL)
    labels, checkout = text_of(rows[0]), next(row for row in rows if ">Checkout</a>" in row)
    assert labels.startswith("Labels")
    assert "2 of 2" in labels
    assert "Reserve, have it reviewed, capture." in checkout
    assert "?workflow=checkout" in checkout
    assert "the 1 that failed in the last 24 h comes first" in text_of(page)
    assert "Decision 1" in visitor.read("/workflows/checkout")


def _parts(page: str, part: str) -> list[str]:
    end = {"task": "</ol>", "decision": "</article>"}[part]
    return [each.partition(end)[0] for each in re.split(rf'<(?:li|article) class="{part}', page)[1:]]


def test_each_decision_that_is_open_has_its_own_question_and_buttons(visitor: Visitor) -> None:
    run_id = start(visitor.app, Import, "7")
    pages = {"task": visitor.get("/").text, "decision": visitor.get(f"/runs/{run_id}").text}
    for tag, page in pages.items():
        steps = ("customs", "quality")
        cards = {step: part for part in _parts(page, tag) for step in steps if f"<b>{step}</b>" in part}
        assert set(cards) == set(steps)
        for step, question in (("customs", "Are the papers of 7 complete?"), ("quality", "Is 7 sound?")):
            other = {"customs": "quality", "quality": "customs"}[step]
            assert question in cards[step]
            addresses = re.findall(r'href="([^"]*/(?:approve|reject)[^"]*)"', cards[step])
            assert len(addresses) == 2
            assert all(f"step={step}" in address for address in addresses), step
            assert other not in cards[step], step
    assert "Several decisions are open: customs , quality" in text_of(pages["decision"])
    visitor.send(f"/runs/{run_id}/approve?step=customs", {**visitor.form(f"/runs/{run_id}/approve?step=customs")})
    assert "Is 7 sound?" in visitor.read("/")
    assert "Are the papers" not in visitor.read("/")


def test_a_decision_says_whose_it_is_and_by_when(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    now = visitor.get(f"/runs/{run_id}").text.partition('<section class="now')[2].partition("</section>")[0]
    assert "permission payments.review" in text_of(now)
    assert re.search(r"due in (4 h|3 h 59 min) due \d+ \w+ \d\d:\d\d", text_of(now))
    advance(visitor.app, timedelta(hours=5))
    now = visitor.get(f"/runs/{run_id}").text.partition('<section class="now')[2].partition("</section>")[0]
    assert "overdue by" in text_of(now)


def test_a_decision_is_overdue_on_every_page_from_the_very_moment_that_it_is_due(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start(visitor.app, Checkout, "7")
    mesh, clock = mesh_of(visitor.app), visitor.app.extensions["squidmesh"].clock
    with visitor.app.app_context():
        needs = mesh.inspect_run(run_id).needs
    assert needs is not None
    assert needs.due_at is not None
    due_at = needs.due_at
    monkeypatch.setattr(clock, "now", lambda: due_at - timedelta(microseconds=1))
    told = {"/": "0 s overdue", "/runs": "overdue by 0 s", f"/runs/{run_id}": "overdue by 0 s"}
    for path, late in told.items():
        assert late not in visitor.read(path)
    monkeypatch.setattr(clock, "now", lambda: due_at)
    for path, late in told.items():
        assert late in visitor.read(path), path
    with visitor.app.app_context():
        assert mesh.explain_run(run_id).details["deadline"] == "overdue"


class Transferring(Workflow):
    """A step that takes long."""

    begin = Manual(Order)
    send = Step(broken, within=timedelta(hours=2), retry=Retry(3, backoff=Fixed(3 * 3600)))


def test_a_step_that_takes_long_is_shown_as_late(visitor: Visitor) -> None:
    with visitor.app.app_context():
        mesh_of(visitor.app).register(Transferring)
    run_id = start(visitor.app, Transferring, "9")
    work(visitor.app)
    page = visitor.read(f"/runs/{run_id}")
    assert "It should end in" in page
    assert "overdue" not in page
    advance(visitor.app, timedelta(hours=2, minutes=30))
    work(visitor.app)
    now = visitor.get(f"/runs/{run_id}").text.partition('<section class="now')[2].partition("</section>")[0]
    assert "it should have ended 30 min ago" in text_of(now)
    assert "30 min overdue" in visitor.read(f"/runs/{run_id}")
    assert "30 min overdue" in visitor.read(f"/runs/{run_id}?view=graph")
    assert "told that send should have ended" in visitor.read(f"/runs/{run_id}?view=history")
    assert "overdue by 30 min" in visitor.read("/runs")


REFUSED_ADDRESSES = (
    *(
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "\x01javascript:1",
    ),
    *("data:text/html,x", "vbscript:x", "java\tscript:x", "blob:x", "file:///etc/passwd", "\u2028javascript:x"),
)
ADDRESSES = (
    "/logs",
    "logs?at=10:30",
    "#a:b",
    "//cdn.test/x",
    "https://x.test/a",
    "HTTP://x.test",
    "mailto:a@x.test",
    "?a",
)


@pytest.mark.rule("rights-senseless")
def test_links_that_would_run_something_are_left_out(make) -> None:
    given = [(f"link {number}", each) for number, each in enumerate((*REFUSED_ADDRESSES, *ADDRESSES))]
    visitor = make({"authorize": lambda *asked: True, "links": lambda run: given})
    page = visitor.get(f"/runs/{start(visitor.app, Checkout, '7')}").text
    shown = [number for number in range(len(given)) if f">link {number}</a>" in page]
    assert shown == list(range(len(REFUSED_ADDRESSES), len(given)))


def test_links_of_the_host_stand_with_the_run(make) -> None:
    visitor = make({"authorize": lambda *asked: True, "links": lambda run: [("Logs", f"/logs/{run.id}")]})
    run_id = start(visitor.app, Checkout, "7")
    assert f'<a href="/logs/{run_id}">Logs</a>' in visitor.get(f"/runs/{run_id}").text


def test_title_environment_and_way_back_are_the_hosts(make) -> None:
    visitor = make(
        SQUIDMESH_DASHBOARD_TITLE="Acme", SQUIDMESH_DASHBOARD_ENVIRONMENT="PROD", SQUIDMESH_DASHBOARD_BACK_URL="/app"
    )
    page = visitor.get("/runs").text
    assert "Runs · Acme PROD</title>" in page
    assert 'href="/app"' in page


def test_times_are_in_the_hosts_zone(make) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_TIMEZONE="Asia/Tokyo")
    run_id = start(visitor.app, Checkout, "7")
    assert " JST" in visitor.read(f"/runs/{run_id}")


def test_a_list_needs_few_queries(visitor: Visitor) -> None:
    fill(visitor.app)
    for path, most in (("/runs", 5), ("/", 8)):
        assert len(queries(visitor, path)) <= most, path


def test_the_list_is_turned_by_the_head_of_its_column(everywhere: Visitor) -> None:
    for number in range(3):
        start(everywhere.app, Reminder, f"n{number}")
        advance(everywhere.app, timedelta(minutes=1))
    newest = everywhere.get("/runs?size=2").text
    turned = re.search(r'aria-sort="descending"><a href="/squidmesh([^"]+)"', newest)
    assert turned
    oldest = everywhere.get(unescape(turned[1])).text
    assert 'aria-sort="ascending"' in oldest
    for page, order in ((newest, ["n2", "n1", "n0"]), (oldest, ["n0", "n1", "n2"])):
        assert re.findall(r"Reminder (n[0-9])</a>", page) == order
    assert everywhere.get(pulse_of(oldest)).status_code == 204


def test_a_row_says_where_the_run_is_and_what_comes_next(visitor: Visitor) -> None:
    ids = fill(visitor.app)
    page = visitor.get("/runs").text
    rows = {word: text_of(page.partition(f'id="row-{id}"')[2].partition("</tr>")[0]) for word, id in ids.items()}
    assert "review due in" in rows["decision"]
    assert re.search("attempt 1 of [0-9]+, next in", rows["retrying"])
    assert "so far" in rows["decision"]
    assert "under way" in text_of(page)


def test_a_run_that_was_rejected_is_told_so_in_the_list_and_among_the_last_runs(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    visitor.send(f"/runs/{run_id}/reject", comment="no")
    work(visitor.app)
    row = visitor.get("/runs").text.partition(f'id="row-{run_id}"')[2].partition("</tr>")[0]
    assert "st-completed" not in row
    assert "Rejected" in text_of(row)
    bars = visitor.get("/workflows").text.partition(">Checkout</a>")[2].partition("</tr>")[0]
    assert ('class="g-rejected"' in bars, 'class="g-completed"' in bars) == (True, False)
