"""A loopback Azure ML: the unmodified SDKs talk to it as if it were Azure, and nothing leaves this machine.

README.md in this folder shows how a test uses it, and how a person does.
Jobs of SDK v2 (`routes/arm_*.py`) are runs like those of v1: one history, one registry of environments, one node.
"""

from scripts.emulator.faults import Fault
from scripts.emulator.messages import Request
from scripts.emulator.records import Metric, ModelRecord, RunRecord, Workspace
from scripts.emulator.service import Emulator

__all__ = ["Emulator", "Fault", "Metric", "ModelRecord", "Request", "RunRecord", "Workspace"]
