"""The command line: options as data, and the program as a subprocess."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.command_line import DEFAULT_MODEL, DEFAULT_TOKENS, PANELS, TASKS, VERBS, parse
from app.main import VERBS as HANDLERS
from app.main import main
from engine.checkpoint.catalog import entry
from engine.errors import EngineError
from engine.settings import Sampling

ROOT = Path(__file__).parents[2]
EVERY = """--model m --prompt p --tokens 3 --chat --device cpu --dtype float32 --threads 2 --seed 4 --temperature 0.5
--top-k 6 --top-p 0.7 --min-p 0.1 --typical-p 0.8 --repetition-penalty 1.1 --presence-penalty 0.2
--frequency-penalty 0.3 --greedy --theme light --size 1280x720 --screenshot o.png --layout grid
--expert 7 --panel experts --layer 1 --head 2 --position 3 --pause-at 5"""


def fluoroscope(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run the program without any display."""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    clean = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-m", "app.main", *arguments]
    return subprocess.run(command, cwd=ROOT, env=clean | environment, capture_output=True, text=True, timeout=120)


def one_sentence(text: str) -> bool:
    return text.startswith("fluoroscope: ") and len(text.strip().splitlines()) == 1 and "Traceback" not in text


def test_without_arguments_it_opens_a_window_on_the_built_in_model() -> None:
    options = parse([])
    assert (options.verb, options.model, options.tokens) == ("open", DEFAULT_MODEL, DEFAULT_TOKENS)
    assert options.sampling == Sampling()
    known = entry(DEFAULT_MODEL)
    assert known is not None
    assert known.built_in


@pytest.mark.parametrize("line", [["--prompt", "p"], ["--prompt", "p", "--screenshot", "o.png"]])
def test_a_prompt_needs_no_model(line: list[str]) -> None:
    assert (parse(line).model, parse(line).prompt) == (DEFAULT_MODEL, "p")
    assert parse([*line, "--model", "m"]).model == "m"


def test_panels_that_can_be_named_are_those_of_the_window() -> None:
    from app.layout_names import EXPLORE
    from app.layout_shapes import LAYOUTS
    from app.panels import PANELS as ALL

    assert set(PANELS) <= {panel.key for panel in ALL}
    stacked = {key for column in LAYOUTS[EXPLORE].columns for stack in column if len(stack) > 1 for key in stack}
    assert set(PANELS) == stacked & {panel.key for panel in ALL}


def test_every_option() -> None:
    options = parse(EVERY.split())
    assert options.sampling == Sampling(True, 0.5, 6, 0.7, 0.1, 0.8, 1.1, 0.2, 0.3, 4)
    assert (options.size, options.theme, options.layout) == ((1280, 720), "light", "all")
    assert (options.pin, options.panel) == ({"layer": 1, "head": 2, "expert": 7, "position": 3}, "experts")
    assert (options.screenshot, options.pause_at, options.threads) == (Path("o.png"), 5, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        "--tokens 0",
        "--tokens x",
        "--size 10x10",
        "--size 1280",
        "--theme pink",
        "--layout other",
        "--panel other",
        "--layer -1",
        "--screenshot o.png",
        "--screenshot o.png --model m",
        "--pause-at 3",
        "--model m --pause-at 3",
        "--threads 0",
        "fetch",
        "--nonsense",
    ],
)
def test_wrong_options_end_with_code_2(wrong: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(wrong.split())
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "model"),
    [
        ("x.gguf", "x.gguf"),
        ("x.GGUF --theme light --tokens 3", "x.GGUF"),
        ("--theme light --tokens 3 some/folder", "some/folder"),
        ("--greedy x.gguf --prompt p", "x.gguf"),
        ("smollm2", "smollm2"),
        ("tests", "tests"),
        ("-- x.gguf", "x.gguf"),
    ],
)
def test_a_path_alone_opens_that_model(line: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert (parse(line.split()).verb, parse(line.split()).model) == ("open", model)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("insepct demo", "'insepct' is neither a verb (fetch, inspect, models, run) nor a folder, a .gguf or"),
        ("--theme light inspect demo", "the verb inspect comes first"),
        ("a.gguf b.gguf", "one model at a time can be opened, not a.gguf, b.gguf"),
        ("a.gguf --model b", "one model at a time can be opened, not a.gguf, b"),
        ("a.gguf --nonsense", "unrecognized arguments: --nonsense"),
    ],
)
def test_a_wrong_word_is_told(line: str, reason: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(line.split())
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_verbs_are_known_wherever_they_are_named(capsys: pytest.CaptureFixture) -> None:
    assert set(VERBS) | {"open"} | set(TASKS) == set(HANDLERS)
    for verb in VERBS:
        with pytest.raises(SystemExit) as ended:
            parse([verb, "--help"])
        assert ended.value.code == 0
        assert f"fluoroscope {verb}" in capsys.readouterr().out


def test_help_names_verbs_and_options(capsys: pytest.CaptureFixture) -> None:
    for line in (["--help"], ["x.gguf", "-h"]):
        with pytest.raises(SystemExit) as ended:
            parse(line)
        assert ended.value.code == 0
        said = capsys.readouterr().out
        assert all(word in said for word in (*VERBS, "--model", "--self-test", "--install-desktop", "FILE.gguf"))


@pytest.mark.parametrize("task", TASKS)
def test_tasks_stand_alone(task: str) -> None:
    assert parse([f"--{task}", "--threads", "3"]).verb == task
    assert parse([f"--{task}", "--threads", "3"]).threads == 3


def test_sampling_out_of_range_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match="top_p"):
        parse(["--top-p", "3"])


def test_no_display_is_one_sentence_and_code_2() -> None:
    done = fluoroscope()
    assert done.returncode == 2
    assert one_sentence(done.stderr)
    assert "--screenshot" in done.stderr


def test_version() -> None:
    done = fluoroscope("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("fluoroscope ")


def test_wrong_sampling_is_one_sentence() -> None:
    done = fluoroscope("--top-p", "9")
    assert done.returncode == 1
    assert one_sentence(done.stderr)


def test_fetch_of_an_unknown_name_is_one_sentence(tmp_path: Path) -> None:
    done = fluoroscope("fetch", "no such model", HOME=str(tmp_path))
    assert done.returncode == 1
    assert one_sentence(done.stderr)


def test_fetching_the_built_in_model_says_that_it_is_there(
    embedded: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path / "cache"))
    assert main(["fetch", "demo"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == ["demo is built in, so nothing has to be downloaded.", str(embedded)]
    assert not (tmp_path / "cache").exists()


def test_the_program_needs_no_home_and_no_model_but_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of every folder below it")
    places = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), str(tmp_path / "file" / "home"))
    target = tmp_path / "shot.png"
    done = fluoroscope("--prompt", "Once", "--tokens", "2", "--screenshot", str(target), **places)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "Fontconfig" not in line]) == (0, [])
    assert target.stat().st_size > 10_000


def test_ctrl_c_closes_cleanly(tmp_path: Path) -> None:
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "XDG_CONFIG_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "app.main"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    time.sleep(8)
    assert process.poll() is None, process.stderr.read()
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - began < 6
    assert (process.returncode, errors) == (0, "")
