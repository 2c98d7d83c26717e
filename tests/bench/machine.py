"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

LIBRARIES = ("torch", "transformers", "PySide6-Essentials")


def machine_facts() -> dict[str, Any]:
    """The processor, the libraries, and how busy the machine is; ``stolen`` is seconds since it started."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "libraries": {name: version(name) for name in LIBRARIES},
        "load_average": list(psutil.getloadavg()),
        "stolen": getattr(psutil.cpu_times(), "steal", 0.0),
    }


def _cpu_name() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
