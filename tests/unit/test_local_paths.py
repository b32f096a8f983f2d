"""Where a form or a log-in leads is this site's own, in the dashboard as in the shop that people copy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from example_app.shop.logging_in import is_own_path
from flask_squidmesh.dashboard.layout import local_path

AWAY = [
    *("//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "\\/evil.example", "/a\\..\\\\evil"),
    *(
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r//evil",
        "\t//evil.example",
        " //evil.example",
        "/\x00/evil",
        "/\x7f/x",
    ),
    *("https://evil.example", "https:evil.example", "https:/evil.example", "javascript:alert(1)", "evil.example", ""),
    *("/\x7f/x", "/\u2028/evil", "/\u00a0/evil", "/\ud800"),
]
OWN = ["/", "/orders/o-1", "/runs?q=a\\b&next=//elsewhere", "/runs?q=a b#audit", "/%09/still-here", "/gr\u00fcn"]


@pytest.mark.parametrize("leads_here", [is_own_path, local_path])
def test_only_a_path_of_this_site_is_followed(leads_here: Callable[[str], object]) -> None:
    assert [target for target in AWAY if leads_here(target)] == []
    assert [target for target in OWN if not leads_here(target)] == []


def test_no_target_is_none() -> None:
    assert local_path(None) is None
