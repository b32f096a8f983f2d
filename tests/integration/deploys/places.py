"""Runs that are brought to every place under one version, and go on under the next."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

from flask_squidmesh import Workflow
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain, work_through
from tests.databases import engines_disposed
from tests.shop import Recording, Script, Shop, check_health, check_rows

from .versions import CHANGES, PLACES, Place, Style, Version, before, built

BEGUN: tuple[Place, ...] = ("behind", "retrying", "executing", "compensating")


class Deploy:
    """One deploy under runs at all places."""

    def __init__(self, url: str, change: str, style: Style) -> None:
        self._script, self._style = Script(), style
        old = [before(place) for place in PLACES]
        new = [replace(CHANGES[change][1](version), deployed=True) for version in old]
        self._shop = Shop(url, *map(self._built, PLACES, old), executor=Recording())
        self._later = Shop(url, *map(self._built, PLACES, new))
        self._runs: dict[Place, str] = {}

    def ends(self) -> dict[Place, str]:
        """What became of the run at each place."""
        with engines_disposed(), ExitStack() as stack:
            for shop in (self._shop, self._later):
                stack.callback(shop.runtime.database.dispose)
            with self._shop.app.app_context():
                for place in sorted(PLACES, key=lambda each: each == "executing"):  # whose step has the deploy come
                    self._bring(place)
            with self._later.app.app_context():
                return self._finish()

    def _built(self, place: Place, version: Version) -> type[Workflow]:
        return built(version, self._style, place, self._script, self._deployed)

    def _bring(self, place: Place) -> None:
        shop = self._shop
        run_id = self._runs[place] = shop.start(place)
        if place != "before":
            shop.deliver(run_id, "first")
        if place in BEGUN:
            shop.deliver(run_id, "x")
        if place == "compensating":
            shop.deliver(run_id, "last")

    def _deployed(self) -> None:
        """The next version does what it can, while a worker of the one before is at a step."""
        with self._later.app.app_context():
            drain()

    def _finish(self) -> dict[Place, str]:
        work_through()
        for run_id in [*self._runs.values()] * 2:
            self._answer(run_id)
            work_through()
        ends = {place: self._end(place, run_id) for place, run_id in self._runs.items()}
        check_rows(self._later)
        check_health(self._later)
        return ends

    def _answer(self, run_id: str) -> None:
        """Let a person approve or resume, if somebody is asked who can."""
        for call in self._later.mesh.explain_run(run_id).next_actions:
            if call in ("approve_run", "unblock_run"):
                getattr(self._later.mesh, call)(run_id, actor="lee")

    def _end(self, place: Place, run_id: str) -> str:
        """The steps that completed, in turn, and how the run ended or why it is held."""
        rows = self._later.rows(tables.step_runs, tables.step_runs.c.run_id == run_id)
        steps = [step for _, step in sorted((row.position, row.step) for row in rows if row.position is not None)]
        undone = [f"undo {row.step}" for row in rows if row.kind == "compensation" and row.status == "completed"]
        self._check_effects(place, run_id, [*steps, *undone])
        explained = self._later.mesh.explain_run(run_id)
        reason = "failed" if explained.reason == "step_failed" else explained.reason
        held = ", held" if "definition_mismatch" in explained.details else ""
        assert explained.status in ("completed", "failed") or explained.next_actions
        return f"{' · '.join([*steps, *undone]) or 'nothing'} → {reason}{held}"

    def _check_effects(self, place: Place, run_id: str, completed: list[str]) -> None:
        """Assert that what was done is on record, and nothing was done more often than that but what was retried."""
        calls = zip(self._script.calls, self._script.contexts, strict=True)
        done = Counter(name for name, ctx in calls if ctx.run_id == run_id)
        tried = Counter({"retrying": ["x"], "compensating": ["last"]}.get(place, []))
        performed = done - tried
        same = {"x": "y"} if "x" not in completed else {}  # it was renamed after it had been performed
        assert all(times <= Counter(completed)[same.get(name, name)] for name, times in performed.items()), done
