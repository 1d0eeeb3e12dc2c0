"""The projects of a family: one for each labelling configuration, guideline version and number of answers to a page.

Titles are not unique on the server, and people change them. A project is known by a mark in its description, and by its
number in the store, in a file that is created by whoever made the project and never replaced.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from uuid import uuid4

from al_platform.annotation.label_studio.client import Client, FailedError, Json, NoAnswerError
from al_platform.annotation.label_studio.labelling_config import CONTROL, labelling_config, shown_labels
from al_platform.annotation.label_studio.options import LabelStudioOptions
from al_platform.domain.errors import ConfigError, known_names
from al_platform.domain.taxonomy import Taxonomy
from al_platform.storage.store import Store

_LONGEST_TITLE = 50
_PAUSE_S = 2


@dataclass(frozen=True)
class Wanted:
    """A project as it should be made.

    Attributes:
        family: Whose project.
        taxonomy: Its labels.
        options: How it is shown.
        answers: How many people are asked about each of its pages: the server knows that of a project, not of a task.
        is_usual: Whether that is what the family asks of most pages.
    """

    family: str
    taxonomy: Taxonomy
    options: LabelStudioOptions
    answers: int
    is_usual: bool = True

    @property
    def config(self) -> str:
        """What annotators see."""
        return labelling_config(self.taxonomy, self.options.tree_separator)

    @property
    def digest(self) -> str:
        """What tells a project from an earlier one of the family: other labels or guidelines make another."""
        parts = [self.config, self.taxonomy.guideline_version, *([] if self.is_usual else [self.answers])]
        spelled = json.dumps(parts)
        return sha256(spelled.encode()).hexdigest()[:12]

    def content(self, mark: str) -> Json:
        """Return what the server is told."""
        told = f"guidelines {self.taxonomy.guideline_version}" + ("" if self.is_usual else f", {self.answers} answer")
        title = f"{self.options.title or f'al-platform {self.family}'} ({told})"
        return {
            "title": title[:_LONGEST_TITLE],
            "description": mark,
            "label_config": self.config,
            "maximum_annotations": self.answers,
            "sampling": "Sequential sampling",
            "show_skip_button": True,
            "enable_empty_annotation": self.taxonomy.is_multi,
            "show_collab_predictions": self.options.show_predictions,
            "evaluate_predictions_automatically": False,
        }


class Projects:
    """The projects that a family has had on the server, all that this store knows of."""

    def __init__(self, store: Store, folder: str, client: Client):
        self._store = store
        self._folder = folder
        self._client = client

    def numbers(self) -> list[int]:
        """Return the numbers of all projects.

        Raises:
            ConfigError: The server has one no more.
        """
        return [self._there(path)["id"] for path in self._files()]

    def wanted(self, wanted: Wanted) -> int:
        """Return the number of a project, made now if there is none.

        Raises:
            ConfigError: Its labels were changed on the server, or the server has it no more.
        """
        path = f"{self._folder}/{wanted.digest}.json"
        if not self._store.exists(path):
            self._make(path, wanted)
        project = self._there(path)
        _require_labels(project, wanted)
        return int(project["id"])

    def _make(self, path: str, wanted: Wanted) -> None:
        mark = f"Made by al-platform: {self._installation()}/{wanted.family}/{wanted.digest}"
        if not self._marked(mark):
            self._create(mark, wanted)
        # Of several that were made at once, all take the first.
        first = min(self._marked(mark))
        try:
            self._store.create(path, json.dumps({"project": first, "mark": mark}).encode())
        except FileExistsError:
            first = self._recorded(path)["project"]
        self._remove_others(mark, first)

    def _create(self, mark: str, wanted: Wanted) -> None:
        try:
            self._client.create_project(wanted.content(mark))
        except (FailedError, NoAnswerError):
            time.sleep(_PAUSE_S)
            if not self._marked(mark):
                self._client.create_project(wanted.content(mark))

    def _remove_others(self, mark: str, first: int) -> None:
        """Remove the empty projects that others made at once, or that a request made which seemed to fail."""
        for number in self._marked(mark):
            # Pages are sent to no project but the recorded one.
            project = None if number == first else self._client.project(number)
            if project is not None and not project["task_number"]:
                self._client.delete_project(number)

    def _marked(self, mark: str) -> list[int]:
        return [project["id"] for project in self._client.projects() if project["description"] == mark]

    def _there(self, path: str) -> Json:
        record = self._recorded(path)
        project = self._client.project(record["project"])
        if project is None or project["description"] != record["mark"]:
            found = "is not there" if project is None else "is another's"
            raise ConfigError(
                f"Project {record['project']} of Label Studio, which holds pages that were sent, {found}. Restore the "
                f"server's data or the project's description ({record['mark']!r}), or correct the url; to begin anew "
                f"on another server, remove the folder {self._folder.rpartition('/')[0]} from the store: what is "
                f"unanswered there is sent again then."
            )
        return project

    def _recorded(self, path: str) -> Json:
        record: Json = json.loads(self._store.read(path))
        return record

    def _files(self) -> Iterator[str]:
        return (path for path in self._store.list(self._folder) if not path.endswith("/installation.json"))

    def _installation(self) -> str:
        """Return what tells projects of this store from those of another on the same server."""
        path = f"{self._folder}/installation.json"
        if not self._store.exists(path):
            try:
                self._store.create(path, json.dumps({"installation": uuid4().hex[:12]}).encode())
            except FileExistsError:
                # Another run was as fast: its name counts.
                return self._installation()
        return str(self._recorded(path)["installation"])


def _require_labels(project: Json, wanted: Wanted) -> None:
    """Look may be changed on the server; another label there is one that no model learns."""
    control = project["parsed_label_config"].get(CONTROL, {})
    found, expected = set(control.get("labels", [])), set(shown_labels(wanted.taxonomy, wanted.options.tree_separator))
    if found == expected:
        return
    odd = sorted(found ^ expected)[0]
    raise ConfigError(
        f"The labels of project {project['id']} were changed on Label Studio: {odd!r} is only "
        f"{'there' if odd in found else 'in the taxonomy'}. {known_names(odd, expected)} Put the labels back there; "
        f"other labels belong into the family's taxonomy, which makes another project."
    )
