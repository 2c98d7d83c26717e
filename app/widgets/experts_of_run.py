"""The pages of the whole run beside the map of experts: how often each is taken, and what one of them did."""

from __future__ import annotations

import numpy as np

from app.compare_arrays import sets_of
from app.compare_experts import SharesOfTwo, UseOfTwo
from app.cursor import Cursor
from app.routing_words import shares_text, taken_text
from app.routing_words_of_two import listed_of_two, set_text, shares_of_two, taken_of_two
from app.run import Run
from app.theme import Theme
from app.widgets.amounts import percent
from app.widgets.axis import Axis
from app.widgets.bar_rows import (
    BELOW,
    TAKEN,
    BarRow,
    BarRows,
    Rows,
    bar_row,
    signed_row,
)
from app.widgets.canvas import Canvas
from app.widgets.experts_page import BAR_OF_SET, Page
from app.widgets.heatmap import MASKED, SHOWN, Cells, Heatmap
from app.widgets.pages import Pages, fill
from app.widgets.scale import Scale, exact, signed_scale
from app.widgets.turning import TurningSplitter
from engine.frames import ExpertUse, RoutingShares
from engine.questions import AskExpertUse, AskRoutingShares, Question

MOST_LISTED = 16  # tokens of an expert whose output is recomputed


