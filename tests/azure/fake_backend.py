"""A backend whose service is a folder: `FakeBackend` sends to it in the relay, `FakeService` is the test's view of it.

The folder is named by the variable FAKE_SERVICE. What happens at the next calls of a method is scripted by
`FakeService.script("log", "500", "lost")`, one word a call; a word followed by "*" stays for all calls to come:

- "400" … "599": the service answers with this status; - "lost": it stores, and the answer is lost;
- "hang": it never answers; - "late": it never answers, and stores once the test calls `FakeService.store_late`.

A point named "poison" is refused with 400, and everything that is sent along with it.
"""

import json
import os
import time
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


class ServiceError(Exception):
    """An answer of the service that is an error."""

    def __init__(self, status):
        super().__init__(f"the service answered {status}")
        self.status_code = int(status)


class FakeService:
    """The folder: one JSON line for each call that was answered or begun, and for what is stored."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)

    def script(self, method, *words):
        with self._faults() as faults:
            faults[method] = list(words)

    def behave(self):
        with self._faults() as faults:
            faults.clear()

    def next_word(self, method):
        with self._faults() as faults:
            words = faults.get(method) or [""]
            return words[0][:-1] if words[0].endswith("*") else words.pop(0)

    def append(self, kind, *values):
        with (self.folder / f"{kind}.jsonl").open("a") as file:
            file.write("".join(json.dumps(value) + "\n" for value in values))

    def read(self, kind):
        path = self.folder / f"{kind}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def calls(self, method):
        """How often a method was called."""
        return self.read("calls").count(method)

    def points(self, run_id="run-1"):
        """What has arrived, sorted."""
        return sorted((name, step, value) for run, name, step, value in self.read("points") if run == run_id)

    def store_late(self):
        self.append("points", *self.read("late"))

    @contextmanager
    def _faults(self):
        path = self.folder / "faults.json"
        with FileLock(f"{path}.lock"):
            before = path.read_text() if path.exists() else "{}"
            faults = json.loads(before)
            yield faults
            if (after := json.dumps(faults)) != before:
                path.write_text(after)


class FakeBackend:
    """One run of the service; see `lightning_cifar.azure.backends.Backend`."""

    token = None

    def __init__(self, address, touch):
        self.run_id, self.touch = address.run_id, touch
        self.service = FakeService(os.environ["FAKE_SERVICE"])
        self._call("open")
        self.names = {name for run, name, *_ in self.service.read("points") if run == self.run_id}

    def points(self, name):
        self._call("points")
        return {step for run, other, step, _ in self.service.read("points") if (run, other) == (self.run_id, name)}

    def log(self, points):
        values = [(self.run_id, point.name, point.step, point.value) for point in points]
        if any(point.name == "poison" for point in points):
            self.service.append("calls", "log")
            raise ServiceError(400)
        self._call("log", lambda: self.service.append("points", *values), late=values)
        return []

    def table(self, name, columns, rows):
        there = self.service.read("rows")
        new = [[name, dict(zip(columns, row, strict=True))] for row in rows]
        self._call("table", lambda: self.service.append("rows", *(row for row in new if row not in there)))
        return []

    def upload(self, artifact, file):
        content = file.read_text(errors="replace")
        self._call("upload", lambda: self.service.append("artifacts", [artifact, content]))

    def end(self, status, reason):
        self._call("end", lambda: self.service.append("ends", [self.run_id, status, reason]))

    def _call(self, method, store=lambda: None, late=()):
        word = self.service.next_word(method)
        self.service.append("calls", method)  # now: a test that sees it may kill this process at once
        if word in ("hang", "late"):
            if word == "late":
                self.service.append("late", *late)
            time.sleep(3600)
        if word.isdigit():
            raise ServiceError(word)
        store()
        if word == "lost":
            raise ConnectionError("the connection was closed before the answer")
        self.touch()
