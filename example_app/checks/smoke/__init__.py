"""Everything that an operator can see, walked through and checked, also on the dashboard's pages."""

from __future__ import annotations

from ...seed import seed_people, seed_products
from ...stage import own_stage
from .. import Say, walked
from . import (
    deciding,
    deploying,
    examples,
    expenses,
    looking_back,
    mails,
    mending,
    operating,
    orders,
    paying,
    repeating,
    stopping,
)

WALKS = (
    examples.payment_recovery,
    examples.dependency_recovery,
    examples.manual_approval,
    examples.manual_digest,
    examples.ledger,
    examples.saga,
    examples.cron_digest,
    examples.retry,
    orders.checkout,
    orders.busy_checkout,
    orders.interrupted_checkout,
    orders.rejected_checkout,
    orders.declined_checkout,
    paying.confirmed_late,
    paying.confirmed_early,
    paying.confirmed_twice,
    paying.never_confirmed,
    paying.forged_confirmation,
    mails.decided_by_mail,
    deciding.rejection,
    deciding.pause,
    deciding.deadlines,
    deciding.rework_loop,
    deciding.endless_rework,
    deciding.four_eyes,
    deciding.side_by_side,
    deciding.side_by_side_rejected,
    deciding.said_twice,
    deciding.stale_page,
    expenses.asked_back,
    expenses.signed_twice,
    expenses.bad_answers,
    expenses.withdrawn,
    expenses.handed_on,
    expenses.unanswered,
    mending.attempted_again,
    mending.counted_as_failed,
    mending.acknowledged,
    mending.failed_compensation,
    stopping.cancelled_wait,
    stopping.cancelled_count,
    stopping.cancelled_and_undone,
    repeating.replay,
    repeating.guarded_replay,
    repeating.partial_replay,
    repeating.replay_of_what_was_undone,
    repeating.one_start_for_one_key,
    repeating.cron_by_command,
    repeating.cron_through_the_queue,
    repeating.child_runs,
    looking_back.timeline,
    looking_back.lists,
    deploying.held_for_the_next_version,
    operating.paused_schedule,
    operating.worker_at_work,
    operating.nothing_impossible,
)


def smoke(say: Say, *, process: bool = False) -> bool:
    """Go all walks.

    :param say: Called with a line for each.
    :param process: As for `own_stage`.
    :returns: Whether everything was as it should be.
    """
    with own_stage("smoke", process=process) as stage:
        seed_people()
        seed_products()
        return walked(((walk.__name__.replace("_", " "), walk) for walk in WALKS), stage, say)
