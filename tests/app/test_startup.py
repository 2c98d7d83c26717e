"""The checks before Qt: pairs of versions, and the display."""

from __future__ import annotations

import pytest

from app.startup import display_complaint, installed_complaint, pair_complaint


@pytest.mark.parametrize(
    ("qt", "pyqtgraph", "python", "refused"),
    [
        ("6.10.3", "0.14.0", (3, 11), False),
        ("6.10.3", "0.14.0", (3, 13), False),
        ("6.12.0", "0.14.0", (3, 11), True),
        ("6.12.0", "0.14.0", (3, 12), False),
        ("6.8.0", "0.14.0", (3, 12), True),
        ("6.9.2", "0.14.0", (3, 12), True),
        ("6.10.1", "0.14.0", (3, 11), True),
        ("6.11.3", "0.14.0", (3, 13), True),
        ("6.10.0", "0.13.7", (3, 11), True),
        ("6.5.3", "0.14.0", (3, 11), True),
    ],
)
def test_pairs(qt: str, pyqtgraph: str, python: tuple[int, int], refused: bool) -> None:
    complaint = pair_complaint(qt, pyqtgraph, python)
    assert (complaint is not None) == refused
    if complaint:
        assert "pip install" in complaint
        assert "\n" not in complaint


def test_what_is_installed_here_is_a_good_pair() -> None:
    assert installed_complaint() is None


@pytest.mark.parametrize("name", ["DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"])
def test_any_display_will_do(name: str) -> None:
    assert display_complaint({name: ":0"}, "Linux") is None


def test_no_display_on_linux_is_one_sentence() -> None:
    complaint = display_complaint({}, "Linux")
    assert complaint is not None
    assert "--screenshot" in complaint


@pytest.mark.parametrize("system", ["Darwin", "Windows"])
def test_other_systems_always_have_one(system: str) -> None:
    assert display_complaint({}, system) is None
