"""Small JSON tables, read with care: a model's files come from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.errors import ConfigError, SourceError

LARGEST_CONFIG = 2**20  # bytes; a config.json has a few kilobytes


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON table. Raises SourceError where it cannot be read, ConfigError where it is no table."""
    try:
        check_size(path.name, path.stat().st_size)
        return parse_json(path.name, path.read_bytes())
    except OSError as error:
        raise SourceError(f"The file {path} cannot be read: {error.strerror}.") from error


def check_size(file: str, size: int) -> None:
    """Raise ConfigError for a file that is too large to be a configuration."""
    if size > LARGEST_CONFIG:
        raise ConfigError(f"{file} is larger than {LARGEST_CONFIG} bytes; it is no model configuration.")


def parse_json(file: str, text: bytes) -> dict[str, Any]:
    """A small JSON table. Raises ConfigError, naming the file, where it is none."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not valid JSON ({error}).") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{file} is not a table of settings.")
    return values
