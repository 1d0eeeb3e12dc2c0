"""A local stand-in for Databricks' Jobs API, for tests of what starts and watches jobs.

``python -m servers.databricks_jobs`` runs one in a process of its own.
"""

from servers.databricks_jobs.model import Outcome
from servers.databricks_jobs.server import Call, DatabricksJobsServer, StartedRun

__all__ = ["Call", "DatabricksJobsServer", "Outcome", "StartedRun"]
