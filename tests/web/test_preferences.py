"""What a reader prefers: the zone of times, kept in a cookie of the dashboard's own pages."""

from __future__ import annotations

from typing import Any

from tests.web.shop import Checkout, start
from tests.web.visiting import Visitor, forms_of, text_of


def _prefer(visitor: Visitor, **preference: str) -> Any:
    form = forms_of(visitor.get("/help").text)["/squidmesh/prefs"]
    return visitor.client.post("/squidmesh/prefs", data={**form, **preference})


def test_times_are_shown_in_the_hosts_zone_or_in_utc_as_the_reader_likes(make: Any) -> None:
    visitor: Visitor = make(SQUIDMESH_DASHBOARD_TIMEZONE="Asia/Tokyo")
    run_id = start(visitor.app, Checkout, "7")
    page = visitor.get(f"/runs/{run_id}")
    assert " JST" in page.text
    assert 'name="zone" value="utc"' in page.text
    _prefer(visitor, zone="utc")
    page = visitor.get(f"/runs/{run_id}")
    assert " JST" not in page.text
    assert " UTC" in page.text
    assert "Times in UTC" in text_of(page.text)
    _prefer(visitor, zone="own")
    assert " JST" in visitor.get(f"/runs/{run_id}").text


def test_where_the_host_shows_utc_there_is_nothing_to_choose(visitor: Visitor) -> None:
    assert 'name="zone"' not in visitor.get("/").text


def test_a_preference_stays_on_the_dashboards_own_pages(make: Any) -> None:
    cookie = _prefer(make(SQUIDMESH_DASHBOARD_TIMEZONE="Asia/Tokyo"), zone="utc").headers["Set-Cookie"]
    assert "squidmesh_zone=utc" in cookie
    assert "Path=/squidmesh/" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_a_zone_that_does_not_exist_is_not_kept(make: Any) -> None:
    visitor: Visitor = make(SQUIDMESH_DASHBOARD_TIMEZONE="Asia/Tokyo")
    assert "squidmesh_zone" not in _prefer(visitor, zone="Mars/Olympus").headers.get("Set-Cookie", "")
