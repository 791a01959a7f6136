"""The logger's arguments, checked where it is made: a mistake in them must not show first in the cloud."""

from typing import Any


def check_arguments(run: Any, experiment_name: Any, prefix: Any, log_model: Any, timeout: Any) -> None:
    """Make sure that they are what `AzureMLLogger` says.

    Raises:
        ValueError: one is not, with its name and value.
    """
    for name, value, fits, wanted in (
        ("run", run, run is None or hasattr(run, "id"), "an azureml.core.Run"),
        ("experiment_name", experiment_name, experiment_name is None or _is_name(experiment_name), "a name"),
        ("prefix", prefix, isinstance(prefix, str), "a text"),
        ("log_model", log_model, log_model in (True, False, "all"), 'True, False or "all"'),
        ("timeout", timeout, _is_duration(timeout), "a number of seconds, 0 or more"),
    ):
        if not fits:
            raise ValueError(f"{name} of AzureMLLogger is {value!r}, but must be {wanted}")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
