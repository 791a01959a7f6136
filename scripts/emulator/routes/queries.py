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
# The SDK does not quote all values: one ends where a bracket or the next operator begins.
_VALUE = r""""[^"]*"|'[^']*'|.*?"""
_COMPARISON = re.compile(rf"\s*(\S+)\s+(eq|ne|ge|gt|le|lt)\s+({_VALUE})\s*(?=\)|\sand\s|\sor\s|$)", re.IGNORECASE)
_WORD = re.compile(r"\s*(and\b|or\b|\(|\))\s*", re.IGNORECASE)
_ABSENT = object()


def matches(run: dict[str, Any], expression: str | None) -> bool:
    """Tell whether a run passes an OData filter made of comparisons, `and`, `or` and brackets.

    Raises:
        ValueError: for an expression of another form.
    """
    return not expression or _Filter(run, expression).value()


class _Filter:
    """Reads an expression from left to right."""

    def __init__(self, run: dict[str, Any], text: str) -> None:
        self._run, self._text, self._at = run, text, 0

    def value(self) -> bool:
        value = self._either()
        if self._text[self._at :].strip():
            raise ValueError(f"cannot read the rest of the filter: {self._text[self._at :]!r}")
        return value

    def _take(self, word: str) -> bool:
        match = _WORD.match(self._text, self._at)
        if match is None or match[1].lower() != word:
            return False
        self._at = match.end()
        return True

    def _either(self) -> bool:
        value = self._both()
        while self._take("or"):
            value = self._both() or value
        return value

    def _both(self) -> bool:
        value = self._one()
        while self._take("and"):
            value = self._one() and value
        return value

    def _one(self) -> bool:
        if self._take("("):
            value = self._either()
            if not self._take(")"):
                raise ValueError(f"a bracket is not closed in the filter {self._text!r}")
            return value
        match = _COMPARISON.match(self._text, self._at)
        if match is None:
            raise ValueError(f"cannot read the filter from {self._text[self._at :]!r}")
        self._at = match.end()
        return _compare(_field(self._run, match[1]), match[2].lower(), match[3].strip("\"'"))


def _compare(found: Any, operator: str, literal: str) -> bool:
    if found is _ABSENT:  # "(Tags/x ne null or Tags/x eq null)" asks whether there is such a tag
        return False
    wanted = None if literal == "null" else literal
    if operator in ("eq", "ne"):
        return (found == wanted) == (operator == "eq")
    left, right = str(found or "").replace("T", " "), str(wanted).replace("T", " ")
    return {"ge": left >= right, "gt": left > right, "le": left <= right, "lt": left < right}[operator]


def _field(run: dict[str, Any], name: str) -> Any:
    container, _, key = name.partition("/")
    if container.lower() in ("tags", "properties"):
        return run[container.lower()].get(key, _ABSENT)
    value = run.get(_FIELDS.get(name.lower(), name))
    return None if value is None else str(value)


def ordered(runs: list[dict[str, Any]], expression: Any) -> list[dict[str, Any]]:
    """Return runs in the order of "CreatedUtc desc" and the like; as they come without one."""
    if isinstance(expression, list):
        expression = expression[0] if expression else None
    if not expression:
        return runs
    name, _, direction = str(expression).partition(" ")
    key = _FIELDS.get(name.lower(), "createdUtc")
    return sorted(runs, key=lambda run: str(run.get(key) or ""), reverse=direction.strip().lower() == "desc")
