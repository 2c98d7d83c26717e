"""The files of a model on the hub: which of them may be fetched at all, and which GGUF models there are to choose from.

No network here; ``hub.py`` asks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from engine.checkpoint.download import Remote
from engine.errors import SourceError

FETCHED = (".safetensors", ".gguf", ".json", ".jinja")  # endings of what may be fetched, beside FETCHED_NAMES
FETCHED_NAMES = ("merges.txt", "vocab.txt", "tokenizer.model")
LONGEST_NAME = 200

_PLAIN = re.compile(r"\w[\w.+-]*", re.ASCII)  # one name of a path; a drive, a stream or ".." is none
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)  # Windows opens these as devices
_PART = re.compile(r"(?P<stem>.*)-(?P<part>\d{5})-of-(?P<count>\d{5})\.gguf")
_TAG = re.compile(
    r"(?<![A-Z0-9])(?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_MOE)?|BF16|F16|F32)(?![A-Z0-9])", re.IGNORECASE
)
_BESIDE = ("mmproj", "imatrix")  # GGUF files that are parts of no language model


@dataclass(frozen=True)
class Listing:
    """A model on the hub at one commit: its files by name, as the hub tells them. Nothing in it is trusted yet."""

    repo: str
    commit: str
    files: dict[str, Remote]

    def remote(self, name: str) -> Remote:
        """The address of a file: the one door to it. Raises SourceError for what is never fetched, or is not there."""
        if not may_be_fetched(name):
            raise SourceError(f"{self.repo} names the file {name[:LONGEST_NAME]!r}, which is no file that is fetched.")
        if name not in self.files:
            raise SourceError(f"{self.repo} lacks {name}; choose another revision.")
        return self.files[name]


@dataclass(frozen=True)
class Choice:
    """A GGUF model of a repository: ``HubId(repo, revision, choice.name)`` asks for it.

    ``file`` is the repository's name of the file, or of the first of its ``parts``; ``size`` in bytes, of all of them.
    ``tag``: the quantisation in the name, such as "Q4_K_M", "" where there is none. ``name`` is what stands after the
    colon of a hub id: the tag, or the file where several have the same.
    """

    name: str
    tag: str
    file: str
    size: int
    parts: tuple[str, ...]


def may_be_fetched(name: str) -> bool:
    """Whether a file is safetensors, GGUF, JSON, a template or a tokenizer's, with a path that stays in its folder."""
    parts = name.split("/")
    if len(name) > LONGEST_NAME or not all(map(_PLAIN.fullmatch, parts)) or any(map(_DEVICES.fullmatch, parts)):
        return False
    return parts[-1].endswith(FETCHED) or parts[-1] in FETCHED_NAMES


def choices(listing: Listing) -> tuple[Choice, ...]:
    """The GGUF models among a repository's files, the smallest first; one that lacks a part is none."""
    found = [choice for name in listing.files if (choice := _choice(listing, name))]
    tags = Counter(choice.tag for choice in found)
    tags[""] = 0
    named = (replace(choice, name=choice.tag) if tags[choice.tag] == 1 else choice for choice in found)
    return tuple(sorted(named, key=lambda choice: (choice.size, choice.file)))


def _choice(listing: Listing, name: str) -> Choice | None:
    """The model that begins with this file."""
    base = name.rpartition("/")[2]
    if not base.endswith(".gguf") or base.lower().startswith(_BESIDE) or not may_be_fetched(name):
        return None
    parts = _parts(name)
    if parts[0] != name or any(part not in listing.files for part in parts):
        return None
    return Choice(name, tag_of(name), name, sum(listing.files[part].size or 0 for part in parts), parts)


def _parts(name: str) -> tuple[str, ...]:
    """All files of the model that this one is a part of."""
    match = _PART.fullmatch(name)
    if match is None:
        return (name,)
    count = int(match["count"])
    return tuple(f"{match['stem']}-{part:05}-of-{count:05}.gguf" for part in range(1, min(count, 1000) + 1)) or (name,)


def tag_of(file: str) -> str:
    """The quantisation in a file's name, or in its folder's: "Q4_K_M"; "" where there is none."""
    for text in reversed(file.removesuffix(".gguf").split("/")):
        if found := _TAG.findall(text):
            return found[-1].upper()
    return ""


def is_called(file: str, wanted: str) -> bool:
    """Whether ``wanted`` means this GGUF file: its name, with or without its folder, or the quantisation in it."""
    file, wanted = file.lower(), wanted.lower()
    if wanted.endswith(".gguf"):
        return wanted in {name for part in _parts(file) for name in (part, part.rpartition("/")[2])}
    return re.search(rf"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9_])", file) is not None


def chosen(listing: Listing, wanted: str) -> Choice:
    """The GGUF model that a hub id's file part means. Raises SourceError, with the choices, unless it is one alone."""
    offered = choices(listing)
    exact = [choice for choice in offered if wanted in (choice.file, choice.name) or wanted.upper() == choice.tag]
    found = exact if len(exact) == 1 else [choice for choice in offered if is_called(choice.file, wanted)]
    if len(found) == 1:
        return found[0]
    if not offered:
        raise SourceError(f"{listing.repo} has no GGUF file on the hub, so there is no {wanted} in it.")
    problem = f"has no GGUF file {wanted}" if not found else f"has {len(found)} GGUF files {wanted}"
    raise SourceError(f"{listing.repo} {problem}; {choices_text(listing.repo, found or offered)}.")


def choices_text(repo: str, offered: Iterable[Choice]) -> str:
    """ "choose one of org/name:Q4_K_M (0.77 GB), org/name:Q8_0 (1.3 GB)"."""
    listed = [f"{repo}:{choice.name} ({choice.size / 1e9:.2f} GB)" for choice in offered]
    more = f" and {len(listed) - 12} more" if len(listed) > 12 else ""
    return "choose one of " + ", ".join(listed[:12]) + more
