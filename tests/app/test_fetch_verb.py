"""``fluoroscope fetch``: what it prints and asks, against a hub on this computer."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import fetch_verb
from app.main import FAILED, main
from engine.checkpoint.fetch import installed, unfinished
from tests.engine.fake_hub import COMMIT, FakeHub, serving

SECRET = "hf_" + "S3cretS3cretS3cret"
FILES = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": bytes(200_000)}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path / "cache"))
    with serving(FakeHub(files=dict(FILES), tokens={SECRET}), monkeypatch) as server:
        yield server


def attended(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Somebody sits there; what is written to stderr can be read from it."""
    monkeypatch.setattr(sys, "stdin", Terminal())
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(text))


def test_it_says_where_the_model_came_from_and_lies(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "org/model"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert COMMIT[:12] in out[0]
    assert Path(out[1]).is_dir()


def test_progress_is_for_somebody_who_watches(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = attended(monkeypatch)
    assert main(["fetch", "org/model"]) == 0
    assert "model.safetensors: 0.2 of 0.2 MB" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")


def test_a_token_is_asked_for_and_never_shown(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = attended(monkeypatch)
    hub.gated = "manual"
    asked: list[str] = []
    monkeypatch.setattr(fetch_verb, "getpass", lambda prompt, stream: asked.append(prompt) or SECRET)
    assert main(["fetch", "org/model"]) == 0
    assert len(asked) == 1
    assert len(installed()) == 1
    assert SECRET not in terminal.getvalue() + capsys.readouterr().out


@pytest.mark.parametrize(("given", "words"), [("", "(401)"), ("hf_not_accepted", "(403)"), ("a b", "no token")])
def test_a_token_that_does_not_help(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, given: str, words: str) -> None:
    terminal = attended(monkeypatch)
    hub.gated = "manual"
    monkeypatch.setattr(fetch_verb, "getpass", lambda prompt, stream: given)
    assert main(["fetch", "org/model"]) == FAILED
    last = terminal.getvalue().splitlines()[-1]
    assert words in last
    assert not given or given not in last


def test_nobody_is_asked_where_nobody_sits(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.gated = "manual"
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(fetch_verb, "getpass", lambda *arguments: pytest.fail("asked"))
    assert main(["fetch", "org/model"]) == FAILED
    assert "(401)" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "left"), [("y\n", 0), ("Yes\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_deleting_asks(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, left: int
) -> None:
    main(["fetch", "org/model"])
    answer(monkeypatch, text)
    assert main(["fetch", "--delete", "org/model"]) == left
    assert len(installed()) == left
    out = capsys.readouterr().out
    assert "Delete org/model, 0.2 MB at " in out
    assert ("Nothing was removed." if left else "0.2 MB were freed.") in out


def test_without_anybody_to_ask_nothing_is_removed(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    main(["fetch", "org/model"])
    assert main(["fetch", "--delete", "org/model"]) == FAILED
    assert "--yes" in capsys.readouterr().err
    assert len(installed()) == 1
    assert main(["fetch", "org/model", "--delete", "--yes"]) == 0
    assert not installed()


def test_discarding_asks_and_says_what_there_is(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.faults.cut_after = 100_000
    assert main(["fetch", "org/model"]) == FAILED
    assert main(["fetch", "--discard", "org/other"]) == FAILED
    assert "unfinished are: org/model." in capsys.readouterr().err
    answer(monkeypatch, "y\n")
    assert main(["fetch", "--discard", "org/model"]) == 0
    assert "Discard the unfinished download of org/model, 0.1 of 0.2 MB?" in capsys.readouterr().out
    assert not unfinished()


def test_what_is_not_there_cannot_be_deleted(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "--delete", "--yes", "org/other"]) == FAILED
    assert "nothing to delete" in capsys.readouterr().err
