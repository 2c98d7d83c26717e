"""One table of tokens per theme; the palette, pyqtgraph and every panel read colours from here only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Colours as #rrggbb. Text on ``window``, ``panel`` and ``raised`` reaches a contrast of 4.5."""

    name: str
    window: str  # behind everything
    panel: str  # behind a picture
    raised: str  # buttons, fields, title bars
    line: str  # borders, grid lines, axes
    text: str
    faint: str  # secondary text
    accent: str  # selection, the pinned place
    hover: str  # the hovered place
    prefill: str  # things that prefill made
    decode: str  # things that decode made
    cut: str  # what a stage cut, errors
    good: str  # done, ok
    absent: str  # hatching of what is not computed yet
    attention: str  # series colour: Δ(attention)
    mlp: str  # series colour: Δ(MLP)
    groups: tuple[str, ...]  # outlines of KV-head groups, safe for colour-blind viewers
    sequential: str  # name of a pyqtgraph colour map for 0..1 and norms
    diverging: str  # for signed data


DARK = Theme(
    name="dark",
    window="#15181d",
    panel="#1b1f26",
    raised="#262b34",
    line="#3a414d",
    text="#e8eaed",
    faint="#a3acb9",
    accent="#4da3ff",
    hover="#ffd166",
    prefill="#5b8def",
    decode="#f2a541",
    cut="#ff6b6b",
    good="#4cc38a",
    absent="#39404b",
    attention="#5bc0eb",
    mlp="#f2a541",
    groups=("#4da3ff", "#f2a541", "#4cc38a", "#d783ff", "#ff8fa3", "#c9d65b", "#5bd6d6", "#b8a07e"),
    sequential="viridis",
    diverging="CET-D1A",
)

LIGHT = Theme(
    name="light",
    window="#f3f4f6",
    panel="#ffffff",
    raised="#e6e9ee",
    line="#b6bdc8",
    text="#14171c",
    faint="#525c69",
    accent="#0b62c4",
    hover="#a86400",
    prefill="#2f63c8",
    decode="#b35c00",
    cut="#c22f2f",
    good="#18794e",
    absent="#d5dae2",
    attention="#0d7ca8",
    mlp="#b35c00",
    groups=("#0b62c4", "#b35c00", "#18794e", "#8a2fc0", "#b8304f", "#6a7300", "#007a7a", "#6d5636"),
    sequential="viridis",
    diverging="CET-D1A",
)

THEMES = {theme.name: theme for theme in (DARK, LIGHT)}
