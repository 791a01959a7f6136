"""The part of OData that the SDK uses to filter and order runs."""

import re
from typing import Any

_FIELDS = {
    "runid": "runId",
    "parentrunid": "parentRunId",
    "rootrunid": "rootRunId",
    "status": "status",
    "runtype": "runType",
    "createdutc": "createdUtc",
    "starttimeutc": "startTimeUtc",
    "target": "target",
    "runnumber": "runNumber",
}


def matches(run: dict[str, Any], expression: str | None) -> bool:
    """Tell whether a run passes an OData filter made of comparisons, `and`, `or` and brackets.

    Raises:
        ValueError: for an expression of another form.
    """
    if not expression:
        return True
    tokens = re.findall(r"\(|\)|'[^']*'|[^\s()']+", expression)
    value, rest = _either(run, tokens)
    if rest:
        raise ValueError(f"cannot read the rest of the filter: {rest}")
    return value


def _either(run: dict[str, Any], tokens: list[str]) -> tuple[bool, list[str]]:
    value, tokens = _both(run, tokens)
    while tokens and tokens[0].lower() == "or":
        other, tokens = _both(run, tokens[1:])
        value = value or other
    return value, tokens


def _both(run: dict[str, Any], tokens: list[str]) -> tuple[bool, list[str]]:
    value, tokens = _comparison(run, tokens)
    while tokens and tokens[0].lower() == "and":
        other, tokens = _comparison(run, tokens[1:])
        value = value and other
    return value, tokens


def _comparison(run: dict[str, Any], tokens: list[str]) -> tuple[bool, list[str]]:
    if tokens[0] == "(":
        value, tokens = _either(run, tokens[1:])
        return value, tokens[1:]
    name, operator, literal, *rest = tokens
    wanted: str | None = literal.strip("'")
    found = _field(run, name)
    if wanted == "null":
        wanted = None
    if operator.lower() == "eq":
        return found == wanted, rest
    if operator.lower() == "ne":
        return found != wanted, rest
    if operator.lower() in ("ge", "gt", "le", "lt"):
        left, right = str(found or ""), str(wanted)
        return {"ge": left >= right, "gt": left > right, "le": left <= right, "lt": left < right}[
            operator.lower()
        ], rest
    raise ValueError(f"unknown operator in a filter: {operator!r}")


def _field(run: dict[str, Any], name: str) -> str | None:
    container, _, key = name.partition("/")
    if container.lower() in ("tags", "properties"):
        return run[container.lower()].get(key)
    value = run.get(_FIELDS[name.lower()])
    return None if value is None else str(value)


def ordered(runs: list[dict[str, Any]], expression: Any) -> list[dict[str, Any]]:
    """Return runs in the order of "CreatedUtc desc" and the like; in order of creation without one."""
    if isinstance(expression, list):
        expression = expression[0] if expression else None
    if not expression:
        return runs
    name, _, direction = str(expression).partition(" ")
    key = _FIELDS.get(name.lower(), "createdUtc")
    return sorted(runs, key=lambda run: str(run.get(key) or ""), reverse=direction.strip().lower() == "desc")
