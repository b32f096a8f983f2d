"""What step functions do outside, which no crash takes back, with a point on either side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_squidmesh import StepContext
from flask_squidmesh.definition.context import CompensationContext

from .points import Killed, Points

if TYPE_CHECKING:
    from .stage import Stage

Outcome = BaseException | type[Killed] | Mapping[str, Any] | None
Plan = Outcome | Callable[[StepContext], Outcome]


@dataclass(frozen=True)
class Effect:
    """One call of a step's function. policy: ordinary, irreversible or transaction."""

    run_id: str
    kind: str
    step: str
    visit: int
    attempt: int
    key: str
    policy: str
    output: Mapping[str, Any] | None

    @property
    def called(self) -> tuple[str, str, str, int]:
        """The visit that it belongs to."""
        return (self.run_id, self.kind, self.step, self.visit)


class Effects:
    """Makes the functions of steps, and remembers what they did.

    stage: where it all happens. An attempt that was lost repeats its outcome, so the stage is asked how many failed.
    """

    def __init__(self, points: Points, stage: Stage) -> None:
        self.points, self.stage = points, stage
        self.begin()

    def begin(self) -> None:
        """Nothing has happened yet."""
        self.all: list[Effect] = []
        self.runs: list[str] = []

    def does(
        self, name: str, *plans: Plan, policy: str = "ordinary", within: Callable[[StepContext], Any] | None = None
    ) -> Callable[..., Any]:
        """A function of a step: comes to one outcome after the other, each time an attempt has failed.

        plans: what to return or raise, or a function of the context that says so. `Killed` takes the process along.
        within: called in the middle, such as to start a child.
        """

        def act(ctx: StepContext) -> Any:
            self._meet(ctx)
            with self.points.around("an effect"):
                outcome = self._planned(plans or (None,), ctx)
                self._remember(ctx, policy, outcome)
                if within is not None:
                    within(ctx)
            if outcome is Killed or isinstance(outcome, BaseException):
                raise outcome
            return outcome

        act.__name__ = act.__qualname__ = name
        return act

    def is_first_run(self, ctx: StepContext) -> bool:
        """Whether this is the first run that had any effect, and so no replay of it."""
        return self.runs.index(ctx.run_id) == 0

    def write(self, run_id: str, note: str) -> None:
        """Write a row of the host's in db.session."""
        self.stage.note(run_id, note)

    def happened(self, run_id: str, step: str, visit: int) -> Effect | None:
        """The visit's last effect, as an operator finds it outside."""
        return next((each for each in reversed(self.all) if each.called == (run_id, "step", step, visit)), None)

    def _meet(self, ctx: StepContext) -> None:
        if ctx.run_id not in self.runs:
            self.runs.append(ctx.run_id)

    def _planned(self, plans: tuple[Plan, ...], ctx: StepContext) -> Any:
        plan = plans[min(self.stage.failed_attempts(ctx), len(plans) - 1)] if len(plans) > 1 else plans[0]
        return plan(ctx) if callable(plan) and not isinstance(plan, type) else plan

    def _remember(self, ctx: StepContext, policy: str, outcome: Outcome) -> None:
        self.all.append(
            Effect(
                run_id=ctx.run_id,
                kind="compensation" if isinstance(ctx, CompensationContext) else "step",
                step=ctx.step,
                visit=ctx.visit,
                attempt=ctx.attempt,
                key=ctx.idempotency_key,
                policy=policy,
                output=outcome if isinstance(outcome, Mapping) else None,
            )
        )
