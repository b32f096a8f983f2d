"""Blocks in ranks from top to bottom with lines between them that cross no block: places only, no words.

Blocks that lead to others stand above them. Where an arrow has a label, a rank of its own below the block that it
leaves has room for it; an arrow over several ranks passes each of them at a place of its own, and so does one that
leads back up, which leaves and enters at the side.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Final

Point = tuple[float, float]

HEIGHT: Final = 52.0
LABEL_HEIGHT: Final = 20.0
APART: Final = 20.0
LANE: Final = 10.0
SHORTEST_GAP: Final = 30.0
TRACK: Final = 10.0
MARGIN: Final = 4.0
PORTS_APART: Final = 14.0
CORNER: Final = 18.0
ROW: Final = 5
SWEEPS: Final = 8


@dataclass(frozen=True, slots=True)
class Block:
    """What is to be placed. half: half of its width. beside: how much room it needs at its right."""

    key: str
    half: float
    beside: float = 0.0


@dataclass(frozen=True, slots=True)
class Arrow:
    """A move from one block to another. label: how much room its text takes up, 0 for none."""

    source: str
    target: str
    label: float = 0.0


@dataclass(frozen=True, slots=True)
class Line:
    """Where an arrow runs, with its corners in the order of the move. label: the middle of its text."""

    points: tuple[Point, ...]
    label: Point | None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is. places: the middle of the upper edge of each block. lines: in the order of the arrows."""

    width: float
    height: float
    places: Mapping[str, Point]
    lines: tuple[Line, ...]


@dataclass(slots=True, eq=False)
class _Item:
    """Something with a place in a level: a block, or where an arrow passes. up, down: what it is joined to."""

    level: int
    left: float
    right: float
    block: Block | None = None
    x: float = 0.0
    up: list[_Item] = field(default_factory=list)
    down: list[_Item] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Passage:
    """An arrow as the items that it passes, from top to bottom. back: it leads up. side: -1 left, 1 right."""

    arrow: Arrow
    items: list[_Item]
    back: bool
    labelled: _Item | None = None
    side: int = 1
    top: Point = (0.0, 0.0)
    bottom: Point = (0.0, 0.0)


def arrange(blocks: Sequence[Block], arrows: Sequence[Arrow]) -> Layout:
    """Place the blocks, in whose order those of a rank stand as far as the arrows allow, and draw the arrows."""
    back = _leading_back(blocks, arrows)
    ranks = _ranks(blocks, arrows, back)
    levels, items = _levels(blocks, arrows, ranks, back)
    passages = [_passage(arrow, items, levels, arrow_at in back) for arrow_at, arrow in enumerate(arrows)]
    rows = list(levels.values())
    _order(rows)
    _spread(rows)
    _add_sides(levels, passages)
    _spread(rows)
    for _again in range(SWEEPS):
        _straighten(rows)
    return _drawn(items, levels, passages)


def _leading_back(blocks: Sequence[Block], arrows: Sequence[Arrow]) -> set[int]:
    """The arrows that lead to where one has come from, by their places in the list."""
    leaving: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for at, arrow in enumerate(arrows):
        leaving[arrow.source].append((at, arrow.target))
    entered = {arrow.target for arrow in arrows}
    found: set[int] = set()
    seen: set[str] = set()
    for start in sorted((block.key for block in blocks), key=lambda key: key in entered):
        if start in seen:
            continue
        seen.add(start)
        way, under_way = [(start, iter(leaving[start]))], {start}
        while way:
            here, moves = way[-1]
            move = next(moves, None)
            if move is None:
                way.pop()
                under_way.discard(here)
                continue
            at, target = move
            if target in under_way:
                found.add(at)
            elif target not in seen:
                seen.add(target)
                under_way.add(target)
                way.append((target, iter(leaving[target])))
    return found


