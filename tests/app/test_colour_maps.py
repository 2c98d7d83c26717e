"""Colour maps: even steps of lightness, zero in the middle, and no two ends that the colour-blind take for one."""

from __future__ import annotations

import numpy as np
import pyqtgraph
import pytest

from app.colour_maps import DIVERGING, SEQUENTIAL, colour_map, from_lab, to_lab
from app.widgets.scale import colour_words, marks, word

# Machado, Oliveira and Fernandes 2009, severity 1: linear RGB as the colour-blind see it
BLINDNESS = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
SIGNED = [name for pair in DIVERGING.values() for name in pair]
OWN = [name for name in SIGNED if name.startswith("#")]


def colours(name: str) -> np.ndarray:
    """sRGB [256, 3] of 0..1."""
    return colour_map(name).getLookupTable(nPts=256)[:, :3] / 255


def lab(name: str) -> np.ndarray:
    return to_lab(colours(name))


def seen(rgb: np.ndarray, kind: str) -> np.ndarray:
    """sRGB as someone sees it who has this blindness."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ np.array(BLINDNESS[kind]).T
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def steps(places: np.ndarray) -> np.ndarray:
    """How far neighbours are from each other."""
    return np.linalg.norm(np.diff(places, axis=0), axis=1)


def test_lab_is_that_of_the_standard() -> None:
    white, red, grey = to_lab(np.array([[1, 1, 1], [1, 0, 0], [0.5, 0.5, 0.5]]))
    assert white == pytest.approx([100, 0, 0], abs=0.01)
    assert red == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    assert grey == pytest.approx([53.39, 0, 0], abs=0.02)


def test_the_way_to_lab_and_back_ends_where_it_began() -> None:
    rgb = np.random.default_rng(0).random((100, 3))
    assert from_lab(to_lab(rgb)) == pytest.approx(rgb, abs=1e-9)


def test_there_are_alternatives() -> None:
    assert len(SEQUENTIAL) >= 4
    assert len(DIVERGING) >= 4
    assert len({*SEQUENTIAL.values()}) == len(SEQUENTIAL)


@pytest.mark.parametrize("name", SEQUENTIAL.values())
def test_more_is_lighter(name: str) -> None:
    lightness = lab(name)[:, 0]
    assert (np.diff(lightness) > -0.1).all()  # rounded to whole bytes
    assert lightness[-1] - lightness[0] > 70


@pytest.mark.parametrize("name", SEQUENTIAL.values())
def test_no_step_is_much_longer_than_the_others(name: str) -> None:
    far = steps(lab(name)[::8])
    assert far.max() < 2 * far.mean()


@pytest.mark.parametrize("name", SIGNED)
def test_both_signs_are_equally_far_from_zero(name: str) -> None:
    lightness = lab(name)[:, 0]
    assert np.abs(lightness - lightness[::-1]).max() < 1.5
    away = np.diff(lightness[128:]) * np.sign(lightness[-1] - lightness[128])
    assert (away > -0.6).all()  # rounded to whole bytes


@pytest.mark.parametrize("name", OWN)
def test_our_own_go_straight(name: str) -> None:
    for arm in (lab(name)[128::16], lab(name)[127::-16]):
        far = steps(arm)
        assert far.max() < 1.25 * far.min()


@pytest.mark.parametrize("kind", BLINDNESS)
@pytest.mark.parametrize("name", SIGNED)
def test_the_colour_blind_tell_the_signs_apart(name: str, kind: str) -> None:
    ends = to_lab(seen(colours(name)[[0, 64, 191, 255]], kind))
    assert np.linalg.norm(ends[0] - ends[3]) > 20
    assert np.linalg.norm(ends[1] - ends[2]) > 10


@pytest.mark.parametrize("kind", BLINDNESS)
@pytest.mark.parametrize("name", SEQUENTIAL.values())
def test_the_colour_blind_tell_more_from_less(name: str, kind: str) -> None:
    lightness = to_lab(seen(colours(name)[::16], kind))[:, 0]
    assert (np.diff(lightness) > 0).all()


@pytest.mark.parametrize("pair", DIVERGING.values(), ids=DIVERGING)
def test_zero_is_as_the_ground(pair: tuple[str, str]) -> None:
    dark, light = (lab(name)[128] for name in pair)
    assert dark[0] < 15
    assert light[0] > 90
    assert np.hypot(*dark[1:]) < 8
    assert np.hypot(*light[1:]) < 8


@pytest.mark.parametrize("name", [*SEQUENTIAL.values(), *SIGNED])
def test_marks_of_what_lies_beyond_are_no_colour_of_the_map(name: str) -> None:
    inner = set(colour_words(name)[1:-1].tolist())
    assert not inner & {word(mark) for mark in marks(name)}


def test_a_map_that_nobody_knows_is_refused() -> None:
    with pytest.raises(FileNotFoundError):
        colour_map("none")


def test_names_of_pyqtgraph_give_its_maps() -> None:
    assert colour_map("viridis") == pyqtgraph.colormap.get("viridis")
