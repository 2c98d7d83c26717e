"""The window as a film: what is decoded again is what was on screen, and nothing is left of what is given up."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QFileDialog, QWidget

import app.recording as recording_module
from app.command_line import Options
from app.filming import Filming, as_painted
from app.preferences import Preferences
from app.recording import MISSING, MOST_WAITING, PER_SECOND, Recording, RecordingError, find_ffmpeg, fitted
from app.run import Run
from app.widgets.record_chip import RecordChip, clock_text
from tests.app.conftest import GREEDY, MakeWindow
from tests.app.made_runs import context, generated

WITHIN_S = 60
SIZE = QSize(161, 90)  # odd on purpose


def plain(colour: str, size: QSize = SIZE) -> QImage:
    image = QImage(size, QImage.Format.Format_RGB32)
    image.fill(QColor(colour))
    return image


def frames(path: Path) -> tuple[QSize, list[QImage]]:
    """What a player shows, picture by picture."""
    command = [find_ffmpeg(), "-v", "error", "-i", str(path), "-f", "image2pipe", "-c:v", "ppm", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    images, rest = [], data
    while rest:
        kind, size, most, body = rest.split(b"\n", 3)
        assert (kind, most) == (b"P6", b"255")
        width, height = map(int, size.split())
        count = width * height * 3
        images.append(QImage(body[:count], width, height, width * 3, QImage.Format.Format_RGB888).copy())
        rest = body[count:]
    return images[0].size(), images


def told(path: Path) -> str:
    """What the file says of itself."""
    return subprocess.run([find_ffmpeg(), "-hide_banner", "-i", str(path)], capture_output=True).stderr.decode()


def near(image: QImage, colour: str, x: int, y: int) -> bool:
    found, wanted = image.pixelColor(x, y), QColor(colour)
    pairs = zip(found.getRgb()[:3], wanted.getRgb()[:3], strict=True)
    return max(abs(one - other) for one, other in pairs) <= 8


def put(made: Recording, picture: QImage, seconds: float) -> None:
    """Wait until there is room for it."""
    end = time.monotonic() + WITHIN_S
    while not made.put(picture, seconds):
        assert made.progress.state == "recording", made.progress
        assert time.monotonic() < end
        time.sleep(0.01)


def filmed(path: Path, *pictures: tuple[QImage, float], until: float, size: QSize = SIZE) -> Recording:
    made = Recording(path, size)
    for picture, seconds in pictures:
        put(made, picture, seconds)
    made.finish(until, {"model": "tiny", "prompt": "a\nb", "layer": "3"})
    assert made.wait(WITHIN_S)
    return made


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [".mp4", ".gif"])
def test_a_film_shows_each_picture_as_long_as_it_was_there(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"film{kind}"
    made = filmed(path, (plain("#c02020"), 0.0), (plain("#2050c0"), 0.52), (plain("#e0e0e0"), 1.5), until=2.0)
    assert made.progress.state == "done", made.progress.sentence
    size, shown = frames(path)
    assert size == QSize(160, 90)
    assert len(shown) == 20
    assert made.progress.seconds == 2.0
    assert (made.progress.frames, made.progress.bytes) == (3, path.stat().st_size)
    colours = ["#c02020"] * 5 + ["#2050c0"] * 10 + ["#e0e0e0"] * 5
    assert all(near(image, colour, 80, 45) for image, colour in zip(shown, colours, strict=True))
    assert list(tmp_path.iterdir()) == [path], "nothing else is left"
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("kind", [".mp4", ".gif"])
def test_a_film_says_what_it_is_about(tmp_path: Path, kind: str) -> None:
    filmed(tmp_path / f"film{kind}", (plain("#c02020"), 0.0), until=0.3)
    words = told(tmp_path / f"film{kind}")
    assert "model: tiny" in words
    assert 'prompt: "a\\nb"' in words
    assert "layer: 3" in words


def test_a_long_prompt_fits_into_a_gif(tmp_path: Path) -> None:
    made = Recording(tmp_path / "film.gif", SIZE)
    put(made, plain("#c02020"), 0.0)
    made.finish(0.2, {"prompt": "wort " * 4000})
    assert made.wait(WITHIN_S)
    assert made.progress.state == "done"
    assert len(frames(tmp_path / "film.gif")[1]) == 2


def test_a_gif_has_as_good_as_the_very_colours(tmp_path: Path) -> None:
    image = plain("#15181d")
    for x in range(160):
        image.setPixelColor(x, 10, QColor(x, 255 - x, 40))
    filmed(tmp_path / "film.gif", (image, 0.0), until=0.2)
    shown = frames(tmp_path / "film.gif")[1][0]
    assert all(near(shown, image.pixelColor(x, 10).name(), x, 10) for x in range(160))


def test_pictures_of_another_size_are_fitted() -> None:
    wide = fitted(plain("#ffffff", QSize(320, 90)), QSize(160, 90))
    assert wide.size() == QSize(160, 90)
    assert [wide.pixelColor(80, y).lightness() for y in (5, 45, 85)] == [0, 255, 0]
    same = fitted(plain("#ffffff", QSize(160, 90)), QSize(160, 90))
    assert same.bytesPerLine() == 640
    cut = fitted(plain("#ffffff", QSize(161, 91)), QSize(160, 90))
    assert cut.size() == QSize(160, 90)
    assert fitted(plain("#123456", QSize(1, 1)), QSize(2, 2)).size() == QSize(2, 2)


# ---- what can go wrong -----------------------------------------------------------------------------------------------


def test_a_film_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    states = []
    made = Recording(tmp_path / "film.mp4", SIZE, lambda: states.append(made.progress.state))
    put(made, plain("#c02020"), 0.0)
    made.give_up()
    assert made.wait(WITHIN_S)
    assert states == ["given up"]
    assert list(tmp_path.iterdir()) == []
    assert not made.put(plain("#c02020"), 1.0)
    made.finish(2.0, {})
    made.give_up()


def test_one_that_is_given_up_while_it_is_completed_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "film.gif"
    path.write_bytes(b"before")
    start = Recording._start

    def late(self, *arguments: str, **options: Any) -> subprocess.Popen:
        if "palettegen=stats_mode=full" in arguments:
            self.give_up()
        return start(self, *arguments, **options)

    monkeypatch.setattr(Recording, "_start", late)
    made = filmed(path, (plain("#c02020"), 0.0), until=0.2)
    assert made.progress.state == "given up"
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_when_ffmpeg_ends_in_the_middle_the_window_is_told(tmp_path: Path) -> None:
    made = Recording(tmp_path / "film.mp4", SIZE)
    put(made, plain("#c02020"), 0.0)
    end = time.monotonic() + WITHIN_S
    while made._process is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    made._process.kill()
    with_room = 0.2
    while made.progress.state == "recording" and time.monotonic() < end:
        made.put(plain("#20c020", SIZE), with_room)
        with_room += 0.1
        time.sleep(0.01)
    assert made.wait(WITHIN_S)
    assert made.progress.state == "failed"
    assert made.progress.sentence == "The recording film.mp4 was not written: ffmpeg ended without a word."
    assert list(tmp_path.iterdir()) == []


def test_what_ffmpeg_says_is_passed_on(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(recording_module.KINDS, ".mp4", ("-c:v", "nosuchcodec"))
    made = filmed(tmp_path / "film.mp4", (plain("#c02020"), 0.0), until=0.2)
    assert made.progress.state == "failed"
    assert "nosuchcodec" in made.progress.sentence or "ffmpeg says" in made.progress.sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"), [("film.avi", r"\.mp4 or \.gif"), ("none/film.mp4", "cannot be written"), ("film", "choose one")]
)
def test_what_cannot_be_a_film_is_refused_at_once(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(RecordingError, match=words):
        Recording(tmp_path / name, SIZE)
    assert list(tmp_path.iterdir()) == []


def test_without_ffmpeg_it_is_said_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecordingError, match=r'pip install "fluoroscope\[record\]"'):
        Recording(tmp_path / "film.mp4", SIZE)
    own = tmp_path / "ffmpeg"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert find_ffmpeg() == str(own), "one of the computer's own will do"
    assert MISSING.count(".") == 1


def test_pictures_are_left_out_while_the_thread_is_behind(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(recording_module, "fitted", lambda picture, size: (time.sleep(0.2), picture)[1])
    made = Recording(tmp_path / "film.mp4", QSize(160, 90))
    taken = [made.put(plain("#c02020", QSize(160, 90)), place / PER_SECOND) for place in range(40)]
    assert taken.count(True) <= MOST_WAITING + 1
    assert made._pictures.qsize() <= MOST_WAITING
    made.finish(4.0, {})
    assert made.wait(WITHIN_S)
    assert made.progress.left_out == taken.count(False)
    assert len(frames(tmp_path / "film.mp4")[1]) == 40, "the film is as long all the same"


# ---- the window ------------------------------------------------------------------------------------------------------


class Square(QWidget):
    """A window of one colour."""

    def show_colour(self, colour: str) -> None:
        self.setStyleSheet(f"background: {colour};")


@pytest.fixture
def square(qtbot: Any, no_leaks: None) -> Any:
    made = Square()
    made.resize(200, 100)
    made.show_colour("#c02020")
    made.show()
    qtbot.waitExposed(made)
    yield made
    made.close()
    made.deleteLater()


def filming(square: QWidget, failures: list[str]) -> Filming:
    made = Filming(context(generated(2)), Preferences(False), square)
    made.chip.setParent(square)
    made.failed.connect(failures.append)
    return made


def test_what_was_painted_is_taken_without_painting_again(square: Square, qtbot: Any, monkeypatch) -> None:
    qtbot.wait(50)
    wanted = square.grab().toImage()
    monkeypatch.setattr(QWidget, "grab", None)
    assert as_painted(square) == wanted.convertToFormat(as_painted(square).format())


def test_a_still_window_gives_no_pictures_and_a_painted_one_does(square: Square, qtbot: Any, tmp_path: Path) -> None:
    failures: list[str] = []
    made, said = filming(square, failures), []
    made.said.connect(said.append)
    made.chip.hide()
    made.begin(tmp_path / "film.mp4")
    made.chip.hide()
    made._tell.stop()
    made._tell.setInterval(10**6)
    made._tell.start()  # the chip's own painting is not what is counted here
    recording = made.recording
    assert recording is not None
    qtbot.wait(350)
    still = recording._taken
    assert still <= 3
    for colour in ("#2050c0", "#20a040", "#e0e0e0"):
        square.show_colour(colour)
        qtbot.wait(150)
    assert still + 3 <= recording._taken <= still + 6
    made.record_window()  # the same command stops
    qtbot.waitUntil(lambda: not made.busy, timeout=WITHIN_S * 1000)
    assert failures == []
    assert said == ["recorded film.mp4"]
    _, shown = frames(tmp_path / "film.mp4")
    assert len(shown) == round(recording.progress.seconds * PER_SECOND)
    assert near(shown[0], "#c02020", 100, 50)
    assert near(shown[-1], "#e0e0e0", 100, 50)
    seen = [next((c for c in ("#c02020", "#2050c0", "#20a040", "#e0e0e0") if near(i, c, 100, 50)), "?") for i in shown]
    assert list(dict.fromkeys(seen)) == ["#c02020", "#2050c0", "#20a040", "#e0e0e0"]


def test_what_takes_long_at_the_end_tells_how_far_it_is(square: Square, qtbot: Any, tmp_path: Path) -> None:
    failures: list[str] = []
    made, told = filming(square, failures), []
    made.finishing.connect(lambda text, n: told.append((text, n)))
    made.completed.connect(told.append)
    made.finished.connect(lambda: told.append("finished"))
    made.begin(tmp_path / "film.gif")
    qtbot.wait(500)
    made.stop()
    qtbot.waitUntil(lambda: not made.busy, timeout=WITHIN_S * 1000)
    n = len(frames(tmp_path / "film.gif")[1])
    assert told[0] == ("writing film.gif", n)
    assert told[-2:] == [n, "finished"]
    assert failures == []


def test_no_more_than_ten_pictures_a_second(square: Square, qtbot: Any, tmp_path: Path) -> None:
    failures: list[str] = []
    made = filming(square, failures)
    made.begin(tmp_path / "film.mp4")
    recording, began = made.recording, time.monotonic()
    assert recording is not None
    while time.monotonic() - began < 1.0:
        square.show_colour(f"#{int((time.monotonic() - began) * 200):02x}2020")
        qtbot.wait(5)
    took = time.monotonic() - began
    assert 3 <= recording._taken + recording._left_out <= took * PER_SECOND + 2
    made.discard_recording()
    qtbot.waitUntil(lambda: not made.busy, timeout=WITHIN_S * 1000)
    assert list(tmp_path.iterdir()) == []
    assert failures == []


def test_a_folder_that_cannot_be_written_is_a_sentence(square: Square, tmp_path: Path) -> None:
    failures: list[str] = []
    made = filming(square, failures)
    made.begin(tmp_path / "none" / "film.mp4")
    assert len(failures) == 1
    assert "cannot be written" in failures[0]
    assert not made.busy


def test_the_chip_tells_time_pictures_and_bytes(qtbot: Any) -> None:
    from PySide6.QtGui import QAction

    chip = RecordChip(QAction(), QAction())
    qtbot.addWidget(chip)
    assert chip.isHidden()
    chip.show_recording(75.9, 120, 1_234_567)
    assert chip.text.text() == "● 1:15 · pictures: 120 · 1.23 MB"
    assert chip.stop.isEnabled()
    chip.show_recording(0.4, 1, 0)
    assert chip.text.text() == "● 0:00 · pictures: 1"
    chip.show_finishing("film.mp4")
    assert chip.text.text() == "writing film.mp4"
    assert not chip.stop.isEnabled()
    assert [clock_text(s) for s in (0, 59.9, 61, 3723)] == ["0:00", "0:59", "1:01", "1:02:03"]


def test_the_real_window_is_recorded_by_its_commands(
    make_window: MakeWindow, qtbot: Any, tmp_path: Path, tiny_model: Path, monkeypatch
) -> None:
    from app.panels import PANELS

    options = Options(model=str(tiny_model), sampling=GREEDY, prompt="hello", tokens=12, size=(1001, 701))
    window = make_window(options, PANELS, start=True)
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WITHIN_S * 1000)
    asked: list[str] = []

    def choose(parent: Any, title: str, suggestion: str, kinds: str) -> tuple[str, str]:
        asked.append(suggestion)
        return str(tmp_path / "film"), "Film (*.mp4)"

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    assert not window.actions_by_name["discard_recording"].isEnabled()
    window.actions_by_name["record_window"].trigger()
    assert window.actions_by_name["discard_recording"].isEnabled()
    assert window.filming.chip.isVisible()
    window.run()
    qtbot.waitUntil(lambda: window.context.run.ended is not None and window.complete, timeout=WITHIN_S * 1000)
    qtbot.wait(400)
    last = window.grab().toImage()
    window.filming.chip.stop.click()
    qtbot.waitUntil(lambda: not window.filming.busy, timeout=WITHIN_S * 1000)
    assert window.filming.chip.isHidden()
    assert not window.actions_by_name["discard_recording"].isEnabled()
    assert asked == ["fluoroscope.mp4"]
    size, shown = frames(tmp_path / "film.mp4")
    assert size == QSize(1000, 700)
    bar = [(x, y) for x in range(0, 1000, 50) for y in range(60, 300, 20)]
    close = [near(shown[-1], last.pixelColor(x, y).name(), x, y) for x, y in bar]
    assert sum(close) > 0.9 * len(bar), "the last picture is the window as it stands"
    assert "prompt: hello" in told(tmp_path / "film.mp4")
    assert "film.mp4" in window.activity


def test_the_program_ends_with_its_film_complete(
    make_window: MakeWindow, qtbot: Any, tmp_path: Path, monkeypatch
) -> None:
    window = make_window(Options(sampling=GREEDY))
    window.filming.begin(tmp_path / "film.gif")
    qtbot.wait(200)
    window.close()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["film.gif"]
    assert frames(tmp_path / "film.gif")[1]


def test_no_run_at_all_can_be_filmed(square: Square) -> None:
    made = Filming(context(Run()), Preferences(False), square)
    made.chip.setParent(square)
    made.stop()
    made.discard_recording()
    made.close()
    assert not made.busy
