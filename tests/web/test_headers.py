"""What every answer tells the browser, and that our pages keep to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flask_squidmesh.dashboard import static_files
from flask_squidmesh.dashboard.static_files import STATIC, TEMPLATES
from tests.web.shop import allow_everything
from tests.web.visiting import Visitor

PATHS = ["/", "/runs", "/workflows", "/help", "/nothing-here", "/runs/nonsense"]
TEMPLATE_FILES = sorted(TEMPLATES.rglob("*.html"))


@pytest.mark.parametrize("path", PATHS)
def test_every_page_has_a_strict_policy(visitor: Visitor, path: str) -> None:
    headers = visitor.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_hosts_nonce_is_on_header_and_scripts(make) -> None:
    visitor = make({"authorize": allow_everything, "csp_nonce": lambda: "n0nce"})
    page = visitor.get("/")
    assert "script-src 'self' 'nonce-n0nce'" in page.headers["Content-Security-Policy"]
    assert all('nonce="n0nce"' in script for script in re.findall(r"<script[^>]*>", page.text))


def test_the_host_may_send_the_policy_itself(make) -> None:
    assert "Content-Security-Policy" not in make(SQUIDMESH_DASHBOARD_CSP=None).get("/").headers


def test_the_host_may_state_a_policy(make) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_CSP={"default-src": "'self'"})
    assert visitor.get("/").headers["Content-Security-Policy"] == "default-src 'self'"


def test_the_hosts_own_pages_are_left_alone(visitor: Visitor) -> None:
    visitor.app.add_url_rule("/own", "own", lambda: "hello")
    answer = visitor.client.get("/own")
    assert "Content-Security-Policy" not in answer.headers
    assert visitor.client.get("/missing").text.count("squidmesh") == 0


@pytest.mark.parametrize("template", TEMPLATE_FILES, ids=lambda path: path.name)
def test_a_template_has_no_inline_script_or_style(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"<style\b|\bstyle=|\son[a-z]+=|javascript:", text)
    assert not re.search(r"(?:src|href)=\"https?:", text)
    assert "|safe" not in text
    assert len(text.splitlines()) <= 70


@pytest.mark.parametrize("name", ["live.js", "keeping.js", "ticking.js", "squidmesh.js"])
def test_scripts_are_small(name: str) -> None:
    assert len((STATIC / name).read_bytes()) < 4_096


def test_assets_are_kept_for_ever_and_change_their_address(visitor: Visitor) -> None:
    page = visitor.get("/").text
    addresses = re.findall(r'(?:href|src)="(/squidmesh/assets/[^"]+)"', page)
    assert len(addresses) == 5
    for address in addresses:
        with visitor.client.get(address) as answer:
            assert answer.status_code == 200
            assert "immutable" in answer.headers["Cache-Control"]


def test_an_outdated_address_of_an_asset_is_not_kept(visitor: Visitor) -> None:
    with visitor.get("/assets/squidmesh.000000000000.css") as answer:
        assert answer.status_code == 200
        assert "immutable" not in answer.headers["Cache-Control"]


@pytest.mark.parametrize("name", ["secrets.css", "..%2fpyproject.toml", "squidmesh", "htmx.js.map"])
def test_nothing_else_is_served(visitor: Visitor, name: str) -> None:
    assert visitor.get(f"/assets/{name}").status_code == 404


def test_pages_say_so_where_htmx_was_not_built_in(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(static_files.FILES, "htmx.js", tmp_path / "htmx.js")
    page = visitor.get("/")
    assert page.status_code == 200
    assert "htmx is missing from this installation" in page.text
