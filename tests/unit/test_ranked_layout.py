"""Where boxes and lines of a graph go: nothing lies on anything else, however the steps follow from each other."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import pytest

from flask_squidmesh.dashboard.drawing.ranked_layout import HEIGHT, Arrow, Block, Layout, Point, arrange

HALF = 90.0
Segment = tuple[Point, Point]


def blocks(*keys: str) -> list[Block]:
    return [Block(key, HALF) for key in keys]


def arrows(*moves: str) -> list[Arrow]:
    """Such as "ab" from a to b, and "ab:60" with a label of that width."""
    return [Arrow(move[0], move[1], float(move.partition(":")[2] or 0)) for move in moves]


def frames(layout: Layout) -> dict[str, tuple[float, float, float, float]]:
    return {key: (x - HALF, y, x + HALF, y + HEIGHT) for key, (x, y) in layout.places.items()}


def crossings(layout: Layout) -> list[str]:
    """The blocks that a line runs through."""
    return [
        key
        for line in layout.lines
        for (x1, y1), (x2, y2) in pairwise(line.points)
        for key, (left, top, right, bottom) in frames(layout).items()
        if min(x1, x2) < right - 1 and max(x1, x2) > left + 1 and min(y1, y2) < bottom - 1 and max(y1, y2) > top + 1
    ]


def overlaps(layout: Layout) -> list[tuple[str, str]]:
    """The pairs of blocks that lie on each other."""
    return [
        (one, other)
        for (one, a), (other, b) in combinations(frames(layout).items(), 2)
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]


def is_sound(layout: Layout) -> bool:
    inside = [0 <= x <= layout.width and 0 <= y <= layout.height for line in layout.lines for x, y in line.points]
    square = [a[0] == b[0] or a[1] == b[1] for line in layout.lines for a, b in pairwise(line.points)]
    return not overlaps(layout) and not crossings(layout) and all(inside) and all(square)


def test_a_chain_is_one_straight_line() -> None:
    layout = arrange(blocks(*"abcd"), arrows("ab", "bc", "cd"))
    assert len({x for x, _y in layout.places.values()}) == 1
    assert all(len(line.points) == 2 for line in layout.lines)
    tops = [layout.places[key][1] for key in "abcd"]
    assert tops == sorted(tops)


def test_a_step_stands_below_all_that_lead_to_it_in_whatever_order_they_are_named() -> None:
    layout = arrange(blocks(*"dcba"), arrows("ab", "bc", "ad", "cd"))
    tops = [layout.places[key][1] for key in "abcd"]
    assert tops == sorted(tops)
    assert len(set(tops)) == 4


def test_a_move_back_leaves_and_enters_at_the_side() -> None:
    layout = arrange(blocks(*"abc"), arrows("ab", "bc", "ca:60"))
    back, (ax, ay), (cx, cy) = layout.lines[2], layout.places["a"], layout.places["c"]
    assert abs(back.points[0][0] - cx) == HALF
    assert cy < back.points[0][1] < cy + HEIGHT
    assert abs(back.points[-1][0] - ax) == HALF
    assert ay < back.points[-1][1] < ay + HEIGHT
    assert is_sound(layout)


def test_a_step_that_leads_to_itself_has_a_line_beside_it() -> None:
    layout = arrange(blocks("a"), arrows("aa:40"))
    assert is_sound(layout)
    assert {x for x, _y in layout.lines[0].points} == {layout.places["a"][0] + HALF, layout.lines[0].points[1][0]}
    assert layout.lines[0].label is not None
    assert layout.lines[0].label[0] + 20 <= layout.width


def test_labels_of_one_step_stand_side_by_side() -> None:
    layout = arrange(blocks(*"abcd"), arrows("ab:200", "ac:150", "ad:250"))
    places = sorted(line.label for line in layout.lines if line.label)
    assert len({y for _x, y in places}) == 1
    widths = {"ab": 200, "ac": 150, "ad": 250}
    by_place = sorted(
        (line.label, width) for line, width in zip(layout.lines, widths.values(), strict=True) if line.label
    )
    assert all(right[0][0] - left[0][0] >= (left[1] + right[1]) / 2 for left, right in pairwise(by_place))
    assert is_sound(layout)


def test_what_stands_beside_a_block_has_room() -> None:
    layout = arrange([Block("r", HALF), Block("a", HALF, beside=120), Block("b", HALF)], arrows("ra", "rb"))
    left, right = sorted(layout.places[key][0] for key in "ab")
    assert right - left >= 2 * HALF + (120 if layout.places["a"][0] == left else 0)


def test_steps_without_moves_stand_in_rows() -> None:
    layout = arrange(blocks(*"abcdefghijkl"), [])
    assert layout.width < 6 * (2 * HALF + 30)
    assert not overlaps(layout)


def test_nothing_is_drawn_of_nothing() -> None:
    assert arrange([], []).lines == ()


@pytest.mark.parametrize("seed", range(40))
def test_nothing_lies_on_anything_else(seed: int) -> None:
    chance = random.Random(seed)
    keys = [chr(ord("a") + number) for number in range(chance.randint(2, 25))]
    moves = {(chance.choice(keys), chance.choice(keys)) for _ in range(chance.randint(1, 2 * len(keys)))}
    given = [Arrow(source, target, chance.choice([0, 0, 60, 200])) for source, target in sorted(moves)]
    assert is_sound(arrange(blocks(*keys), given))


def test_two_hundred_steps_are_placed() -> None:
    keys = [chr(0x4E00 + number) for number in range(200)]
    moves = [*pairwise(keys), *zip(keys, keys[7:], strict=False), *zip(keys[20:], keys[:20], strict=False)]
    assert is_sound(arrange(blocks(*keys), [Arrow(source, target) for source, target in moves]))
