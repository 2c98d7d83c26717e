"""The command line, as data for the verbs. Imports no Qt and no torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from app.layout_names import NAMES, present_name
from engine.settings import Sampling

PROGRAM = "fluoroscope"
VERBS = ("fetch", "inspect", "models", "run")
HELP = {"-h", "--help"}
RUN_SUFFIX = ".fluoro"  # of a saved run
DEFAULT_MODEL = "demo"  # built in: the program opens on it at once
DEFAULT_TOKENS = 64
DEFAULT_SIZE = (1600, 1000)
DEFAULT_CONTEXT = 4096  # positions that memory is counted for
MOST_WINDOWS = 16  # programs side by side that keep a session
PINS = ("layer", "head", "expert", "position")
PANELS = (
    "attention",
    "experts",
    "residual",
    "lens",
    "activations",
    "cache",
    "tensors",
    "models",
    "sampling",
    "branches",
    "edits",
    "breakpoints",
    "notes",
    "glossary",
)  # those that may lie behind another one
TASKS = {
    "self-test": "drive the window from check to check, say what held, and end",
    "install-desktop": "add the program to this user's menus, and .gguf and .fluoro to what it opens (Linux)",
    "uninstall-desktop": "remove exactly that",
}
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

    ``model`` may be a saved run (.fluoro). ``prompt`` None: start without running; ``pause_at``: stop after that layer.
    """

    verb: str = "open"
    name: str = ""  # what to fetch, to inspect or to tell all about
    removal: Literal["", "delete", "discard"] = ""  # instead of fetching
    yes: bool = False  # without a question
    csv: bool = False
    tensors: bool = False  # each one, not layers that are alike together
    search: str = ""
    local: bool = False  # only models of this computer
    catalog: bool = False  # only those of the catalog
    context: int = DEFAULT_CONTEXT
    model: str | None = None
    prompt: str | None = None
    tokens: int = DEFAULT_TOKENS
    chat: bool = False
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    sampling_given: frozenset[str] = frozenset()  # its fields that the command line sets; the model's own yield to them
    given: frozenset[str] = frozenset()  # of model, prompt, chat, tokens: those that the command line sets
    theme: str | None = None
    language: str | None = None  # of this start; None: as chosen, or the desktop's
    size: tuple[int, int] | None = None
    layout: str | None = None
    panel: str | None = None
    pin: dict[str, int] = field(default_factory=dict)
    screenshot: Path | None = None
    pause_at: int | None = None
    prompt_file: Path | None = None  # instead of ``prompt``
    save: Path | None = None  # where a run without a window goes
    record_memory: int | None = None  # bytes; None: as the window's settings say
    record_beyond: Literal["disk", "drop"] | None = None
    projector: bool = False  # the window begins in projector mode
    fresh: bool = False  # the last session is not restored
    window: int | None = None  # whose session is used, counted from 1; None: of the first that is free
    safe_mode: bool = False  # nothing is restored or kept, and settings are as at first


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Options of a command line; argparse ends the program with code 2 and a sentence for a wrong one.

    Raises:
        EngineError: a sampling setting is out of its range.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not set(words[:1]) & set(VERBS):
        return _open_options(words)
    given = _parser().parse_args(words)
    if given.verb == "fetch":
        return Options(verb="fetch", name=given.name, removal=given.removal, yes=given.yes)
    if given.verb == "inspect":
        return Options(verb="inspect", name=given.name, csv=given.csv, tensors=given.tensors, search=given.search)
    return _run_options(given) if given.verb == "run" else _models_options(given)


