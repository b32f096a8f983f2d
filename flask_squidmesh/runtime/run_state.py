"""What a step sees of its run: the payload and the outputs of steps before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..engine.naming import names_of
from ..store import loading
from ..store.claiming import Claim
from ..workflow.spec import WorkflowSpec
from .patience import until_lost

if TYPE_CHECKING:
    from .runtime import Runtime

Outputs = list[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Payload and outputs, merged, the newest winning.

    disputed: keys that two steps returned which ran side by side, with both steps.
    """

    state: Mapping[str, Any]
    disputed: Mapping[str, tuple[str, str]] = field(default_factory=dict)


class RunState:
    """A run's outputs as the steps of one delivery see them. What was read or made once is not read again."""

    def __init__(self, runtime: Runtime, spec: WorkflowSpec) -> None:
        self._runtime, self._spec = runtime, spec
        self._known: dict[str, Any] = {}
        self._read: set[str] = set()

    def at(self, claim: Claim, keys: frozenset[str] | None) -> dict[str, Any]:
        """Payload and outputs that the claimed visit may see, at least for these keys."""
        return dict(self.seen(claim, keys).state)

    def seen(self, claim: Claim, keys: frozenset[str] | None) -> Seen:
        """The same, with what is disputed of it."""
        base = {**claim.payload, **({"schedule": dict(claim.schedule)} if claim.schedule else {})}
        if self._spec.style == "dependency" and claim.visit.kind == "step":
            return self._of_ancestors(claim, keys, base)
        if keys is None:
            return Seen(state=base | self._load(claim, None))
        unknown = keys - self._known.keys() - self._read
        if unknown:
            self._known = self._load(claim, unknown) | self._known
            self._read |= unknown
        return Seen(state=base | {key: value for key, value in self._known.items() if key in keys})

    def add(self, output: Mapping[str, Any]) -> None:
        """A step of this delivery completed with this output."""
        self._known.update(output)

    def _of_ancestors(self, claim: Claim, keys: frozenset[str] | None, base: dict[str, Any]) -> Seen:
        ancestors = self._spec.ancestors.get(claim.visit.step, frozenset())
        sources: dict[str, list[str]] = {}
        # A newer version may have renamed them since this process claimed the visit.
        names = frozenset[str]().union(*(names_of(self._spec, step) for step in ancestors))
        for step, output in self._outputs(claim, keys, names):
            for key in output.keys() if keys is None else output.keys() & keys:
                base[key] = output[key]
                sources.setdefault(key, []).append(self._spec.step_names[step])
        disputed = {key: both for key, steps in sources.items() if (both := self._side_by_side(steps))}
        return Seen(state=base, disputed=disputed)

    def _side_by_side(self, steps: list[str]) -> tuple[str, str] | None:
        """Two of the steps of which none waits for the other, nor a third for both."""
        above = [self._spec.ancestors.get(step, frozenset()) for step in steps]
        last = sorted({step for step in steps if not any(step in others for others in above)})
        return (last[0], last[1]) if len(last) > 1 else None

    def _outputs(self, claim: Claim, keys: frozenset[str] | None, steps: frozenset[str]) -> Outputs:
        if claim.visit.sees == 0 or keys == frozenset():
            return []

        def outputs() -> Outputs:
            with self._runtime.database.read() as connection:
                sees = claim.visit.sees
                return loading.outputs_of(connection, claim.run.id, sees=sees, keys=keys, steps=steps)

        return until_lost(self._runtime, claim, "reading its state", outputs)

    def _load(self, claim: Claim, keys: frozenset[str] | None) -> dict[str, Any]:
        if claim.visit.sees == 0 or keys == frozenset():
            return {}

        def outputs() -> dict[str, Any]:
            with self._runtime.database.read() as connection:
                return loading.outputs(connection, claim.run.id, sees=claim.visit.sees, keys=keys)

        return until_lost(self._runtime, claim, "reading its state", outputs)
