"""The two files of README's first ten minutes, put where it says, taken through its points."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from flask_squidmesh.testing import assert_status, drain
from tests.test_docs import PYTHON

pytestmark = pytest.mark.source


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The app and the extension of shop/app.py, with the tables made as README says."""
    (tmp_path / "shop").mkdir()
    for block in PYTHON:
        first, _, code = block.code.partition("\n")
        if block.page.name == "README.md" and first.startswith("# shop/"):
            (tmp_path / first.removeprefix("# ")).write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for command in (["db", "init"], ["squidmesh", "install"], ["db", "upgrade"]):
        words = [sys.executable, "-m", "flask", "--app", "shop.app", *command]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    module = importlib.import_module("shop.app")
    yield SimpleNamespace(app=module.create_app(), mesh=module.mesh)
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def test_the_first_ten_minutes_lead_where_readme_says(shop: SimpleNamespace) -> None:
    address = shop.app.test_client().get("/buy/o-1").location
    with shop.app.app_context():
        run_id = address.rpartition("/")[2]
        drain()
        assert shop.mesh.explain_run(run_id).details["prompt"] == "Ship order o-1 for 40 EUR?"
        shop.mesh.decide_run(run_id, "ask_buyer", actor="dana")
        drain()
        shop.mesh.decide_run(run_id, "approve", actor="dana", comment="known customer")
        drain()
        run = assert_status(run_id, "completed")
        assert run.context["parcel"] == "o-1 from shelf 4, for o-1"
    assert shop.app.test_client().get(address).status_code == 200


def test_what_is_rejected_ends_so(shop: SimpleNamespace) -> None:
    with shop.app.app_context():
        run = shop.mesh.start_run("checkout", {"order_id": "o-2", "amount": 40})
        drain()
        shop.mesh.decide_run(run.id, "reject", actor="dana", comment="unknown customer")
        drain()
        assert assert_status(run.id, "completed").outcome == "rejected"
