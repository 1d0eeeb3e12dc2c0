"""Lineage as a picture: one SVG file that needs nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from al_platform.lineage.graph import DAMAGED, Lineage, Node
from al_platform.lineage.render import file_line, node_lines, printable

_WIDTH, _LINE, _PADDING = 250, 15, 10
_GAP_X, _GAP_Y = 90, 18
_CHARS = 40  # of the small font, to the width of a box
_COLOURS = {
    "model": "#dbe9ff",
    "training": "#dbe9ff",
    "dataset": "#e2f4e2",
    "labels": "#fff1d0",
    "imported_labels": "#fff1d0",
    "batch": "#fde4f0",
    "predictions": "#ece4fb",
    "champion": "#dbe9ff",
}
_PLAIN, _DAMAGED = "#f1f1f1", "#ffc9c9"


@dataclass(frozen=True)
class _Box:
    """A node's place: its upper left corner and its height, in pixels."""

    node: Node
    x: int
    y: int
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        return len(self.lines) * _LINE + 2 * _PADDING


def lineage_svg(lineage: Lineage) -> str:
    """Return the lineage as SVG: the model on the left, what it came from to the right."""
    boxes = _boxes(lineage)
    width = max(box.x for box in boxes.values()) + _WIDTH + _GAP_X // 2
    height = max(box.y + box.height for box in boxes.values()) + _PADDING
    svg = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", width=str(width), height=str(height))
    svg.set("viewBox", f"0 0 {width} {height}")
    svg.set("font-family", "sans-serif")
    ET.SubElement(svg, "title").text = printable(f"Lineage of model {lineage.model_digest} of {lineage.family}")
    ET.SubElement(svg, "rect", width="100%", height="100%", fill="white")
    for edge in lineage.edges:
        _draw_edge(svg, boxes[edge.source], boxes[edge.target], edge.what)
    for box in boxes.values():
        _draw_box(svg, box)
    return ET.tostring(svg, encoding="unicode")


def _boxes(lineage: Lineage) -> dict[str, _Box]:
    columns = _columns(lineage)
    bottoms: dict[int, int] = {}
    boxes = {}
    for node in _with_annotators(lineage):
        column = columns[node.id]
        box = _Box(node, _PADDING + column * (_WIDTH + _GAP_X), bottoms.get(column, _PADDING), _lines(node))
        bottoms[column] = box.y + box.height + _GAP_Y
        boxes[node.id] = box
    return boxes


def _with_annotators(lineage: Lineage) -> list[Node]:
    """Return the nodes, and the annotators' answers as a fact of the model."""
    first, *others = lineage.nodes
    told = {f"answers of {name}": str(count) for name, count in lineage.annotators.items()}
    return [first.model_copy(update={"facts": {**first.facts, **told}}), *others]


def _columns(lineage: Lineage) -> Mapping[str, int]:
    """Return how many steps each node is from the model; edges come nearest first."""
    columns = {lineage.model_digest: 0}
    for edge in lineage.edges:
        columns.setdefault(edge.target, columns[edge.source] + 1)
    return columns


def _lines(node: Node) -> tuple[str, ...]:
    lines = [printable(node.title), *node_lines(node), *(file_line(file) for file in node.files)]
    return tuple(line if len(line) <= _CHARS else f"{line[: _CHARS - 1]}…" for line in lines)


def _draw_edge(svg: ET.Element, source: _Box, target: _Box, what: str) -> None:
    y1, y2 = source.y + source.height // 2, target.y + target.height // 2
    # To the right, back to the left, or around the right side of a column.
    x1 = source.x if target.x < source.x else source.x + _WIDTH
    x2 = target.x if target.x > source.x else target.x + _WIDTH
    bend1 = x1 - _GAP_X // 2 if target.x < source.x else x1 + _GAP_X // 2
    bend2 = x2 - _GAP_X // 2 if target.x > source.x else x2 + _GAP_X // 2
    path = f"M {x1} {y1} C {bend1} {y1}, {bend2} {y2}, {x2} {y2}"
    line = ET.SubElement(svg, "path", d=path, fill="none", stroke="#888888")
    ET.SubElement(line, "title").text = printable(f"{source.node.title} from {target.node.title}: {what}")


def _draw_box(svg: ET.Element, box: _Box) -> None:
    is_damaged = any(file.state in DAMAGED for file in box.node.files)
    group = ET.SubElement(svg, "g")
    ET.SubElement(group, "title").text = printable("\n".join([box.node.id, *node_lines(box.node)]))
    fill = _DAMAGED if is_damaged else _COLOURS.get(box.node.kind, _PLAIN)
    ET.SubElement(
        group,
        "rect",
        x=str(box.x),
        y=str(box.y),
        width=str(_WIDTH),
        height=str(box.height),
        rx="4",
        fill=fill,
        stroke="#c00000" if is_damaged else "#555555",
    )
    for number, line in enumerate(box.lines):
        y = box.y + _PADDING + _LINE * number + _LINE * 3 // 4
        text = ET.SubElement(group, "text", x=str(box.x + _PADDING), y=str(y))
        text.set("font-size", "12" if number == 0 else "10")
        text.set("font-weight", "bold" if number == 0 else "normal")
        text.text = line
