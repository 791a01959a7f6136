"""Runs what was submitted: all processes of all nodes on this machine, as Azure ML would on a cluster."""

import secrets
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.emulator import isolation, software
from scripts.emulator.node import DataError, Node
from scripts.emulator.processes import Processes
from scripts.emulator.routes import content
from scripts.emulator.state import FINAL, State
from scripts.emulator.uploader import ORIGIN, Uploader

_TAIL = 20  # lines of the log in the error message


class Job:
    """The processes of one attempt at a run that was submitted.

    `environment`, called with a home folder, returns the environment of a process inside the run; `grace` are the
    seconds between SIGTERM and SIGKILL. The nodes' folders are made in `folder`. `fresh`: the processes run in
    an environment built as the definition describes it; else in the emulator's own.

    `folders` are the nodes' working directories.
    """

    def __init__(
        self,
        state: State,
        run_id: str,
        folder: Path,
        environment: Callable[[Path], dict[str, str]],
        grace: float,
        fresh: bool = False,
    ) -> None:
        self.run = state.run(run_id)
        if self.run.definition is None or self.run.snapshot is None:
            raise ValueError(f"{run_id} was not submitted: there is nothing to run")
        self._state, self._environment = state, environment
        self._definition: dict[str, Any] = self.run.definition
        # A fresh name for each attempt and node: nothing can guess where another one keeps its files.
        self._root = folder / secrets.token_hex(8)
        count = int(self._definition.get("nodeCount") or 1)
        self._nodes = [Node(rank, self._root / secrets.token_hex(16)) for rank in range(count)]
        self.folders = [node.work for node in self._nodes]
        self._processes = Processes(grace)
        self._fresh = fresh
        self._logs: list[Path] = []
        self._leaving = False  # it was told that the nodes go away
        self._outcome = ""  # what ended it from outside: "Canceled", "Killed"
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True, name=f"job-{run_id}")

    def start(self) -> None:
        """Start the processes, in the background."""
        self._thread.start()

    def wait(self, timeout: float | None = None) -> str:
        """Return the run's status once all processes have ended.

        Raises:
            TimeoutError: if that takes longer than `timeout` seconds.
        """
        if not self._done.wait(timeout):
            raise TimeoutError(f"{self.run.id} is still {self.run.status} after {timeout:g} s; its log:\n{self.log}")
        return self.run.status

    def kill(self) -> None:
        """Remove the nodes, as pre-emption does: SIGKILL, and no last upload of outputs.

        The run is back in the queue; `Emulator.restart_job` goes on with it.
        """
        self._end("Killed")
        self._processes.kill()
        self._done.wait()
        for node in self._nodes:
            shutil.rmtree(node.root, ignore_errors=True)

    def leave(self, seconds: float) -> None:
        """Wait until the processes have ended by themselves; a failure is then the nodes', and the run queued."""
        self._leaving = True
        self._done.wait(seconds)

    def cancel(self) -> None:
        """Send SIGTERM, after a while SIGKILL; the run ends as Canceled."""

        def end() -> None:
            self._end("Canceled")
            self._processes.terminate()

        # In a thread of its own: the caller may hold the state's lock, which the job needs while it starts.
        threading.Thread(target=end, daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether all its processes have ended."""
        return self._done.is_set()

    @property
    def log(self) -> str:
        """Return what the processes have printed so far, one after the other."""
        return "".join(log.read_text(errors="replace") for log in self._logs if log.exists())

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that have been started, by rank; each leads a process group."""
        return self._processes.pids

    def _main(self) -> None:
        uploader = Uploader(self._state, self.run, self._nodes)
        try:
            self._state.set_status(self.run, "Preparing")
            snapshot = content.files(self._state, self.run.snapshot or "")
            python = software.build(self._definition, self._root / "environment") if self._fresh else sys.executable
            for node in self._nodes:
                node.prepare(snapshot, python)
            with self._lock:
                if not self._outcome:
                    self._start_processes()
            if self._logs:
                self._state.set_status(self.run, "Running")
                uploader.start()
                self._watch()
                uploader.stop()
                if self._outcome != "Killed":
                    uploader.scan(final=True)
            self._finish()
        except Exception as error:
            self._processes.kill()
            self._processes.sweep([node.home for node in self._nodes])
            self._fail(f"{type(error).__name__}: {error}" if not isinstance(error, DataError) else str(error))
        finally:
            for log in self._logs:
                self._state.put_artifact(ORIGIN, self.run.container, f"user_logs/{log.name}", log.read_bytes())
            self._done.set()

    def _start_processes(self) -> None:
        per_node, distributed = _processes_per_node(self._definition)
        world = per_node * len(self._nodes)
        port = _free_port()
        for node in self._nodes:
            data = node.provide(self._state, self._definition.get("dataReferences") or {})
            hidden = [other.root for other in self._nodes if other is not node]
            command = isolation.isolated(node.command(self._definition, data), hidden, node.read_only)
            shared = node.environment(self._environment(node.home)) | data
            shared |= (self._definition.get("environment") or {}).get("environmentVariables") or {}
            shared |= self._definition.get("environmentVariables") or {}
            for local in range(per_node):
                rank = node.rank * per_node + local
                ranks = {"NODE_RANK": node.rank, "RANK": rank, "LOCAL_RANK": local, "WORLD_SIZE": world}
                variables = shared | (ranks | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} if distributed else {})
                environment = {key: str(value) for key, value in variables.items()}
                self._processes.start(command, node.work, environment, self._open_log(rank, world))

    def _open_log(self, rank: int, world: int) -> Path:
        """Make a process's log, an artifact that can be read while it grows."""
        width = len(str(world - 1))
        name = "std_log.txt" if world == 1 else f"std_log_process_{rank:0{width}d}.txt"
        log = self._root / "user_logs" / name
        log.parent.mkdir(exist_ok=True, mode=0o700)
        log.touch()
        self._logs.append(log)
        self._state.put_artifact(ORIGIN, self.run.container, f"user_logs/{name}", log)
        return log

    def _watch(self) -> None:
        """Wait for the processes; the first that fails takes the others with it."""
        if not self._processes.wait(self._definition.get("maxRunDurationSeconds")):
            self._end("Canceled")
        self._processes.terminate()
        self._processes.sweep([node.home for node in self._nodes])

    def _finish(self) -> None:
        failure = self._processes.first_failure()
        if failure and self._leaving:
            self._end("Killed")
        if self._outcome or failure is None:
            status = {"Killed": "Queued", "Canceled": "Canceled", "": "Completed"}[self._outcome]
            self._state.set_status(self.run, status)
            return
        rank, code = failure
        log = self._logs[rank]
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:])
        self._fail(
            f"Execution failed. User process exited with status code {code}. Please check log file "
            f"'user_logs/{log.name}' for error details. Error: {tail}"
        )

    def _fail(self, message: str) -> None:
        self.run.error = {"error": {"code": "UserError", "message": message, "details": []}}
        self._state.set_status(self.run, "Failed")

    def _end(self, outcome: str) -> None:
        with self._lock:
            if self.run.status not in FINAL:
                self._outcome = self._outcome or outcome


def _processes_per_node(definition: dict[str, Any]) -> tuple[int, bool]:
    """Return how many processes each node runs, and whether they form one world."""
    nodes = int(definition.get("nodeCount") or 1)
    communicator = str(definition.get("communicator") or "None").lower()
    if str(definition.get("framework")).lower() == "pytorch" and communicator in ("gloo", "nccl"):
        total = int((definition.get("pytorch") or {}).get("processCount") or nodes)
        if total % nodes:
            raise DataError(f"{total} processes cannot be spread evenly over {nodes} nodes")
        return total // nodes, True
    if communicator not in ("none", ""):
        raise DataError(f"the emulator runs PyTorchConfiguration, but not communicator {communicator!r}")
    return 1, False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
