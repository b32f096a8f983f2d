"""Stopping a run that failed or was cancelled: its open visits end, and completed steps are compensated."""

from __future__ import annotations

from collections.abc import Sequence

from .changes import RowsToRead
from .compensations import Compensations
from .facts import StepFact
from .tally import Tally


class Halt:
    """Ends what is still open in a run that stops, and has its completed steps compensated.

    rows: all step runs of the run, where they have been read.
    """

    def __init__(self, tally: Tally, compensations: Compensations, rows: Sequence[StepFact] | None) -> None:
        self._tally, self._compensations, self._rows = tally, compensations, rows

    def finish(self) -> None:
        """End open visits, and plan compensations if the run failed or they were requested; or ask for rows to read."""
        undoes = self._tally.compensation == "requested" or self._tally.status == "failed"
        wanted: tuple[RowsToRead, ...] = ("open", "completed") if undoes else ("open",)
        rows = self._read(wanted)
        if rows is None:
            return
        self._stop(rows)
        if undoes:
            self._compensations.plan([row for row in self._tally.as_left(rows) if row.status == "completed"])

    def cancel(self, *, compensate: bool, by_program: bool = False) -> None:
        """End at once what is not executing, or ask for rows to read; the run ends when what is executing has ended.

        compensate: whether completed steps are undone then. by_program: whether no person has said so, so that
        interrupted steps stay open for one.
        """
        wanted = "requested" if compensate else None
        self._tally.move_run("cancelling", cancelled_at=self._tally.now, due_at=None, compensation=wanted)
        rows = self._read(("open",))
        if rows is not None:
            self._stop(rows, keep_interrupted=by_program)

    def _read(self, wanted: tuple[RowsToRead, ...]) -> Sequence[StepFact] | None:
        if self._rows is not None:
            return self._rows
        read = self._tally.context.read
        if not read.keys() >= {*wanted}:
            self._tally.changes.reads = wanted
            return None
        return [row for name in wanted for row in read[name]]

    def _stop(self, rows: Sequence[StepFact], *, keep_interrupted: bool = False) -> None:
        """End every visit that is not executing.

        An interrupted step of a failed run stays open: a person still has to find out whether it took effect.
        """
        tally = self._tally
        keeps = keep_interrupted or tally.status == "failed"
        if tally.status != "failed":
            tally.clear_needs()
        visits = [row for row in tally.as_left(rows) if row.status in ("pending", "paused")]
        made = {row.id for row in tally.changes.entered}
        for row in visits:
            if row.id in made:
                tally.drop(row.id)
            elif keeps and row.asks == "interrupted":
                tally.need_decision("interrupted", due=row.decide_by)
                continue
            else:
                tally.close(row, "cancelled")
                tally.changes.dispatched = [each for each in tally.changes.dispatched if each.step_run_id != row.id]
                tally.changes.released.pop(row.id, None)
            if row.goes_on:
                tally.leave(row)
        tally.write_counters()
