"""SIMULATED answers on sentiment and brand safety, read off published word lists.

Nobody labelled the demo corpus for these two families. The rules below stand in for the careful expert whom simulated
annotators imitate; accuracies against them say how well the loop works, not how well a model judges news.

Word lists: VADER (Hutto & Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media
Text") with its valences from -4 to 4, and Empath (Fast et al. 2016, "Empath: Understanding Topic Signals in
Large-Scale Text") with its categories. Their files are read without an import of the packages, of which one pulls in
an HTTP client.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from al_platform.domain.errors import ConfigError
from al_platform.sources.source import BRAND_SAFETY

_WORD = re.compile(r"[a-z][a-z'_-]*")

# VADER's factor for a negated word, and its window.
_NEGATION = -0.74
_NEGATION_WINDOW = 3
_NEGATING = frozenset({"not", "no", "never", "none", "nor", "neither", "cannot", "without", "hardly", "rarely"})

# Sum of valences per 100 words. News is written in friendlier words than VADER's tweets (mean 2.7 on the demo
# corpus), so the neutral band does not lie around zero. It leaves about a third of the corpus on either side.
_NEGATIVE_BELOW = 1.0
_POSITIVE_ABOVE = 4.5

# Words that the categories hold, but that mostly mean a match, an economy or a name in the news.
_FIGURATIVE = frozenset({
    "angry", "attack", "attacking", "bad", "badly", "bar", "battle", "beating", "broke", "broken", "consumption",
    "cup", "damage", "damaging", "danger", "dangerous", "defeat", "fear", "fight", "fighting", "lightweight",
    "penalty", "potent", "pour", "rob", "shot", "taste", "threat", "worse",
})  # fmt: skip


class _Rule(NamedTuple):
    """A label applies to a text with ``least`` words of the categories that VADER rates ``at_most``, None for any."""

    categories: tuple[str, ...]
    at_most: float | None
    least: int


_RULES: Mapping[str, _Rule] = {
    "crime": _Rule(("crime", "prison", "stealing"), -1.0, 2),
    "violence": _Rule(("kill", "weapon", "violence"), -1.5, 2),
    "war_terrorism": _Rule(("war", "terrorism"), -1.0, 2),
    "death_injury": _Rule(("death", "injury", "medical_emergency"), -1.5, 2),
    "alcohol": _Rule(("alcohol",), None, 1),
}


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return _WORD.findall(text.lower())


def sentiment(tokens: Sequence[str]) -> str:
    """Return the simulated answer on the sentiment of a text: negative, neutral or positive."""
    valences = _valences()
    rated = ((index, valences[token]) for index, token in enumerate(tokens) if token in valences)
    total = sum(valence * (_NEGATION if _is_negated(tokens, index) else 1) for index, valence in rated)
    per_100_words = 100 * total / max(len(tokens), 1)
    if per_100_words < _NEGATIVE_BELOW:
        return "negative"
    return "positive" if per_100_words > _POSITIVE_ABOVE else "neutral"


def brand_safety(tokens: Iterable[str]) -> list[str]:
    """Return the simulated answer on what makes a text unsafe for brands, in the order of ``BRAND_SAFETY``."""
    tokens = list(tokens)
    vocabularies = _vocabularies()
    return [
        label for label in BRAND_SAFETY if sum(token in vocabularies[label] for token in tokens) >= _RULES[label].least
    ]


def package_path(package: str, path: str) -> Path:
    """Return a file or folder of an installed package, without an import of it.

    Raises:
        ConfigError: The package is not installed, or lacks the file.
    """
    try:
        found = Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError:
        raise ConfigError(
            f"The demo source needs the package {package}, which is not installed. Run: pip install 'al-platform[demo]'"
        ) from None
    if not found.exists():
        raise ConfigError(f"The installed package {package} has no {path}. Run: pip install 'al-platform[demo]'")
    return found


def _is_negated(tokens: Sequence[str], index: int) -> bool:
    before = tokens[max(0, index - _NEGATION_WINDOW) : index]
    return any(token in _NEGATING or token.endswith("n't") for token in before)


@lru_cache(maxsize=1)
def _valences() -> dict[str, float]:
    lines = package_path("vaderSentiment", "vaderSentiment/vader_lexicon.txt").read_text("utf-8").splitlines()
    rows = (line.split("\t") for line in lines if line.strip())
    return {row[0]: float(row[1]) for row in rows}


@lru_cache(maxsize=1)
def _vocabularies() -> dict[str, frozenset[str]]:
    lines = package_path("empath", "empath/data/categories.tsv").read_text("utf-8").splitlines()
    categories = {name: terms for name, *terms in (line.split("\t") for line in lines)}
    return {
        label: frozenset(
            term
            for category in rule.categories
            for term in categories[category]
            if term not in _FIGURATIVE and _is_rated_at_most(rule.at_most, term)
        )
        for label, rule in _RULES.items()
    }


def _is_rated_at_most(bound: float | None, term: str) -> bool:
    return bound is None or _valences().get(term, 0.0) <= bound
