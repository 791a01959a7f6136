"""What the emulator keeps of each thing: the workspace, runs, metrics, models, computes."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Workspace:
    """The one workspace that exists; its `scope` is the path of its resource."""

    subscription_id: str = "00000000-0000-0000-0000-000000000001"
    resource_group: str = "emulator-group"
    name: str = "emulator"
    id: str = "33333333-3333-3333-3333-333333333333"

    @property
    def scope(self) -> str:
        """Path of the workspace as a resource, with a leading slash."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.name}"
        )


class Metric(NamedTuple):
    """One value as it arrived.

    `value` is what was logged (of a row: None), `step` None without one, `arrived` is `time.monotonic()`,
    `columns` holds all values of a row by name, `id` is the SDK's random one, `type` how Studio draws it.
    """

    name: str
    step: int | None
    value: Any
    arrived: float
    columns: dict[str, Any]
    id: str
    type: str
    created: str


@dataclass
class MetricSeries:
    """A run's metric: types of its columns, how Studio draws it, and its values in order of arrival."""

    columns: dict[str, str]
    type: str
    values: list[Metric] = field(default_factory=list)


@dataclass
class RunRecord:
    """A run as the history service knows it; times are UTC in ISO form."""

    id: str
    experiment: str
    number: int
    status: str = "NotStarted"
    display_name: str = ""
    parent: str | None = None
    target: str | None = None
    type: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    definition: dict[str, Any] | None = None
    snapshot: str | None = None
    error: dict[str, Any] | None = None
    created: str = ""
    started: str | None = None
    ended: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, MetricSeries] = field(default_factory=dict)

    @property
    def container(self) -> str:
        """Name of the container of its artifacts."""
        return f"dcid.{self.id}"


@dataclass
class ModelRecord:
    """A registered model; `content` maps paths to what its artifacts held when it was registered."""

    name: str
    version: int
    run_id: str | None
    content: dict[str, bytes]


@dataclass
class Compute:
    """A compute target; `vm_size` such as STANDARD_NC6S_V3 tells whether it has GPUs."""

    name: str
    vm_size: str
    max_nodes: int
