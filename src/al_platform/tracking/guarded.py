"""A Lightning logger that cannot stop the training which it follows."""

import logging
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from lightning.pytorch.loggers import Logger

LOG = logging.getLogger("al_platform")


class GuardedLogger(Logger):
    """Hands everything on until that fails once; from then on nothing, and the log says so."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger
        self.is_broken = False

    @property
    def name(self) -> str | None:
        """Of the tracker's run."""
        return "al-platform"

    @property
    def version(self) -> int | str | None:
        """None: Lightning names folders by it, and none are made."""
        return None

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Hand metrics on."""
        self._try(lambda: self._logger.log_metrics(metrics, step))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Hand parameters on."""
        self._try(lambda: self._logger.log_hyperparams(params, *args, **kwargs))

    def _try(self, call: Callable[[], Any]) -> None:
        if self.is_broken:
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever the tracker's library raises, the training goes on
            self.is_broken = True
            LOG.warning("The tracker takes no more curves of this training, which goes on: %s", error)
