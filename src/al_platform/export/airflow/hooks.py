"""Hands the stage list to ``kedro airflow create``, which itself knows nothing but nodes and ``airflow.yml``.

Registered by an entry point: Kedro's settings are read before the export is, and must not import it.
"""

from typing import Any

from kedro.framework.hooks import hook_impl
from omegaconf import OmegaConf


class AirflowHooks:
    """Lets ``airflow.yml`` say ``${airflow_dags:}``."""

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Register the resolver; what it returns is made when it is asked for."""
        loader = context.config_loader

        def airflow_dags() -> Any:
            from al_platform.export.airflow.dags import dags

            return OmegaConf.create(dags(loader))

        OmegaConf.register_new_resolver("airflow_dags", airflow_dags, replace=True)


hooks = AirflowHooks()
