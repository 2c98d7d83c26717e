"""A model on the hub, looked at before it is downloaded: from its listing, its config.json and its files' headers.

Ranged GETs into memory; nothing is written. No torch here. What was looked at is kept in memory for a while: the files
of a commit do not change.
"""

from __future__ import annotations

import io
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from engine.checkpoint.headers import Headers, of_gguf, of_safetensors
from engine.checkpoint.hub import endpoint, list_files
from engine.checkpoint.inventory import Inventory, inventory_of
from engine.checkpoint.json_file import check_size, parse_json
from engine.checkpoint.listing import Listing
from engine.checkpoint.patience import POLL
from engine.checkpoint.plan import Plan, PlannedFile, only_gguf, plan, weight_files
from engine.checkpoint.ranges import Check, read_range, read_small
from engine.checkpoint.safetensors_file import INDEX, header_length, parse_header, placed, weight_map
from engine.checkpoint.source import HubId
from engine.checkpoint.tensors import TensorInfo
from engine.config import ModelConfig
from engine.errors import Cancelled, CheckpointError, NetworkError

if TYPE_CHECKING:
    from engine.checkpoint.gguf_header import GGUFHeader

AT_ONCE = 4  # requests
FIRST = 2**17  # bytes of a safetensors file that are asked for first: most headers are shorter
STEP, LONGEST_STEP = 2**18, 2**22  # bytes of a GGUF header that are asked for at a time: first, at most
LARGEST_HEADERS = 2**28  # bytes, of all files of a model
DEADLINE = 240.0  # seconds for all of a model's headers
REMEMBERED = 8  # models that are kept
WEIGHTS = (".safetensors", ".gguf")

T = TypeVar("T")
R = TypeVar("R")


def remote_inventory(hub: HubId, check: Check = lambda: None) -> Inventory:
    """The inventory of a model on the hub, as engine.checkpoint.inventory.inventory gives it for files on the disk.

    Args:
        check: called ten times a second, in the thread of the caller; cancels by raising.

    Raises:
        SourceError, CheckpointError, ConfigError: nothing sound to list; for GGUF without a file part the choices.
        NetworkError, AccessError: the hub cannot be asked.
    """
    check = _hurried(check)
    listing = list_files(hub, check)
    return _inventories.get(_key(hub, listing), lambda: _inventory(hub, _Afar(listing), check))


def remote_config(hub: HubId, check: Check = lambda: None) -> ModelConfig | str:
    """The configuration alone, with two requests for safetensors; or the sentence why the model is not supported.

    Raises as remote_inventory does.
    """
    check = _hurried(check)
    listing = list_files(hub, check)
    return _configs.get(_key(hub, listing), lambda: _config(hub, _Afar(listing), check))


class _Recent(Generic[T]):
    """The last few answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Any, T] = OrderedDict()

    def get(self, key: Any, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        made = make()
        with self._lock:
            self._known[key] = made
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return made


_inventories: _Recent[Inventory] = _Recent()
_configs: _Recent[ModelConfig | str] = _Recent()


def _key(hub: HubId, listing: Listing) -> tuple[str, ...]:
    return endpoint(), str(hub), listing.commit


def _hurried(check: Check) -> Check:
    """The check, with an end to all patience."""
    until = time.monotonic() + DEADLINE

    def hurried() -> None:
        check()
        if time.monotonic() > until:
            raise NetworkError(f"The hub is too slow: the headers of a model took more than {DEADLINE:g} s.")

    return hurried


class _Afar:
    """The files of one commit, of which no more than LARGEST_HEADERS bytes are read."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self._lock = threading.Lock()
        self._left = LARGEST_HEADERS
        self._small: dict[str, bytes] = {}

    def small(self, path: str, check: Check) -> bytes:
        """A whole small file, read once."""
        if path not in self._small:
            self._small[path] = read_small(self.listing.remote(path), path, check)
        return self._small[path]

    def range(self, path: str, start: int, stop: int, check: Check) -> bytes:
        """Bytes [start, stop) of a file. Raises CheckpointError where headers go on and on."""
        with self._lock:
            self._left -= stop - start
            if self._left < 0:
                sentence = f"The headers of {self.listing.repo} have more than {LARGEST_HEADERS} bytes"
                raise CheckpointError(f"{sentence}; it is no sound model.")
        return read_range(self.listing.remote(path), start, stop, check)

    def table(self, path: str, check: Check) -> dict[str, Any]:
        """A small JSON table. Raises ConfigError where it is none."""
        check_size(path, self.listing.remote(path).size or 0)
        return parse_json(path, self.small(path, check))


