"""Errors a user can act on.

AlPlatformError
├── ConfigError            a parameter, family, cycle or root that cannot be used
├── InputError             data from outside that cannot be used
│   ├── SchemaError        missing column, wrong type, truncated file
│   └── TaxonomyError      a label outside the taxonomy
├── NotReadyError          an earlier stage has not run
├── PoolExhaustedError     fewer candidates than the budget
├── TrainingDataError      nothing to learn from: one class only, an empty set
├── TrackerError           the experiment tracker did not take or answer
└── StoreError             the store refuses or is damaged
    └── CommitConflictError    somebody else wrote the same log entry
"""

from collections.abc import Iterable
from difflib import get_close_matches


class AlPlatformError(Exception):
    """Base of every error that a user can act on."""


class ConfigError(AlPlatformError):
    """A parameter, family, cycle or root that cannot be used."""


class InputError(AlPlatformError):
    """Data from outside that cannot be used."""


class SchemaError(InputError):
    """A missing column, a wrong type or an unreadable file."""


class TaxonomyError(InputError):
    """A label outside the family's taxonomy."""


class NotReadyError(AlPlatformError):
    """An earlier stage has not run for this cycle."""


class PoolExhaustedError(AlPlatformError):
    """Fewer candidates than the budget asks for."""


class TrainingDataError(AlPlatformError):
    """Nothing to learn from: one class only, or an empty set."""


class TrackerError(AlPlatformError):
    """The experiment tracker did not take what it was given, or does not answer; nothing is lost by that."""


class StoreError(AlPlatformError):
    """The store refuses an operation or holds damaged data."""


class CommitConflictError(StoreError):
    """Another run committed the same stage of the same cycle first."""


def known_names(name: str, known: Iterable[str]) -> str:
    """Return a sentence that lists the known names and the nearest to ``name``."""
    names = sorted(known)
    nearest = get_close_matches(name, names, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"Known: {', '.join(names) or 'none'}.{hint}"
