"""The annotation platforms by name, and how a run connects to one."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from al_platform.annotation.exchange import FileExchange
from al_platform.annotation.label_studio.options import Access, LabelStudioOptions
from al_platform.annotation.platform import AnnotationPlatform
from al_platform.annotation.simulated import SimulatedAnnotators, SimulatedPlatform
from al_platform.domain.adjudication import AdjudicationOptions
from al_platform.domain.errors import ConfigError, known_names
from al_platform.domain.taxonomy import Taxonomy
from al_platform.storage.store import Store


class AnnotationOptions(BaseModel):
    """Who labels the pages of a family.

    Attributes:
        backend: Name of the platform: ``simulated``, ``exchange`` or ``label_studio``.
        answers_per_page: How many people are asked about a page.
        overlap_share: Share of the pages that so many are asked about; of the others, drawn at random, one is. Pages
            that measure or settle something are never among those.
        due_days: Days after the end of a cycle until its batch is overdue.
        close_days: Days until it is closed: what comes later is taken all the same.
        adjudication: How answers become labels.
        simulated: The simulated annotators.
        label_studio: How Label Studio is used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: str = "simulated"
    answers_per_page: int = Field(default=3, ge=1)
    overlap_share: float = Field(default=1.0, ge=0, le=1)
    due_days: int = Field(default=14, ge=1)
    close_days: int = Field(default=28, ge=1)
    adjudication: AdjudicationOptions = AdjudicationOptions()
    simulated: SimulatedAnnotators = SimulatedAnnotators()
    label_studio: LabelStudioOptions = LabelStudioOptions()

    @property
    def shows_predictions(self) -> bool:
        """Whether annotators see what the model thinks."""
        return self.backend == "label_studio" and self.label_studio.show_predictions

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.close_days < self.due_days:
            raise ValueError(
                f"a batch is closed after {self.close_days} days, before it is due after {self.due_days}: raise "
                f"close_days or lower due_days"
            )
        if self.backend == "simulated" and self.answers_per_page > self.simulated.annotators:
            raise ValueError(
                f"answers_per_page is {self.answers_per_page}, but there are {self.simulated.annotators} simulated "
                f"annotators: lower it or add annotators"
            )
        return self

    @field_validator("backend")
    @classmethod
    def _known(cls, backend: str) -> str:
        if backend not in PLATFORMS:
            raise ValueError(f"asked for the annotation platform {backend!r}. {known_names(backend, PLATFORMS)}")
        return backend


@dataclass(frozen=True)
class PlatformConnection:
    """What any platform of a family may need.

    Attributes:
        store: Where files are exchanged.
        prefix: Folder of the family's platforms in the store; each has its own below it.
        family: Name of the model family.
        truth: Returns the true values of some pages, by page id, for the name of the column that holds them; only
            simulated annotators ask.
        credentials: ``url`` and ``token`` of the platform's server, if it has one.
    """

    store: Store
    prefix: str
    family: str
    truth: Callable[[str, Collection[str]], Mapping[str, list[str]]]
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)

    def open(self, taxonomy: Taxonomy, options: AnnotationOptions) -> AnnotationPlatform:
        """Return the platform that the options name."""
        return PLATFORMS[options.backend](self, taxonomy, options)


def _simulated(connection: PlatformConnection, taxonomy: Taxonomy, options: AnnotationOptions) -> AnnotationPlatform:
    return SimulatedPlatform(
        store=connection.store,
        prefix=f"{connection.prefix}/simulated",
        taxonomy=taxonomy,
        family=connection.family,
        truth=lambda page_ids: connection.truth(f"truth_{connection.family}", page_ids),
        options=options.simulated,
        answers_per_page=options.answers_per_page,
    )


def _exchange(connection: PlatformConnection, taxonomy: Taxonomy, options: AnnotationOptions) -> AnnotationPlatform:
    return FileExchange(connection.store, f"{connection.prefix}/exchange", taxonomy)


def _label_studio(connection: PlatformConnection, taxonomy: Taxonomy, options: AnnotationOptions) -> AnnotationPlatform:
    # Imported here: what it speaks HTTP with is an extra of the package.
    try:
        from al_platform.annotation.label_studio.platform import LabelStudio
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The backend label_studio needs {error.name}: pip install al-platform[label-studio]"
        ) from error
    return LabelStudio(
        store=connection.store,
        prefix=f"{connection.prefix}/label_studio",
        family=connection.family,
        taxonomy=taxonomy,
        options=options.label_studio,
        answers_per_page=options.answers_per_page,
        access=Access.of(connection.credentials),
    )


PLATFORMS: Mapping[str, Callable[[PlatformConnection, Taxonomy, AnnotationOptions], AnnotationPlatform]] = {
    "simulated": _simulated,
    "exchange": _exchange,
    "label_studio": _label_studio,
}
