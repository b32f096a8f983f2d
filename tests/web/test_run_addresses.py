"""The addresses of runs that mails and messages show."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from flask_squidmesh import ConfigurationError
from tests.web.visiting import Visitor


@pytest.mark.rule("url-for-run")
@pytest.mark.parametrize("external", ["https://shop.example.org", "https://shop.example.org/", "http://h:8080/below"])
def test_an_address_leads_to_the_run_and_changes_nothing(make: Any, external: str) -> None:
    visitor: Visitor = make(SQUIDMESH_EXTERNAL_URL=external)
    mesh = visitor.app.extensions["mesh"]
    with visitor.app.app_context():
        run_id = mesh.start_run("packing", {"order_id": "o-1"}).id
        before = mesh.inspect_run(run_id, include_history=True)
        address = mesh.url_for_run(run_id, "decide")
        assert address == mesh.url_for_run(before) + "#question-1"
    assert address.startswith(external.rstrip("/") + "/squidmesh/runs/")
    path = urlsplit(address).path.removeprefix(urlsplit(external).path.rstrip("/"))
    assert visitor.client.get(path).status_code == 200
    with visitor.app.app_context():
        assert mesh.inspect_run(run_id, include_history=True) == before


@pytest.mark.rule("url-for-run")
def test_what_is_missing_for_an_address_is_told(make: Any) -> None:
    visitor: Visitor = make()
    with visitor.app.app_context(), pytest.raises(ConfigurationError, match="SQUIDMESH_EXTERNAL_URL"):
        visitor.app.extensions["mesh"].url_for_run("22222222-2222-4222-8222-222222222222")
