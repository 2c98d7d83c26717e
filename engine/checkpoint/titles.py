"""What a model on the disk is called: content-addressed stores give its files names that say nothing. No torch here."""

from __future__ import annotations

import os
from pathlib import Path

from engine.checkpoint.ollama import ollama_models
from engine.checkpoint.search_folders import Visit, gguf_name, read_table

LARGEST_MANIFEST = 2**20  # bytes


def title_of(path: Path) -> str:
    """The repository that a download came from, in the hub's cache or ours; Ollama's name of its file; else the path's
    own name."""
    path = Path(os.path.abspath(path))  # "." has no name; a link keeps its own, which is better than its target's
    own = path.name if path.is_dir() else gguf_name(path)
    return _of_download(path) or _of_snapshot(path) or _of_blob(path) or own


def _of_download(path: Path) -> str:
    """What the list of a complete download says that it is."""
    from engine.checkpoint.shelf import MANIFEST

    if not path.is_dir():
        return ""
    source = (read_table(path / MANIFEST, LARGEST_MANIFEST) or {}).get("source")
    return source if isinstance(source, str) else ""


def _of_snapshot(path: Path) -> str:
    """ "models--ORG--NAME/snapshots/COMMIT" is ORG/NAME; of GGUF files there may be many in it, so they are named."""
    parts = path.parts
    if "snapshots" not in parts:
        return ""
    place = len(parts) - 1 - parts[::-1].index("snapshots")
    if not parts[place - 1].startswith("models--") or len(parts) < place + 2:
        return ""
    inside = f" {gguf_name(path)}" if len(parts) > place + 2 else ""
    return hub_name(parts[place - 1]) + inside


def hub_name(folder: str) -> str:
    """ "models--org--name" is "org/name"; a name may have two dashes in it, an organisation may not."""
    return folder.removeprefix("models--").replace("--", "/", 1)


def _of_blob(path: Path) -> str:
    """Of Ollama's store; the first of several names, "" where none leads to this file."""
    if path.parent.name != "blobs" or not path.name.startswith("sha256-"):
        return ""
    models = ollama_models(path.parent.parent, Visit(lambda: None))
    return next((model.name for model in models if model.blob == path), "")
