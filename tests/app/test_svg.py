"""What is saved as SVG is shapes and texts that can be enlarged, looks as it does on screen, and stays small."""

from __future__ import annotations

import base64
import re
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QLabel, QScrollArea, QVBoxLayout, QWidget

from app.svg import svg_bytes
from app.theme import CONTRAST, DARK, LIGHT, SANS
from app.widgets.axis import Axis
from app.widgets.bars import BarChart, Bars
from app.widgets.head_grid import HeadGrid, Heads
from app.widgets.heatmap import ABSENT, SHOWN
from app.widgets.pixels import boxes
from app.widgets.scale import Scale
from tests.app.made_runs import ODD
from tests.app.test_export import HOSTILE
from tests.app.test_timeline import long_run, over, strip_of
from tests.app.test_widgets import heatmap

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
THEMES = pytest.mark.parametrize("theme", [DARK, LIGHT, CONTRAST], ids=lambda theme: theme.name)


def document(widget: QWidget) -> ElementTree.Element:
    return ElementTree.fromstring(svg_bytes(widget))


def texts(found: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()).strip() for text in found.iter(f"{SVG}text")]


def images(found: ElementTree.Element) -> list[QImage]:
    return [QImage.fromData(base64.b64decode(one.attrib[HREF].partition(",")[2])) for one in found.iter(f"{SVG}image")]


def rendered(widget: QWidget, times: float = 1.0) -> QImage:
    """What a reader of SVG shows."""
    image = QImage(widget.size() * times, QImage.Format.Format_RGB32)
    painter = QPainter(image)
    QSvgRenderer(svg_bytes(widget)).render(painter, QRectF(image.rect()))
    painter.end()
    return image


def bars(qtbot: Any, values: np.ndarray) -> BarChart:
    chart = BarChart(DARK, "bars", str)
    qtbot.addWidget(chart)
    scale = Scale(0, 1, "linear", DARK.sequential, "w")
    chart.show_bars(Bars(values.astype(np.float32), Axis("place", len(values), lambda n: f"word{n}"), scale))
    chart.resize(600, 300)
    chart.show()
    qtbot.waitExposed(chart)
    return chart


# ---- texts and shapes ------------------------------------------------------------------------------------------------


@THEMES
def test_the_words_of_a_heatmap_are_texts_and_its_cells_one_image(qtbot: Any, theme: Any) -> None:
    picture = heatmap(qtbot, np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4))
    picture.set_theme(theme)
    picture.mark((1, 2))
    found = document(picture)
    assert {"t0", "t1", "t2", "t3", "r", "c", "share", "0.5"} <= set(texts(found))
    cells, bar = images(found)
    assert (cells.width() % 4, cells.height() % 3) == (0, 0)
    assert cells.width() >= 2 * picture.plot.width() - 4, "smoothed by a reader, cells would run into each other"
    assert bar.width() == 1
    for row in range(3):
        for column in range(4):
            here = cells.pixel((2 * column + 1) * cells.width() // 8, (2 * row + 1) * cells.height() // 6)
            assert here == int(picture._words[row, column])


def test_no_text_on_its_side_is_lost(qtbot: Any) -> None:
    picture = heatmap(qtbot, np.zeros((2, 2), np.float32))
    turned = [one for one in document(picture).iter(f"{SVG}g") if "matrix(0,-1,1,0" in one.get("transform", "")]
    assert any("r" in texts(one) for one in turned)


@THEMES
def test_it_looks_as_it_does_on_screen_also_enlarged(qtbot: Any, theme: Any) -> None:
    picture = heatmap(qtbot, np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5))
    picture.set_theme(theme)
    screen = picture.grab().toImage()
    for times in (1.0, 3.0):
        drawn = rendered(picture, times)
        small = drawn.scaled(screen.size(), mode=Qt.TransformationMode.SmoothTransformation)
        ours, theirs = (np.array(i.convertToFormat(screen.format()).constBits()).astype(int) for i in (screen, small))
        assert np.abs(ours - theirs).mean() < 6
        for row in range(4):
            for column in range(5):
                place = picture.box(row, column).center()
                colour = QColor(drawn.pixel((place * times).toPoint()))
                wanted = QColor(int(picture._words[row, column]))
                assert abs(colour.lightness() - wanted.lightness()) < 4


def test_lines_grow_with_the_picture(qtbot: Any) -> None:
    picture = heatmap(qtbot, np.zeros((2, 2), np.float32))
    assert b"non-scaling-stroke" not in svg_bytes(picture)


def test_what_is_not_computed_is_hatched(qtbot: Any) -> None:
    state = np.array([[SHOWN, ABSENT]], np.uint8)
    picture = heatmap(qtbot, np.zeros((1, 2), np.float32), state)
    box, drawn = picture.box(0, 1).adjusted(4, 4, -4, -4).toRect(), rendered(picture)
    colours = {drawn.pixelColor(x, box.center().y()).name() for x in range(box.left(), box.right())}
    assert len(colours) > 1


