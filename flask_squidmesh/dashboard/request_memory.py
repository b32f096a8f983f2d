"""What is found out once for each request, such as what its person may know of."""

from __future__ import annotations

from typing import Any

from flask import request

_PLACE = "squidmesh.memory"


def memory() -> dict[str, Any]:
    """What has been found out for this request.

    Flask's `g` would not do: requests that are made within one app context, as tests of hosts make them, share it,
    whoever they are of.
    """
    kept: dict[str, Any] = request.environ.setdefault(_PLACE, {})
    return kept
