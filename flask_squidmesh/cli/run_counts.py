"""How it stands: how many runs there are in which state, what needs a person, who works, what waits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from ..storage.scope import Scope
from .command_group import aligned, group, ready_runtime
from .json_output import as_json, tell

if TYPE_CHECKING:
    from ..queries.results import Count


@group.command()
@as_json
def status(as_json: bool) -> None:
    """Say how many runs there are in which state, what needs a person, who works, and what waits."""
    from ..queries import run_list
    from ..queries.fleet import fleet
    from ..queries.frame_counts import frame_counts
    from ..queries.open_waits import WaitReader
    from ..runtime.app_check import RELAY_SILENCE, WORKER_SILENCE

    runtime = ready_runtime()
    now, claim = runtime.clock.now(), timedelta(seconds=runtime.config.claim_timeout)
    silences = {"worker": max(WORKER_SILENCE, claim), "relay": RELAY_SILENCE}
    with runtime.database.read() as connection:
        counts = run_list.counts(connection, Scope.all())
        frame = frame_counts(connection, Scope.all(), WaitReader(None), now=now, silence=silences["worker"])
        found = fleet(connection, Scope.all(), now=now, silences=silences, queues=[runtime.config.queue])
    if as_json:
        runs, needs = ({name: str(each) for name, each in kinds.items()} for kinds in (counts, frame.needs))
        tell({"runs": runs, "needs": needs, **found.to_dict()})
        return
    click.echo(f"runs      {_listed(counts) or 'none'}")
    click.echo(f"needs     {_listed(frame.needs) or 'nobody'}")
    click.echo("")
    for line in aligned(("name", "waiting", "waiting_since", "working", "scheduled", "workers"), found.queues):
        click.echo(line)
    if not frame.workers:
        click.echo("No worker was seen lately.")


def _listed(counts: Mapping[str, Count]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count.value)
