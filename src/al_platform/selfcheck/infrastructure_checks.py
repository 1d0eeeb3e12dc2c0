"""Section III: tests for ML infrastructure."""

import json
from hashlib import sha256
from typing import Any

from al_platform.catalog.champion import ChampionEntry
from al_platform.models.model import TRAINING_RECORD
from al_platform.selfcheck.evidence import FamilyEvidence, NoEvidenceError, PlatformEvidence
from al_platform.selfcheck.grade import AUTOMATED, BY_HAND, NOTHING, Grade
from al_platform.selfcheck.tested import grade_tests
from al_platform.stages import STAGES
from al_platform.storage.commit_log import to_json

_REBUILT = ("tests.rebuild.test_rebuild",)
_MODEL = ("tests.models",)
_WHOLE = ("tests.test_whole_loop", "tests.test_loop", "tests.test_faults")
_RECORDED = ("seed", "packages", "inputs")


def reproducible(family: FamilyEvidence) -> Grade:
    """Training is reproducible: the record names all that it depends on, and tests rebuild a model from one."""
    training = family.newest("training")
    digest = family.json(training, "challenger")["model_digest"]
    record = _record(family, digest)
    missing = [name for name in _RECORDED if record.get(name) is None]
    if training.code_revision is None:
        missing.append("code revision")
    if missing:
        seen = f"the record of the newest model lacks {', '.join(missing)}"
        return Grade(points=NOTHING, seen=seen, todo="Train from a checkout or a wheel of one.")
    seen = f"the record of {digest[:12]} names seed, packages, inputs and revision"
    try:
        tested = grade_tests(family.platform, _REBUILT)
    except NoEvidenceError as error:
        return Grade(
            points=BY_HAND, seen=f"{seen}; {error.seen}", todo=f"Run kedro al rebuild {family.name}. {error.todo}"
        )
    if tested.points == NOTHING:
        return Grade(points=BY_HAND, seen=f"{seen}; {tested.seen}", todo=tested.todo)
    return Grade(points=AUTOMATED, seen=f"{seen}; rebuilding: {tested.seen}")


def unit_tested(platform: PlatformEvidence) -> Grade:
    """Model specs are unit tested."""
    return grade_tests(platform, _MODEL)


def integration_tested(platform: PlatformEvidence) -> Grade:
    """The ML pipeline is integration tested: the whole loop in tests; or it ran whole, which is half of it."""
    try:
        return grade_tests(platform, _WHOLE)
    except NoEvidenceError as error:
        whole = {family.name: _whole_cycles(family) for family in platform.families}
        if not all(whole.values()):
            raise
        newest = min(max(cycles) for cycles in whole.values())
        return Grade(points=BY_HAND, seen=f"every stage ran in {newest}; {error.seen}", todo=error.todo)


def validated(family: FamilyEvidence) -> Grade:
    """Model quality is validated before serving: the champion is what a verdict that is still there promoted."""
    champion = family.champions[-1]
    name = f"the champion {champion.model_digest[:12]}"
    if champion.verdict == "duel":
        duel = family.json(family.commit("promotion", champion.cycle), "promotion_report")["duel"]
        stands = bool(duel) and sha256(to_json(duel)).hexdigest() == champion.verdict_digest
        seen, promoted = f"{name} won the duel of {champion.cycle}", stands
    else:
        said = _verdict(family, champion)
        stands = said is not None
        seen = f"{name} follows from the verdict {champion.verdict} of the gate"
        promoted = said is not None and (said["verdict"], said["challenger_digest"]) == (
            "promote",
            champion.model_digest,
        )
    if not stands:
        todo = f"Evaluate it, or go back: kedro al rollback --family {family.name}"
        return Grade(points=NOTHING, seen=f"no verdict stands behind {name}", todo=todo)
    if champion.kind == "gate" and promoted:
        return Grade(points=AUTOMATED, seen=seen)
    return Grade(points=BY_HAND, seen=f"{seen}, and a person set it", todo="Let the gate decide the next one.")


