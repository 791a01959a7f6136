"""The part of OData that the SDK uses to filter and order runs (azureml/_restclient/_odata/runs.py)."""

import re
from typing import Any

_COMPARISON = re.compile(r"(\S+)\s+(eq|ne|ge|gt)\s+(.*)", re.IGNORECASE)


def matches(run: dict[str, Any], expression: str | None) -> bool:
    """Return whether a run passes a filter: groups joined by `and`, each of comparisons joined by `or`.

    Raises:
        ValueError: for an expression of another form.
    """
    groups = re.split(r"\s+and\s+", expression) if expression else []
    return all(any(_holds(run, one.strip("() ")) for one in re.split(r"\s+or\s+", group)) for group in groups)


def _holds(run: dict[str, Any], comparison: str) -> bool:
    match = _COMPARISON.fullmatch(comparison)
    if match is None:
        raise ValueError(f"cannot read {comparison!r} in a filter")
    name, operator, literal = match[1], match[2].lower(), match[3].strip("\"'")
    group, _, key = name.partition("/")
    known = run[group.lower()] if key else {name: _field(run, name)}
    if (key or name) not in known:  # "(Tags/x ne null or Tags/x eq null)" asks whether there is such a tag
        return False
    found, wanted = known[key or name], None if literal == "null" else literal
    if operator in ("eq", "ne"):
        return (found == wanted) == (operator == "eq")
    # Times: the SDK separates date and time by a blank. "gt" is read as "ge": no run has the very same time.
    return str(found or "").replace("T", " ") >= literal


def _field(run: dict[str, Any], name: str) -> Any:
    """Return a field of a run; the SDK writes the first letter as a capital."""
    return run.get(name[0].lower() + name[1:])


def ordered(runs: list[dict[str, Any]], expression: str | None) -> list[dict[str, Any]]:
    """Return runs in the order of "CreatedUtc desc" and the like; as they come without one."""
    if not expression:
        return runs
    name, _, direction = expression.partition(" ")
    return sorted(runs, key=lambda run: str(_field(run, name) or ""), reverse=direction == "desc")