def _ranks(blocks: Sequence[Block], arrows: Sequence[Arrow], back: set[int]) -> dict[str, int]:
    """A block stands below everything that leads to it; what nothing leads to or from stands in rows."""
    if not arrows:
        return {block.key: at // ROW for at, block in enumerate(blocks)}
    ahead = [arrow for at, arrow in enumerate(arrows) if at not in back]
    waiting = {block.key: sum(arrow.target == block.key for arrow in ahead) for block in blocks}
    leaving: dict[str, list[str]] = defaultdict(list)
    for arrow in ahead:
        leaving[arrow.source].append(arrow.target)
    ranks = dict.fromkeys(waiting, 0)
    ready = [key for key, count in waiting.items() if count == 0]
    for key in ready:
        for target in leaving[key]:
            ranks[target] = max(ranks[target], ranks[key] + 1)
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    return ranks


Levels = dict[int, list[_Item]]


def _levels(
    blocks: Sequence[Block], arrows: Sequence[Arrow], ranks: Mapping[str, int], back: set[int]
) -> tuple[Levels, dict[str, _Item]]:
    """The rows from top to bottom by twice their rank, and those for labels in between; so far with the blocks."""
    numbers = {2 * rank for rank in ranks.values()}
    for at, arrow in enumerate(arrows):
        if arrow.label and arrow.source != arrow.target:
            numbers.add(2 * ranks[arrow.source] + (-1 if at in back else 1))
    levels: Levels = {number: [] for number in sorted(numbers)}
    items: dict[str, _Item] = {}
    for block in blocks:
        item = _Item(2 * ranks[block.key], block.half, block.half + block.beside, block)
        items[block.key] = item
        levels[item.level].append(item)
    return levels, items


def _passage(arrow: Arrow, items: Mapping[str, _Item], levels: Levels, back: bool) -> _Passage:
    source, target = items[arrow.source], items[arrow.target]
    upper, lower = (target, source) if back else (source, target)
    passed = [number for number in levels if upper.level < number < lower.level]
    passage = _Passage(arrow, [upper], back)
    for number in passed:
        is_label = arrow.label > 0 and number == (source.level - 1 if back else source.level + 1)
        half = max(arrow.label / 2 if is_label else 0.0, LANE)
        item = _Item(number, half, half)
        levels[number].append(item)
        passage.items.append(item)
        passage.labelled = item if is_label else passage.labelled
    if upper is not lower:
        passage.items.append(lower)
    _join(passage.items)
    return passage


def _join(items: Sequence[_Item]) -> None:
    for upper, lower in pairwise(items):
        upper.down.append(lower)
        lower.up.append(upper)


def _order(rows: list[list[_Item]]) -> None:
    """Put what is joined near each other, so that few lines cross: by the mean of places above, then of those below."""
    best, fewest = [list(row) for row in rows], _crossings(rows)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            places = {item: float(at) for other in rows for at, item in enumerate(other)}

            def middle(item: _Item, down: bool = down, places: Mapping[_Item, float] = places) -> float:
                joined = item.up if down else item.down
                return sum(places[each] for each in joined) / len(joined) if joined else places[item]

            row.sort(key=middle)
        crossed = _crossings(rows)
        if crossed < fewest:
            best, fewest = [list(row) for row in rows], crossed
        if fewest == 0:
            break
    for row, kept in zip(rows, best, strict=True):
        row[:] = kept


def _crossings(rows: Sequence[Sequence[_Item]]) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        places = {item: at for at, item in enumerate(lower)}
        ends: list[int] = []
        for item in upper:
            reached = sorted(places[each] for each in item.down)
            total += sum(len(ends) - bisect_right(ends, place) for place in reached)
            for place in reached:
                insort(ends, place)
    return total


def _spread(rows: Sequence[Sequence[_Item]]) -> None:
    """Give every item a place beside its neighbours, as near as it can be to what it is joined to."""
    for row in rows:
        _settle(row, [(item.x, 1.0) for item in row])
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            both = sweep >= SWEEPS
            _settle(
                row, [_pull(item, (*item.up, *item.down) if both else item.up if down else item.down) for item in row]
            )


def _pull(item: _Item, joined: Sequence[_Item]) -> tuple[float, float]:
    """Where the item would be best, and how much that matters: most of all, that what passes a rank is straight."""
    if not joined:
        return item.x, 0.1
    weights = [8.0 if item.block is None and each.block is None else 2.0 for each in joined]
    return sum(each.x * weight for each, weight in zip(joined, weights, strict=True)) / sum(weights), sum(weights)


def _settle(row: Sequence[_Item], wanted: Sequence[tuple[float, float]]) -> None:
    shifts, shift = [], 0.0
    for before, item in zip([None, *row], row, strict=False):
        shift += _apart(before, item) if before is not None else 0.0
        shifts.append(shift)
    settled = _rising([(place - each, weight) for (place, weight), each in zip(wanted, shifts, strict=True)])
    for item, place, each in zip(row, settled, shifts, strict=True):
        item.x = place + each


def _apart(left: _Item, right: _Item) -> float:
    """How far apart the middles of two neighbours are at least."""
    return left.right + right.left + (APART if left.block or right.block else 0.0)


def _straighten(rows: Sequence[Sequence[_Item]]) -> None:
    """Put what follows from one another without a fork exactly below each other, as far as there is room."""
    for run in _runs(rows):
        low, high, straight = -inf, inf, list[_Item]()
        for item, before, after in run:
            least = -inf if before is None else before.x + _apart(before, item)
            most = inf if after is None else after.x - _apart(item, after)
            if straight and max(low, least) > min(high, most):
                _align(straight, low, high)
                low, high, straight = -inf, inf, []
            low, high = max(low, least), min(high, most)
            straight.append(item)
        _align(straight, low, high)


def _align(items: Sequence[_Item], low: float, high: float) -> None:
    place = min(max(sum(item.x for item in items) / len(items), low), high)
    for item in items:
        item.x = place


def _runs(rows: Sequence[Sequence[_Item]]) -> Iterator[list[tuple[_Item, _Item | None, _Item | None]]]:
    """Items that should be below each other, each with its neighbours; first those that are longest."""
    beside = {
        item: (before, after)
        for row in rows
        for before, item, after in zip([None, *row], row, [*row[1:], None], strict=False)
    }
    runs: list[list[_Item]] = []
    at: dict[_Item, list[_Item]] = {}
    for item in beside:
        above = [each for each in item.up if _is_straight(each, item)]
        run = at[above[0]] if above and at[above[0]][-1] is above[0] else []
        if not run:
            runs.append(run)
        run.append(item)
        at[item] = run
    for run in sorted(runs, key=len, reverse=True):
        yield [(item, *beside[item]) for item in run]


def _is_straight(upper: _Item, lower: _Item) -> bool:
    passing = upper.block is None and lower.block is None
    return passing or (len(upper.down) == 1 and len(lower.up) == 1)


def _rising(wanted: Iterable[tuple[float, float]]) -> list[float]:
    """The numbers nearest to those that are wanted, by weight, of which none is below the one before it."""
    pools: list[tuple[float, float, int]] = []
    for place, weight in wanted:
        count = 1
        while pools and pools[-1][0] > place:
            other, heavy, many = pools.pop()
            place = (place * weight + other * heavy) / (weight + heavy)
            weight, count = weight + heavy, count + many
        pools.append((place, weight, count))
    return [place for place, _weight, count in pools for _each in range(count)]


def _add_sides(levels: Levels, passages: Sequence[_Passage]) -> None:
    """Let what leads back pass beside the blocks that it leaves and enters, on the side where it passes the others."""
    for passage in passages:
        if not passage.back:
            continue
        upper, lower = passage.items[0], passage.items[-1]
        passed = passage.items[1:-1]
        passage.side = _side(upper, lower, passed)
        for first, second in pairwise(passage.items):
            first.down.remove(second)
            second.up.remove(first)
        ends = [_beside(levels, each, passage.side) for each in ((upper,) if upper is lower else (upper, lower))]
        if upper is lower:
            room = LANE / 2 + passage.arrow.label
            ends[0].left, ends[0].right = (room, LANE / 2) if passage.side < 0 else (LANE / 2, room)
        passage.items = [upper, ends[0], *passed, ends[-1], lower]
        _join([ends[0], *passed, *ends[1:]])


def _side(upper: _Item, lower: _Item, passed: Sequence[_Item]) -> int:
    if any(each.block is not None and each.block.beside for each in (upper, lower)):
        return -1
    if not passed:
        return 1
    return -1 if sum(each.x for each in passed) / len(passed) < (upper.x + lower.x) / 2 else 1


def _beside(levels: Levels, block: _Item, side: int) -> _Item:
    row = levels[block.level]
    at = row.index(block) + (1 if side > 0 else 0)
    while side > 0 and at < len(row) and row[at].block is None and row[at].right == LANE / 2:
        at += 1
    while side < 0 and at > 0 and row[at - 1].block is None and row[at - 1].right == LANE / 2:
        at -= 1
    item = _Item(block.level, LANE / 2, LANE / 2, x=block.x + side * block.right)
    row.insert(at, item)
    return item


def _drawn(items: Mapping[str, _Item], levels: Levels, passages: Sequence[_Passage]) -> Layout:
    everything = [item for row in levels.values() for item in row]
    leftmost = min((item.x - item.left for item in everything), default=0.0)
    for item in everything:
        item.x = round(item.x - leftmost + MARGIN)
    bends, tracks = _bends(passages, _ports(passages))
    rows = _heights(levels, tracks)
    _touch_sides(passages, rows)
    return Layout(
        width=max((item.x + item.right for item in everything), default=0.0) + MARGIN,
        height=max((row.bottom for row in rows.values()), default=0.0) + MARGIN,
        places={key: (item.x, rows[item.level].top) for key, item in items.items()},
        lines=tuple(_line(passage, bends[number], rows) for number, passage in enumerate(passages)),
    )


Ports = dict[tuple[int, bool], float]


def _ports(passages: Sequence[_Passage]) -> Ports:
    """Where on its edge each line leaves (by its number and True) or enters (False) a block: straight if it can be."""
    ports: Ports = {}
    for leaving in (False, True):
        lines: dict[_Item, list[tuple[float, int]]] = defaultdict(list)
        for number, passage in enumerate(passages):
            if passage.back:
                continue
            block, joined = (passage.items[0], passage.items[1]) if leaving else (passage.items[-1], passage.items[-2])
            lines[block].append((ports[number, False] if leaving and joined.block else joined.x, number))
        for block, found in lines.items():
            for number, place in _along(block, sorted(found)):
                ports[number, leaving] = place
    return ports


def _along(block: _Item, lines: Sequence[tuple[float, int]]) -> Iterator[tuple[int, float]]:
    reach = block.left - CORNER
    apart = min(PORTS_APART, 2 * reach / max(len(lines) - 1, 1))
    first = block.x - apart * (len(lines) - 1) / 2
    wanted = [
        (met - each * apart, 1000.0) if abs(met - block.x) <= reach else (first, 1.0)
        for each, (met, _number) in enumerate(lines)
    ]
    low, high = block.x - reach, block.x + reach - apart * (len(lines) - 1)
    for each, ((_met, number), place) in enumerate(zip(lines, _rising(wanted), strict=True)):
        yield number, round(min(max(place, low), high) + each * apart)


@dataclass(slots=True)
class _Bend:
    """What a line does in the gap below a level. track: the how manieth from above it runs on to the side."""

    start: float
    end: float
    track: int = 0

    @property
    def span(self) -> tuple[float, float]:
        """From where to where it runs, with a little more."""
        return min(self.start, self.end) - 2, max(self.start, self.end) + 2


def _bends(passages: Sequence[_Passage], ports: Ports) -> tuple[list[dict[int, _Bend]], dict[int, int]]:
    """What each line does in each gap, by the level above it, and how many tracks each gap needs."""
    found: list[dict[int, _Bend]] = [{} for _passage in passages]
    running: dict[int, list[_Bend]] = defaultdict(list)
    for number, passage in enumerate(passages):
        for upper, lower in pairwise(passage.items[1:-1] if passage.back else passage.items):
            start = ports[number, True] if upper.block else upper.x
            end = ports[number, False] if lower.block else lower.x
            found[number][upper.level] = bend = _Bend(start, end)
            if start != end:
                running[upper.level].append(bend)
    return found, {level: _set_tracks(bends) for level, bends in running.items()}


def _set_tracks(bends: Sequence[_Bend]) -> int:
    """Lines that run to the same side keep clear of each other when the one that starts further there runs above."""
    right = sorted((each for each in bends if each.end > each.start), key=lambda each: -each.start)
    left = sorted((each for each in bends if each.end < each.start), key=lambda each: each.start)
    placed: list[_Bend] = []
    for bend in (*right, *left):
        low, high = bend.span
        over = [other.track + 1 for other in placed if other.span[0] < high and low < other.span[1]]
        bend.track = max(over, default=0)
        placed.append(bend)
    return max((bend.track + 1 for bend in placed), default=0)


@dataclass(frozen=True, slots=True)
class _Row:
    """How high a level is and what is below it. first: where the first track below it is."""

    top: float
    bottom: float
    first: float


def _heights(levels: Levels, tracks: Mapping[int, int]) -> dict[int, _Row]:
    rows, top = {}, MARGIN
    for level in levels:
        bottom = top + (LABEL_HEIGHT if level % 2 else HEIGHT)
        run = TRACK * (tracks.get(level, 1) - 1)
        gap = max(SHORTEST_GAP, run + 2 * TRACK + 4)
        rows[level] = _Row(top, bottom, bottom + (gap - run) / 2 - 2)
        top = bottom + gap
    return rows


def _touch_sides(passages: Sequence[_Passage], rows: Mapping[int, _Row]) -> None:
    """Where what leads back touches its blocks: the further out, the higher it enters and the lower it leaves."""
    count: dict[tuple[_Item, int], int] = defaultdict(int)
    for passage in passages:
        if not passage.back:
            continue
        upper, lower = passage.items[0], passage.items[-1]
        for block, sign in ((upper, -1), (lower, 1)):
            shift = min(8 * count[block, passage.side], HEIGHT / 2 - 8) + (12 if upper is lower else 0)
            place = (block.x + passage.side * block.left, rows[block.level].top + HEIGHT / 2 + sign * shift)
            passage.top, passage.bottom = (place, passage.bottom) if sign < 0 else (passage.top, place)
        for touched in {(upper, passage.side), (lower, passage.side)}:
            count[touched] += 1


def _line(passage: _Passage, bends: Mapping[int, _Bend], rows: Mapping[int, _Row]) -> Line:
    upper, lower = passage.items[0], passage.items[-1]
    points: list[Point] = []
    if passage.back:
        points += [passage.top, (passage.items[1].x, passage.top[1])]
    else:
        points.append((bends[upper.level].start, rows[upper.level].bottom))
    if upper is not lower:
        for level, bend in bends.items():
            if bend.start != bend.end:
                across = rows[level].first + TRACK * bend.track
                points += [(bend.start, across), (bend.end, across)]
    if passage.back:
        points += [(passage.items[-2].x, passage.bottom[1]), passage.bottom]
    else:
        points.append((bends[passage.items[-2].level].end, rows[lower.level].top))
    return Line(tuple(reversed(points) if passage.back else points), _label(passage, rows))


def _label(passage: _Passage, rows: Mapping[int, _Row]) -> Point | None:
    if passage.labelled is not None:
        row = rows[passage.labelled.level]
        return passage.labelled.x, (row.top + row.bottom) / 2
    if passage.items[0] is passage.items[-1] and passage.arrow.label:
        return passage.items[1].x + passage.side * (LANE / 2 + passage.arrow.label / 2), (
            passage.top[1] + passage.bottom[1]
        ) / 2
    return None
