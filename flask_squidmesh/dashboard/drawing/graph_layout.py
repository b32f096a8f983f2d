"""A graph as boxes, lines and ends with places and words, at a size at which its letters can be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Final
from unicodedata import east_asian_width

from markupsafe import Markup

from ...definition.spec import end_at
from ...queries.inbox import is_overdue
from ...queries.results import Graph, GraphEdge, GraphNode, Run, StepRunView
from ..text.badges import PASSED_BY, UNREACHED, Badge, badge_of_run, badge_of_visit
from ..text.language import N_, _, plural
from ..text.times import about, duration
from . import ranked_layout
from .ranked_layout import Arrow, Block, Line
from .step_timeline import performed

NAME, TEXT = 8.0, 6.5
"""About how wide a letter of a step's name is, and one of any other text."""
NARROWEST: Final = 160
WIDEST: Final = 264
INDENT: Final = 30
WIDE: Final = frozenset("mwMW@%")
LONGEST_LABEL: Final = 36
RADIUS: Final = 8
END_APART: Final = 28
_RING = "M5 0a5 5 0 1 1 0 10a5 5 0 1 1 0-10zM5 2a3 3 0 1 0 0 6a3 3 0 1 0 0-6z"
_CROSS = "M2 0L5 3L8 0L10 2L7 5L10 8L8 10L5 7L2 10L0 8L3 5L0 2z"
ICONS: Final[Mapping[str, str]] = {
    "completed": "M1 1h8v8H1z",
    "needs": "M5 0l5 5-5 5-5-5z",
    "failed": "M5 0L10 9H0z",
    "stuck": "M0 0h10L5 5l5 5H0l5-5z",
    "blocked": _CROSS,
    "incident": "M0 1h10L5 10z",
    "rejected": _CROSS,
    "paused": "M1 0h3v10H1zM6 0h3v10H6z",
    "retrying": "M0 5h5V0a5 5 0 1 1-5 5z",
    "running": "M5 0a5 5 0 1 1 0 10a5 5 0 1 1 0-10z",
    "waiting": _RING,
    "pending": _RING,
    "cancelled": "M0 4h10v2.5H0z",
    "cancelling": "M0 2h10v2H0zM0 6h10v2H0z",
    "unreached": "M5 3a2 2 0 1 1 0 4a2 2 0 1 1 0-4z",
}
_OUTCOMES: Final = {
    "error": N_("on error"),
    "reject": N_("rejected"),
    "approve": N_("approved"),
    "timed_out": N_("timed out"),
}
_CONDITIONS: Final = {
    "equals": N_("{path} is {value}"),
    "greater_than": N_("{path} over {value}"),
    "less_than": N_("{path} under {value}"),
}
_ASKS: Final = {"approval": N_("decision"), "decision": N_("decision"), "pause": N_("pause")}
_ROUTES: Final = ("error", "reject", "timed_out")


@dataclass(frozen=True, slots=True)
class Text:
    """What is written in a given room. whole: all of it, where the end had to be left out."""

    shown: str
    whole: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One step. x, y: its upper left corner. address: where its page shows it, None where there is nothing to show.

    state: what became of it, in a few words. spoken: the same in full. yet: the run has not come to it.
    """

    node: GraphNode
    mark: Badge
    x: int
    y: int
    width: int
    name: Text
    state: Text
    spoken: Markup
    address: str | None
    yet: bool

    @property
    def icon(self) -> str:
        """The shape of its mark as an SVG path, ten wide and high."""
        return ICONS.get(self.mark.shape, ICONS["unreached"])

    @property
    def right(self) -> int:
        """Where its right edge is."""
        return self.x + self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class EndPlace:
    """Where the run ends. x, y: the upper left corner of what the text stands in, which is this wide.

    after: the box beside which it stands, None where lines lead to it from above.
    """

    text: Markup
    x: int
    y: int
    width: int
    taken: bool
    after: Box | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One move, as an SVG path. label: on what it is made, at x, y, in a room of this width."""

    edge: GraphEdge
    path: str
    label: Text | None
    x: int
    y: int
    width: int

    @property
    def taken(self) -> bool:
        """Whether the run has gone this way."""
        return self.edge.status == "selected"


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything placed on a canvas of this size. sentences: the same for reading: each step, and where it leads."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    curves: tuple[Curve, ...]
    ends: tuple[EndPlace, ...]
    sentences: tuple[tuple[Box, tuple[Markup, ...]], ...]

    @property
    def here(self) -> Box | None:
        """The first step at which the run is; None where it is at none."""
        return next((box for box in self.boxes if box.node.current and box.address), None)

    @property
    def is_repeated(self) -> bool:
        """Whether a step was visited more than once."""
        return any(box.node.visits > 1 for box in self.boxes)


