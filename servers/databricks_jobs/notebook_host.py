"""Executes one notebook as its cluster would: with ``dbutils`` as a global, in the notebook's folder.

Runs as a script in any interpreter, hence knows the standard library alone:
``python notebook_host.py NOTEBOOK CONTEXT VALUES``. CONTEXT is a JSON file with ``widgets`` and the ``values`` of each
task; into VALUES go the task values that the notebook sets.
"""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_MOST_BYTES = 48 * 1024


class Widgets:
    """``dbutils.widgets``: the parameters of the task."""

    def __init__(self, given: dict[str, str]) -> None:
        self._values = dict(given)

    def text(self, name: str, default: str, label: str = "") -> None:
        """Make a widget; a parameter of its name wins over the default."""
        self._values.setdefault(name, default)

    def get(self, name: str) -> str:
        """Return a widget's value; ValueError if there is none."""
        if name not in self._values:
            raise ValueError(f"InputWidgetNotDefined: No input widget named {name} is defined")
        return self._values[name]

    def getAll(self) -> dict[str, str]:  # noqa: N802 - Databricks' name
        """Return every widget's value by name."""
        return dict(self._values)


class TaskValues:
    """``dbutils.jobs.taskValues``: what tasks leave for those after them."""

    def __init__(self, file: Path, of_tasks: dict[str, dict[str, Any]]) -> None:
        self._file, self._of_tasks = file, of_tasks
        self._own: dict[str, Any] = {}

    def set(self, key: str, value: Any) -> None:
        """Leave a value; ValueError if its JSON is over 48 KiB."""
        if len(json.dumps(value).encode()) > _MOST_BYTES:
            raise ValueError(f"The task value {key!r} is larger than 48 KiB.")
        self._own[key] = value
        self._file.write_text(json.dumps(self._own))

    def get(self, taskKey: str, key: str, default: Any = None, debugValue: Any = None) -> Any:  # noqa: N803
        """Return a value of another task, or the default; ValueError where there is neither."""
        found = self._of_tasks.get(taskKey, {}).get(key, default)
        if found is None:
            raise ValueError(f"No task value {key!r} of task {taskKey!r}, and no default.")
        return found


def main(notebook: str, context: str, values: str) -> None:
    """Execute the notebook."""
    given = json.loads(Path(context).read_text())
    task_values = TaskValues(Path(values), given["values"])
    dbutils = SimpleNamespace(widgets=Widgets(given["widgets"]), jobs=SimpleNamespace(taskValues=task_values))
    # There a notebook sees no arguments of its own.
    sys.argv[1:] = []
    runpy.run_path(notebook, {"dbutils": dbutils}, "__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
