"""The Hugging Face hub: which files a model has there, at which commit, with which checksums.

The hub's library lists; ``download.py`` brings the bytes. ``HF_ENDPOINT`` names another hub, a saved login is used.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from engine.checkpoint.download import Remote, download, refusal
from engine.checkpoint.patience import patiently
from engine.checkpoint.safetensors_file import INDEX, PICKLES, SINGLE
from engine.checkpoint.source import HubId
from engine.errors import NetworkError, SourceError

PUBLIC = "https://huggingface.co"
TIMEOUT = 8.0  # seconds for the listing: without a network the user should not wait

WANTED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.json",
    "chat_template.jinja",
)
_PLAIN = re.compile(r"\w[\w.-]*", re.ASCII)

Report = Callable[[str, int, int], None]  # (file, bytes done, bytes in all)


@dataclass(frozen=True)
class Listing:
    """A model on the hub at one commit: its files by name."""

    repo: str
    commit: str
    files: dict[str, Remote]


def endpoint() -> str:
    """The hub's address, without a slash at its end."""
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or PUBLIC


def list_files(hub: HubId, check: Callable[[], None]) -> Listing:
    """Ask the hub what a model consists of. Raises NetworkError with one sentence."""
    from huggingface_hub import HfApi, get_token

    address = endpoint()
    api = HfApi(endpoint=address)
    info = _asked(
        lambda: api.model_info(hub.repo, revision=hub.revision, files_metadata=True, timeout=TIMEOUT), address, check
    )
    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    commit = str(info.sha or "")
    if not re.fullmatch(r"[0-9a-f]{7,64}", commit):
        raise NetworkError(f"{address} names no commit for {hub}; try again later.")
    base = f"{address}/{quote(hub.repo)}/resolve/{commit}/"
    siblings = [sibling for sibling in info.siblings or [] if _PLAIN.fullmatch(sibling.rfilename)]
    return Listing(hub.repo, commit, {s.rfilename: _remote(base, s, headers) for s in siblings})


def _asked(question: Callable[[], Any], address: str, check: Callable[[], None]) -> Any:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    host = urlsplit(address).hostname or address
    try:
        return patiently(question, check)
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        raise NetworkError(refusal(host, status)) from error
    except OfflineModeIsEnabled as error:
        raise NetworkError("The hub may not be asked because HF_HUB_OFFLINE is set; unset it to download.") from error
    except Exception as error:  # the library's HTTP client, and so its errors, differ from version to version
        if type(error).__module__.startswith("engine."):
            raise
        reason = str(error).split("\n")[0]
        raise NetworkError(f"{host} cannot be reached ({reason}); check the connection.") from error


def _remote(base: str, sibling: Any, headers: dict[str, str]) -> Remote:
    sha256 = getattr(sibling.lfs, "sha256", None)
    checksum = f"sha256:{sha256}" if sha256 else f"git:{sibling.blob_id}" if sibling.blob_id else ""
    return Remote(base + quote(sibling.rfilename), sibling.size, checksum, headers)


def fetch_files(listing: Listing, folder: Path, report: Report) -> dict[str, int]:
    """Download config, tokenizer and safetensors into ``folder``; returns their sizes in bytes by name.

    Files that are there already with the right size were verified when they came, and are kept.
    """
    if "config.json" not in listing.files:
        raise SourceError(f"{listing.repo} has no config.json on the hub, so it holds no model that can be loaded.")
    if INDEX in listing.files:
        _bring(listing, [INDEX], folder, report)
    names = [name for name in WANTED if name in listing.files] + _weight_files(listing, folder)
    _bring(listing, names, folder, report)
    return {path.name: path.stat().st_size for path in folder.iterdir() if path.name in {*names, INDEX}}


def _weight_files(listing: Listing, folder: Path) -> list[str]:
    if INDEX in listing.files:
        return _indexed(listing, folder / INDEX)
    if SINGLE in listing.files:
        return [SINGLE]
    if any(name.endswith(PICKLES) for name in listing.files):
        raise SourceError(
            f"{listing.repo} has its weights as pickle files only, which can run any program when opened; "
            "choose a model with safetensors."
        )
    raise SourceError(f"{listing.repo} has no model.safetensors on the hub, so it cannot be loaded.")


def _indexed(listing: Listing, index: Path) -> list[str]:
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise SourceError(f"The weight index of {listing.repo} is malformed; choose another revision.") from error
    missing = [name for name in names if name not in listing.files]
    if missing:
        raise SourceError(f"{listing.repo} lacks {missing[0]}, which its index names; choose another revision.")
    return names


def _bring(listing: Listing, names: list[str], folder: Path, report: Report) -> None:
    """Download what is not there yet; the report counts bytes over all of ``names``."""
    total = sum(listing.files[name].size or 0 for name in names)
    before = 0
    for name in names:
        remote, target = listing.files[name], folder / name
        if not (target.is_file() and target.stat().st_size == remote.size):
            download(remote, target, _file_report(report, name, before, total))
        before += remote.size or 0
        report(name, before, total)


def _file_report(report: Report, name: str, before: int, total: int) -> Callable[[int], None]:
    return lambda done: report(name, before + done, total)
