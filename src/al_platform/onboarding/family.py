"""The files of a family: written, and removed without a trace."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from al_platform.annotation.label_studio.labelling_config import labelling_config
from al_platform.domain.errors import ConfigError, known_names
from al_platform.domain.taxonomy import Taxonomy
from al_platform.families import parse_families

BASE = "base"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LISTED = re.compile(r"^families:[ \t]*\[([^\]\n]*)\]", re.MULTILINE)
_ITEM = re.compile(r"^([ \t]*- )\S.*$", re.MULTILINE)
_MEANING = {"single": "exactly one label a page", "multi": "any number of labels a page, none included"}


@dataclass(frozen=True)
class FamilyFiles:
    """Where a family is written down.

    Attributes:
        project: The project's folder.
        name: Of the family.
        env: Environment whose configuration holds it.
    """

    project: Path
    name: str
    env: str = BASE

    @property
    def parameters(self) -> Path:
        """Its labels and whatever else differs from the defaults."""
        return self.project / "conf" / self.env / "parameters" / f"{self.name}.yml"

    @property
    def tests(self) -> Path:
        """Tests of its configuration."""
        return self.project / "tests" / "families" / f"test_{self.name}.py"

    @property
    def names(self) -> Path:
        """The list of families."""
        return self.project / "conf" / self.env / "families.yml"

    def add(self, taxonomy: Taxonomy) -> list[Path]:
        """Write the family's files and its name; return the files.

        Raises:
            ConfigError: The name cannot be used or is taken, or the environment has no list of families.
        """
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"Family name {self.name!r} cannot be used: take small letters, digits and '_'.")
        families = self._listed()
        if self.name in families:
            raise ConfigError(
                f"There is a family {self.name!r} already. Change {self._shown(self.parameters)} instead."
            )
        if taken := [file for file in (self.parameters, self.tests) if file.exists()]:
            raise ConfigError(f"{self._shown(taken[0])} is there already; move it away first.")
        parse_families({"families": [*families, self.name]})
        labelling_config(taxonomy, None)  # refuses labels that annotators could not be shown
        names = _with_name(self.names.read_text(), self.name)
        self._write(self.parameters, _parameters(self.name, taxonomy))
        self._write(self.tests, _tests(self.name, taxonomy, self.env))
        self._write(self.names, names)
        return [self.parameters, self.tests, self.names]

    def remove(self) -> list[Path]:
        """Remove the family's files and its name; what it has in the store stays. Return the files.

        Raises:
            ConfigError: There is no such family, it is the last one, or another environment names it.
        """
        families = self._listed()
        if self.name not in families:
            raise ConfigError(f"There is no family {self.name!r}. {known_names(self.name, families)}")
        if len(families) == 1:
            raise ConfigError(f"{self.name} is the only family; a project has one at least.")
        if others := self._elsewhere():
            raise ConfigError(
                f"{self.name} is also in {', '.join(map(self._shown, others))}. Remove it there first: by hand, or with"
                f" kedro al new-family {self.name} --remove --env NAME."
            )
        names = _without_name(self.names.read_text(), self.name)
        gone = [file for file in (self.parameters, self.tests) if file.exists()]
        for file in gone:
            file.unlink()
        self._write(self.names, names)
        if self.tests.parent.is_dir() and not any(self.tests.parent.iterdir()):
            self.tests.parent.rmdir()
        return [*gone, self.names]

    def _listed(self) -> list[str]:
        if not self.names.exists():
            raise ConfigError(
                f"The environment {self.env!r} has no list of families of its own. Make {self._shown(self.names)} with "
                f"'families: [NAME, ...]', or leave --env away."
            )
        return parse_families(yaml.safe_load(self.names.read_text()))

    def _elsewhere(self) -> list[Path]:
        files = [*self.project.glob("conf/*/families.yml"), *self.project.glob("conf/*/parameters/*.yml")]
        others = sorted(set(files) - {self.names, self.parameters})
        return [file for file in others if _names(yaml.safe_load(file.read_text()), self.name)]

    def _shown(self, file: Path) -> str:
        return file.relative_to(self.project).as_posix()

    def _write(self, file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def taxonomy_of(task: str, labels: str) -> Taxonomy:
    """Return the taxonomy of ``a,b,c``.

    Raises:
        ConfigError: Labels are missing, repeated, or too few for the task.
    """
    found = [label.strip() for label in labels.split(",") if label.strip()]
    if task == "single" and len(found) < 2:  # noqa: PLR2004
        raise ConfigError(f"A page with exactly one label needs at least two to choose from, found {found}.")
    try:
        return Taxonomy.model_validate({"task": task, "labels": found})
    except ValidationError as error:
        raise ConfigError(f"These labels cannot be used: {error.errors()[0]['msg']}.") from error


def _names(content: Any, name: str) -> bool:
    return isinstance(content, dict) and (name in content or name in (content.get("families") or []))


def _with_name(text: str, name: str) -> str:
    """Return the list of families with one more name at its end; comments and layout stay."""
    if (listed := _LISTED.search(text)) is not None:
        return _checked(text[: listed.end(1)] + f", {name}" + text[listed.end(1) :], text, [name], [])
    items = list(_ITEM.finditer(text))
    if not items:
        raise ConfigError(f"The list of families is in no form that can be changed here; add {name} to it by hand.")
    last = items[-1]
    return _checked(f"{text[: last.end()]}\n{last[1]}{name}{text[last.end() :]}", text, [name], [])


def _without_name(text: str, name: str) -> str:
    if (listed := _LISTED.search(text)) is not None:
        kept = re.sub(rf",[ \t]*{name}\b(?=[ \t]*(?:,|$))|^[ \t]*{name}[ \t]*,[ \t]*", "", listed[1])
        return _checked(text[: listed.start(1)] + kept + text[listed.end(1) :], text, [], [name])
    return _checked(re.sub(rf"^[ \t]*- {name}[ \t]*(#.*)?\n?", "", text, flags=re.MULTILINE), text, [], [name])


def _checked(text: str, before: str, added: list[str], removed: list[str]) -> str:
    """Return ``text`` if it says what it should; ConfigError where the file is written in a way not foreseen here."""
    expected = [name for name in yaml.safe_load(before)["families"] if name not in removed] + added
    if (yaml.safe_load(text) or {}).get("families") != expected:
        raise ConfigError(f"families.yml is in no form that can be changed here; make it say {expected} by hand.")
    return text


def _parameters(name: str, taxonomy: Taxonomy) -> str:
    labels = yaml.safe_dump(list(taxonomy.labels), default_flow_style=True, width=10**6, allow_unicode=True).strip()
    return (
        f"# What pages are labelled with. All that is not said here has the values of family_defaults.\n"
        f"{name}:\n"
        f"  taxonomy:\n"
        f"    task: {taxonomy.task}   # {_MEANING[taxonomy.task]}\n"
        f"    labels: {labels}\n"
    )


def _tests(name: str, taxonomy: Taxonomy, env: str) -> str:
    return f'''"""What the configuration of {name} promises."""

from pathlib import Path

import pytest

from al_platform.annotation.label_studio.labelling_config import labelling_config
from al_platform.config import FamilyConfigLoader
from al_platform.domain.taxonomy import Taxonomy
from al_platform.parameters import FamilyParameters
from al_platform.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"
LABELS = {taxonomy.labels!r}


@pytest.fixture(scope="module")
def taxonomy():
    loader = FamilyConfigLoader(conf_source=str(CONF), env={env!r}, **CONFIG_LOADER_ARGS)
    return FamilyParameters.model_validate(loader["parameters"][{name!r}]).taxonomy


def test_{name}_is_{taxonomy.task}_label_with_these_labels(taxonomy):
    assert taxonomy == Taxonomy(task={taxonomy.task!r}, labels=LABELS, guideline_version=taxonomy.guideline_version)


def test_annotators_of_{name}_are_offered_every_label(taxonomy):
    shown = labelling_config(taxonomy, None)
    assert all(label in shown for label in LABELS)
'''
