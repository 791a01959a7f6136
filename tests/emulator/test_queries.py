"""Filters and orders of runs, as the SDK writes them (azureml/_restclient/_odata/constants.py)."""

import pytest

from scripts.emulator.routes.queries import matches, ordered

RUN = {
    "runId": "run-1",
    "status": "Running",
    "runType": "azureml.scriptrun",
    "target": "cpu-cluster",
    "parentRunId": None,
    "createdUtc": "2026-05-01T12:00:00.0000000Z",
    "tags": {"owner": "me", "empty": None},
    "properties": {"azureml.runsource": "hyperdrive"},
}


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        (None, True),
        ("(Status eq Running)", True),
        ("(ParentRunId eq null)", True),
        ("(RunType eq azureml.scriptrun or Properties/azureml.runsource eq azureml.scriptrun)", True),
        ("(RunType eq other or Properties/azureml.runsource eq other)", False),
        ("(Tags/owner eq me)", True),
        ("(Tags/absent eq me)", False),
        ("(Tags/owner ne null or Tags/owner eq null)", True),
        ("(Tags/empty ne null or Tags/empty eq null)", True),
        ("(Tags/absent ne null or Tags/absent eq null)", False),
        ("(CreatedUtc ge 2026-04-30 23:59:59)", True),
        ("(CreatedUtc ge 2026-05-02 00:00:00)", False),
        ("((Status eq Running) and (Tags/owner eq me))", True),
        ("((Status eq Running) and (Tags/owner eq you))", False),
        ("RunId eq other or RunId eq run-1", True),
        ("((Tags/owner eq me) and (Status eq Failed)) and (ParentRunId eq null)", False),
    ],
)
def test_a_filter_of_the_sdk_lets_through_what_it_names(expression: str | None, passes: bool) -> None:
    assert matches(RUN, expression) is passes


@pytest.mark.parametrize("expression", ["Status", "Status resembles Running", "(Status eq Running) and nonsense"])
def test_a_filter_of_another_form_is_an_error(expression: str) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        matches(RUN, expression)


def test_runs_are_ordered_by_a_field_in_both_directions() -> None:
    runs = [{"runId": name, "startTimeUtc": start} for name, start in (("b", "1"), ("c", None), ("a", "2"))]
    assert [run["runId"] for run in ordered(runs, "StartTimeUtc desc")] == ["a", "b", "c"]
    assert [run["runId"] for run in ordered(runs, "RunId asc")] == ["a", "b", "c"]
    assert ordered(runs, None) == runs
