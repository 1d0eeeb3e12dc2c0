"""Section II: tests for model development."""

import json
import subprocess

from al_platform.lineage.stores import production_and_experiments
from al_platform.monitoring.accuracy import MonthAccuracy
from al_platform.selfcheck.evidence import FamilyEvidence, NoEvidenceError
from al_platform.selfcheck.grade import AUTOMATED, BY_HAND, NOTHING, Grade
from al_platform.storage.commit_log import history

_ENOUGH_MONTHS = 3
_ENOUGH_SETTINGS = 3


def reviewed(family: FamilyEvidence) -> Grade:
    """Model specs are reviewed and submitted: the newest model is of a revision on the reviewed branch."""
    revision = family.newest("training").code_revision
    if revision is None or revision.endswith("-dirty"):
        found = "no Git revision" if revision is None else "a tree with changes that were not committed"
        return Grade(points=NOTHING, seen=f"the newest model is of {found}", todo="Train from a clean checkout.")
    branch = family.platform.options.reviewed_branch
    if _is_on(branch, revision, str(family.platform.loader.project)):
        return Grade(points=AUTOMATED, seen=f"the newest model is of {revision[:12]}, which is on {branch}")
    return Grade(
        points=BY_HAND,
        seen=f"the newest model is of {revision[:12]}, a committed revision that is not known to be on {branch}",
        todo=f"Merge it into {branch} after a review, or name yours: reviewed_branch in selfcheck.yml.",
    )


def correlate(family: FamilyEvidence) -> Grade:
    """Offline and online metrics correlate: what the gate promised is what audit pages of later months show."""
    months = promised_months(family)
    if fallen := [each for each in months if each.has_fallen(0)]:
        seen = f"in {fallen[-1].cycle} accuracy lies below what the gate had found ({len(months)} months compared)"
        return Grade(points=BY_HAND, seen=seen, todo="Find out why golden and traffic differ: kedro al monitor")
    if len(months) < _ENOUGH_MONTHS:
        seen = f"the gate's accuracy lies within what audit pages show, in {len(months)} months"
        return Grade(points=BY_HAND, seen=seen, todo=f"Go on until there are {_ENOUGH_MONTHS} months.")
    return Grade(points=AUTOMATED, seen=f"in {len(months)} months accuracy is not below what the gate had found")


def promised_months(family: FamilyEvidence) -> list[MonthAccuracy]:
    """Return the months whose accuracy can be compared with the gate's; NoEvidenceError without one."""
    months = [each for each in family.findings[-1].accuracy if each.promised is not None]
    if not months:
        raise NoEvidenceError(
            "no month of a model that the gate promoted has audit pages", "Run the next monthly, then kedro al monitor."
        )
    return months


def tuned(family: FamilyEvidence) -> Grade:
    """All hyperparameters have been tuned: different settings were judged on the same golden pages."""
    stores = production_and_experiments(family.platform.loader)
    judged = [
        json.dumps({name: manifest.parameters.get(name) for name in ("model", "training")}, sort_keys=True)
        for each in stores
        for manifest in history(each.of_stage("evaluation"), family.name, "evaluation").values()
    ]
    if not judged:
        raise NoEvidenceError("nothing was evaluated", "Run: kedro run --pipelines=quarterly")
    settings, todo = len(set(judged)), "Try others in experiments: kedro run --params globals.experiment=NAME"
    seen = f"settings of model and training that were judged, experiments included: {settings}"
    if settings < _ENOUGH_SETTINGS:
        return Grade(points=BY_HAND if settings > 1 else NOTHING, seen=seen, todo=todo)
    return Grade(points=AUTOMATED, seen=seen)


def staleness(family: FamilyEvidence) -> Grade:
    """The impact of model staleness is known: past champions are measured on today's audit pages."""
    newest = family.newest("evaluation")
    past = family.json(newest, "staleness").get("champions", [])
    if not past:
        seen, todo = f"{newest.cycle} had no past champion to measure", "The next quarterly measures this one."
        return Grade(points=NOTHING, seen=seen, todo=todo)
    oldest = past[0]
    seen = f"the champion of {oldest['cycle']} would cost {oldest['gain']['point']:+.3f} macro-F1 in {newest.cycle}"
    return Grade(points=AUTOMATED, seen=seen)


def simpler(family: FamilyEvidence) -> Grade:
    """A simpler model is not better: the gate compares with one, or with the most frequent answer."""
    if check := family.check("simpler_difference"):
        if check.passed:
            return Grade(points=AUTOMATED, seen=check.why)
        return Grade(points=BY_HAND, seen=check.why, todo="Take the simpler model, or give this one more labels.")
    check = family.check("golden_difference")
    if check is None:
        return Grade(points=NOTHING, seen="the gate compared with nothing", todo="Run evaluation again.")
    seen = f"the model is the simplest there is: {check.why.partition(',')[0]}"
    return Grade(points=BY_HAND, seen=seen, todo="With a transformer the gate compares with the n-gram model.")


def slices(family: FamilyEvidence) -> Grade:
    """Model quality is sufficient on important data slices: the gate refuses a loss on one."""
    measured = {each.slice for figures in family.figures.values() for each in figures.slices}
    check = family.check("slices")
    if check is None or not measured:
        seen = "no slice was compared: there was no champion, or too few pages"
        return Grade(points=NOTHING, seen=seen, todo="The next quarterly compares with the champion.")
    seen = f"{check.why}; compared by {', '.join(sorted(measured))}"
    if not check.passed:
        return Grade(points=BY_HAND, seen=seen, todo="Look at the slice in kedro al report; label more of it.")
    return Grade(points=AUTOMATED, seen=seen)


def inclusion(family: FamilyEvidence) -> Grade:
    """The model is tested for considerations of inclusion: recall of protected labels, or languages apart."""
    if check := family.check("protected_recall"):
        if check.passed:
            return Grade(points=AUTOMATED, seen=check.why)
        return Grade(points=BY_HAND, seen=check.why, todo="Label more pages of the protected labels.")
    todo = "Name the labels that must not be missed: evaluation.gate.protected"
    languages = {
        each.value for figures in family.figures.values() for each in figures.slices if each.slice == "language"
    }
    if languages:
        return Grade(points=BY_HAND, seen=f"languages are compared: {', '.join(sorted(languages))}", todo=todo)
    return Grade(points=NOTHING, seen="no protected label, and no language, was compared", todo=todo)


def _is_on(branch: str, revision: str, project: str) -> bool:
    command = ["git", "-C", project, "merge-base", "--is-ancestor", revision, branch]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:  # no Git where only the wheel is installed
        return False
