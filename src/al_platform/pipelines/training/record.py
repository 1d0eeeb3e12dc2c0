"""What a training leaves in ``training.json``: what it was made from, on what, for how much."""

from collections.abc import Mapping, Sequence
from typing import Any

from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.model import ModelOptions
from al_platform.pipelines.training.options import TrainingOptions

SECONDS_AN_HOUR = 3600


def training_record(
    summary: Mapping[str, Any],
    circumstances: Mapping[str, Any],
    taxonomy: Taxonomy,
    model: ModelOptions,
    options: TrainingOptions,
) -> dict[str, Any]:
    """Return the record of a training, without what only the run knows.

    Args:
        summary: What depends on data, parameters and seed alone; loss curves are in it.
        circumstances: Digests of inputs, devices, ``wall_s``, ``device_s``, and what else happened.
        taxonomy: The family's labels.
        model: Which model.
        options: How it was trained.
    """
    parameters = {"taxonomy": taxonomy, "model": model, "training": options}
    return {
        **summary,
        **circumstances,
        "seeds": {"training": options.seed},
        "parameters": {name: part.model_dump(mode="json") for name, part in parameters.items()},
        "cost": cost(circumstances["devices"], circumstances["device_s"], options.price_per_hour),
    }


def cost(devices: Sequence[str], device_s: float, price_per_hour: Mapping[str, float]) -> float | None:
    """Return what the seconds of these devices cost, in the price table's currency; None where one has no price.

    Args:
        devices: Name of each.
        device_s: Seconds of all of them together.
        price_per_hour: By a part of a device's name.
    """
    prices = [_price(device, price_per_hour) for device in devices]
    known = [price for price in prices if price is not None]
    if not known or len(known) < len(prices):
        return None
    return round(device_s / SECONDS_AN_HOUR * sum(known) / len(known), 6)


def _price(device: str, price_per_hour: Mapping[str, float]) -> float | None:
    fitting = [name for name in price_per_hour if name.lower() in device.lower()]
    return price_per_hour[max(fitting, key=len)] if fitting else None