def _open_options(words: Sequence[str]) -> Options:
    """No verb comes first: what stands among the options is the model."""
    if not HELP.isdisjoint(words):
        _parser().parse_args(["--help"])
    parser = argparse.ArgumentParser(prog=PROGRAM, add_help=False)
    _add_common(parser)
    parser.add_argument("paths", nargs="*", metavar="path")
    parser.set_defaults(model=None)
    given = parser.parse_intermixed_args(words)
    complaint = _complaint(given) or _path_complaint(given)
    if complaint:
        parser.error(complaint)
    if given.task is not None:
        return Options(verb=given.task, device=given.device, threads=given.threads)
    named = given.model or next(iter(given.paths), None)
    given.model = named or DEFAULT_MODEL
    if is_run_file(given.model) and given.prompt is not None:
        parser.error("a saved run has a prompt of its own: leave --prompt out, or name the model instead of the file")
    set_here = {"model": named, "prompt": given.prompt, "chat": given.chat or None, "tokens": given.tokens}
    given.given = frozenset(name for name, value in set_here.items() if value is not None)
    return _options(given)


def _options(given: argparse.Namespace) -> Options:
    names = ("model", "prompt", "chat", "device", "dtype", "threads", "theme", "language", "size", "layout", "panel")
    modes = ("given", "window", "fresh", "safe_mode", "projector")
    kept = ("record_memory", "record_beyond")
    pin = {axis: getattr(given, axis) for axis in PINS if getattr(given, axis) is not None}
    return Options(
        sampling=_sampling(given),
        sampling_given=_sampling_given(given),
        pin=pin,
        screenshot=given.screenshot,
        pause_at=given.pause_at,
        tokens=given.tokens or DEFAULT_TOKENS,
        **{name: getattr(given, name) for name in (*names, *kept, *modes)},
    )


def _run_options(given: argparse.Namespace) -> Options:
    names = ("verb", "model", "prompt", "prompt_file", "save", "chat", "device", "dtype", "threads")
    kept = ("record_memory", "record_beyond")
    return Options(
        sampling=_sampling(given),
        sampling_given=_sampling_given(given),
        tokens=given.tokens or DEFAULT_TOKENS,
        **{name: getattr(given, name) for name in (*names, *kept)},
    )


def _models_options(given: argparse.Namespace) -> Options:
    names = ("verb", "csv", "search", "local", "catalog", "context", "device", "dtype")
    return Options(name=given.name or "", **{name: getattr(given, name) for name in names})


def _sampling(given: argparse.Namespace) -> Sampling:
    return Sampling(**{name: getattr(given, name) for name in _sampling_given(given)})


def _sampling_given(given: argparse.Namespace) -> frozenset[str]:
    named = {name for name in SAMPLING_OPTIONS if getattr(given, name) is not None}
    return frozenset(named | {"greedy"} if given.greedy else named)


def _complaint(given: argparse.Namespace) -> str | None:
    if given.screenshot and given.prompt is None and not any(map(is_run_file, [given.model or "", *given.paths])):
        return "--screenshot needs --prompt"
    if given.pause_at is not None and given.prompt is None:
        return "--pause-at needs --prompt"
    return None


def _path_complaint(given: argparse.Namespace) -> str | None:
    """A word that is no path is most likely a verb, written wrongly or in the wrong place."""
    named = given.paths + ([] if given.model is None else [given.model])
    verb = next((path for path in given.paths if path in VERBS), None)
    if verb is not None:
        return f"the verb {verb} comes first, before every option"
    if given.paths and not is_model(given.paths[0]):
        verbs, word = ", ".join(VERBS), given.paths[0]
        return f"{word!r} is neither a verb ({verbs}) nor a folder, a .gguf or .fluoro file, or a known model"
    return f"one model at a time can be opened, not {', '.join(named)}" if len(named) > 1 else None


def is_model(word: str) -> bool:
    """Whether a word looks like something to open: what is wrong with it is then said by the one who opens it."""
    from engine.checkpoint.catalog import entry

    named = word.lower().endswith((".gguf", RUN_SUFFIX))
    return "/" in word or "\\" in word or named or Path(word).exists() or entry(word) is not None


