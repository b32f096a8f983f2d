"""Telling what is in the outbox: with no transaction open and no lock held, again and again for a day."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final

from ..clock import Clock
from ..engine.waits import options_of
from ..errors import ChannelError, ConfigurationError
from ..hooks import HookFault
from ..notices import PASSING, Notice
from ..storage import outbox_entries
from ..storage.database import Database
from ..storage.outbox_entries import ClaimedEntry, EntryOutcome, ToldRun
from ..subscriptions import Subscription
from .backoff import doubled
from .outbox import Outbox
from .outcomes import is_a, let_ctrl_c_through, log_error, storable, type_name

FIRST_RETRY: Final = timedelta(seconds=10)
LONGEST_RETRY: Final = timedelta(hours=1)
LEASE: Final = timedelta(minutes=3)
"""For how long a process has what it claimed; what takes longer may be told by another one too."""
BATCH: Final = 20
FAILURES: Final = 3
"""In a row, after which a subscription rests."""
LONGEST_REST: Final = timedelta(minutes=5)

logger = logging.getLogger("flask_squidmesh")


class NoticeDeliverer:
    """Tells subscribers and channels what is due.

    worker: the process's name. in_context: an app context of our own, in which the host's code is called. address: of
    the page of the run with this id.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        outbox: Outbox,
        worker: str,
        in_context: Callable[[], AbstractContextManager[None]],
        address: Callable[[str], str | None],
    ) -> None:
        self._database, self._clock, self._worker = database, clock, worker
        self._subscriptions, self._in_context, self._address_of = outbox.subscriptions, in_context, address
        self._failures: dict[str, int] = {}
        self._resting: dict[str, datetime] = {}

    def deliver_due(self, *, own_code: bool = True) -> int:
        """Tell everything that is due, and return how much that was.

        own_code: whether the host's own functions are called too, which only workers do.
        """
        chosen = [each for each in self._subscriptions if own_code or not each.own_code]
        done = 0
        while chosen and (found := sum(self.deliver_to(each) for each, s in self.due(chosen) if s <= 0)):
            done += found
        return done

    def deliver_to(self, subscription: Subscription, until: Callable[[], bool] = lambda: False) -> int:
        """Tell one subscription some of what is due, and return how much that was.

        until: whether to leave the rest to others. After several failures in a row the subscription rests for a while,
        as whoever is at the other end is probably down.
        """
        began, name, done = self._clock.now(), subscription.name, 0
        messages = deque(self._claimed(subscription) if not self._rests(name) else ())
        while messages:
            if until() or self._clock.now() - began > LEASE / 2 or self._rests(name):
                with self._database.write() as connection:
                    outbox_entries.give_back(connection, [*chain(*messages)], self._clock.now())
                break
            entries = messages.popleft()
            self._count(name, told=self._tell(subscription, entries))
            done += len(entries)
        return done

    def _claimed(self, subscription: Subscription) -> list[list[ClaimedEntry]]:
        """What is due, message by message: where it is gathered, one for each receiver, with what else is kept for
        them."""
        with self._database.write() as connection:
            claimed = outbox_entries.claim_due(
                connection, self._database, subscription.name, worker=self._worker, limit=BATCH, lease=LEASE
            )
            addressed = [entry for entry in claimed if entry.is_addressed]
            if subscription.digest is None or not addressed:
                return [[entry] for entry in claimed]
            addressed += outbox_entries.claim_beside(connection, addressed)
        gathered = defaultdict[str, list[ClaimedEntry]](list)
        for entry in addressed:
            gathered[entry.receiver].append(entry)
        return [*([entry] for entry in claimed if not entry.is_addressed), *gathered.values()]

    def due(self, chosen: Collection[Subscription]) -> list[tuple[Subscription, float]]:
        """Those of the subscriptions for which there is something to tell, with the seconds until it is due."""
        awake = {each.name: each for each in chosen if not self._rests(each.name)}
        with self._database.read() as connection:
            found = outbox_entries.next_due(connection, self._database, awake)
        return [(awake[name], seconds) for name, seconds in found.items()]

    def _rests(self, name: str) -> bool:
        until = self._resting.get(name)
        return until is not None and self._clock.now() < until

    def _count(self, name: str, *, told: bool) -> None:
        """Have a subscription rest after several failures in a row, longer each time."""
        failures = self._failures[name] = 0 if told else self._failures.get(name, 0) + 1
        rests, row = divmod(failures, FAILURES)
        if rests and row == 0:
            self._resting[name] = self._clock.now() + doubled(FIRST_RETRY, rests - 1, longest=LONGEST_REST)

    def _tell(self, subscription: Subscription, entries: Sequence[ClaimedEntry]) -> bool:
        """Tell it by one message, or ask whom a notice goes to, and return whether that went well."""
        told = [(entry, notice) for entry in entries if (notice := self._notice(entry)) is not None]
        if not told:
            return True
        entry, notice = told[0]
        receivers: Sequence[str] | None = None
        try:
            with self._in_context():
                if entry.is_addressed:
                    subscription.channel.send(entry.receiver, [each for _, each in told])
                else:
                    receivers = subscription.receivers(notice)
        except BaseException as error:  # the host's code, or another service; it is tried again
            let_ctrl_c_through(error)
            self._put_off(subscription, [each for each, _ in told], error)
            return False
        if receivers:
            self._address(subscription, entry, receivers)
        elif receivers is None:
            self._end([each for each, _ in told], "delivered")
        else:
            self._end([entry], "dropped", "It goes to nobody.")
        return True

    def _notice(self, entry: ClaimedEntry) -> Notice | None:
        """What the entry tells; None, and it is dropped, where it is of no use any more."""
        with self._database.read() as connection:
            found = outbox_entries.told_run(connection, entry)
        if found is None or (entry.kind in PASSING and not found.is_waiting):
            self._end([entry], "dropped")
            return None
        return notice_of(entry, found, self._address_of(entry.run_id) if entry.run_id else None)

    def _address(self, subscription: Subscription, entry: ClaimedEntry, receivers: Sequence[str]) -> None:
        with self._database.write() as connection:
            outbox_entries.address(connection, entry, receivers, self._clock.now(), subscription.digest)

    def _end(self, entries: Sequence[ClaimedEntry], outcome: EntryOutcome, error: str | None = None) -> None:
        with self._database.write() as connection:
            for entry in entries:
                outbox_entries.end(connection, entry, outcome, self._clock.now(), error)

    def _put_off(self, subscription: Subscription, entries: Sequence[ClaimedEntry], error: BaseException) -> None:
        """Have it told later, or give it up after a day."""
        now, why, first = self._clock.now(), _reason(subscription, error), entries[0]
        asked = error.retry_after if isinstance(error, ChannelError) else None
        until = now + max(doubled(FIRST_RETRY, first.tries, longest=LONGEST_RETRY), asked or timedelta(0))
        message = "squidmesh: %s could not be told of %s of %s"
        if subscription.own_code:
            log_error(logger, error, message, subscription.name, first.kind, first.subject)
        else:
            logger.warning(f"{message} (%s)", subscription.name, first.kind, first.subject, why)
        with self._database.write() as connection:
            for entry in entries:
                if now >= entry.give_up_at:
                    outbox_entries.end(connection, entry, "failed", now, why)
                else:
                    outbox_entries.put_off(connection, entry, min(until, entry.give_up_at), why)


