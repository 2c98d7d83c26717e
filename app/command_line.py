"""The command line, as data for the verbs. Imports no Qt and no torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engine.settings import Sampling

DEFAULT_MODEL = "demo"  # built in: the program opens on it at once
DEFAULT_TOKENS = 64
DEFAULT_SIZE = (1600, 1000)
PINS = ("layer", "head", "expert", "position")
PANELS = ("attention", "experts", "residual", "cache")  # those that may lie behind another one
SAMPLING_OPTIONS = {
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "min_p": float,
    "typical_p": float,
    "repetition_penalty": float,
    "presence_penalty": float,
    "frequency_penalty": float,
    "seed": int,
}


@dataclass(frozen=True)
class Options:
    """What the user asked for. ``model`` None: start without one, which the command line never asks for.

    ``prompt`` None: start without running; ``pause_at``: stop after that layer.
    """

    verb: str = "open"
    name: str = ""  # what to fetch or to inspect
    csv: bool = False
    tensors: bool = False  # each one, not layers that are alike together
    search: str = ""
    model: str | None = None
    prompt: str | None = None
    tokens: int = DEFAULT_TOKENS
    chat: bool = False
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    sampling_given: frozenset[str] = frozenset()  # its fields that the command line sets; the model's own yield to them
    theme: str | None = None
    size: tuple[int, int] | None = None
    layout: str | None = None
    panel: str | None = None
    pin: dict[str, int] = field(default_factory=dict)
    screenshot: Path | None = None
    pause_at: int | None = None


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Options of a command line; argparse ends the program with code 2 and a sentence for a wrong one.

    Raises:
        EngineError: a sampling setting is out of its range.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.verb == "fetch":
        return Options(verb="fetch", name=given.name)
    if given.verb == "inspect":
        return Options(verb="inspect", name=given.name, csv=given.csv, tensors=given.tensors, search=given.search)
    complaint = _complaint(given)
    if complaint:
        parser.error(complaint)
    return _options(given)


def _options(given: argparse.Namespace) -> Options:
    names = ("model", "prompt", "tokens", "chat", "device", "dtype", "threads", "theme", "size", "layout", "panel")
    pin = {axis: getattr(given, axis) for axis in PINS if getattr(given, axis) is not None}
    return Options(
        sampling=_sampling(given),
        sampling_given=_sampling_given(given),
        pin=pin,
        screenshot=given.screenshot,
        pause_at=given.pause_at,
        **{name: getattr(given, name) for name in names},
    )


def _sampling(given: argparse.Namespace) -> Sampling:
    return Sampling(**{name: getattr(given, name) for name in _sampling_given(given)})


def _sampling_given(given: argparse.Namespace) -> frozenset[str]:
    named = {name for name in SAMPLING_OPTIONS if getattr(given, name) is not None}
    return frozenset(named | {"greedy"} if given.greedy else named)


def _complaint(given: argparse.Namespace) -> str | None:
    if given.screenshot and given.prompt is None:
        return "--screenshot needs --prompt"
    if given.pause_at is not None and given.prompt is None:
        return "--pause-at needs --prompt"
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fluoroscope", description="X-rays a language model while it runs.")
    parser.add_argument("--version", action="version", version=f"fluoroscope {program_version()}")
    _add_model(parser.add_argument_group("model"))
    _add_run(parser.add_argument_group("run"))
    _add_sampling(parser.add_argument_group("sampling"))
    _add_window(parser.add_argument_group("window"))
    verbs = parser.add_subparsers(dest="verb", metavar="verb")
    parser.set_defaults(verb="open")
    fetch = verbs.add_parser("fetch", help="download a model into the cache, without opening a window")
    fetch.add_argument("name", help='a name of the catalog ("smollm2") or a hub id ("org/name[@revision]")')
    _add_inspect(verbs.add_parser("inspect", help="list what a model's files hold, from their headers alone"))
    return parser


def _add_inspect(inspect: argparse.ArgumentParser) -> None:
    inspect.add_argument(
        "name", metavar="source", help="a folder, a .gguf file, or what was fetched before by its name"
    )
    inspect.add_argument("--tensors", action="store_true", help="every tensor, not layers that are alike together")
    inspect.add_argument("--csv", action="store_true", help="every tensor as comma-separated values")
    inspect.add_argument("--search", default="", metavar="TEXT", help="only tensors with this in their name or role")


def _add_model(group: argparse._ArgumentGroup) -> None:
    kinds = "a folder, a .gguf file, a name of the catalog, or a hub id (default: %(default)s, which is built in)"
    group.add_argument("--model", default=DEFAULT_MODEL, metavar="S", help=kinds)
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: %(default)s)")
    group.add_argument("--dtype", default="auto", help="auto, float32, bfloat16, float16 (default: %(default)s)")
    group.add_argument("--threads", type=_positive, metavar="N", help="threads to compute with (default: cores - 1)")


def _add_run(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--prompt", metavar="T", help="run this text at once")
    group.add_argument("--tokens", type=_positive, default=DEFAULT_TOKENS, metavar="N", help="tokens to make")
    group.add_argument("--chat", action="store_true", help="wrap the prompt in the model's chat template")
    group.add_argument("--pause-at", type=_natural, metavar="LAYER", help="stop in the last token's pass after a layer")


def _add_sampling(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--greedy", action="store_true", help="always take the most probable token")
    for name, kind in SAMPLING_OPTIONS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="X")


def _add_window(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--theme", choices=("light", "dark"))
    group.add_argument("--size", type=_size, metavar="WxH", help="size of the window, e.g. 1920x1080")
    group.add_argument("--layout", choices=("focus", "grid"))
    group.add_argument("--layer", type=_natural, metavar="L", help="pin this layer")
    group.add_argument("--head", type=_natural, metavar="H", help="pin this head")
    group.add_argument("--expert", type=_natural, metavar="E", help="pick this expert of the layer")
    group.add_argument("--position", type=_natural, metavar="P", help="pin this position")
    group.add_argument("--panel", choices=PANELS, help="bring this panel to the front")
    group.add_argument("--screenshot", type=Path, metavar="FILE.png", help="write a picture without a display and end")


def program_version() -> str:
    """The installed version; "(not installed)" in a bare checkout."""
    try:
        return version("fluoroscope")
    except PackageNotFoundError:
        return "(not installed)"


def _positive(text: str) -> int:
    return _whole(text, 1)


def _natural(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not cross:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 1920x1080")
    size = (_whole(width, 1), _whole(height, 1))
    if not all(320 <= side <= 16384 for side in size):
        raise argparse.ArgumentTypeError(f"the size {text} is out of range: each side takes 320 to 16384 pixels")
    return size
