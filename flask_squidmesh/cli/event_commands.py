"""Sending events by hand."""

from __future__ import annotations

import click

from .command_group import CommandGroup, group, ready_runtime
from .json_output import as_json, json_object, tell


@group.group(cls=CommandGroup)
def events() -> None:
    """Send events to runs that wait for them. Exit codes are those of `runs`."""


@events.command()
@click.argument("name")
@click.argument("payload", required=False, callback=json_object)
@click.option("--key", required=True, help="The key by which runs wait for it.")
@click.option("--event-id", help="Your own name for it: the same one again does nothing.")
@click.option("--tenant", default="", help="Whose it is.")
@click.option("--as", "actor", metavar="NAME", help="Who sends it, for the record; by their id.")
@as_json
def send(
    name: str,
    payload: dict[str, object] | None,
    key: str,
    event_id: str | None,
    tenant: str,
    actor: str | None,
    as_json: bool,
) -> None:
    """Send the event NAME. PAYLOAD is a JSON object, or @FILE."""
    receipt = ready_runtime().events.send(name, key=key, payload=payload, event_id=event_id, tenant=tenant, actor=actor)
    if as_json:
        tell(receipt.to_dict())
        return
    click.echo(f"Event {receipt.event_id}{' had come before; nothing was done' if receipt.repeated else ''}.")
    for run_id in receipt.runs:
        click.echo(f"Run {run_id} has taken it.")
