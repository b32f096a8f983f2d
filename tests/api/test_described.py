"""The OpenAPI document is true: what is made up from it is answered as it says, and a client made of it works."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.house import PREFIX, Program, make_app
from tests.serving import serving
from tests.two_tenants.runs import fill

ANNA = {"Authorization": "Bearer anna"}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
BOUNDED = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)

pytestmark = pytest.mark.source


@pytest.fixture
def house(migrated_sqlite_url: str) -> Flask:
    return make_app(migrated_sqlite_url)


@pytest.mark.rule("api-described")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as it says", "otherwise"])
def test_what_is_made_up_from_the_document_is_answered_as_it_says(house: Flask, mode: GenerationMode) -> None:
    runs = sorted(fill(house, "acme").runs.values())
    schema = schemathesis.openapi.from_wsgi(f"{PREFIX}/openapi.json", house, headers=ANNA)
    tried = list[str]()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        body = json.dumps(operation.definition.raw.get("requestBody", operation.label))
        if body in tried or (mode is GenerationMode.NEGATIVE and not operation.body):
            continue
        tried.append(body)

        @BOUNDED
        @given(case=operation.as_strategy(generation_mode=mode), run_id=st.sampled_from(runs))
        def answered(case: Any, run_id: str) -> None:
            if "run_id" in (case.path_parameters or {}):
                case.path_parameters["run_id"] = run_id
            case.call_and_validate(headers=ANNA, checks=CHECKS)

        answered()
    assert len(tried) > 8


@pytest.mark.rule("api-described")
def test_a_client_that_is_generated_from_the_document_works(
    house: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = fill(house, "acme").runs
    document, settings = tmp_path / "openapi.json", tmp_path / "settings.yml"
    document.write_text(json.dumps(Program(house, "anna").get("/openapi.json").json))
    settings.write_text("post_hooks: []\n")
    made = tmp_path / "generated_client"
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"]
    paths = ["--path", str(document), "--output-path", str(made), "--config", str(settings)]
    generated = subprocess.run([*command, *paths], capture_output=True, text=True, timeout=300)
    assert generated.returncode == 0, generated.stdout
    monkeypatch.syspath_prepend(tmp_path)

    def call(name: str) -> Any:
        return importlib.import_module(f"generated_client.api.default.{name}").sync

    models = importlib.import_module("generated_client.models")
    with serving(house) as url:
        client = importlib.import_module("generated_client").AuthenticatedClient(f"{url}{PREFIX}", token="anna")
        payload = models.InvoiceSubmitPayload(number="77", customer="Acorn Ltd")
        started = call("start_invoice")(client=client, body=payload, idempotency_key="k-1")
        assert started.subject == "Invoice 77 of Acorn Ltd"
        listed = call("list_runs")(client=client, needs=[models.ListRunsNeedsItem.DECISION])
        assert [run.id for run in listed.runs] == [runs["decision"]]
        comment = models.AnswerArguments(comment="known customer")
        approved = call("approve_run")(runs["decision"], client=client, body=comment, if_match='"review#1"')
        assert approved.status == "running"
        late = call("approve_run")(runs["decision"], client=client, body=comment, if_match='"review#1"')
        assert (late.status, late.error) == (409, "ConflictError")
        assert call("get_run")(runs["failed"], client=client, history=True).step_runs
