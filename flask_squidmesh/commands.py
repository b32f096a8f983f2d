"""What people do with runs, as calls on the extension."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import BaseModel

from .definition.elements import NOT_GIVEN, NotGiven
from .people import Actor, Person
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

    def decide_run(
        self,
        run_id: RunId,
        option: str,
        answer: BaseModel | Mapping[str, object] | None = None,
        step: str | None = None,
        *,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Take an option of what waits for a decision; the run goes on where its route leads.

        option: its name; approve and reject where an Approval waits. answer: what is filled into the option's form, as
        a mapping or an instance of its model; fields left out keep what they begin with. step: which decision, where
        several are open. The other keywords stand with this class.

        Returns the run afterwards. Raises PayloadError for an answer that does not fit the form, ManualActionError for
        an option that is not offered, where the actor or a comment that the option takes is missing, and where the
        actor may not take it, and what all commands raise.
        """
        return configured_runtime().commands.decide(
            run_id,
            option,
            answer=answer,
            step=step,
            actor=actor,
            comment=comment,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            expected=expected,
            idempotency_key=idempotency_key,
        )

    def approve_run(
        self,
        run_id: RunId,
        *,
        answer: BaseModel | Mapping[str, object] | None = None,
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

        It is short for decide_run(run_id, "approve"). answer, step: as there. The other keywords stand with this class.

        Returns the run afterwards. Raises what decide_run raises.
        """
        return configured_runtime().commands.approve(
            run_id,
            answer=answer,
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
        answer: BaseModel | Mapping[str, object] | None = None,
        step: str | None = None,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Reject what waits for approval; the run goes on along `on_reject`, or fails where there is no such route.

        It is short for decide_run(run_id, "reject"). answer, step: as there. The other keywords stand with this class.

        Returns the run afterwards. Raises what decide_run raises.
        """
        return configured_runtime().commands.reject(
            run_id,
            answer=answer,
            step=step,
            actor=actor,
            comment=comment,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            expected=expected,
            idempotency_key=idempotency_key,
        )

    def assign_run(
        self,
        run_id: RunId,
        *,
        to: str | Person | None,
        step: str | None = None,
        expected_assignee: str | NotGiven | None = NOT_GIVEN,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Make what waits for people somebody's: taking it, handing it on, or giving it back.

        to: the id of the person whose it becomes, None for nobody's. step: which wait, where several are open.
        expected_assignee: whose it was when that was decided, None for nobody's; where it is another's by now nothing
        is done. The decision token stays as it is. The other keywords stand with this class.

        Returns the run afterwards. Raises ManualActionError for somebody who is none, TransitionError where it is that
        person's already, ConflictError where `expected_assignee` does not hold, and what all commands raise.
        """
        return configured_runtime().commands.assign(
            run_id,
            to=to,
            step=step,
            expected_assignee=expected_assignee,
            actor=actor,
            comment=comment,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            expected=expected,
            idempotency_key=idempotency_key,
        )

    def note_run(
        self,
        run_id: RunId,
        text: str,
        *,
        actor: Actor | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Write words on a run, for everybody who reads it. Nothing else happens.

        text: at most 10,000 characters. The other keywords stand with this class.

        Returns the run afterwards. Raises ManualActionError for a text that is blank or too long, and what all commands
        raise.
        """
        return configured_runtime().commands.note(
            run_id,
            text,
            actor=actor,
            metadata=metadata,
            scope=scope_of_tenant(tenant),
            session=session,
            idempotency_key=idempotency_key,
        )

    def reschedule_run(
        self,
        run_id: RunId,
        at: datetime | timedelta,
        *,
        actor: Actor | None = None,
        comment: str | None = None,
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        session: AnySession | None = None,
        expected: str | None = None,
        idempotency_key: str | None = None,
    ) -> RunSummary:
        """Have a run begin at another time, that was started with `at=` and has not begun.

        at: as for `start_run`. A deadline of the run moves with it. The other keywords stand with this class.

        Returns the run afterwards. Raises ManualActionError for a time that is none, TransitionError where the run has
        begun or ended, and what all commands raise.
        """
        return configured_runtime().commands.reschedule(
            run_id,
            at,
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