@dataclass(frozen=True, slots=True)
class RunDrawn:
    """The run whose way is drawn. address: of the page that shows a visit, or a step that was not reached."""

    run: Run
    now: datetime
    address: Callable[[str, StepRunView | None], str]

    def last_visit(self, step: str) -> StepRunView | None:
        """The newest visit to the step."""
        visits = [each for each in self.run.step_runs or () if each.step == step and each.kind == "step"]
        return visits[-1] if visits else None


@dataclass(frozen=True, slots=True)
class _NodeState:
    """What a box will say."""

    mark: Badge
    state: str
    spoken: Markup
    address: str | None
    yet: bool


def draw(graph: Graph, drawn: RunDrawn | None = None, *, kind_of: Callable[[GraphNode], str] | None = None) -> Drawing:
    """Place the graph. drawn: the run that it is of. kind_of: what is said of a step where it is of no run."""
    told = {node.id: _told(node, drawn, kind_of) for node in graph.nodes}
    width = _width(graph, told)
    endings = _endings(graph, drawn)
    labels = {edge.id: _label(edge, graph) for edge in graph.edges}
    reached = {edge.target: edge.status == "selected" for edge in graph.edges if end_at(edge.target) and edge.times}
    outcomes = {edge.target: _outcome(edge.target) for edge in graph.edges if end_at(edge.target)}
    layout = ranked_layout.arrange(
        [
            *(Block(node.id, width / 2, _beside(endings.get(node.id))) for node in graph.nodes),
            *(Block(target, _end_width(text) / 2) for target, text in outcomes.items()),
        ],
        [Arrow(edge.source, edge.target, _room(labels[edge.id])) for edge in graph.edges],
    )
    boxes = {node.id: _box(node, told[node.id], layout.places[node.id], width) for node in graph.nodes}
    pairs = zip(graph.edges, layout.lines, strict=True)
    curves = [_curve(edge, line, labels[edge.id]) for edge, line in pairs]
    ends = [_end_beside(boxes[id], text, taken) for id, (text, taken) in endings.items()]
    ends += [_end_below(layout.places[key], text, reached.get(key, False)) for key, text in outcomes.items()]
    return Drawing(
        width=round(layout.width),
        height=round(layout.height),
        boxes=tuple(boxes.values()),
        curves=tuple(sorted(curves, key=lambda curve: curve.taken)),
        ends=tuple(ends),
        sentences=tuple((box, tuple(_moves(box.node, graph, labels, endings))) for box in boxes.values()),
    )


def _told(node: GraphNode, drawn: RunDrawn | None, kind_of: Callable[[GraphNode], str] | None) -> _NodeState:
    irreversible = _("cannot be undone")
    if drawn is None:
        kind = kind_of(node) if kind_of else ""
        spoken = Markup("{}: {}").format(
            node.step, Markup(", ").join([kind, irreversible] if node.irreversible else [kind])
        )
        return _NodeState(UNREACHED, irreversible if node.irreversible else kind, spoken, None, yet=False)
    visit = drawn.last_visit(node.step)
    address = drawn.address(node.step, visit)
    if visit is None:
        mark = PASSED_BY if drawn.run.finished_at else UNREACHED
        asks = [_(_ASKS[node.kind])] if node.kind in _ASKS else []
        undoing = [irreversible] if node.irreversible else []
        spoken = Markup("{}: {}").format(node.step, Markup(", ").join([mark.label, *asks, *undoing]))
        state = _("Cannot be undone") if node.irreversible else Markup(", ").join([mark.label, *asks])
        return _NodeState(mark, state, spoken, address, yet=True)
    mark = badge_of_visit(visit, drawn.now)
    state = Markup(", ").join([mark.label, *_detail(visit, drawn.now)])
    times = [plural(node.visits, "{count} visit", "{count} visits")] if node.visits > 1 else []
    undoing = [irreversible] if node.irreversible else []
    return _NodeState(
        mark,
        state,
        Markup("{}: {}").format(node.step, Markup(", ").join([state, *times, *undoing])),
        address,
        yet=False,
    )


