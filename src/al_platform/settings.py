"""Kedro's settings of this project."""

from omegaconf.resolvers import oc

from al_platform.config import FamilyConfigLoader
from al_platform.hooks import CommitHooks, ConfigurationHooks, ReportHooks
from al_platform.publishing.hooks import TrackingHooks

CONFIG_LOADER_CLASS = FamilyConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {
        "families": ["families.yml"],
        "tracking": ["tracking.yml"],
        "dashboard": ["dashboard.yml"],
        "governance": ["governance.yml"],
        "monitoring": ["monitoring.yml"],
        "selfcheck": ["selfcheck.yml"],
        "export": ["export.yml"],
        "airflow": ["airflow.yml"],
    },
    # Kedro knows this one for credentials only; here roots come from the environment.
    "custom_resolvers": {"oc.env": oc.env},
    "merge_strategy": dict.fromkeys(["parameters", "globals", "catalog", "tracking", "export", "airflow"], "soft"),
}
HOOKS = (ConfigurationHooks(), CommitHooks(), TrackingHooks(), ReportHooks())
# Kedro-Viz records the last run only under Kedro's own runners; under ours its hooks do nothing but warn.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry", "kedro-viz")
