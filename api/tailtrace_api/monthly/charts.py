"""The charts, as SVG of a few shapes. Pure: numbers and labels in, markup out.

Everything goes through ElementTree, which escapes; colours are attributes, since the page's policy allows no inline
style. They are those of the dashboard's light theme. The unit is a point of the printed page.
"""

from collections.abc import Callable, Collection, Sequence
from xml.etree import ElementTree as ET

from markupsafe import Markup

WIDTH = 510.0
"""Of a chart that takes the whole width of the page."""
INK, MUTED, LINE = "#1a211f", "#586560", "#e2e6e2"
BAR, BAR_WEEKEND, BAD = "#3d9d93", "#a9d3cd", "#b3261e"
IN_PART = "#e9ece9"
"""The ground of what is not whole."""
_FONT = "Noto Sans, Inter, DejaVu Sans, sans-serif"
_LABEL = 7.0
"""Size of the letters."""
_DIGIT = 4.2
"""The width of one at most, for a digit."""
_COLD, _HOT = (0xE3, 0xF2, 0xEF), (0x0F, 0x76, 0x6E)


def _svg(width: float, height: float, title: str) -> ET.Element:
    return ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {_n(width)} {_n(height)}",
            "width": f"{_n(width)}pt",
            "height": f"{_n(height)}pt",
            "role": "img",
            "aria-label": title,
        },
    )


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _rect(svg: ET.Element, x: float, y: float, width: float, height: float, fill: str, tip: str = "") -> None:
    shape = ET.SubElement(svg, "rect", {"x": _n(x), "y": _n(y), "width": _n(width), "height": _n(height), "fill": fill})
    if tip:
        ET.SubElement(shape, "title").text = tip


def _text(svg: ET.Element, x: float, y: float, text: str, anchor: str = "middle", fill: str = MUTED) -> None:
    ET.SubElement(
        svg,
        "text",
        {
            "x": _n(x), "y": _n(y), "text-anchor": anchor, "fill": fill,
            "font-size": _n(_LABEL), "font-family": _FONT,
        },
    ).text = text  # fmt: skip


def _line(svg: ET.Element, x1: float, y1: float, x2: float, y2: float, stroke: str = LINE) -> None:
    ET.SubElement(
        svg,
        "line",
        {"x1": _n(x1), "y1": _n(y1), "x2": _n(x2), "y2": _n(y2), "stroke": stroke, "stroke-width": "0.6"},
    )


def _markup(svg: ET.Element) -> Markup:
    return Markup(ET.tostring(svg, encoding="unicode"))  # noqa: S704 - ElementTree has escaped all text


def _empty(svg: ET.Element, width: float, height: float, text: str) -> Markup:
    """Return, in place of an axis, that there is nothing to show."""
    _rect(svg, 0, 0, width, height, "#f5f6f4")
    _text(svg, width / 2, height / 2 + 2.4, text)
    return _markup(svg)


