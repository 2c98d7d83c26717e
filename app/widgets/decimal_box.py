"""A field for a figure with decimals, in which a comma is a point too."""

from __future__ import annotations

from PySide6.QtWidgets import QDoubleSpinBox


class DecimalBox(QDoubleSpinBox):
    """Whoever writes figures with a comma need not know that the window writes them with a point."""

    def validate(self, text: str, place: int) -> object:
        return super().validate(text.replace(",", "."), place)

    def valueFromText(self, text: str) -> float:  # noqa: N802
        return super().valueFromText(text.replace(",", "."))
