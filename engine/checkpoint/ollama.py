"""Ollama's store: tables that name a model's layers by their digests, and the layers, files without a suffix.

Layout: ``manifests/HOST/NAMESPACE/NAME/TAG`` and ``blobs/sha256-HEX`` (github.com/ollama/ollama,
``server/modelpath.go`` and ``server/manifest.go``). The layer with the weights is a GGUF file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.checkpoint.search_folders import Visit, file_size, is_file, read_table

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_KIND = "application/vnd.ollama.image."
_HOST, _NAMESPACE = "registry.ollama.ai", "library"  # which nobody writes: "llama3.2:1b"
_BEGINNING = b"GGUF"
OF_THE_SERVICE = (Path("/usr/share/ollama/.ollama/models"), Path("/var/lib/ollama/models"))  # on Linux
LARGEST_MANIFEST = 2**20  # bytes; one has less than a kilobyte


@dataclass(frozen=True)
class OllamaModel:
    """``blob`` is None where the weights are not there or are no file that can be opened; ``complaint`` says why."""

    name: str
    blob: Path | None
    manifest: Path
    size: int
    detail: str
    complaint: str


def stores(home: Path) -> list[Path]:
    """Where Ollama keeps models: the folder that OLLAMA_MODELS names, the user's own, the service's."""
    chosen = os.environ.get("OLLAMA_MODELS", "").strip()
    own = [Path(chosen)] if chosen else []
    return [*own, home / ".ollama" / "models", *OF_THE_SERVICE]


def ollama_models(store: Path, visit: Visit) -> Iterator[OllamaModel]:
    """Every tag of a store, by name."""
    for folder in visit.folders(store / "manifests", 3):
        for manifest in filter(is_file, visit.children(folder)):
            yield _model(store, manifest)


def _model(store: Path, manifest: Path) -> OllamaModel:
    name, table = _name(manifest), read_table(manifest, LARGEST_MANIFEST)
    layers = table.get("layers") if table is not None else None
    if table is None or not isinstance(layers, list):
        sentence = "Ollama's table of this model cannot be read; pull the model again."
        return OllamaModel(name, None, manifest, 0, "", sentence)
    kinds = {str(layer.get("mediaType")): layer for layer in reversed(layers) if isinstance(layer, dict)}
    weights = _blob(store, kinds.get(f"{_KIND}model"))
    size, complaint = _checked(weights, kinds)
    return OllamaModel(name, None if complaint else weights, manifest, size, _detail(store, table), complaint)


def _name(manifest: Path) -> str:
    """ "llama3.2:1b", with host and namespace where they are not Ollama's own."""
    host, namespace, name, tag = manifest.parts[-4:]
    before = [] if host == _HOST else [host]
    before += [] if host == _HOST and namespace == _NAMESPACE else [namespace]
    return f"{'/'.join((*before, name))}:{tag}"


def _blob(store: Path, layer: Any) -> Path | None:
    """The file of a layer; a digest that is none names no file, so that none outside the store is ever looked at."""
    digest = layer.get("digest") if isinstance(layer, dict) else None
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    return None if match is None else store / "blobs" / f"sha256-{match[1]}"


def _checked(weights: Path | None, kinds: Mapping[str, Mapping[str, Any]]) -> tuple[int, str]:
    """The size of the weights, and why they cannot be opened, "" where they can."""
    if weights is None:
        return 0, "Ollama's table of this model names no weights that can be read here."
    size, declared = file_size(weights), kinds[f"{_KIND}model"].get("size")
    if size is None or size != declared:
        return size or 0, "The weights of this model are not all there; pull it again with Ollama."
    if f"{_KIND}adapter" in kinds:
        return size, "It is a model with an adapter, which cannot be added here; open the model that it was made of."
    if not _is_gguf(weights):
        return size, "Its weights are no GGUF file, and Ollama's other forms cannot be read."
    return size, ""


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_BEGINNING)) == _BEGINNING
    except OSError:
        return False


def _detail(store: Path, table: Mapping[str, Any]) -> str:
    """The quantisation, as Ollama itself noted it."""
    blob = _blob(store, table.get("config"))
    noted = read_table(blob, LARGEST_MANIFEST) if blob is not None else None
    kind = noted.get("file_type") if noted is not None else None
    return kind[:20] if isinstance(kind, str) else ""
