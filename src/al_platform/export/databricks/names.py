"""Names that the parts of the bundle call each other by."""

PREFIX = "al-platform"
JOB_PREFIX = "${var.prefix}-"

SCHEMA = "${resources.schemas.al_platform.name}"
SECRET_SCOPE = "${resources.secret_scopes.al_platform.name}"
WHEEL = "../dist/*.whl"
ARCHIVE = "dist/conf-al_platform.tar.gz"


def variable(name: str) -> str:
    """Return the reference to a variable of the bundle."""
    return f"${{var.{name}}}"


def parameter(name: str) -> str:
    """Return the reference to a parameter of the job in which it stands."""
    return f"{{{{job.parameters.{name}}}}}"
