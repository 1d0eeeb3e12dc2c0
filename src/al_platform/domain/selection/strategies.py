"""The registry of query strategies: which pages a model learns most from.

A new strategy is a class with the members of ``QueryStrategy`` and a line in ``STRATEGIES``; the contract test then
runs over it.
"""

from collections.abc import Mapping

from al_platform.domain.errors import ConfigError, known_names
from al_platform.domain.selection.adaptive import Adaptive
from al_platform.domain.selection.diverse import Badge, ClusterMargin, Diversity, KCenter, TypiClust, WeightedKMeans
from al_platform.domain.selection.query import QueryStrategy
from al_platform.domain.selection.rare import RareClass
from al_platform.domain.selection.uncertain import Bald, Entropy, LabelMargin, LeastConfidence, Margin, Random

_ALL: tuple[QueryStrategy, ...] = (
    Margin(),
    LeastConfidence(),
    Entropy(),
    Random(),
    LabelMargin(),
    Bald(),
    Diversity(),
    WeightedKMeans(),
    ClusterMargin(),
    Badge(),
    KCenter(),
    TypiClust(),
    RareClass(),
    Adaptive(),
)
STRATEGIES: Mapping[str, QueryStrategy] = {strategy.name: strategy for strategy in _ALL}


def strategy_named(name: str) -> QueryStrategy:
    """Return the query strategy of that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in STRATEGIES:
        raise ConfigError(f"There is no query strategy {name!r}. {known_names(name, STRATEGIES)}")
    return STRATEGIES[name]
