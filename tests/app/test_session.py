"""What is remembered of a session, as a file: whole, of older and newer versions, damaged, huge."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from app.command_line import parse
from app.cursor import Look
from app.session import (
    LARGEST,
    LONGEST_PROMPT,
    SavedRun,
    Session,
    SessionError,
    fitting,
    read_session,
    restored,
    write_session,
)
from engine.edits import Edit
from engine.settings import Sampling

OLDER = Path(__file__).parent / "older"
WHOLE = Session(
    model="org/model",
    prompt="Grüße\n😀 \ud800",
    chat=True,
    tokens=17,
    sampling=Sampling(temperature=0.5, top_k=3, seed=11),
    pinned=Look(5, 2, 1, 3, "attn.hook_z"),
    edits=(Edit("clamp", "hook_resid_post", (1,), low=-1.0), Edit("zero", "attn.hook_z", (0,), heads=(1,), on=False)),
    run=SavedRun("/home/someone/x.fluoro"),
)


def written(path: Path, session: Session) -> Session:
    write_session(path, session)
    found = read_session(path)
    assert found is not None
    return found


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    found = written(tmp_path / "session.json", WHOLE)
    assert found.prompt == "Grüße\n😀 ?", "what is no character is none in the file"
    assert (found.edits, found.sampling, found.pinned, found.run) == (
        WHOLE.edits,
        WHOLE.sampling,
        WHOLE.pinned,
        WHOLE.run,
    )
    assert (tmp_path / "session.json").stat().st_mode & 0o077 == 0


def test_an_empty_one_too(tmp_path: Path) -> None:
    assert written(tmp_path / "session.json", Session()) == Session()


def test_there_may_be_none(tmp_path: Path) -> None:
    assert read_session(tmp_path / "session.json") is None


def test_a_prompt_beyond_measure_is_not_kept(tmp_path: Path) -> None:
    assert written(tmp_path / "session.json", Session(prompt="x" * (LONGEST_PROMPT + 1))).prompt == ""


def test_a_file_that_lacks_what_came_later_is_read(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    path.write_text('{"is": "Session", "version": 1, "prompt": "hello"}')
    assert read_session(path) == Session(prompt="hello")


BAD = {
    "no JSON": b"{",
    "no table": b"[1, 2]",
    "no text": b"\xff\xfe\x00",
    "nothing": b"",
    "no version": b"{}",
    "another class": b'{"is": "Run", "version": 1}',
    "a strange field": b'{"is": "Session", "version": 1, "evil": 1}',
    "a number for a text": b'{"is": "Session", "version": 1, "prompt": 5}',
    "no tokens": b'{"is": "Session", "version": 1, "tokens": 0}',
    "too many tokens": b'{"is": "Session", "version": 1, "tokens": 99999999999}',
    "settings out of range": b'{"is": "Session", "version": 1, "sampling": {"is": "Sampling", "temperature": -1}}',
    "nested": b"[" * 100_000,
    "a newer version": b'{"is": "Session", "version": 2, "all": "new"}',
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_told_in_time_and_kept(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "session.json"
    path.write_bytes(data)
    began = time.perf_counter()
    with pytest.raises(SessionError) as told:
        read_session(path)
    assert time.perf_counter() - began < 1.0
    assert "session-unread.json" in str(told.value)
    assert (tmp_path / "session-unread.json").read_bytes() == data
    assert read_session(path) is None, "the next start is not told again"


def test_a_newer_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "session.json").write_bytes(BAD["a newer version"])
    with pytest.raises(SessionError, match="a newer Fluoroscope wrote it"):
        read_session(tmp_path / "session.json")


def test_a_huge_file_is_not_taken_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    with path.open("wb") as file:
        file.truncate(LARGEST * 50)
    with pytest.raises(SessionError, match="too large"):
        read_session(path)


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "session.json").mkdir()
    with pytest.raises(SessionError):
        read_session(tmp_path / "session.json")


# ---- what a window begins with ---------------------------------------------------------------------------------------


def test_without_a_word_all_is_as_it_was(tmp_path: Path) -> None:
    options = restored(parse([]), WHOLE, tmp_path / "run.fluoro")
    assert options.model == str(tmp_path / "run.fluoro")
    assert (options.chat, options.tokens, options.sampling) == (True, 17, WHOLE.sampling)


def test_without_a_run_it_is_the_model(tmp_path: Path) -> None:
    assert restored(parse([]), WHOLE, None).model == "org/model"
    assert restored(parse([]), Session(), None).model == "demo"


@pytest.mark.parametrize("words", [["--model", "demo"], ["demo/"], ["x.gguf"]])
def test_a_model_of_the_command_line_wins(tmp_path: Path, words: list[str]) -> None:
    options = restored(parse(words), WHOLE, tmp_path / "run.fluoro")
    assert options.model == words[-1]
    assert options.tokens == 17


def test_a_prompt_of_the_command_line_is_run_with_the_last_model(tmp_path: Path) -> None:
    options = restored(parse(["--prompt", "mine", "--tokens", "64"]), WHOLE, tmp_path / "run.fluoro")
    assert (options.model, options.prompt, options.tokens) == ("org/model", "mine", 64)


def test_single_settings_of_the_command_line_win(tmp_path: Path) -> None:
    sampling = restored(parse(["--top-k", "9"]), WHOLE, None).sampling
    assert (sampling.top_k, sampling.temperature, sampling.seed) == (9, 0.5, 11)


def test_a_place_that_the_run_does_not_have_is_moved_into_it() -> None:
    assert fitting(Look(500, 90, 80, 3, "x"), 10, 3, [4, 4, 2]) == Look(None, 2, 1, None, "x")
    assert fitting(Look(9, 0, 3), 10, 3, [4, 4, 2]) == Look(9, 0, 3)
    assert fitting(Look(-1, -1, -1), 10, 3, [4, 4, 2]) == Look(None, 0, 0)


# ---- older versions --------------------------------------------------------------------------------------------------


def test_the_session_of_the_first_version_is_read(tmp_path: Path) -> None:
    """A file as the first version with sessions wrote it; it must be read for ever."""
    path = tmp_path / "session.json"
    path.write_bytes((OLDER / "session-1.json").read_bytes())
    session = read_session(path)
    assert session is not None
    assert (session.model, session.prompt, session.tokens) == ("demo", "12+3=", 4)
    assert session.sampling is not None
    assert session.sampling.top_k == 7
    assert session.edits == (Edit("zero", "attn.hook_z", (0,), heads=(1,)),)
    assert session.pinned == Look(position=2, layer=1)
    assert session.run == SavedRun("")
    assert json.loads(path.read_bytes())["version"] == 1
