"""What the dashboard's pages take on a database of the example app."""

from __future__ import annotations

import os
from statistics import median
from typing import Final

from benchmarks.pages import logged_in, measured

from ..answering import Answer, Task

PAGES: Final = {"inbox": "Needs you", "list": "Runs, newest first", "run": "A run with many steps"}


def pages(task: Task) -> Answer:
    """Ask for the inbox, the list and a run so many times each, after one that warms up."""
    os.environ["DATABASE_URL"] = task.database
    from example_app import create_app

    app = create_app()
    found = {page.name: page for page in measured(app, logged_in(app), task.size, PAGES.values())}
    answer = {f"{key}_ms": median(found[name].milliseconds) for key, name in PAGES.items()}
    return answer | {"queries": max(page.queries for page in found.values())}
