"""Section I: tests for features and data."""

from itertools import pairwise

from al_platform import schemas
from al_platform.selfcheck.evidence import FamilyEvidence, PlatformEvidence
from al_platform.selfcheck.grade import AUTOMATED, BY_HAND, NOTHING, Grade
from al_platform.selfcheck.tested import grade_tests
from al_platform.storage.commit_log import Manifest

_FEATURES = ("tests.models.test_features", "tests.domain.test_text", "tests.models.transformer.test_reading_pages")
_SETTINGS = ("model", "taxonomy")


def schema(family: FamilyEvidence) -> Grade:
    """Feature expectations are captured in a schema: what was scored and what is trained on keep to theirs."""
    tables = {
        "predictions": (family.table(family.newest("scoring"), "predictions"), schemas.PREDICTIONS),
        "dataset": (family.table(family.newest("preparation"), "dataset"), schemas.DATASET),
    }
    for name, (table, wanted) in tables.items():
        if astray := [field.name for field in wanted if field not in table.schema]:
            seen = f"{name} does not keep to its schema: {', '.join(astray)}"
            return Grade(points=NOTHING, seen=seen, todo="Run the stage again; kedro al doctor tells of damage.")
    refused = family.table(family.newest("preparation"), "quarantine").num_rows
    return Grade(points=AUTOMATED, seen=f"predictions and data set keep to their schemas, {refused} rows were refused")


def beneficial(family: FamilyEvidence) -> Grade:
    """All features are beneficial: nothing of the loop leaves a feature out and compares."""
    return Grade(
        points=NOTHING,
        seen="nothing tells what each part of a page brings to the model",
        todo="Train without titles, then without long texts, in experiments; write down what each brought.",
    )


def cost(family: FamilyEvidence) -> Grade:
    """No feature's cost is too much: the gate holds the model to its size and the time a page takes."""
    checks = {name: family.check(name) for name in ("model_size", "latency")}
    if missing := [name for name, check in checks.items() if check is None]:
        return Grade(points=NOTHING, seen=f"the gate did not check {', '.join(missing)}", todo="Run evaluation again.")
    beyond = [check.why for check in checks.values() if check and not check.passed]
    if beyond:
        return Grade(points=BY_HAND, seen="; ".join(beyond), todo="Take a smaller model, or raise the gate's limits.")
    return Grade(points=AUTOMATED, seen="; ".join(check.why for check in checks.values() if check))


def meta_level(family: FamilyEvidence) -> Grade:
    """Features adhere to meta-level requirements: a model learns from committed data alone, and known columns of it."""
    training = family.newest("training")
    read = training.inputs.get(f"{family.name}.dataset")
    sources = [each for each in family.all("preparation") if read and each.outputs["dataset"].sha256 == read.sha256]
    if not sources:
        seen = f"training of {training.cycle} read a data set that is no month's any more"
        return Grade(points=BY_HAND, seen=seen, todo="Train again on what preparation committed since.")
    columns = set(family.table(sources[-1], "dataset").column_names) - set(schemas.DATASET.names)
    if columns:
        seen = f"the data set holds columns beside its schema: {', '.join(sorted(columns))}"
        return Grade(points=BY_HAND, seen=seen, todo="Leave them out: a model might learn from them.")
    seen = f"training of {training.cycle} read the data set of {sources[-1].cycle} by its digest, known columns alone"
    return Grade(points=AUTOMATED, seen=seen)


def privacy(platform: PlatformEvidence) -> Grade:
    """The data pipeline has appropriate privacy controls: who wrote what, and what was erased stays erased."""
    audit = platform.audit
    if audit.findings or not audit.lines:
        seen = f"{len(audit.findings)} findings in the audit log" if audit.lines else "the audit log is empty"
        return Grade(points=NOTHING, seen=seen, todo="Run: kedro al audit --verify")
    if unfinished := platform.unfinished_erasures:
        return Grade(points=NOTHING, seen=f"{len(unfinished)} erasures are not done", todo="Run: kedro al doctor")
    seen = f"{audit.lines:,} lines of the audit log are sound"
    tracking = platform.loader.tracking
    if tracking.backend != "none" and tracking.log_page_text:
        seen += ", pages go to the tracker, where no erasure reaches them"
        return Grade(points=BY_HAND, seen=seen, todo="Set log_page_text to false in tracking.yml.")
    if not platform.tombstones:
        todo = "Erase a page to see that it works: kedro al erase"
        return Grade(points=BY_HAND, seen=f"{seen}, nothing was ever erased", todo=todo)
    return Grade(points=AUTOMATED, seen=f"{seen}, {len(platform.tombstones)} erasures are done")


def quick_features(family: FamilyEvidence) -> Grade:
    """New features can be added quickly: a change of model, taxonomy or cleaning came to a verdict in one cycle."""
    evaluated = family.all("evaluation")
    newest = family.newest("evaluation")
    changed = [now.cycle for before, now in pairwise(evaluated) if _features(before) != _features(now)]
    if changed:
        return Grade(
            points=AUTOMATED, seen=f"what a model reads changed in {changed[-1]}, and was judged in that cycle"
        )
    return Grade(
        points=BY_HAND,
        seen=f"a whole cycle was judged ({newest.cycle}), what a model reads never changed",
        todo="Change cleaning, encoder or taxonomy in an experiment, and take it to a verdict.",
    )


def features_tested(platform: PlatformEvidence) -> Grade:
    """All input feature code is tested."""
    return grade_tests(platform, _FEATURES)


def _features(manifest: Manifest) -> list[object]:
    parameters = manifest.parameters
    return [*(parameters.get(name) for name in _SETTINGS), parameters.get("preparation", {}).get("cleaning")]
