"""Many runs at once, waited for with a bound: a check that nothing hangs, not a benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask_squidmesh import UnsafeReplayError

from ..extensions import mesh
from ..people import BUYER, OPERATOR
from ..seed import seed_people, seed_products
from ..stage import Late, own_stage, wait_until
from ..workflows import CancellableWait, PaymentRecovery, RetryVerification
from . import Say
from .looking import Mismatch, ended, entries, expect, invoice, start, step

REPLAYED = RETRIED = CANCELLED = 3


def soak(say: Say, runs: int, *, process: bool = False) -> bool:
    """Start everything at once and see it through.

    :param say: Called with the counts, and with the duration at the end.
    :param runs: How many payment recoveries.
    :param process: As for `own_stage`.
    :returns: Whether everything was as it should be.
    """
    with own_stage("soak", process=process) as stage:
        seed_people()
        seed_products()
        began = time.monotonic()
        try:
            _soak(say, runs)
        except (Mismatch, Late) as problem:
            say(f"WRONG {problem}")
            if stage.last_words:
                say(f"The worker's last lines:\n{stage.last_words}")
            return False
        say(f"Everything went as it should, in {(time.monotonic() - began) * 1000:.0f} ms.")
        return True


def _soak(say: Say, runs: int) -> None:
    recovered = [start(PaymentRecovery, invoice()) for _ in range(runs)]
    retried = [start(RetryVerification, {"attempt_id": f"soak-{number}"}) for number in range(RETRIED)]
    waiting = [start(CancellableWait, {"account_id": BUYER.email}) for _ in range(CANCELLED)]
    say(f"{_each(recovered, _recovered)} payment recoveries completed.")
    replays = [_replayed(run_id) for run_id in recovered[:REPLAYED]]
    say(f"{_each(retried, _retried)} retries completed, at the second attempt each.")
    say(f"{_each(waiting, _cancelled)} waits cancelled.")
    say(f"{_each(replays, _recovered)} replays completed, each linked to its run.")


def _each(run_ids: list[str], see: Callable[[str], None]) -> int:
    for run_id in run_ids:
        see(run_id)
    return len(run_ids)


def _recovered(run_id: str) -> None:
    run = ended(run_id, "completed")
    expect("the attempts of notify", [attempt.status for attempt in step(run, "notify").attempts], ["completed"])
    expect("the books", entries(run), [])


def _retried(run_id: str) -> None:
    attempts = step(ended(run_id, "completed"), "exercise_retry").attempts
    expect("the attempts", [attempt.status for attempt in attempts], ["failed", "completed"])


def _cancelled(run_id: str) -> None:
    wait_until(lambda: mesh.explain_run(run_id).reason == "waiting_until", f"the wait of run {run_id} has begun")
    expect("the answer", mesh.cancel_run(run_id, actor=OPERATOR.email).status, "cancelled")


def _replayed(run_id: str) -> str:
    """Replay, which tells the customer again and so needs to be confirmed."""
    try:
        mesh.replay_run(run_id, actor=OPERATOR.email)
    except UnsafeReplayError as refused:
        expect("what blocks the replay", [blocking["step"] for blocking in refused.steps], ["notify"])
    else:
        raise Mismatch(f"The replay of run {run_id}: it was made, expected a refusal because of notify")
    replay = mesh.replay_run(run_id, allow_irreversible=True, actor=OPERATOR.email)
    expect("what it replays", replay.replayed_from_id, run_id)
    return replay.id
