"""The traffic sources by name."""

from collections.abc import Callable, Mapping

from pydantic import BaseModel, ConfigDict, Field

from al_platform.domain.errors import ConfigError, known_names
from al_platform.sources.demo import DemoSource
from al_platform.sources.source import TrafficSource
from al_platform.sources.synthetic import SyntheticOptions, SyntheticSource


class SourceOptions(BaseModel):
    """What a simulated source offers.

    Attributes:
        seed: Another seed is another web.
        pages_per_month: Pages read in a month; None is the source's own size (demo 600, synthetic 20,000).
        seed_labels: Pages labelled from the start; None is the source's own size (demo 600, synthetic 400).
        synthetic: What only the synthetic source has.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    pages_per_month: int | None = Field(default=None, ge=1)
    seed_labels: int | None = Field(default=None, ge=1)
    synthetic: SyntheticOptions = SyntheticOptions()

    def sizes(self) -> dict[str, int]:
        """Return the sizes that are set, by name."""
        return self.model_dump(include={"pages_per_month", "seed_labels"}, exclude_none=True)


def _demo(options: SourceOptions) -> TrafficSource:
    return DemoSource(seed=options.seed, **options.sizes())


def _synthetic(options: SourceOptions) -> TrafficSource:
    return SyntheticSource(seed=options.seed, options=options.synthetic, **options.sizes())


SOURCES: Mapping[str, Callable[[SourceOptions], TrafficSource]] = {"demo": _demo, "synthetic": _synthetic}


def open_source(name: str, options: SourceOptions) -> TrafficSource:
    """Return the traffic source ``name``; nothing is read before it is asked for pages.

    Raises:
        ConfigError: There is no such source.
    """
    if name not in SOURCES:
        raise ConfigError(f"Asked for the traffic source {name!r}. {known_names(name, SOURCES)}")
    return SOURCES[name](options)