def is_run_file(word: str) -> bool:
    """Whether a word names a saved run."""
    return word.lower().endswith(RUN_SUFFIX)


def _parser() -> argparse.ArgumentParser:
    about = f"X-rays a language model while it runs. A path alone opens it: {PROGRAM} FILE.gguf, {PROGRAM} RUN.fluoro"
    # no abbreviations here: a verb's own option, such as --record, may be the beginning of two of these
    parser = argparse.ArgumentParser(prog=PROGRAM, description=about, allow_abbrev=False)
    _add_common(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="verb")
    parser.set_defaults(verb="open")
    _add_fetch(verbs.add_parser("fetch", help="download a model into the cache, without opening a window"))
    _add_inspect(verbs.add_parser("inspect", help="list what a model's files hold, from their headers alone"))
    _add_models(verbs.add_parser("models", help="list models: known ones, those of this computer, and what fits here"))
    _add_run_verb(verbs.add_parser("run", help="run a prompt without a window, and save the run as a .fluoro file"))
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {program_version()}")
    _add_model(parser.add_argument_group("model"))
    _add_run(parser.add_argument_group("run"))
    _add_sampling(parser.add_argument_group("sampling"))
    _add_window(parser.add_argument_group("window"))
    _add_installation(parser.add_argument_group("installation"))


def _add_fetch(fetch: argparse.ArgumentParser) -> None:
    kinds = (
        'a name of the catalog ("smollm2"), or a hub id ("org/name[@revision][:FILE]"); FILE is a GGUF file of the '
        'repository, or a quantisation of which it has one, such as "Q4_K_M"'
    )
    fetch.add_argument("name", help=kinds)
    which = fetch.add_mutually_exclusive_group()
    which.add_argument(
        "--delete",
        dest="removal",
        action="store_const",
        const="delete",
        default="",
        help="remove this model from the cache, after a question",
    )
    which.add_argument(
        "--discard",
        dest="removal",
        action="store_const",
        const="discard",
        help="remove what came of its unfinished download, after a question",
    )
    fetch.add_argument("--yes", action="store_true", help="remove without a question")


def _add_inspect(inspect: argparse.ArgumentParser) -> None:
    inspect.add_argument(
        "name", metavar="source", help="a folder, a .gguf file, or what was fetched before by its name"
    )
    inspect.add_argument("--tensors", action="store_true", help="every tensor, not layers that are alike together")
    inspect.add_argument("--csv", action="store_true", help="every tensor as comma-separated values")
    inspect.add_argument("--search", default="", metavar="TEXT", help="only tensors with this in their name or role")


def _add_models(models: argparse.ArgumentParser) -> None:
    models.add_argument("name", nargs="?", help="tell all about this one: a name of the catalog, a path, or a hub id")
    models.add_argument(
        "--context",
        type=_positive,
        default=DEFAULT_CONTEXT,
        metavar="N",
        help="count the cache for N positions (default: %(default)s)",
    )
    models.add_argument("--device", default="cpu", help="cpu, cuda, mps, or auto: a GPU if any (default: %(default)s)")
    models.add_argument("--dtype", default="auto", help="auto, float32, bfloat16, float16 (default: %(default)s)")
    which = models.add_mutually_exclusive_group()
    which.add_argument("--local", action="store_true", help="only models of this computer")
    which.add_argument("--catalog", action="store_true", help="only models of the catalog")
    which.add_argument("--search", default="", metavar="TEXT", help="ask the hub instead")
    models.add_argument("--csv", action="store_true", help="as comma-separated values, sizes in bytes")


def _add_run_verb(run: argparse.ArgumentParser) -> None:
    _add_model(run.add_argument_group("model"))
    group = run.add_argument_group("run")
    prompt = group.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", metavar="T", help="the text that the model goes on from")
    prompt.add_argument("--prompt-file", type=Path, metavar="FILE", help='a UTF-8 text file instead; "-" reads stdin')
    group.add_argument("--record", dest="save", type=Path, required=True, metavar="FILE", help="save the run here")
    _add_length(group)
    _add_record(group)
    _add_sampling(run.add_argument_group("sampling"))