def _detail(visit: StepRunView, now: datetime) -> Iterator[Markup | str]:
    """What matters most about a visit beside its state."""
    attempts = performed(visit)
    since = visit.started_at or visit.created_at
    late = visit.decide_by if visit.finished_at is None and is_overdue(visit.decide_by, now) else None
    if late is not None:
        yield _("{length} overdue", length=about((now - late).total_seconds()))
    elif visit.status == "paused":
        yield _("for {length}", length=about(max((now - since).total_seconds(), 0)))
    elif visit.status == "pending" and attempts:
        yield _("{number} of {most}", number=len(attempts), most=visit.settings.get("max_attempts", 1))
    elif len(attempts) > 1:
        yield plural(len(attempts), "{count} attempt", "{count} attempts")
    elif visit.status == "running":
        yield _("for {length}", length=about(max((now - since).total_seconds(), 0)))
    elif visit.finished_at and visit.started_at:
        yield duration((visit.finished_at - (attempts[0].started_at if attempts else since)).total_seconds())


def _width(graph: Graph, told: Mapping[str, _NodeState]) -> int:
    """How wide all boxes are, so that most texts fit in."""
    wanted = (max(_long(node.step, NAME), _long(told[node.id].state, TEXT)) for node in graph.nodes)
    return 2 * ceil(min(max([NARROWEST, *(each + INDENT + 10 for each in wanted)]), WIDEST) / 2)


def _long(text: str, letter: float) -> float:
    """About how much room the text takes up; rather more than less."""
    return sum(letter * _share(each) for each in str(text))


def _share(character: str) -> float:
    """How wide a character is, where a usual letter is 1."""
    if east_asian_width(character) in "WF":
        return 1.75
    if character in WIDE:
        return 1.85
    return 1.25 if character.isupper() else 1.0


def _fit(text: str, letter: float, room: float) -> Text:
    plain = Markup(text).unescape() if isinstance(text, Markup) else text
    if _long(plain, letter) <= room:
        return Text(plain)
    cut = plain
    while cut and _long(cut + "…", letter) > room:
        cut = cut[:-1]
    return Text(cut + "…", plain)


def _box(node: GraphNode, told: _NodeState, place: tuple[float, float], width: int) -> Box:
    room = width - INDENT - 10
    return Box(
        node=node,
        mark=told.mark,
        x=round(place[0] - width / 2),
        y=round(place[1]),
        width=width,
        name=_fit(node.step, NAME, room),
        state=_fit(told.state, TEXT, room),
        spoken=told.spoken,
        address=told.address,
        yet=told.yet,
    )


def _label(edge: GraphEdge, graph: Graph) -> Text | None:
    """On what the move is made; None where that goes without saying."""
    words = [each for each in (_on(edge, graph), _condition(edge)) if each]
    if not words:
        return None
    times = f" ×{edge.times}" if edge.times > 1 else ""
    whole = " ".join(Markup(", ").join(words).unescape().split()) + times
    return Text(whole) if len(whole) <= LONGEST_LABEL else Text(whole[: LONGEST_LABEL - 1] + "…", whole)


def _on(edge: GraphEdge, graph: Graph) -> Markup | None:
    source = next(node for node in graph.nodes if node.id == edge.source)
    if source.kind == "decision" and edge.outcome not in ("error", "timed_out"):
        return Markup.escape(edge.outcome.replace("_", " "))
    if edge.outcome in _OUTCOMES:
        return _(_OUTCOMES[edge.outcome])
    beside = [each for each in graph.edges if each.source == edge.source and each.id != edge.id]
    if any(each.outcome == "reject" for each in beside):
        return _("approved")
    if edge.condition is None and any(each.outcome == edge.outcome and each.condition for each in beside):
        return _("otherwise")
    return None


