"""Jobs of a bundle as a deployment sends them, for servers that know no bundles."""

import json
import re
from collections.abc import Mapping
from typing import Any

_VARIABLE = re.compile(r"\$\{var\.(\w+)\}")
_JOB_ID = re.compile(r'"\$\{resources\.jobs\.(\w+)\.id\}"')


def deployed(
    job: Mapping[str, Any], settings: Mapping[str, Any], ids: Mapping[str, int] | None = None, **variables: str
) -> dict[str, Any]:
    """Return a job with values in place of the bundle's variables and of other jobs' ids.

    Args:
        job: As the bundle describes it.
        settings: The content of ``databricks.yml``, whose target ``prod`` is deployed.
        ids: Of the jobs that are there already, by name in the bundle.
        variables: Given with the deployment, for instance ``env="test"``.
    """
    defaults = {name: found.get("default", "") for name, found in settings["variables"].items()}
    values = {**defaults, **settings["targets"]["prod"]["variables"], **variables}
    text = _JOB_ID.sub(lambda found: str((ids or {})[found[1]]), json.dumps(job))
    filled: dict[str, Any] = json.loads(_VARIABLE.sub(lambda found: str(values[found[1]]), text))
    return filled