class RunPage(Page):
    """How evenly the experts of the layer were used in this run, and which go together."""

    def __init__(self, run: Run, cursor: Cursor, theme: Theme) -> None:
        super().__init__(run, cursor, theme)
        self.shares: RoutingShares | None = None
        self._bars = BarRows(theme, self.tr("Share and mean score by expert"), self._describe)
        self._together = Heatmap(theme, self.tr("Which experts are chosen together"), self._describe_pair)
        split = TurningSplitter()
        split.addWidget(self._bars)
        split.addWidget(self._together)
        split.setSizes([560, 440])
        fill(self, self._title, split).setStretch(1, 1)
        self._connect_bars(self._bars, self._hover, self._pick_expert)
        self._together.cell_hovered.connect(lambda row, column: cursor.say(self._describe_pair(row, column)))
        self._together.cell_picked.connect(lambda row, column: cursor.pin(expert=row))
        self._together.cell_left.connect(cursor.leave)

    def name(self) -> str:
        return self.tr("Whole run")

    def help(self) -> str:
        return self.tr("Shares, mean scores, balance and entropy over all positions of the run")

    def layer(self) -> int | None:
        return None if self.shares is None else self.shares.layer

    def source(self) -> str:
        return "" if self.shares is None else self.shares.source

    def question(self, layer: int, position: int | None) -> Question:
        return AskRoutingShares(layer)

    def take(self, answer: object) -> None:
        self.shares = answer if isinstance(answer, RoutingShares) else None
        self._draw()

    def mark(self) -> None:
        self._bars.mark(self._cursor.pinned.expert, self._cursor.hovered.expert)
        self._together.mark((self._cursor.pinned.expert, None))

    def _pictures(self) -> tuple[Canvas, ...]:
        return self._bars, self._together

    def values(self) -> dict[str, np.ndarray]:
        shares = self.shares
        if shares is None:
            return {}
        figures = {"balance": np.array([shares.balance]), "entropy": np.array([shares.entropy])}
        return {"share": shares.share, "mean_score": shares.mean_score, "together": shares.together, **figures}

    def _draw(self) -> None:
        shares = self.shares
        if shares is None or not shares.n:
            self._bars.show_rows(None)
            self._together.show_cells(None)
            self._title.setText("")
            return
        self._title.setText(
            shares_of_two(shares, self.tr) if isinstance(shares, SharesOfTwo) else shares_text(shares, self.tr)
        )
        self._bars.show_rows(Rows(self._rows(shares), self._numbers(len(shares.share))))
        self._draw_together(shares)
        self.mark()

    def _rows(self, shares: RoutingShares) -> tuple[BarRow, ...]:
        if isinstance(shares, SharesOfTwo):
            return self._rows_of_two(shares)
        count = len(shares.share)
        state = np.where(shares.share > 0, np.uint8(TAKEN), np.uint8(BELOW))
        even = self.tr("even: 1/{0}").format(count)
        return (
            bar_row(
                self.tr("share f of all choices ({0} a position)").format(self._facts(shares.layer).top_k),
                shares.share,
                state,
                even=1 / count,
                even_name=even,
            ),
            bar_row(self.tr("mean score s̄"), shares.mean_score, state, even=1 / count, even_name=even),
        )

    def _rows_of_two(self, shares: SharesOfTwo) -> tuple[BarRow, ...]:
        state = BAR_OF_SET[sets_of(shares.a.share, shares.b.share)]
        share = self.tr("share f of all choices, A − B")
        return signed_row(share, shares.share, state), signed_row(
            self.tr("mean score s̄, A − B"), shares.mean_score, state
        )

    def _draw_together(self, shares: RoutingShares) -> None:
        two = isinstance(shares, SharesOfTwo)  # parts of the positions already
        values = (shares.together if two else shares.together / shares.n).astype(np.float32)
        state = np.where(np.eye(len(values), dtype=np.bool_), np.uint8(MASKED), np.uint8(SHOWN))
        values[state == MASKED] = 0
        scale = Scale(0.0, float(values.max()) or 1.0, "linear", self.theme.sequential, self.tr("together"))
        if two:
            scale = signed_scale(values, self.theme.diverging, self.tr("together, A − B"))
        rows, columns = self._numbers(len(values)), self._numbers(len(values))
        self._together.show_cells(Cells(values, rows, columns, scale, state))

    def _hover(self, expert: int) -> None:
        self._cursor.hover(expert=expert)
        self._cursor.say(self._describe(expert))

    def _describe(self, expert: int) -> str:
        shares = self.shares
        assert shares is not None
        if isinstance(shares, SharesOfTwo):
            return self._describe_two(shares, expert)
        form = self.tr("layer {0}, expert {1}: share of all choices {2}, mean score {3}, chosen by {4} positions")
        figures = (exact(float(shares.share[expert])), exact(float(shares.mean_score[expert])))
        return form.format(shares.layer, expert, *figures, shares.together[expert, expert])

    def _describe_two(self, shares: SharesOfTwo, expert: int) -> str:
        form = self.tr("A − B, layer {0}, expert {1}: share of all choices {2}, mean score {3}; chosen by {4} and {5}")
        figures = (exact(float(shares.share[expert])), exact(float(shares.mean_score[expert])))
        counts = (part.together[expert, expert] for part in (shares.a, shares.b))
        return form.format(shares.layer, expert, *figures, *counts)

    def _describe_pair(self, one: int, other: int) -> str:
        shares = self.shares
        assert shares is not None
        if isinstance(shares, SharesOfTwo):
            form = self.tr(
                "A − B, layer {0}, experts {1} and {2}: A {3} of {4} positions, B {5} of {6}; parts differ by {7}"
            )
            counts = [figure for part in (shares.a, shares.b) for figure in (part.together[one, other], part.n)]
            return form.format(shares.layer, one, other, *counts, exact(float(shares.together[one, other])))
        count = int(shares.together[one, other])
        if one == other:
            return self.tr("layer {0}: expert {1} was chosen by {2} positions").format(shares.layer, one, count)
        form = self.tr("layer {0}: experts {1} and {2} were chosen together by {3} of {4} positions ({5})")
        return form.format(shares.layer, one, other, count, shares.n, percent(count / shares.n))


