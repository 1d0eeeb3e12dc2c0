"""Grades what a report on tests says."""

from al_platform.selfcheck.evidence import PlatformEvidence
from al_platform.selfcheck.grade import AUTOMATED, NOTHING, Grade
from al_platform.selfcheck.junit import counts_of


def grade_tests(platform: PlatformEvidence, modules: tuple[str, ...]) -> Grade:
    """Return a point where tests of these modules ran lately and all passed.

    Raises:
        NoEvidenceError: None ran.
    """
    options = platform.options
    files = [platform.loader.project / name for name in options.test_reports]
    counts = counts_of(files, modules, platform.now, options.valid_days)
    if counts.failed:
        return Grade(points=NOTHING, seen=f"{len(counts.failed)} tests failed: {counts.failed[0]}", todo="Mend them.")
    return Grade(points=AUTOMATED, seen=f"{counts.passed} tests passed")
