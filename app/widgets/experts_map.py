"""Experts x positions as cells: the weights that are used, and below the cut the scores of the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QCoreApplication

from app.theme import Theme, mix
from app.widgets.axis import Axis
from app.widgets.heatmap import ABSENT, MASKED, SHOWN, Cells
from app.widgets.legend import Legend, Routed
from app.widgets.lettering import Painter
from app.widgets.scale import Scale, nice_step, signed_scale
from app.widgets.sets import LEAST_FRAMED, SetMap, set_kinds


def tr(text: str) -> str:
    return QCoreApplication.translate("experts", text)


def expert_axis(title: str, n_experts: int, shared: bool) -> Axis:
    """Experts by number; a shared one lies apart behind them, thick enough to be seen beside hundreds."""
    if not shared:
        return Axis(title, n_experts, str, numbers=True)
    thick = thickness(n_experts)
    middle = n_experts + thick + thick // 2

    def label(place: int) -> str:
        if n_experts <= place < n_experts + 2 * thick:
            return tr("shared") if place == middle else ""
        return str(place)

    return Axis(title, n_experts + 2 * thick, label, numbers=True, always=(middle,))


def thickness(n_experts: int) -> int:
    """Places that a shared expert takes, and as many of a gap before it."""
    return max(1, n_experts // 12)


def with_shared(values: np.ndarray, shared: np.ndarray, gap: float) -> np.ndarray:
    """Rows of experts, then a gap filled with ``gap``, then the shared expert's: [n_experts + 2 · thickness, ...]."""
    thick = thickness(len(values))
    between = np.full((thick, *values.shape[1:]), gap, values.dtype)
    return np.concatenate([values, between, np.repeat(shared[None].astype(values.dtype), thick, axis=0)])


def signed(weights: np.ndarray, scores: np.ndarray, chosen: np.ndarray, *, runners_up: bool) -> np.ndarray:
    """Cells for a Routed legend: the weight where chosen, elsewhere minus the score (-0.0 without runners-up)."""
    below = -np.abs(scores) if runners_up else np.full(scores.shape, -0.0, np.float32)
    return np.where(chosen > 0, np.abs(weights), below).astype(np.float32)


def routed_scale(values: np.ndarray, theme: Theme, *, runners_up: bool) -> Routed:
    """Weights from 0 to 1, or to what they reach, scores below the cut from nothing to grey; both by square root."""
    finite = values[np.isfinite(values)]
    most, below = float(finite.max(initial=0.0)), float((-finite).max(initial=0.0))
    high = 1.0 if most <= 1 else _rounded_up(most)
    grey = f"{theme.panel}>{mix(theme.panel, theme.text, 0.62).name()}"
    weight = Scale(0.0, high, "root", theme.sequential, tr("chosen: weight"))
    named = tr("others: score") if runners_up else tr("not chosen")
    return Routed(weight, Scale(0.0, _rounded_up(below) if below > 0 else 1.0, "root", grey, named))


def _rounded_up(value: float) -> float:
    step = nice_step(value, 4)
    return float(np.ceil(value / step - 1e-6) * step)


def quantity_of(quantity: str, weights: np.ndarray, scores: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """float32 cells of what two branches differ by: "weights", "scores", or "chosen" for the sets."""
    return {"weights": weights, "scores": scores, "chosen": sets}[quantity].astype(np.float32)


def two_scale(quantity: str, values: np.ndarray, theme: Theme) -> Legend:
    """Of "weights" or "scores", A less B: symmetric around zero; of "chosen", the sets."""
    if quantity == "chosen":
        return set_kinds(theme, tr("chosen in"))
    name = tr("weight, A − B") if quantity == "weights" else tr("score, A − B")
    return signed_scale(values, theme.diverging, name)


class ExpertMap(SetMap):
    """A heatmap of experts; what was chosen has a frame where cells are large enough, so that colour is not alone."""

    def __init__(self, theme: Theme, name: str, describe: Callable[[int, int], str]) -> None:
        super().__init__(theme, name, describe)
        self._chosen = np.zeros((0, 0), np.bool_)

    def show_routed(self, values: np.ndarray, rows: Axis, columns: Axis, scale: Routed, state: np.ndarray) -> None:
        """Cells of ``signed``; ``state`` as in Cells."""
        self._chosen = ~np.signbit(values) & (state == SHOWN)
        self.sets = np.zeros((0, 0), np.uint8)
        self.show_cells(Cells(np.where(state == SHOWN, values, np.float32(0)), rows, columns, scale, state))

    def show_two(self, cells: Cells, sets: np.ndarray) -> None:
        """What two branches differ by; ``sets`` of the cells' shape."""
        self._chosen = np.zeros((0, 0), np.bool_)
        self.show_sets(cells, sets)

    def draw(self, painter: Painter) -> None:
        super().draw(painter)
        if self.cells is None or self.plot.isEmpty() or not self._chosen.size:
            return
        box = self.box(0, 0)
        if min(box.width(), box.height()) >= LEAST_FRAMED:
            self.draw_frames(painter, self._chosen)


def position_state(n_experts: int, n: int, n_total: int, block: int) -> np.ndarray:
    """uint8 [n_experts, columns]: columns of which no position is routed yet are ABSENT."""
    columns = -(-n_total // block)
    state = np.full((n_experts, columns), SHOWN, np.uint8)
    state[:, -(-n // block) :] = ABSENT
    return state


def layer_state(known: np.ndarray, n_experts: np.ndarray, width: int) -> np.ndarray:
    """uint8 [layers, width]: rows that are not routed yet are ABSENT, experts that a layer does not have MASKED."""
    state = np.where(known[:, None], np.uint8(SHOWN), np.uint8(ABSENT)) * np.ones((1, width), np.uint8)
    state[np.arange(width) >= n_experts[:, None]] = MASKED
    return state


def widened(rows: np.ndarray, columns: int) -> np.ndarray:
    """[n_experts, columns], 0 behind what is known."""
    return np.pad(rows[:, :columns], ((0, 0), (0, max(0, columns - rows.shape[1]))))
