"""The lines with curl in docs/api.md work as they stand against an app that is served."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from flask import Flask

from tests.serving import serving
from tests.two_tenants.runs import Filled

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROBLEM = re.compile(r"^```json\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.source
@pytest.mark.rule("api-documented")
def test_the_lines_work_as_they_stand(app: Flask, acme: Filled) -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = SHELL.findall(page)
    script = "set -eu\n" + "".join(f"{block}\necho; echo ----\n" for block in blocks)
    with serving(app) as url:
        done = subprocess.run(
            ["bash", "-c", script], env={**os.environ, "URL": url}, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    workflows, run, explanation, decided, problem = map(json.loads, done.stdout.split("----")[:-1])
    assert {each["name"] for each in workflows["workflows"]} >= {"invoice"}
    assert run["subject"] == "Invoice 4711 of Acorn Ltd"
    assert explanation["reason"] == "paused_for_approval"
    assert (decided["id"], decided["status"]) == (explanation["run_id"], "running")
    assert problem == json.loads(PROBLEM.findall(page)[0])
