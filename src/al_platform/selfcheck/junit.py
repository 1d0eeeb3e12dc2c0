"""What a run of the tests left: JUnit files, in which a test is known by the module that it lies in."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

from al_platform.selfcheck.evidence import NoEvidenceError

_AGAIN = "Run make test, or let test_reports in selfcheck.yml name the JUnit files of your CI."


@dataclass(frozen=True)
class Counts:
    """Tests that passed, and names of those that did not."""

    passed: int
    failed: tuple[str, ...]


def counts_of(files: Iterable[Path], modules: tuple[str, ...], now: datetime, valid_days: int) -> Counts:
    """Return how the tests below some modules went; skipped ones do not count.

    Args:
        files: JUnit files.
        modules: Beginnings of their modules, such as ``tests.models``.
        now: UTC.
        valid_days: Older files count for nothing.

    Raises:
        NoEvidenceError: There is no such test in any file that still counts.
    """
    passed, failed = 0, list[str]()
    there = [file for file in files if file.is_file()]
    for case in (case for file in there if _is_fresh(file, now, valid_days) for case in _cases(file)):
        module = case.get("classname", "")
        if not any(module == each or module.startswith(f"{each}.") for each in modules):
            continue
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{module}.{case.get('name')}")
        elif case.find("skipped") is None:
            passed += 1
    if not passed and not failed:
        old = f" that is younger than {valid_days} days" if there else ""
        raise NoEvidenceError(f"no report{old} on tests of {', '.join(modules)}", _AGAIN)
    return Counts(passed, tuple(failed))


def _cases(file: Path) -> Iterable[ElementTree.Element]:
    return _root(file).iter("testcase")


def _is_fresh(file: Path, now: datetime, valid_days: int) -> bool:
    written = [suite.get("timestamp") for suite in _root(file).iter("testsuite")]
    moments = [datetime.fromisoformat(each) for each in written if each]
    aware = [each if each.tzinfo else each.replace(tzinfo=UTC) for each in moments]
    return bool(aware) and now - max(aware) < timedelta(days=valid_days)


def _root(file: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise NoEvidenceError(f"{file.name} is no JUnit file: {error}", _AGAIN) from error