def test_a_head_has_its_own_part_of_the_grid(qtbot: Any) -> None:
    grid = HeadGrid(DARK, "heads")
    qtbot.addWidget(grid)
    maps = np.zeros((4, 8, 8), np.float32)
    maps[2] = 1
    grid.show_heads(Heads(maps, np.zeros((8, 8), np.uint8), Scale(0, 1, "linear", "viridis", "w"), 4))
    grid.resize(500, 400)
    grid.show()
    found = images(document(grid))
    lightness = [QColor(image.pixel(image.width() // 2, image.height() // 3)).lightness() for image in found[:4]]
    assert lightness.index(max(lightness)) == 2
    assert all(len({image.pixel(1, y) for y in range(image.height())}) == 1 for image in found[:4])


def test_bars_are_shapes(qtbot: Any) -> None:
    chart = bars(qtbot, np.array([0.25, 1.0, 0.0, 0.5]))
    found = document(chart)
    assert not images(found)
    assert {"0.2500", "word0"} <= set(texts(found))
    drawn, colour = rendered(chart, 2.0), QColor(DARK.attention)
    for place, value in enumerate((0.25, 1.0, 0.0, 0.5)):
        x = chart.plot.left() + (place + 0.5) * chart.plot.width() / 4
        for up, inside in ((value - 0.05, value > 0), (value + 0.12, False)):
            y = chart.plot.bottom() - up * chart.plot.height()
            if y > chart.plot.top():
                assert (drawn.pixelColor(int(2 * x), int(2 * y)) == colour) == inside, (place, up)


def test_rectangles_make_up_the_picture() -> None:
    random = np.random.default_rng(3)
    words = random.choice(np.array([0, 0xFF112233, 0xFFAABBCC], np.uint32), (9, 13), p=[0.6, 0.2, 0.2])
    words[:, 4:7] = words[:, 4:5]
    again = np.zeros_like(words)
    for colour, left, top, wide, high in boxes(words):
        part = again[top : top + high, left : left + wide]
        assert part.shape == (high, wide)
        assert not part.any(), "no place twice"
        part[:] = colour
    assert (again == words).all()
    assert not list(boxes(np.zeros((3, 3), np.uint32)))


def test_the_timeline_is_shapes(qtbot: Any, qapp: Any) -> None:
    strip = strip_of(qtbot, qapp, over(long_run(20, 30)))
    found = document(strip.timeline)
    assert not images(found)
    colours = {one.get("fill") for one in found.iter(f"{SVG}g")}
    assert {DARK.decode, DARK.text} <= colours
    assert "token" in texts(found)


# ---- what Qt leaves out ----------------------------------------------------------------------------------------------


def test_what_a_scroll_area_hides_is_hidden(qtbot: Any) -> None:
    whole, area, inner = QWidget(), QScrollArea(), QLabel()
    qtbot.addWidget(whole)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    area.setFixedSize(100, 60)
    area.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    inner.setFixedSize(400, 400)
    inner.setStyleSheet("background: #ff0000")
    area.setWidget(inner)
    column = QVBoxLayout(whole)
    column.setContentsMargins(0, 0, 0, 0)
    column.addWidget(area, 0, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    whole.resize(300, 200)
    whole.show()
    found = document(whole)
    known = {clip.get("id"): clip.find(f"{SVG}rect") for clip in found.iter(f"{SVG}clipPath")}
    red = [
        g for g in found.iter(f"{SVG}g") if "clip-path" in g.attrib and g.find(f"{SVG}g[@fill='#ff0000']") is not None
    ]
    assert red
    for group in red:
        box = known[group.attrib["clip-path"].removeprefix("url(#").removesuffix(")")]
        assert (box.get("width"), box.get("height")) == ("100", "60")
    assert len(known) == len(set(known))


def test_letters_are_as_large_as_on_screen_and_have_a_font_to_fall_back_to(qtbot: Any) -> None:
    picture = heatmap(qtbot, np.zeros((2, 2), np.float32))
    text = svg_bytes(picture).decode()
    sizes = {int(size) for size in re.findall(r'<text[^>]*font-size="(\d+)"', text)}
    assert round(picture.font().pointSizeF() * picture.logicalDpiY() / 72) in sizes
    assert f'font-family="{SANS}"' not in text


@pytest.mark.parametrize("text", [*ODD, *HOSTILE, "\ud800 half", "\ufffe\uffff\x0b", '</text><g>"', "MARK", "x" * 3000])
def test_any_token_makes_sound_xml(qtbot: Any, text: str) -> None:
    chart = bars(qtbot, np.array([0.5, 1.0]))
    chart.show_bars(Bars(np.ones(2, np.float32), Axis("place", 2, lambda n: text), chart.bars.scale))
    label = QLabel(text, chart)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.show()
    document(chart)


# ---- size and time ---------------------------------------------------------------------------------------------------


def test_two_thousand_positions_are_small_and_quick(qtbot: Any, qapp: Any) -> None:
    random = np.random.default_rng(1)
    square = heatmap(qtbot, random.random((256, 256), np.float32))
    row = bars(qtbot, random.random(2000))
    strip = strip_of(qtbot, qapp, over(long_run(1000, 1000)), size=(1600, 240))
    for widget, most in ((square, 1_500_000), (row, 200_000), (strip, 1_000_000)):
        began = time.perf_counter()
        size = len(svg_bytes(widget))
        assert time.perf_counter() - began < 2.0, "a machine of tests is slow and shared"
        assert size < most, type(widget).__name__


def test_nothing_is_kept_as_a_picture_for_it(qtbot: Any) -> None:
    picture = heatmap(qtbot, np.zeros((2, 2), np.float32))
    picture.grab()
    kept = dict(picture._pictures)
    svg_bytes(picture)
    assert picture._pictures == kept


def test_groups_are_balanced_and_none_is_empty(qtbot: Any) -> None:
    picture = heatmap(qtbot, np.zeros((2, 2), np.float32))
    kinds = Counter(len(group) > 0 for group in document(picture).iter(f"{SVG}g"))
    assert not kinds[False]