def _add_model(group: argparse._ArgumentGroup) -> None:
    kinds = "a folder, a .gguf file, a name of the catalog, or a hub id (default: %(default)s, which is built in)"
    group.add_argument("--model", default=DEFAULT_MODEL, metavar="S", help=kinds)
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: %(default)s)")
    group.add_argument("--dtype", default="auto", help="auto, float32, bfloat16, float16 (default: %(default)s)")
    group.add_argument("--threads", type=_positive, metavar="N", help="threads to compute with (default: cores - 1)")


def _add_run(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--prompt", metavar="T", help="run this text at once")
    _add_length(group)
    group.add_argument("--pause-at", type=_natural, metavar="LAYER", help="stop in the last token's pass after a layer")
    _add_record(group)


def _add_length(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--tokens", type=_positive, metavar="N", help=f"tokens to make (default: {DEFAULT_TOKENS})")
    group.add_argument("--chat", action="store_true", help="wrap the prompt in the model's chat template")


def _add_record(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--record-memory", type=_memory, metavar="SIZE", help="memory for the record of a run, e.g. 512MB or 4GB"
    )
    group.add_argument(
        "--record-beyond",
        choices=("disk", "drop"),
        help="what becomes of the oldest tokens' streams then: kept on disk, or dropped and computed again when asked",
    )


def _add_sampling(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--greedy", action="store_true", help="always take the most probable token")
    for name, kind in SAMPLING_OPTIONS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="X")


def _add_window(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--theme", choices=("light", "dark", "contrast", "system"))
    group.add_argument("--language", choices=("en", "zh_CN"), help="of the window (default: the one chosen last)")
    group.add_argument("--size", type=_size, metavar="WxH", help="size of the window, e.g. 1920x1080")
    group.add_argument("--layout", type=present_name, choices=NAMES)
    group.add_argument("--layer", type=_natural, metavar="L", help="pin this layer")
    group.add_argument("--head", type=_natural, metavar="H", help="pin this head")
    group.add_argument("--expert", type=_natural, metavar="E", help="pick this expert of the layer")
    group.add_argument("--position", type=_natural, metavar="P", help="pin this position")
    group.add_argument("--panel", choices=PANELS, help="bring this panel to the front")
    group.add_argument("--projector", action="store_true", help="begin in projector mode, to be read from far away")
    group.add_argument("--fresh", action="store_true", help="begin without the last session: its model, prompt, run")
    group.add_argument(
        "--window",
        type=_window,
        metavar="N",
        help=f"go on with the session of window N, 1 to {MOST_WINDOWS} (default: the first that is not open)",
    )
    group.add_argument(
        "--safe-mode", action="store_true", help="begin without the last session and with no settings, and keep none"
    )
    group.add_argument("--screenshot", type=Path, metavar="FILE.png", help="write a picture without a display and end")


def _add_installation(group: argparse._ArgumentGroup) -> None:
    group.set_defaults(task=None)
    for task, text in TASKS.items():
        group.add_argument(f"--{task}", dest="task", action="store_const", const=task, help=text)


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


def _window(text: str) -> int:
    number = _whole(text, 1)
    if number > MOST_WINDOWS:
        raise argparse.ArgumentTypeError(f"there are {MOST_WINDOWS} windows at most, not {text}")
    return number


def _memory(text: str) -> int:
    from app.record_sizes import size_of  # psutil comes with it, which few command lines need

    try:
        return size_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not cross:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 1920x1080")
    size = (_whole(width, 1), _whole(height, 1))
    if not all(320 <= side <= 16384 for side in size):
        raise argparse.ArgumentTypeError(f"the size {text} is out of range: each side takes 320 to 16384 pixels")
    return size
