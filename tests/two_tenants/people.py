"""Who works for which tenant, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

READING: Final = frozenset({"list", "view", "payload", "export", "audit"})


@dataclass(frozen=True, slots=True)
class Worker:
    """Somebody who can log in. tenant: None for the auditor, who sees those of all. may_act: beyond reading."""

    name: str
    label: str
    tenant: str | None
    may_act: bool = False

    def may(self, action: str) -> bool:
        """Whether they may do this."""
        return self.may_act or action in READING


PEOPLE: Final = {
    worker.name: worker
    for worker in (
        Worker("anna", "Anna of Acme", "acme", may_act=True),
        Worker("rita", "Rita of Acme", "acme"),
        Worker("otto", "Otto of Globex", "globex", may_act=True),
        Worker("nora", "Nora of Initech, which has no runs", "initech"),
        Worker("vera", "Vera, auditor", None),
    )
}
