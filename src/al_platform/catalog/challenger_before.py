"""The challenger of an earlier cycle, for a duel."""

from al_platform.catalog.champion import load_model
from al_platform.catalog.history import NewestBefore
from al_platform.models.model import Model


class ChallengerBefore(NewestBefore):
    """The model that the newest training of a cycle before this one made; None before the first."""

    def _load(self) -> Model | None:
        reference = super()._load()
        return load_model(self.store, self.family, reference["model_digest"]) if reference else None
