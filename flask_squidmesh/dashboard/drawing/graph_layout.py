"""A graph as boxes and curves with places: steps in layers from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from ...queries.results import Graph, GraphEdge, GraphNode
from ..text.badges import PASSED_BY, UNREACHED, Badge, badge_of_decision, badge_of_status
from ..text.language import N_, _

_OUTCOMES = {"error": N_("error"), "reject": N_("rejected")}
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 190, 46, 30, 54, 24


@dataclass(frozen=True, slots=True)
class Box:
    """One step. x, y: its upper left corner."""

    node: GraphNode
    mark: Badge
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Curve:
    """One move, as an SVG path, with the place of its label."""

    edge: GraphEdge
    path: str
    x: int
    y: int

    @property
    def label(self) -> Markup | None:
        """On what the move is made; None for the usual one."""
        if self.edge.outcome in _OUTCOMES:
            return _(_OUTCOMES[self.edge.outcome])
        return _("if") if self.edge.condition else None


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything placed on a canvas of this size."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    curves: tuple[Curve, ...]


def draw(graph: Graph, *, over: bool) -> Drawing:
    """Place the graph. over: whether the run has ended, so that what it has not reached it never will."""
    layers = _layers(graph)
    widest = max((len(layer) for layer in layers), default=1)
    width = 2 * MARGIN + widest * WIDTH + (widest - 1) * GAP_X + 2 * MARGIN
    boxes = {box.node.id: box for box in _boxes(layers, width, over)}
    height = 2 * MARGIN + len(layers) * HEIGHT + max(len(layers) - 1, 0) * GAP_Y
    return Drawing(width, height, tuple(boxes.values()), tuple(_curve(edge, boxes) for edge in graph.edges))


def _layers(graph: Graph) -> list[list[GraphNode]]:
    """A step stands below everything that leads to it; moves back to an earlier step do not count."""
    order = {node.id: index for index, node in enumerate(graph.nodes)}
    depth = dict.fromkeys(order, 0)
    for node in graph.nodes:
        for edge in graph.edges:
            if edge.source == node.id and order[edge.target] > order[node.id]:
                depth[edge.target] = max(depth[edge.target], depth[node.id] + 1)
    layers: list[list[GraphNode]] = [[] for _depth in range(max(depth.values(), default=-1) + 1)]
    for node in graph.nodes:
        layers[depth[node.id]].append(node)
    return layers


def _boxes(layers: list[list[GraphNode]], width: int, over: bool) -> Iterator[Box]:
    for row, layer in enumerate(layers):
        taken = len(layer) * WIDTH + (len(layer) - 1) * GAP_X
        for column, node in enumerate(layer):
            yield Box(
                node,
                _mark(node, over),
                (width - taken) // 2 + column * (WIDTH + GAP_X),
                MARGIN + row * (HEIGHT + GAP_Y),
            )


def _mark(node: GraphNode, over: bool) -> Badge:
    if node.status == "paused":
        return badge_of_decision(node.decision)
    mark = badge_of_status(node.status)
    return PASSED_BY if over and mark is UNREACHED else mark


def _curve(edge: GraphEdge, boxes: Mapping[str, Box]) -> Curve:
    source, target = boxes[edge.source], boxes[edge.target]
    if target.y <= source.y:
        return _curve_back(edge, source, target)
    start, end = (source.x + WIDTH // 2, source.y + HEIGHT), (target.x + WIDTH // 2, target.y)
    middle = (start[1] + end[1]) // 2
    path = f"M{start[0]} {start[1]} C{start[0]} {middle} {end[0]} {middle} {end[0]} {end[1]}"
    return Curve(edge, path, (start[0] + end[0]) // 2 + 4, middle)


def _curve_back(edge: GraphEdge, source: Box, target: Box) -> Curve:
    """Around the right side."""
    start, end = (source.x + WIDTH, source.y + HEIGHT // 2), (target.x + WIDTH, target.y + HEIGHT // 2)
    side = max(start[0], end[0]) + MARGIN
    path = f"M{start[0]} {start[1]} C{side} {start[1]} {side} {end[1]} {end[0]} {end[1]}"
    return Curve(edge, path, side - MARGIN // 2, (start[1] + end[1]) // 2)
