"""What the commands say as JSON, for programs that call them."""

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
