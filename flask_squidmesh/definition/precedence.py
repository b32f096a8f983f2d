"""What leads to what in a graph of names, circles included."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_

_Edges = Mapping[str, Collection[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Precedence:
    """A bit for each node; and for each node the bits of those that lead to it, its own among them in a circle."""

    bit: Mapping[str, int]
    before: Mapping[str, int]


def precedence(edges: _Edges) -> Precedence:
    """What leads to each node, at the price of its edges: joining two sets of bits takes no loop over their members."""
    bit = {name: 1 << number for number, name in enumerate(edges)}
    back = _reversed(edges)
    before: dict[str, int] = {}
    for group in _groups(edges, back):
        entered_from = {each for name in group for each in back[name]}
        outside = [before[name] | bit[name] for name in entered_from - group]
        inside = [] if entered_from.isdisjoint(group) else [bit[name] for name in group]
        before.update(dict.fromkeys(group, reduce(or_, outside + inside, 0)))
    return Precedence(bit=bit, before=before)


def _reversed(edges: _Edges) -> _Edges:
    back: dict[str, list[str]] = {name: [] for name in edges}
    for name, targets in edges.items():
        for target in targets:
            back[target].append(name)
    return back


def _groups(edges: _Edges, back: _Edges) -> Iterator[set[str]]:
    """The nodes that lead to one another, else each by itself; every group after those that lead to it."""
    placed: set[str] = set()
    for start in reversed(_left(edges)):
        group, waiting = set[str](), [start]
        while waiting:
            name = waiting.pop()
            if name not in placed:
                placed.add(name)
                group.add(name)
                waiting.extend(back[name])
        if group:
            yield group


def _left(edges: _Edges) -> list[str]:
    """All nodes as a walk leaves them: each after everything that it reached first through it."""
    left, entered = list[str](), set[str]()
    for start in edges:
        path = [] if start in entered else [(start, iter(edges[start]))]
        entered.add(start)
        while path:
            name, targets = path[-1]
            following = next((each for each in targets if each not in entered), None)
            if following is None:
                left.append(name)
                path.pop()
            else:
                entered.add(following)
                path.append((following, iter(edges[following])))
    return left
