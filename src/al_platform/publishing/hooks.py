"""When tracking is online: what a run committed is sent when it ends, which never fails it."""

import logging
from typing import Any

from kedro.framework.hooks import hook_impl

from al_platform.domain.errors import AlPlatformError
from al_platform.storage.redaction import redact

LOG = logging.getLogger("al_platform")


class TrackingHooks:
    """Tells the tracker at the end of a run what it does not know yet."""

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep the configuration, and refuse a mistaken one before anything runs."""
        self._loader = context.config_loader
        self._options = self._loader.tracking

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Send what was committed."""
        self._send()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Send what the other stages and families committed."""
        self._send()

    def _send(self) -> None:
        options = self._options
        if options.backend == "none" or options.mode == "offline" or not options.after_run_s:
            return
        from al_platform.publishing.sync import Sync

        try:
            found = Sync(self._loader, options).run(options.after_run_s)
        except (AlPlatformError, OSError) as error:
            LOG.warning("The tracker was told nothing; 'kedro al sync' will: %s", redact(str(error)))
            return
        if found.problem:
            LOG.warning("%d runs are kept for 'kedro al sync': %s", found.left, found.problem)