def _verdict(family: FamilyEvidence, champion: ChampionEntry) -> dict[str, Any] | None:
    """Return the verdict that an entry follows from, where it is still what it was."""
    found = [each for each in family.all("evaluation") if each.outputs["verdict"].sha256 == champion.verdict_digest]
    return family.json(found[-1], "verdict") if found else None


def debuggable(family: FamilyEvidence) -> Grade:
    """The model is debuggable: each held-out page with what every model said, mistakes explained, epochs recorded."""
    evaluation = family.newest("evaluation")
    pages = family.table(evaluation, "evaluated_pages").num_rows
    explained = len(family.json(evaluation, "error_analysis").get("mistakes", []))
    epochs = len(family.json(family.newest("training"), "training_report").get("history", []))
    seen = f"{pages:,} pages with what each model said, {explained} mistakes shown, {epochs} epochs"
    if not (pages and epochs):
        return Grade(points=BY_HAND, seen=seen, todo="Run training and evaluation again.")
    return Grade(points=AUTOMATED, seen=seen)


def canaried(family: FamilyEvidence) -> Grade:
    """Models are canaried before serving: beside the champion on real traffic, then watched in their first month."""
    champion = family.champions[-1].model_digest
    if family.json(family.newest("promotion"), "promotion_report").get("duel"):
        return Grade(points=AUTOMATED, seen="a duel on a frame of real traffic decided the last promotion")
    audit = family.figures.get("audit")
    if audit is None or audit.traffic is None:
        seen, todo = "the newest model was not tried on traffic", "Label the audit pages, and evaluate again."
        return Grade(points=NOTHING, seen=seen, todo=todo)
    tried = f"the newest model was tried on {audit.n} audit pages of traffic"
    try:
        watched = [each.cycle for each in family.findings[-1].accuracy if each.model_digest == champion]
    except NoEvidenceError as error:
        return Grade(points=BY_HAND, seen=f"{tried}; {error.seen}", todo=error.todo)
    if not watched:
        todo = "Run the next monthly, then kedro al monitor."
        return Grade(points=BY_HAND, seen=f"{tried}; no month of the champion was watched", todo=todo)
    return Grade(points=AUTOMATED, seen=f"{tried}; the champion was watched in {watched[0]}")


def rolled_back(family: FamilyEvidence) -> Grade:
    """Serving models can be rolled back: it was done, or the former champion is whole and could be called back."""
    champions = family.champions
    if back := [each for each in champions if each.kind == "rollback"]:
        _record(family, champions[-1].model_digest)
        return Grade(points=AUTOMATED, seen=f"rolled back on {back[-1].at[:10]}, by {back[-1].actor}")
    former = [each.model_digest for each in champions if each.model_digest != champions[-1].model_digest]
    if not former:
        seen = "there is no former champion to go back to"
        return Grade(points=NOTHING, seen=seen, todo="The second promotion leaves one.")
    _record(family, former[-1])
    todo = f"Try it in an experiment or on a quiet day: kedro al rollback --family {family.name}"
    return Grade(points=BY_HAND, seen=f"the former champion {former[-1][:12]} is there", todo=todo)


def _record(family: FamilyEvidence, digest: str) -> dict[str, object]:
    """Return the record of a model whose weights are there; NoEvidenceError otherwise."""
    models, folder = family.stores.by_class["models"], f"{family.name}/by_digest/{digest}"
    files = models.list(folder)
    if not any(path.endswith(".safetensors") for path in files) or f"{folder}/{TRAINING_RECORD}" not in files:
        raise NoEvidenceError(f"files of the model {digest[:12]} are missing", "Run: kedro al doctor")
    found: dict[str, object] = json.loads(models.read(f"{folder}/{TRAINING_RECORD}"))
    return found


def _whole_cycles(family: FamilyEvidence) -> set[str]:
    return set.intersection(*(set(family.cycles(stage.name)) for stage in STAGES))
