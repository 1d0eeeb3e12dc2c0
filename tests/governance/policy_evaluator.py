"""What AWS would answer, for the part of its policy language that our documents use."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """Something a role asks of S3; ``context`` holds the condition keys that the request has."""

    role: str
    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def is_allowed(request: Request, identity: Mapping[str, Any], resource: Mapping[str, Any]) -> bool:
    """Whether the role's policy allows the request and no statement of either policy denies it."""
    applying = [statement for policy in (identity, resource) for statement in _applying(request, policy)]
    effects = {statement["Effect"] for statement in applying}
    return effects == {"Allow"}


def _applying(request: Request, policy: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        statement
        for statement in policy["Statement"]
        if _is_any(request.action, statement["Action"])
        and _is_any(request.resource, statement["Resource"])
        and all(
            _holds(operator, key, wanted, request.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    ]


def _holds(operator: str, key: str, wanted: str | Sequence[str], context: Mapping[str, str]) -> bool:
    if operator == "Null":
        return (key not in context) == (wanted == "true")
    if operator == "Bool":
        return context.get(key) == wanted
    if operator == "ArnNotLike":
        return key not in context or not _is_any(context[key], wanted)
    raise NotImplementedError(operator)


def _is_any(value: str, patterns: str | Sequence[str]) -> bool:
    return any(_fits(value, pattern) for pattern in ([patterns] if isinstance(patterns, str) else patterns))


def _fits(value: str, pattern: str) -> bool:
    expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(expression, value, flags=re.DOTALL) is not None