def _condition(edge: GraphEdge) -> Markup | None:
    if edge.condition is None:
        return None
    test, value = edge.condition, edge.condition.get("value")
    path = test.get("path")
    named = ".".join(map(str, path)) if isinstance(path, Sequence) else str(path)
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return _(_CONDITIONS[str(test["operator"])], path=named, value=written)


def _room(label: Text | None) -> float:
    return _long(label.shown, TEXT) + 16 if label else 0.0


def _endings(graph: Graph, drawn: RunDrawn | None) -> dict[str, tuple[Markup, bool]]:
    """The steps after which the run ends, with how, and whether it did so."""
    leading = {edge.source for edge in graph.edges if edge.outcome not in _ROUTES}
    last = _last_step(drawn)
    return {node.id: _ending(node.id == last, drawn) for node in graph.nodes if graph.edges and node.id not in leading}


def _ending(is_last: bool, drawn: RunDrawn | None) -> tuple[Markup, bool]:
    if drawn is None or not is_last:
        return _("ends"), False
    return _("ends: {state}", state=badge_of_run(drawn.run, drawn.run.status).label.lower()), True


def _last_step(drawn: RunDrawn | None) -> str | None:
    """The step after which a run ended that came to an end of its workflow."""
    if drawn is None or drawn.run.status != "completed":
        return None
    ended = [each for each in drawn.run.step_runs or () if each.kind == "step" and each.finished_at]
    return max(ended, key=lambda each: each.finished_at or each.created_at).step if ended else None


def _end_width(text: Markup) -> int:
    return round(_long(text.unescape(), TEXT)) + 28


def _end_beside(box: Box, text: Markup, taken: bool) -> EndPlace:
    return EndPlace(text=text, x=box.right + END_APART, y=box.y + 11, width=_end_width(text), taken=taken, after=box)


def _end_below(place: tuple[float, float], text: Markup, taken: bool) -> EndPlace:
    width = _end_width(text)
    return EndPlace(text=text, x=round(place[0] - width / 2), y=round(place[1]), width=width, taken=taken)


def _outcome(target: str) -> Markup:
    """How a run ends that a route leads there."""
    end = end_at(target)
    assert end is not None
    text = N_("ends: {state}, undone") if end.compensate else N_("ends: {state}")
    return _(text, state=end.outcome)


def _beside(ending: tuple[Markup, bool] | None) -> float:
    return END_APART + _end_width(ending[0]) if ending else 0.0


def _curve(edge: GraphEdge, line: Line, label: Text | None) -> Curve:
    x, y = line.label or (0.0, 0.0)
    return Curve(edge=edge, path=_path(line), label=label, x=round(x), y=round(y), width=round(_room(label)) - 6)


def _path(line: Line) -> str:
    """The line with its corners made round."""
    points = [point for at, point in enumerate(line.points) if at == 0 or point != line.points[at - 1]]
    parts = [f"M{points[0][0]:g} {points[0][1]:g}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        near, far = _towards(corner, before), _towards(corner, after)
        parts.append(f"L{near[0]:g} {near[1]:g}Q{corner[0]:g} {corner[1]:g} {far[0]:g} {far[1]:g}")
    return "".join([*parts, f"L{points[-1][0]:g} {points[-1][1]:g}"])


def _towards(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    length = abs(other[0] - corner[0]) + abs(other[1] - corner[1])
    share = min(RADIUS, length / 2) / length
    return corner[0] + (other[0] - corner[0]) * share, corner[1] + (other[1] - corner[1]) * share


def _moves(
    node: GraphNode,
    graph: Graph,
    labels: Mapping[str, Text | None],
    endings: Mapping[str, tuple[Markup, bool]],
) -> Iterator[Markup]:
    """Where the step leads, as the rest of a sentence."""
    for edge in graph.edges:
        if edge.source == node.id:
            label = labels[edge.id]
            on = (label.whole or label.shown) if label else None
            there = _outcome(edge.target) if end_at(edge.target) else _("leads to {step}", step=edge.target)
            yield Markup("{} ({})").format(there, on) if on else there
    if node.id in endings:
        yield endings[node.id][0]
