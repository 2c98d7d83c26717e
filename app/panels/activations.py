"""Activations: every hook point of the pass in its order, and the tensor that it holds at the pinned position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QContextMenuEvent, QResizeEvent
from PySide6.QtWidgets import QCheckBox, QMenu, QSpinBox, QSplitter, QToolButton, QWidget

from app.axis_words import axes_of
from app.depth_texts import stage_term, story_of
from app.edit_menus import offer
from app.edit_words import point_at
from app.engine_words import said, sources_text
from app.panels.panel import Context, Panel
from app.pass_words import ending_point
from app.point_words import left_axes
from app.widgets.flow import FlowLayout
from app.widgets.pages import Pages, fill, labelled, limit
from app.widgets.point_list import PointList
from app.widgets.point_rows import PointRow, known_rows, point_rows
from app.widgets.point_view import PointView
from app.widgets.term_words import told
from app.widgets.values_model import Along
from engine.frames import Answer, ExactValue, ModelFrame, PointFacts, Points, PointTensor, Worked
from engine.point_links import Names, goes_to, made_of
from engine.point_table import ANY_EXPERT, expert_of, of_any_expert, split_name
from engine.questions import AskExactValue, AskPoint, AskPointOver, AskPoints, AskWorked, Question

DEFAULT = "attn.hook_z"  # the point that every kind of layer has, and that shows heads
_NO_FIGURES = ("tokens", "ids", "event", "mask")  # kinds that cannot be subtracted
LEAST_EMS = 15  # of the height in which its picture can be read
_MOST_OVER = 512  # columns of positions, where the screen could show more: each is recomputed


class ActivationsPanel(Panel):
    """Left the points of the pinned layer and of what lies around the layers; right the tensor of one."""

    key = "activations"
    compares = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._points: Points | None = None
        self._fitting = 0
        self._named: tuple[ModelFrame | None, Names] = (None, Names((), (), ()))  # a model and its points
        self._not_worked = False  # an entry was to be worked out, but the pass was running
        self.list = PointList(context.theme)
        self.view = PointView(context.run, context.cursor, context.theme)
        self._pages = Pages(self._make_content())
        self._pages.currentChanged.connect(self.caption_changed)
        fill(self, self._pages)
        self._connect()
        self._resized = QTimer(self, interval=200, singleShot=True)
        self._resized.timeout.connect(self._size_settled)
        self.show_run()

    # --- building ---------------------------------------------------------------------------------------------

    def _make_controls(self) -> QWidget:
        self._layer, self._head = QSpinBox(), QSpinBox()
        self._over = QCheckBox(self.tr("over positions"))
        self._over.setToolTip(self.tr("This point at every position that is read, beside each other"))
        self._before, self._after = QToolButton(), QToolButton()
        for button, arrow, name in (
            (self._before, Qt.ArrowType.UpArrow, self.tr("The point before")),
            (self._after, Qt.ArrowType.DownArrow, self.tr("The point after")),
        ):
            button.setArrowType(arrow)
            button.setAccessibleName(name)
            button.setToolTip(self.tr("{0} in the order of the pass, through all layers").format(name))
        bar = QWidget()
        flow = FlowLayout(bar)
        self._head_box = labelled(self.tr("Head"), self._head)
        for part in (self._before, self._after, labelled(self.tr("Layer"), self._layer), self._head_box, self._over):
            flow.addWidget(part)
        return bar

    def _make_content(self) -> QWidget:
        right = QWidget()
        fill(right, self._make_controls(), self.view).setStretch(1, 1)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self.list)
        split.addWidget(right)
        split.setStretchFactor(0, 1)  # the list gives a little of its room, too, where there is less
        split.setStretchFactor(1, 4)
        split.setSizes([380, 620])
        split.setChildrenCollapsible(False)
        return split

    def _connect(self) -> None:
        cursor = self.context.cursor
        self._layer.valueChanged.connect(lambda layer: cursor.pin(layer=layer))
        self._head.valueChanged.connect(lambda head: cursor.pin(head=head))
        self._over.toggled.connect(self._switch)
        self._before.clicked.connect(lambda: self.walk(-1))
        self._after.clicked.connect(lambda: self.walk(+1))
        self.list.point_picked.connect(self._pick)
        self.list.edit_asked.connect(lambda layer, name: self.stage_asked.emit("edit", layer, name))
        self.view.exact_asked.connect(self._ask_exact)
        self.view.entry_picked.connect(self._ask_worked)
        self.view.point_asked.connect(self._go_to)

    # --- the contract -----------------------------------------------------------------------------------------

    def main_picture(self) -> QWidget:
        return self.view.main_picture()

    def title(self) -> str:
        return self.tr("Activations")

    def badge(self) -> str:
        tensor = self.view.tensor
        if self._pages.empty or tensor is None or not tensor.source:
            return ""
        high, wide = tensor.block
        reduced = [self.tr("reduced {0} × {1}").format(high, wide)] if tensor.block != (1, 1) else []
        return " · ".join([sources_text(tensor.source, self.tr), *reduced])

    def caption(self) -> str:
        tensor = self.view.tensor
        if self._pages.empty or tensor is None:
            return ""
        story = self.context.depth == "story"
        text = self.tr("{0}, {1}").format(self._meaning() if story else tensor.name, self._where_text(tensor))
        if story:
            return text
        named = zip(tensor.symbols, tensor.shape, strict=True)
        sizes = " × ".join(f"{symbol} {size}" for symbol, size in named if not symbol.isdigit())
        clipped = self.view.clipped()
        text += f": {sizes}" if sizes else ""
        return text + (self.tr(", {0} beyond the scale").format(clipped) if clipped else "")

    def _meaning(self) -> str:
        """What the tensor is, in words, and of which layer."""
        assert self.view.tensor is not None
        assert self.view.facts is not None, "a tensor is shown with its facts"
        layer, meaning = split_name(self.view.tensor.name)[0], said(self.view.facts.meaning, self.tr)
        return meaning if layer is None else self.tr("layer {0}: {1}").format(layer, meaning)

    def _where_text(self, tensor: PointTensor) -> str:
        if tensor.symbols[:1] != ("pos",):
            return self.tr("position {0} “{1}”").format(tensor.position, self.context.run.label(tensor.position))
        text = self.tr("positions {0} … {1}").format(tensor.position, tensor.end - 1)
        wanted = self.context.run.n_visible
        return text + (self.tr(" of {0}").format(wanted) if tensor.end < wanted else "")

    def watches(self) -> Mapping[str, Question]:
        run = self.context.run
        if run.model is None or run.n_visible == 0 or not run.model.layers[0].points:
            return {}
        layer, position = self._place()
        found: dict[str, Question] = {"activations.points": AskPoints(layer, position)}
        row = self._current()
        if row is not None:
            found["activations.tensor"] = self._question(row, position)
        return found

    def whole_height(self) -> int:
        """Controls, what is shown, its links, a picture and its figures."""
        return LEAST_EMS * self.fontMetrics().height()

    def show_run(self) -> None:
        if self.another_run():
            self._points = None
            self.view.clear()
        self._follow()
        self._say_what_is_missing()
        if self._not_worked:
            self._ask_worked()

    def show_answer(self, key: str, answer: Answer) -> None:
        if self.context.run.model is None:
            return
        if isinstance(answer, Points):
            self._take_points(answer)
        elif isinstance(answer, PointTensor):
            self._take_tensor(answer)
        elif isinstance(answer, ExactValue):
            self.view.take_exact(answer)
        elif isinstance(answer, Worked):
            self.view.take_worked(answer)
        self._say_what_is_missing()
        self.caption_changed.emit()

    def show_cursor(self) -> None:
        self._follow()
        self.view.mark()

    def explanation(self) -> str:
        """The view tells of the point itself; without one there is the panel as a whole."""
        return super().explanation() if self.view.facts is None else ""

    def term(self) -> str:
        """That of the stage which the point belongs to."""
        model, row = self.context.run.model, self._current()
        if model is None or row is None or row.facts is None:
            return super().term()
        return stage_term(model, row.layer, row.facts.group)

    def show_depth(self) -> None:
        self._tell_view(self._current())
        self.caption_changed.emit()

    def _tell_view(self, row: PointRow | None) -> None:
        model = self.context.run.model
        known = model is not None and row is not None and row.facts is not None
        story = story_of(model, row.layer, row.facts.group) if known else ""  # type: ignore[arg-type,union-attr]
        self.view.tell(self.context.depth, told(story) if story else "")

    def restyle(self) -> None:
        self.list.set_theme(self.context.theme)
        self.view.set_theme(self.context.theme)

    def values(self) -> dict[str, np.ndarray]:
        return {} if self._pages.empty else self.view.values()

    def axes(self) -> dict[str, tuple[Along, ...]]:
        found, shown = axes_of(self.key, self.context.run.label), self.view.tensor
        if shown is not None and len(shown.symbols) <= shown.values.ndim:
            names = (self.tr("row"), *shown.symbols)[-shown.values.ndim :]
            pairs = zip(names, shown.first, shown.block, strict=True)
            found["values"] = tuple(Along(name, first, block) for name, first, block in pairs)
        return found

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(700, 500)

    # --- walking ----------------------------------------------------------------------------------------------

    def walk(self, by: int) -> None:
        """To the point before (-1) or after (+1) in the order of the pass, through all layers."""
        self._follow()  # it may have been hidden until now
        model, rows = self.context.run.model, [row for row in self.list.rows if row.facts is not None]
        here = self._current()
        if model is None or here is None:
            return
        at = next(place for place, row in enumerate(rows) if (row.layer, row.name) == (here.layer, here.name))
        target = rows[at + by] if 0 <= at + by < len(rows) else None
        layer = here.layer
        if target is None:
            return
        if target.layer != layer:
            self._walk_over(layer, target, by)
        else:
            self.context.cursor.pin(point=target.name)

    def _walk_over(self, layer: int | None, target: PointRow, by: int) -> None:
        """Over the edge of what one layer has: to the next layer, or into or out of the layers."""
        model = self.context.run.model
        assert model is not None
        last = model.n_layers - 1
        if layer is None:  # into the layers: the first from above, the last from below
            inside = 0 if by > 0 else last
        elif 0 <= layer + by <= last:
            inside = layer + by
        else:
            self.context.cursor.pin(point=target.name)
            return
        points = model.layers[inside].points
        self.context.cursor.pin(layer=inside, point=points[0 if by > 0 else -1].name)

    def show_stage(self, layer: int | None, stage: str) -> None:
        """The point that a stage of the pass ends with; "" is the end of the layer."""
        model = self.context.run.model
        point = None if model is None else ending_point(model, layer, stage)
        if point is not None:
            self.context.cursor.pin(point=point, **({} if layer is None else {"layer": layer}))

    # --- where ------------------------------------------------------------------------------------------------

    def _place(self) -> tuple[int, int | None]:
        pinned = self.context.cursor.pinned
        return self.context.run.within(pinned.layer, pinned.position)

    def _current(self) -> PointRow | None:
        """The row of the pinned point; of another one, where this layer has none such."""
        wanted, rows = self.context.cursor.pinned.point or DEFAULT, self.list.rows
        named = [row for row in rows if row.facts is not None and row.name == wanted]
        spare = [row for row in rows if row.facts is not None and row.name == DEFAULT]
        return next(iter((*named, *spare)), None)

    def _question(self, row: PointRow, position: int | None) -> Question:
        name, index, most = row.full_name, self._index(row), self._fits()
        if self._over.isChecked():
            return AskPointOver(name, index, 0, None, min(most, _MOST_OVER))
        return AskPoint(name, position, index, most)

    def _fits(self) -> int:
        self._fitting = self.view.fits()
        return self._fitting

    def _index(self, row: PointRow) -> int:
        """Which of the heads, where the picture has room for one; all queries that share a key ask for the same."""
        model = self.context.run.model
        assert model is not None
        if row.layer is None or row.facts is None:
            return 0
        layer, axes = model.layers[row.layer], left_axes(row.facts)
        head = min(max(self.context.cursor.pinned.head, 0), layer.n_heads - 1)
        if "n_kv_heads" in axes:
            return head * layer.n_kv_heads // layer.n_heads
        return head if "n_heads" in axes else 0

    def _by_head(self, row: PointRow | None) -> bool:
        """Whether the point has heads."""
        return row is not None and row.facts is not None and bool({"n_heads", "n_kv_heads"} & set(left_axes(row.facts)))

    # --- what is shown ----------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """List and controls of the pinned layer and point."""
        model = self.context.run.model
        if model is None:
            self.list.show_rows((), None, "")
            return
        layer, _ = self._place()
        states = self._points if self._points is not None and self._points.layer == layer else None
        rows = point_rows(model, layer, states, self.context.cursor.pinned.point, self.tr)
        self.list.show_rows(known_rows(rows, states), None, "")
        row = self._current()
        if row is not None:
            self.list.show_rows(self.list.rows, row.layer, row.name)
        limit(self._layer, 0, model.n_layers - 1, layer)
        heads = model.layers[layer].n_heads
        limit(self._head, 0, heads - 1, min(self.context.cursor.pinned.head, heads - 1))
        self._head_box.setEnabled(self._by_head(row))

    def _say_what_is_missing(self) -> None:
        run = self.context.run
        missing = self._pages.missing(run, self.tr("every tensor of the pass"))
        if not missing and run.model is not None and not run.model.layers[0].points:
            missing = self.tr("Nothing is known about the points of this model.")
        if not missing and self.view.tensor is None:
            missing = self.tr("Reading the prompt: the tensors appear as the pass comes by.")
        self._pages.say(missing)

    def _take_points(self, answer: Points) -> None:
        if answer.layer == self._place()[0]:
            self._points = answer
            self._follow()

    def _take_tensor(self, answer: PointTensor) -> None:
        row = self._current()
        if row is None or row.facts is None or answer.name != row.full_name:
            return  # of the point that was looked at before
        facts = self._of_two(row.facts) if self.differs else row.facts
        self._tell_view(row)
        self.view.take(answer, facts, row.name, self._taken(row))
        self._show_links(row)
        self._ask_worked()

    def show_difference(self, key: str, a: Answer, b: Answer) -> None:
        """Numbers of tokens and experts are no figures, and of a long vocabulary only a part is listed."""
        row = self._current()
        kind = "" if row is None or row.facts is None else row.facts.kind
        vocabulary = isinstance(a, PointTensor) and a.symbols[-1:] == ("d_vocab",) and a.block != (1, 1)
        if isinstance(a, PointTensor) and (kind in _NO_FIGURES or vocabulary):
            self.view.clear()
            whole = self.tr("Of so many tokens the difference is shown by Sampling and the lens.")
            names = self.tr("What stands here are no figures that could be subtracted; choose another point.")
            self.set_aside(key, whole if vocabulary else names)
        else:
            super().show_difference(key, a, b)

    def _of_two(self, facts: PointFacts) -> PointFacts:
        """Differences have signs, whatever they are differences of."""
        return replace(facts, kind="signed", meaning=self.tr("A − B of {0}").format(said(facts.meaning, self.tr)))

    def _taken(self, row: PointRow) -> tuple[int, ...] | None:
        """Among bars of experts the ones that were chosen."""
        assert row.facts is not None
        of_experts = row.facts.shape[-1] == "n_experts" and self._points is not None and self._points.experts
        return self._points.experts if of_experts and self._points is not None else None

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        offer(event, self.menu())

    def menu(self) -> QMenu | None:
        """What can be done with the point that is shown."""
        model, row = self.context.run.model, self._current()
        if model is None or row is None or point_at(model, row.layer, row.name) != row.name:
            return None
        menu = QMenu(self)
        edit = menu.addAction(self.tr("Edit {0}…").format(row.name))
        layer = -1 if row.layer is None else row.layer
        edit.triggered.connect(lambda: self.stage_asked.emit("edit", layer, row.name))
        return menu

    def _switch(self) -> None:
        self._follow()
        self.watches_changed.emit()

    def _pick(self, layer: int, name: str) -> None:
        self.context.cursor.pin(point=name)

    # --- where it comes from and goes to, and how -------------------------------------------------------------

    def _show_links(self, row: PointRow) -> None:
        names, inner = self._names(), of_any_expert(row.name)
        sources, targets = (
            [one for name in found for one in self._experts_of(name, row.name)]
            for found in (made_of(names, row.layer, inner), goes_to(names, row.layer, inner))
        )
        self.view.links.show_links(row.layer, sources, targets)

    def _names(self) -> Names:
        """The names of the model's points."""
        model = self.context.run.model
        if model is not None and self._named[0] is not model:
            before, behind = (tuple(one.name for one in some) for some in (model.points_before, model.points_behind))
            layers = tuple(tuple(point.name for point in layer.points) for layer in model.layers)
            self._named = (model, Names(before, layers, behind))
        return self._named[1]

    def _experts_of(self, name: str, shown: str) -> list[str]:
        """A point of experts by their numbers: the same expert's, or else those that were chosen at the position."""
        if ANY_EXPERT not in name:
            return [name]
        expert = expert_of(shown)
        chosen = () if self._points is None else self._points.experts
        return [name.replace("*", str(one)) for one in ((expert,) if expert is not None else chosen)]

    def _go_to(self, name: str) -> None:
        layer, inner = split_name(name)
        self.context.cursor.pin(point=inner, **({} if layer is None else {"layer": layer}))

    def _ask_worked(self) -> None:
        """Work out the picked entry, or the strongest; not while the pass runs: that repeats layers every time."""
        wanted, tensor = self.view.wanted(), self.view.tensor
        self._not_worked = self.context.run.where.state == "running"
        if wanted is not None and tensor is not None and not self._not_worked and not self.differs:
            self.context.ask("activations.worked", AskWorked(tensor.name, wanted[0], wanted[1:]))

    def _ask_exact(self, place: tuple[int, ...]) -> None:
        if self.view.tensor is not None:
            self.context.ask("activations.exact", AskExactValue("point", place, self.view.tensor.name))

    # --- size -------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._resized.start()

    def _size_settled(self) -> None:
        if self.view.fits() != self._fitting:
            self.watches_changed.emit()