def nice_ceiling(value: float) -> float:
    """Return the end of an axis: the next of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** (len(str(int(value))) - 1)
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value)


def bars(
    values: Sequence[float],
    labels: Sequence[str],
    *,
    muted: Sequence[bool],
    title: str,
    number: Callable[[float], str],
    empty: str,
    width: float = WIDTH,
    height: float = 165.0,
    fill: str = BAR,
    every: int = 1,
    in_part: Collection[int] = (),
) -> Markup:
    """Draw a bar for each value, each `every`th labelled; those `muted` are lighter, the highest has its number.

    The places `in_part`, whose values are not whole, have a ground. Where there is nothing but zeros, `empty` says so.
    """
    svg = _svg(width, height, title)
    if not any(values):
        return _empty(svg, width, height, empty)
    left, top, bottom = 32.0, 12.0, height - 12.0
    highest = max(values)
    ceiling = nice_ceiling(highest)
    for part in (0.0, 0.5, 1.0):
        y = bottom - part * (bottom - top)
        _line(svg, left, y, width, y)
        if part == 0 or ceiling * part == int(ceiling * part) or ceiling < 1:
            _text(svg, left - 4, y + 2.4, number(ceiling * part), "end")
    slot = (width - left) / max(1, len(values))
    for index, value in enumerate(values):
        x = left + index * slot
        if index in in_part:
            _rect(svg, x, top, slot, bottom - top, IN_PART)
        length = (bottom - top) * value / ceiling
        if value > 0:
            # The smallest must be seen, too: nothing and little are not the same.
            length = max(length, 0.8)
            colour = BAR_WEEKEND if muted[index] and fill == BAR else fill
            _rect(
                svg, x + slot * 0.14, bottom - length, slot * 0.72, length, colour, f"{labels[index]}: {number(value)}"
            )
        if index % every == 0:
            _text(svg, x + slot / 2, bottom + 9, labels[index])
    index = list(values).index(highest)
    y = bottom - (bottom - top) * highest / ceiling - 2.5
    x = min(max(left + (index + 0.5) * slot, left + 12), width - 14)
    # A line of the grid must not go through the number: it stands on a ground of its own.
    ground = _DIGIT * len(number(highest)) + 2
    _rect(svg, x - ground / 2, y - _LABEL + 0.6, ground, _LABEL + 0.4, "#ffffff")
    _text(svg, x, y, number(highest), fill=INK)
    return _markup(svg)


def line(
    values: Sequence[float | None],
    labels: Sequence[str],
    *,
    title: str,
    number: Callable[[float], str],
    empty: str,
    width: float = WIDTH,
    height: float = 80.0,
    every: int = 1,
) -> Markup:
    """Draw a line through the values; where one is missing the line is broken, and one that stands alone is a dot.

    Where all are missing, `empty` says so.
    """
    svg = _svg(width, height, title)
    if all(value is None for value in values):
        return _empty(svg, width, height, empty)
    left, top, bottom = 36.0, 12.0, height - 12.0
    ceiling = nice_ceiling(max((value for value in values if value is not None), default=0))
    for part in (0.0, 0.5, 1.0):
        y = bottom - part * (bottom - top)
        _line(svg, left, y, width, y)
        _text(svg, left - 4, y + 2.4, number(ceiling * part), "end")
    slot = (width - left) / max(1, len(values))
    runs: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(values):
        x = left + (index + 0.5) * slot
        if index % every == 0:
            _text(svg, x, bottom + 9, labels[index])
        if value is None:
            runs.append([])
        else:
            runs[-1].append((x, bottom - (bottom - top) * value / ceiling))
    for run in runs:
        if len(run) > 1:
            points = " ".join(f"{_n(x)},{_n(y)}" for x, y in run)
            ET.SubElement(svg, "polyline", {"points": points, "fill": "none", "stroke": BAR, "stroke-width": "1.3"})
        elif run:
            ET.SubElement(svg, "circle", {"cx": _n(run[0][0]), "cy": _n(run[0][1]), "r": "1.4", "fill": BAR})
    return _markup(svg)


def heat(
    table: Sequence[Sequence[int]],
    rows: Sequence[str],
    *,
    title: str,
    number: Callable[[float], str],
    width: float = WIDTH,
    height: float = 165.0,
) -> Markup:
    """Draw a row for each weekday and a cell for each hour: the more, the darker; none stays white."""
    svg = _svg(width, height, title)
    left, top = 32.0, 11.0
    cell_width, cell_height = (width - left) / 24, (height - top) / 7
    highest = max((value for row in table for value in row), default=0)
    for hour in range(24):
        _text(svg, left + (hour + 0.5) * cell_width, 7, f"{hour:02}")
    for index, row in enumerate(table):
        y = top + index * cell_height
        _text(svg, left - 4, y + cell_height / 2 + 2.4, rows[index], "end")
        for hour, value in enumerate(row):
            fill = _shade(value / highest) if value else "#f5f6f4"
            tip = f"{rows[index]} {hour:02}: {number(value)}"
            _rect(svg, left + hour * cell_width + 0.6, y + 0.6, cell_width - 1.2, cell_height - 1.2, fill, tip)
    return _markup(svg)


def _shade(part: float) -> str:
    """Mix from cold to hot; the root makes the lower half tell more."""
    weight = part**0.6
    return "#" + "".join(f"{round(cold + (hot - cold) * weight):02x}" for cold, hot in zip(_COLD, _HOT, strict=True))


def share(part: float, width: float = 70.0, height: float = 6.0) -> Markup:
    """Draw a bar in a table: 0 to 1. It only repeats the number beside it."""
    svg = _svg(width, height, "")
    del svg.attrib["role"], svg.attrib["aria-label"]
    svg.set("aria-hidden", "true")
    _rect(svg, 0, 0, width, height, "#f0f2ef")
    if part > 0:
        _rect(svg, 0, 0, max(0.8, width * min(1.0, part)), height, BAR)
    return _markup(svg)
