"""What people do with runs, as calls on the extension."""

from __future__ import annotations

from collections.abc import Mapping

from .people import Actor
from .runtime.runtime import configured_runtime
from .storage.connections import AnySession
from .storage.scope import scope_of_tenant
from .storage.summaries import RunId, RunSummary


class Commands:
    """The calls that decide, mend, cancel and replay runs.

    All of them take the run's id first, lock the run, do what is asked in one transaction or nothing at all, and
    answer with the run as it is then. All take these keywords:

    actor: who does it, as text, a mapping with an `id` and perhaps a `label`, or a Person; approve_run and reject_run
    require it. comment: why, in words, for the audit. metadata: further facts for the audit, as JSON can hold them.
    tenant: a run of another tenant counts as none, '' for runs of none; left out, whoever's it is.
    session: join its transaction, which is never committed here; without it the call is a transaction of its own.
    expected: the decision token that a page or `run.decision` showed; where it does not hold any more nothing is done.
    idempotency_key: said twice, done once, and answered the same; it belongs to this call, person and arguments.

    All raise ConfigurationError where the app is not set up, RunNotFoundError for an id that no run has, malformed
    ones too, TransitionError where the run's status does not allow it, ConflictError where `expected` does not hold or
    the key was used otherwise, and ManualActionError where an actor, a comment or metadata cannot be recorded.
    """

    def approve_run(
        self,
        run_id: RunId,
        *,
        step: str | None = None,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Approve what waits for approval; the run goes on once as many people as the step asks for have approved.

        step: which approval, where several are open. The other keywords stand with this class.

        Returns the run afterwards. Raises ManualActionError where the actor is missing or may not approve this, and
        what all commands raise.
        """
        return configured_runtime().commands.approve(
            run_id,
            step=step,
            actor=actor,
            comment=comment,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            expected=expected,
            idempotency_key=idempotency_key,
        )

    def reject_run(
        self,
        run_id: RunId,
        *,
        step: str | None = None,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Reject what waits for approval; the run goes along `on_reject`, or fails in dependency style.

        step: which approval, where several are open. The other keywords stand with this class.

        Returns the run afterwards. Raises ManualActionError where the actor is missing, and what all commands raise.
        """
        return configured_runtime().commands.reject(
            run_id,
            step=step,
            actor=actor,
            comment=comment,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            expected=expected,
            idempotency_key=idempotency_key,
        )

    def unblock_run(
        self,
        run_id: RunId,
        *,
        step: str | None = None,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Let a run go on that a Pause holds.

        step: which pause, where several are open. The other keywords stand with this class.

        Returns the run afterwards. Raises what all commands raise.
        """
        return configured_runtime().commands.unblock(
            run_id,
            step=step,
            actor=actor,
            comment=comment,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            expected=expected,
            idempotency_key=idempotency_key,
        )

    def cancel_run(
        self,
        run_id: RunId,
        *,
        compensate: bool = False,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Cancel the run: at once, or when the steps that are executing have ended.

        compensate: undo the steps that completed and can be undone. The other keywords stand with this class.

        Returns the run afterwards: cancelled, or cancelling while a step executes. Raises what all commands raise.
        """
        return configured_runtime().commands.cancel(
            run_id,
            compensate=compensate,
            actor=actor,
            comment=comment,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            expected=expected,
            idempotency_key=idempotency_key,
        )

    def replay_run(
        self,
        run_id: RunId,
        *,
        allow_irreversible: bool = False,
        from_step: str | None = None,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Start a new run with the payload of a finished one, linked both ways.

        allow_irreversible: exactly True to run steps again that cannot be undone. from_step: copy the outputs of what
        came before that step and begin there; None begins anew. The other keywords stand with this class.

        Returns the new run. Raises UnsafeReplayError where steps that cannot be undone would run again, PayloadError
        where the workflow does not take the payload any more, and what all commands raise.
        """
        return configured_runtime().commands.replay(
            run_id,
            allow_irreversible=allow_irreversible,
            from_step=from_step,
            actor=actor,
            comment=comment,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            expected=expected,
            idempotency_key=idempotency_key,
        )

    def retry_step(
        self,
        run_id: RunId,
        *,
        step: str | None = None,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Attempt a step again that was interrupted or could not begin.

        step: which, where several stand still. The other keywords stand with this class.

        Returns the run afterwards. Raises what all commands raise.
        """
        return configured_runtime().commands.retry_step(
            run_id,
            step=step,
            actor=actor,
            comment=comment,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            expected=expected,
            idempotency_key=idempotency_key,
        )

    def resolve_step(
        self,
        run_id: RunId,
        *,
        output: object = None,
        allow_new_keys: bool = False,
        step: str | None = None,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Say that a step took effect which was interrupted or could not begin.

        output: what it would have returned, as a mapping, a pydantic model or a dataclass; None for nothing.
        allow_new_keys: whether keys that the step has never returned and does not declare may overwrite what the run's
        state holds. step: which, where several stand still. The other keywords stand with this class.

        Returns the run afterwards. Raises ManualActionError for an output that the step could not have returned, or
        that would overwrite what it may not, and what all commands raise.
        """
        return configured_runtime().commands.resolve_step(
            run_id,
            output=output,
            allow_new_keys=allow_new_keys,
            step=step,
            actor=actor,
            comment=comment,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            expected=expected,
            idempotency_key=idempotency_key,
        )

    def fail_step(
        self,
        run_id: RunId,
        *,
        reason: str | None = None,
        step: str | None = None,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Say that a step failed which was interrupted or could not begin; its error route or the run's end follows.

        reason: why, in words, for the error of the step. step: which, where several stand still. The other keywords
        stand with this class.

        Returns the run afterwards. Raises what all commands raise.
        """
        return configured_runtime().commands.fail_step(
            run_id,
            reason=reason,
            step=step,
            actor=actor,
            comment=comment,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            expected=expected,
            idempotency_key=idempotency_key,
        )

    def retry_compensation(
        self,
        run_id: RunId,
        *,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Try the failed compensations of a run again. The keywords stand with this class.

        Returns the run afterwards. Raises what all commands raise.
        """
        return configured_runtime().commands.retry_compensation(
            run_id,
            actor=actor,
            comment=comment,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            expected=expected,
            idempotency_key=idempotency_key,
        )

    def acknowledge_run(
        self,
        run_id: RunId,
        *,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Take a failed run out of what needs a person. The keywords stand with this class.

        Returns the run afterwards. Raises what all commands raise.
        """
        return configured_runtime().commands.acknowledge(
            run_id,
            actor=actor,
            comment=comment,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            expected=expected,
            idempotency_key=idempotency_key,
        )