def _inventory(hub: HubId, afar: _Afar, check: Check) -> Inventory:
    wanted = plan(hub, afar.listing, lambda path: afar.small(path, check))
    weights = [file for file in wanted.files if file.name.endswith(WEIGHTS)]
    headers = _of_gguf(weights, afar, check) if wanted.file else _of_safetensors(wanted, weights, afar, check)
    check()
    sizes = {file.name: file.size for file in weights}
    files = tuple((path.name, sizes[path.name]) for path in headers.files)
    return inventory_of(headers, str(hub), str(hub), files, check)


def _config(hub: HubId, afar: _Afar, check: Check) -> ModelConfig | str:
    if hub.file or only_gguf(afar.listing):
        wanted = plan(hub, afar.listing, lambda path: afar.small(path, check))
        headers = _of_gguf(wanted.files, afar, check)  # some settings are where another part has its tensors
    else:
        if INDEX not in afar.listing.files:
            weight_files(afar.listing, lambda path: b"")  # refuses a repository that has none
        headers = of_safetensors(afar.table("config.json", check), {})
    return headers.config if headers.config is not None else headers.complaint


# ---- safetensors ----------------------------------------------------------------------------------------------------


def _of_safetensors(wanted: Plan, weights: Sequence[PlannedFile], afar: _Afar, check: Check) -> Headers:
    values = afar.table("config.json", check)
    found = _all(weights, lambda file, its_check: _safetensors_header(file, afar, its_check), check)
    headers = dict(zip([file.name for file in weights], found, strict=True))
    if all(file.name != INDEX for file in wanted.files):
        return of_safetensors(values, headers[weights[0].name])
    return of_safetensors(values, placed(weight_map(INDEX, afar.small(INDEX, check)), headers))


def _safetensors_header(file: PlannedFile, afar: _Afar, check: Check) -> dict[str, TensorInfo]:
    begin = afar.range(file.path, 0, min(FIRST, file.size), check) if file.size else b""
    length = header_length(Path(file.name), begin[:8], file.size)
    text = begin[8 : 8 + length]
    if len(text) < length:
        text += afar.range(file.path, 8 + len(text), 8 + length, check)
    return parse_header(Path(file.name), text, file.size)


# ---- GGUF -----------------------------------------------------------------------------------------------------------


def _of_gguf(weights: Sequence[PlannedFile], afar: _Afar, check: Check) -> Headers:
    from engine.checkpoint.gguf_file import SMALL, can_dequantise, dequantised, joined

    paths, of = [Path(file.name) for file in weights], {file.name: file for file in weights}
    headers = _all(weights, lambda file, its_check: _gguf_header(file, afar, its_check), check)
    metadata, tensors = joined(paths, headers)

    def small(name: str) -> tuple[float, ...] | None:
        info = tensors.get(name)
        if info is None:
            return None
        if info.elements > SMALL or not can_dequantise(info.dtype):
            return ()
        stored = afar.range(of[info.file.name].path, info.offset, info.offset + info.size, check)
        return tuple(dequantised(bytearray(stored), info.dtype).tolist())

    return of_gguf(metadata, tensors, tuple(paths), small)


def _gguf_header(file: PlannedFile, afar: _Afar, check: Check) -> GGUFHeader:
    from engine.checkpoint.gguf_header import parse_header

    return parse_header(Path(file.name), io.BufferedReader(_Growing(file, afar, check), STEP), file.size)


class _Growing(io.RawIOBase):
    """A file that is read from its beginning on, in ever larger steps: nobody says how long a GGUF header is."""

    def __init__(self, file: PlannedFile, afar: _Afar, check: Check) -> None:
        self._file, self._afar, self._check = file, afar, check
        self._step, self._end, self._there = STEP, 0, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._there and self._end < self._file.size:
            stop = min(self._file.size, self._end + self._step)
            self._there = self._afar.range(self._file.path, self._end, stop, self._check)
            self._end, self._step = stop, min(2 * self._step, LONGEST_STEP)
        count = min(len(buffer), len(self._there))
        buffer[:count] = self._there[:count]
        self._there = self._there[count:]
        return count


# ---- several at once ------------------------------------------------------------------------------------------------


def _all(items: Sequence[T], act: Callable[[T, Check], R], check: Check) -> list[R]:
    """``act`` of every item, a few at a time, in order; ``check`` is called here, and ends them all by raising."""
    stopped = threading.Event()

    def its_check() -> None:
        if stopped.is_set():
            raise Cancelled

    pool = ThreadPoolExecutor(AT_ONCE, "fluoroscope headers")
    try:
        waiting = futures = [pool.submit(act, item, its_check) for item in items]
        while waiting:
            check()
            done, rest = wait(waiting, POLL, FIRST_EXCEPTION)
            for future in done:
                future.result()
            waiting = list(rest)
        return [future.result() for future in futures]
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