def _reason(subscription: Subscription, error: BaseException) -> str:
    """Why it could not be told. Of errors that are not made for it the class alone, as texts may quote secrets."""
    if is_a(error, ChannelError, HookFault, ConfigurationError):
        return storable(error)
    what = "It" if subscription.own_code else "The channel"
    return f"{what} raised {type_name(error)}."


def notice_of(entry: ClaimedEntry, found: ToldRun, url: str | None) -> Notice:
    """What is told. url: of the run's page."""
    asked, details = found.decision, {**(entry.data or {})}
    error: Any = details.pop("error", None)
    if entry.kind == "run.failed" and found.error is not None:
        error = {name: found.error.get(name) for name in ("type", "message", "code")}
    return Notice(
        id=entry.id,
        kind=entry.kind,
        at=entry.happened_at,
        run_id=entry.run_id,
        workflow=entry.workflow,
        tenant=entry.tenant or "",
        subject=found.subject,
        step=entry.step,
        visit=entry.visit,
        prompt=asked.get("prompt") if asked else None,
        options=tuple(option["name"] for option in options_of(asked)) if asked else (),
        assignee=asked.get("assignee") if asked else None,
        groups=tuple(asked.get("groups") or ()) if asked else (),
        due_at=found.decide_by,
        outcome=found.outcome if entry.kind == "run.completed" else None,
        error=error,
        details=details or None,
        url=url,
    )