class ExpertPage(Page):
    """The picked expert: the tokens it took, the strongest first, and what it adds at them."""

    def __init__(self, run: Run, cursor: Cursor, theme: Theme) -> None:
        super().__init__(run, cursor, theme)
        self.use: ExpertUse | None = None
        self._bars = BarRows(theme, self.tr("What the expert adds, token by token"), self._describe)
        self._pages = Pages(self._bars)
        fill(self, self._title, self._pages).setStretch(1, 1)
        self._connect_bars(self._bars, self._hover, self._pick)
        self._draw()

    def name(self) -> str:
        return self.tr("One expert")

    def help(self) -> str:
        return self.tr("The tokens that the picked expert took, strongest first; its output is recomputed for these")

    def layer(self) -> int | None:
        return None if self.use is None else self.use.layer

    def source(self) -> str:
        return "" if self.use is None else self.use.source

    def question(self, layer: int, position: int | None) -> Question | None:
        expert = self._cursor.pinned.expert
        if expert is None or expert >= self._facts(layer).n_experts:
            return None
        return AskExpertUse(layer, expert, MOST_LISTED)

    def take(self, answer: object) -> None:
        self.use = answer if isinstance(answer, ExpertUse) else None
        self._draw()

    def mark(self) -> None:
        if self._cursor.pinned.expert is None and self.use is not None:
            self.take(None)
            return
        self._bars.mark(self._place(self._cursor.pinned.position), self._place(self._cursor.hovered.position))

    def _pictures(self) -> tuple[Canvas, ...]:
        return (self._bars,)

    def values(self) -> dict[str, np.ndarray]:
        if self.use is None:
            return {}
        names = ("positions", "weights", "norms", "shares", *(["sets"] if isinstance(self.use, UseOfTwo) else []))
        return {f"expert_{name}": getattr(self.use, name) for name in names}

    def _place(self, position: int | None) -> int | None:
        if self.use is None or position is None:
            return None
        found = np.flatnonzero(self.use.positions == position)
        return int(found[0]) if found.size else None

    def _draw(self) -> None:
        use = self.use
        if use is None:
            self._bars.show_rows(None)
            self._title.setText("")
            self._pages.say(
                self.tr("Pick an expert: click its row in the map, or its bar, or choose its number above.")
            )
            return
        self._title.setText(self._taken_text(use))
        self._pages.say("" if use.positions.size else self._nobody(use))
        self._bars.show_rows(self._rows(use) if use.positions.size else None)
        self.mark()

    def _taken_text(self, use: ExpertUse) -> str:
        if isinstance(use, UseOfTwo):
            return taken_of_two(use, self.tr)
        return taken_text(use.layer, use.expert, use.taken, use.n, self._facts(use.layer), self.tr)

    def _nobody(self, use: ExpertUse) -> str:
        form = self.tr("No position of this run chose expert {0} of layer {1}.")
        if isinstance(use, UseOfTwo):
            form = self.tr("Of no position that both branches have is it known that expert {0} of layer {1} took it.")
        return form.format(use.expert, use.layer)

    def _rows_of_two(self, use: UseOfTwo) -> Rows:
        state, positions = BAR_OF_SET[use.sets], use.positions
        rows = [
            signed_row(self.tr("weight, A − B"), use.weights, state),
            signed_row(self.tr("norm of what it adds, A − B"), use.norms, state),
        ]
        if use.shares.size:
            rows.append(signed_row(self.tr("its share of Δ(MLP), A − B"), use.shares, state))
        title = listed_of_two(use, self.tr)
        return Rows(tuple(rows), Axis(title, len(positions), lambda place: self.run.label(int(positions[place]))))

    def _rows(self, use: ExpertUse) -> Rows:
        if isinstance(use, UseOfTwo):
            return self._rows_of_two(use)
        state = np.full(len(use.positions), TAKEN, np.uint8)
        rows = [
            bar_row(self.tr("weight"), use.weights, state, most=1.0),
            bar_row(self.tr("norm of what it adds, weight included"), use.norms, state),
        ]
        if use.shares.size:
            rows.append(bar_row(self.tr("its share of Δ(MLP): ⟨it, Δ⟩ / ‖Δ‖²"), use.shares, state, most=1.0))
        title = self.tr("tokens it took, strongest first")
        if use.taken > len(use.positions):
            title += self.tr(" (the first {0} of {1})").format(len(use.positions), use.taken)
        positions = use.positions
        return Rows(tuple(rows), Axis(title, len(positions), lambda place: self.run.label(int(positions[place]))))

    def _hover(self, place: int) -> None:
        assert self.use is not None
        self._cursor.hover(position=int(self.use.positions[place]), expert=self.use.expert)
        self._cursor.say(self._describe(place))

    def _pick(self, place: int) -> None:
        assert self.use is not None
        self._cursor.pin(position=int(self.use.positions[place]))

    def _describe(self, place: int) -> str:
        use = self.use
        assert use is not None
        where = self.tr("layer {0}, expert {1}, {2}").format(
            use.layer, use.expert, self._token(int(use.positions[place]))
        )
        weight = exact(float(use.weights[place]))
        if isinstance(use, UseOfTwo):
            where = self.tr("A − B, {0}, {1}").format(where, set_text(int(use.sets[place]), self.tr))
        if np.isnan(use.norms[place]):
            return self.tr("{0}: weight {1}; what it adds is not computed yet").format(where, weight)
        text = self.tr("{0}: weight {1}, norm {2}").format(where, weight, exact(float(use.norms[place])))
        if not use.shares.size:
            return text
        return text + self.tr(", share of Δ(MLP) {0}").format(exact(float(use.shares[place])))
