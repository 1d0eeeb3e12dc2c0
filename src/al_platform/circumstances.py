"""What results depend on beside data and parameters: the code's revision, libraries, processor and threads."""

import os
import platform
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

_VERSIONED = (
    *("al-platform", "kedro", "numpy", "pyarrow", "duckdb", "ibis-framework", "scikit-learn", "torch", "safetensors"),
    *(name for name in ("transformers", "tokenizers") if find_spec(name)),  # of an extra
)
# Written by setup.py into wheels alone.
_BUILT_FROM = Path(__file__).with_name("revision.txt")


def code_revision(project: Path) -> str | None:
    """Return the Git revision that the installed wheel was built from, or else that of ``project``.

    It ends in ``-dirty`` where the tree had changes; None outside a checkout.
    """
    if _BUILT_FROM.exists():
        return _BUILT_FROM.read_text().strip() or None
    command = ["git", "-C", str(project), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None


def environment() -> dict[str, str]:
    """Return the versions of Python and of the libraries that results depend on, and what they run on."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in _VERSIONED},
        "machine": platform.machine(),
        "cpu": _cpu(),
        "threads": os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count()),
    }


def _cpu() -> str:
    # platform.processor() is empty or the architecture on most Linux systems.
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or "unknown")
