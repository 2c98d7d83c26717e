"""The memory of the record: sizes as text, settings that make sense or not, the button, its menu, the command line."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QInputDialog

from app import record_sizes
from app.command_line import parse
from app.preferences import Preferences
from app.record_button import RecordButton
from app.record_sizes import OFFERED, offered, size_of, use_text
from engine.frames import RecordUse
from engine.settings import Record


@pytest.fixture(autouse=True)
def _a_machine_of_16_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_sizes, "machine_memory", lambda: 16_000_000_000)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MB", 512_000_000),
        (" 1.5 gb ", 1_500_000_000),
        ("2000000000", 2_000_000_000),
        ("2000000 B", 2_000_000),
        ("1000kB", 1_000_000),
        ("16GB", 16_000_000_000),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "much",
        "-1GB",
        "1e9",
        "nan",
        "inf",
        "0",
        "0.1MB",
        "17GB",
        "9" * 400,
        "1.2.3GB",
        "5 PB",
        "٣GB",
        "1GiB",
        "\x00",
    ],
)
def test_what_is_no_size_gets_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size like 512MB|is out of range"):
        size_of(text)


def test_only_limits_that_the_machine_has_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered() == OFFERED
    monkeypatch.setattr(record_sizes, "machine_memory", lambda: 1_500_000_000)
    assert offered() == (256_000_000, 512_000_000, 1_000_000_000)


def test_what_it_takes_in_words() -> None:
    assert use_text(Record(), RecordUse()) == "record 0 B of 2 GB"
    use = RecordUse(memory=71_000_000, disk=120_000_000, dropped=1280, positions=2000)
    assert (
        use_text(Record(memory=512_000_000), use) == "record 71 MB of 512 MB + 120 MB on disk · 1,280 positions dropped"
    )


# ---- preferences ---------------------------------------------------------------------------------------------


def test_a_choice_is_remembered() -> None:
    Preferences().set_record(Record(512_000_000, "drop"))
    assert Preferences().record() == Record(512_000_000, "drop")
    Preferences().set_timeline("time")
    assert Preferences().timeline() == "time"
    assert Preferences(kept=False).record() == Record()


@pytest.mark.parametrize("memory", ["", "-5", "1e9", "nan", "9" * 60, "abc", "0", "٣٣٣٣٣٣٣٣", "[]"])
@pytest.mark.parametrize("beyond", ["", "elsewhere", "DROP", "\x00"])
def test_a_damaged_file_gives_the_setting_of_the_first_start(memory: str, beyond: str) -> None:
    file = QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "fluoroscope", "window")
    file.setValue("record/memory", memory)
    file.setValue("record/beyond", beyond)
    assert Preferences().record() == Record()


# ---- the button ----------------------------------------------------------------------------------------------


@pytest.fixture
def button(qtbot) -> RecordButton:
    made = RecordButton()
    qtbot.addWidget(made)
    made.show()
    return made


def choices(button: RecordButton) -> dict[str, bool]:
    button._fill()
    return {action.text(): action.isChecked() for action in button.menu().actions() if action.isCheckable()}


def choose(button: RecordButton, text: str) -> None:
    button._fill()
    next(action for action in button.menu().actions() if action.text() == text).trigger()


def test_the_menu_shows_and_changes_the_setting(button: RecordButton, qtbot) -> None:
    assert [text for text, checked in choices(button).items() if checked] == [
        "2 GB",
        "Keep on disk, in a temporary file",
    ]
    with qtbot.waitSignal(button.chosen) as told:
        choose(button, "512 MB")
    assert told.args == [Record(512_000_000, "disk")]
    with qtbot.waitSignal(button.chosen) as told:
        choose(button, "Drop, compute again when asked (takes longer)")
    assert told.args == [Record(512_000_000, "drop")]
    assert "of 512 MB" in button.text()
    with qtbot.assertNotEmitted(button.chosen):
        choose(button, "512 MB")


def test_an_odd_limit_stands_among_the_others(button: RecordButton) -> None:
    button.show_record(Record(memory=3_000_000_000))
    assert choices(button)["3 GB"]
    assert list(choices(button))[4] == "3 GB"


def test_another_size_can_be_typed(button: RecordButton, qtbot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QInputDialog, "getText", lambda *args, **more: ("1.5GB", True))
    with qtbot.waitSignal(button.chosen) as told:
        button.ask_size()
    assert told.args == [Record(1_500_000_000)]
    monkeypatch.setattr(QInputDialog, "getText", lambda *args, **more: ("99 TB", True))
    with qtbot.waitSignal(button.failed) as told:
        button.ask_size()
    assert "stays at 1.5 GB" in told.args[0]
    assert "1 MB to 16 GB" in told.args[0]
    monkeypatch.setattr(QInputDialog, "getText", lambda *args, **more: ("1GB", False))
    with qtbot.assertNotEmitted(button.chosen):
        button.ask_size()


def test_it_tells_what_a_token_takes_and_what_went_wrong(button: RecordButton) -> None:
    button.show_use(RecordUse(memory=5_000_000, bytes_per_token=71_000, trouble="No room on the disk."))
    for words in ("71 kB", "No room on the disk.", "never dropped"):
        assert words in button.toolTip()
    assert "record 5 MB of 2 GB" in button.accessibleName()


def test_its_room_never_shrinks_while_a_run_goes_on(button: RecordButton) -> None:
    button.show_use(RecordUse(memory=123_000_000))
    wide = button.minimumWidth()
    button.show_use(RecordUse(memory=124_000_000))
    assert button.minimumWidth() == wide
    button.show_use(RecordUse(memory=2_000_000_000, disk=130_000_000))
    assert button.minimumWidth() > wide
    button.show_use(RecordUse())
    assert button.minimumWidth() > wide


# ---- the command line ----------------------------------------------------------------------------------------


def test_the_command_line_sets_it() -> None:
    options = parse(["--record-memory", "512MB", "--record-beyond", "drop"])
    assert (options.record_memory, options.record_beyond) == (512_000_000, "drop")
    assert (parse([]).record_memory, parse([]).record_beyond) == (None, None)


@pytest.mark.parametrize(
    "words",
    [["--record-memory", "much"], ["--record-memory", "0"], ["--record-memory", "99TB"], ["--record-beyond", "x"]],
)
def test_a_wrong_one_ends_with_a_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(words)
    assert end.value.code == 2
    assert words[0] in capsys.readouterr().err
