"""The packages that a model was trained with."""

from hashlib import sha256
from importlib.metadata import distributions
from typing import Any


def installed_packages() -> dict[str, Any]:
    """Return every installed distribution as ``name==version``, sorted, and the SHA-256 over that list."""
    found = {f"{each.metadata['Name']}=={each.version}" for each in distributions()}
    listed = sorted(found, key=str.lower)
    return {"sha256": sha256("\n".join(listed).encode()).hexdigest(), "installed": listed}
