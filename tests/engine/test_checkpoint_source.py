"""What a source is, and what is said about one that is nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.checkpoint.source import HubId, hub_id, resolve
from engine.errors import SourceError


def test_kinds(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    (tmp_path / "blob").write_bytes(b"GGUF")
    assert resolve(tmp_path).kind == "folder"
    assert resolve(str(tmp_path / "m.gguf")).kind == "gguf"
    assert resolve(tmp_path / "blob").kind == "gguf"
    assert resolve("smollm2").kind == "catalog"
    assert resolve("SmolLM2").kind == "catalog"
    assert resolve("org/name").hub == HubId("org/name")
    assert resolve("org/name@v1.0").hub == HubId("org/name", "v1.0")


def test_a_folder_wins_over_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    (tmp_path / "org" / "name" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert resolve("org/name").kind == "folder"


@pytest.mark.parametrize("text", ["a", "a/b/c", "/a/b", "./a", "a/..", "a/b@..", "a/b@", "a b/c", "ü/x", "a/b\n"])
def test_no_hub_ids(text: str) -> None:
    assert hub_id(text) is None


def _make(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "ggufs").mkdir()
    (folder / "ggufs" / "model.gguf").write_bytes(b"GGUF")
    for name in ("model.bin", "model.pt", "model.safetensors", "notes.txt"):
        (folder / name).write_bytes(b"x" * 10)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("missing", "no file or folder .*fluoroscope models"),
        ("missing.gguf", "no file or folder"),
        ("some/missing.gguf", "no file or folder"),
        ("notes.txt/inside", "no file or folder|hub id"),
        ("empty", r"no config\.json"),
        ("ggufs", r"open model\.gguf in it"),
        ("model.bin", "pickle"),
        ("model.pt", "pickle"),
        ("model.safetensors", "open the folder"),
        ("notes.txt", "no GGUF file"),
    ],
)
def test_what_cannot_be_loaded(tmp_path: Path, source: str, words: str) -> None:
    _make(tmp_path)
    with pytest.raises(SourceError, match=words):
        resolve(tmp_path / source)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in folders")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(SourceError, match="neither a file nor a folder"):
        resolve(tmp_path / "pipe.gguf")


def test_an_unreadable_folder_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"GGUF")

    def forbidden(self: Path, *arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", forbidden)
    monkeypatch.setattr(Path, "open", forbidden)
    for source in (tmp_path, tmp_path / "file"):
        with pytest.raises(SourceError, match="cannot be read: Permission denied"):
            resolve(source)


@pytest.mark.parametrize("text", ["", "   ", "a\0b"])
def test_no_name_at_all(text: str) -> None:
    with pytest.raises(SourceError, match="No model was named"):
        resolve(text)


def test_a_name_too_long_for_the_file_system() -> None:
    with pytest.raises(SourceError):
        resolve("x" * 5000)
