"""What a test does when a part of the machine that it needs is missing."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(part: str) -> NoReturn:
    """Skip the test and say what to install; fail it where `CI` is set, because there nothing may be left out.

    :param part: What is missing and how to get it.
    :raises: pytest's skip or failure, always.
    """
    if os.environ.get("CI", "").lower() in ("", "0", "false", "no"):
        pytest.skip(part)
    pytest.fail(part, pytrace=False)
