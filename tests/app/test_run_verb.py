"""``fluoroscope run``: a run without a window, and the file that is left of it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from app import run_verb
from app.command_line import parse
from app.main import FAILED, INTERRUPTED, main
from engine.run_file_opening import open_run
from engine.settings import Record, Sampling
from tests.app.test_command_line import ROOT, one_sentence


@pytest.fixture
def line(tiny_model: Path, tmp_path: Path) -> list[str]:
    return ["run", "--model", str(tiny_model), "--threads", "1", "--record", str(tmp_path / "made.fluoro")]


def test_options_are_those_of_the_window_and_a_file() -> None:
    words = "run --model m --prompt-file p.txt --record r.fluoro --tokens 3 --chat --top-k 5"
    options = parse(words.split())
    assert (options.verb, options.model, options.prompt, options.prompt_file) == ("run", "m", None, Path("p.txt"))
    assert (options.save, options.tokens, options.chat) == (Path("r.fluoro"), 3, True)
    assert (options.sampling.top_k, options.sampling_given) == (5, {"top_k"})


@pytest.mark.parametrize("words", ["run --prompt p", "run --record r", "run --record r --prompt p --prompt-file f"])
def test_prompt_and_file_are_needed(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words.split())
    assert ended.value.code == 2
    assert "fluoroscope run: error:" in capsys.readouterr().err


def test_the_text_goes_to_stdout_and_the_run_into_the_file(
    line: list[str], tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main([*line, "--prompt", "hello", "--tokens", "5", "--temperature", "0.9", "--seed", "4"]) == 0
    said = capfdbinary.readouterr()
    opened = open_run(tmp_path / "made.fluoro")
    assert opened.why == ""
    assert said.out == b"".join(step.piece.raw for step in opened.steps)
    assert len(opened.steps) == 5
    assert opened.session.settings == [Sampling(temperature=0.9, seed=4)] * 5
    assert (opened.facts.branch.max_new_tokens, opened.facts.branch.reason) == (5, "limit")
    assert said.err.decode().startswith(f"saved {tmp_path / 'made.fluoro'} (")


def test_the_file_gets_its_suffix_and_a_prompt_may_lie_in_a_file(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("\ufeffabc abc", "utf-8")
    assert main([*line[:-1], str(tmp_path / "named"), "--prompt-file", str(prompt), "--tokens", "2", "--greedy"]) == 0
    opened = open_run(tmp_path / "named.fluoro")
    assert "".join(piece.text for piece in opened.prompt) == "abc abc"


def test_a_prompt_may_come_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("añ".encode())))
    assert run_verb.read_prompt(Path("-")) == "añ"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompt", ""], "The prompt is empty"),
        (["--prompt", "x" * 600], "this model's context holds 512"),
        (["--prompt", "x", "--chat"], "no chat template"),
        (["--prompt", "x", "--temperature", "-1"], "temperature"),
        (["--prompt-file", "nowhere.txt"], "The prompt nowhere.txt cannot be read: No such file"),
        (["--prompt-file", "."], "The prompt . cannot be read"),
        (["--prompt", "x", "--model", "nonsense"], "There is no file or folder nonsense"),
        (["--prompt", "x", "--record", "none/run.fluoro"], "could not be saved: No such file or directory"),
        (["--prompt", "x", "--record", "/"], "is a folder"),
    ],
)
def test_errors_are_one_sentence_and_leave_no_file(
    line: list[str], tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line, *arguments]) == FAILED
    said = capsys.readouterr().err
    assert words in said
    assert one_sentence(said)
    assert list(tmp_path.glob("*.fluoro*")) == list(tmp_path.glob(".*")) == []


def test_a_prompt_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(engine.EngineError, match="is no UTF-8 text"):
        run_verb.read_prompt(path)


def test_an_interrupted_run_leaves_no_half_file(
    line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "made.fluoro").write_bytes(b"before")

    def interrupt(self: object, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    monkeypatch.setattr(run_verb.Report, "save", interrupt)
    assert main([*line, "--prompt", "hello", "--tokens", "3"]) == INTERRUPTED
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["made.fluoro"]
    assert (tmp_path / "made.fluoro").read_bytes() == b"before"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_somebody_who_watches(line: list[str], monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main([*line, "--prompt", "hello", "--tokens", "3"]) == 0
    said = terminal.getvalue()
    assert "token 3 of 3" in said
    assert "saving: " in said


def test_a_terminal_gets_no_control_characters(line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    piece = type("Piece", (), {"special": False, "text": "a\x1b[2J\nb", "raw": b""})
    run_verb.print_piece(type("Step", (), {"piece": piece}))  # type: ignore[arg-type]
    assert terminal.getvalue() == "a\\x1b[2J\nb"


def test_the_memory_of_the_record_can_be_set(line: list[str]) -> None:
    options = parse([*line, "--prompt", "x", "--record-memory", "512MB", "--record-beyond", "drop"])
    assert run_verb._record(options) == Record(512_000_000, "drop")


def test_it_loads_no_qt(line: list[str]) -> None:
    program = (
        f"import sys; from app.main import main; assert main({[*line, '--prompt', 'hi', '--tokens', '2']!r}) == 0; "
        "assert not {'PySide6', 'pyqtgraph'} & {name.split('.')[0] for name in sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=dict(os.environ), capture_output=True)
    assert done.returncode == 0, done.stderr
