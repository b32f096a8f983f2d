"""Which nodes of a graph can come before which."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flask_squidmesh.definition.precedence import precedence

_graphs = st.integers(1, 8).flatmap(
    lambda size: st.lists(st.sets(st.integers(0, size - 1)), min_size=size, max_size=size)
)


@given(_graphs)
def test_a_node_comes_after_all_that_lead_to_it(targets: list[set[int]]) -> None:
    edges = {str(number): {str(target) for target in found} for number, found in enumerate(targets)}
    order = precedence(edges)
    for name, before in order.before.items():
        assert {other for other, bit in order.bit.items() if before & bit} == {
            other for other in edges if name in _led_to(edges, other)
        }


def _led_to(edges: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    for _ in edges:
        found = edges[start].union(*(edges[name] for name in found))
    return found
