"""The machine a measurement holds for, and the memory that a process of it took."""

from __future__ import annotations

import platform
import resource
import sys
from pathlib import Path


def processor() -> str:
    """The processor's name as Linux gives it, elsewhere its architecture."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.is_file() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def peak_memory() -> int:
    """The most memory, in bytes, that this process has held at once since it started."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count the program that started this one
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
