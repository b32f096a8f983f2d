"""What the commands take and say as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..storage.summaries import plain

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def as_json(command: Decorated) -> Decorated:
    """Give a command the option --json."""
    option = click.option("--json", "as_json", is_flag=True, help="Answer with JSON on standard output.")
    return option(command)


def tell(document: object) -> None:
    """Write the document to standard output."""
    click.echo(json.dumps(plain(document), indent=2))


def json_object(_context: click.Context, _option: click.Parameter, text: str | None) -> dict[str, object] | None:
    """A JSON object that was typed, or stands in a file that is named by @. Raises BadParameter."""
    if text is None:
        return None
    try:
        if text.startswith("@"):
            with click.open_file(text[1:], encoding="utf-8") as file:
                text = file.read()
        found = json.loads(text)
    except (ValueError, RecursionError, OSError) as error:
        raise click.BadParameter(f"that is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise click.BadParameter("a JSON object is expected, such as '{}', or @FILE.")
    return found
