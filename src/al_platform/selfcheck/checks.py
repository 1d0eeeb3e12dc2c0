"""The 28 checks in the order of Breck et al. 2017, and how they are graded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from json import JSONDecodeError
from typing import TypeVar

from pydantic import ValidationError

from al_platform.domain.errors import ConfigError, StoreError, known_names
from al_platform.progress import progress
from al_platform.selfcheck import data_checks as data
from al_platform.selfcheck import infrastructure_checks as infrastructure
from al_platform.selfcheck import model_checks as model
from al_platform.selfcheck import monitoring_checks as monitoring
from al_platform.selfcheck.evidence import FamilyEvidence, NoEvidenceError, PlatformEvidence
from al_platform.selfcheck.grade import BY_HAND, NOTHING, Grade, GradedCheck, Score, Section

_Evidence = TypeVar("_Evidence")
_DAMAGED = "Run: kedro al doctor"


@dataclass(frozen=True)
class Check:
    """A check; it holds for the platform, or for every family and is then as good as in the worst.

    Attributes:
        id: Its name in ``selfcheck.yml``.
        section: Where its points count.
        title: As in the paper.
        of_platform: Grades the platform.
        of_family: Grades one family.
    """

    id: str
    section: Section
    title: str
    of_platform: Callable[[PlatformEvidence], Grade] | None = None
    of_family: Callable[[FamilyEvidence], Grade] | None = None


CHECKS = (
    Check("schema", "data", "Feature expectations are captured in a schema", of_family=data.schema),
    Check("beneficial", "data", "All features are beneficial", of_family=data.beneficial),
    Check("cost", "data", "No feature's cost is too much", of_family=data.cost),
    Check("meta_level", "data", "Features adhere to meta-level requirements", of_family=data.meta_level),
    Check("privacy", "data", "The data pipeline has appropriate privacy controls", of_platform=data.privacy),
    Check("quick_features", "data", "New features can be added quickly", of_family=data.quick_features),
    Check("features_tested", "data", "All input feature code is tested", of_platform=data.features_tested),
    Check("reviewed", "model", "Model specs are reviewed and submitted", of_family=model.reviewed),
    Check("correlate", "model", "Offline and online metrics correlate", of_family=model.correlate),
    Check("tuned", "model", "All hyperparameters have been tuned", of_family=model.tuned),
    Check("staleness", "model", "The impact of model staleness is known", of_family=model.staleness),
    Check("simpler", "model", "A simpler model is not better", of_family=model.simpler),
    Check("slices", "model", "Model quality is sufficient on important data slices", of_family=model.slices),
    Check("inclusion", "model", "The model is tested for considerations of inclusion", of_family=model.inclusion),
    Check("reproducible", "infrastructure", "Training is reproducible", of_family=infrastructure.reproducible),
    Check("unit_tested", "infrastructure", "Model specs are unit tested", of_platform=infrastructure.unit_tested),
    Check(
        "integration_tested",
        "infrastructure",
        "The ML pipeline is integration tested",
        of_platform=infrastructure.integration_tested,
    ),
    Check(
        "validated", "infrastructure", "Model quality is validated before serving", of_family=infrastructure.validated
    ),
    Check("debuggable", "infrastructure", "The model is debuggable", of_family=infrastructure.debuggable),
    Check("canaried", "infrastructure", "Models are canaried before serving", of_family=infrastructure.canaried),
    Check("rolled_back", "infrastructure", "Serving models can be rolled back", of_family=infrastructure.rolled_back),
    Check("dependencies", "monitoring", "Dependency changes result in notification", of_family=monitoring.dependencies),
    Check("invariants", "monitoring", "Data invariants hold for inputs", of_family=monitoring.invariants),
    Check("skew", "monitoring", "Training and serving are not skewed", of_family=monitoring.skew),
    Check("fresh", "monitoring", "Models are not too stale", of_family=monitoring.fresh),
    Check("stable", "monitoring", "Models are numerically stable", of_family=monitoring.stable),
    Check("performance", "monitoring", "Computing performance has not regressed", of_family=monitoring.performance),
    Check("quality", "monitoring", "Prediction quality has not regressed", of_family=monitoring.quality),
)


def grade_all(platform: PlatformEvidence, checks: Sequence[Check] = CHECKS) -> Score:
    """Grade checks by what lies in the stores now.

    Args:
        platform: The evidence.
        checks: Which; fewer are no score.

    Raises:
        ConfigError: ``by_hand`` names no check, or the environment is an experiment.
    """
    known = {check.id for check in CHECKS}
    if unknown := sorted(set(platform.options.by_hand) - known):
        raise ConfigError(f"by_hand in selfcheck.yml names {unknown[0]}. {known_names(unknown[0], known)}")
    graded = ([_graded(check, platform)] for check in checks)
    found = progress(graded, total=len(checks), what="checking")
    return Score(checks=tuple(each for chunk in found for each in chunk))


def _graded(check: Check, platform: PlatformEvidence) -> GradedCheck:
    if check.of_platform is not None:
        found = _attempt(check.of_platform, platform)
    else:
        assert check.of_family is not None
        found = _worst({family.name: _attempt(check.of_family, family) for family in platform.families})
    if found.points == NOTHING:
        found = _by_hand(check.id, platform, found)
    return GradedCheck(id=check.id, section=check.section, title=check.title, grade=found)


def _attempt(grade: Callable[[_Evidence], Grade], evidence: _Evidence) -> Grade:
    """Return the grade; evidence that is missing or damaged is none."""
    try:
        return grade(evidence)
    except NoEvidenceError as missing:
        return Grade(points=NOTHING, seen=missing.seen, todo=missing.todo)
    except StoreError as error:
        return Grade(points=NOTHING, seen=str(error), todo=_DAMAGED)
    except (ValidationError, JSONDecodeError, FileNotFoundError) as error:
        return Grade(points=NOTHING, seen=f"evidence cannot be read: {str(error).splitlines()[0]}", todo=_DAMAGED)


def _worst(grades: dict[str, Grade]) -> Grade:
    """Return what the family came to that has least to show, and which that are."""
    least = min(grade.points for grade in grades.values())
    found = {name: grade for name, grade in grades.items() if grade.points == least}
    same: dict[str, list[str]] = {}
    for name, grade in found.items():
        same.setdefault(grade.seen, []).append(name)
    parts = [text if len(names) == len(grades) else f"{', '.join(names)}: {text}" for text, names in same.items()]
    seen = "; ".join(parts)
    todo = dict.fromkeys(grade.todo for grade in found.values() if grade.todo)
    return Grade(points=least, seen=seen, todo=" ".join(todo))


def _by_hand(check: str, platform: PlatformEvidence, found: Grade) -> Grade:
    """Return half a point where people made the check and wrote it down, in a document that is there."""
    done = platform.options.by_hand.get(check)
    if done is None:
        return found
    if not _is_written(platform, done.document):
        return found.model_copy(update={"seen": f"{found.seen}; {done.document} is missing or empty"})
    age = platform.now.date() - done.on
    if age > timedelta(days=platform.options.valid_days):
        return found.model_copy(update={"seen": f"{found.seen}; by hand on {done.on}, which is too long ago"})
    return Grade(points=BY_HAND, seen=f"by hand on {done.on}: {done.document}", todo=found.todo)


def _is_written(platform: PlatformEvidence, document: str) -> bool:
    file = platform.loader.project / document
    return file.is_file() and bool(file.read_bytes().strip())


def missing(score: Score) -> Sequence[GradedCheck]:
    """Return the checks with less than a point, those of the weakest section first."""
    sections = score.sections
    return sorted(
        (check for check in score.checks if check.grade.points < 1),
        key=lambda check: (sections[check.section], check.grade.points),
    )
