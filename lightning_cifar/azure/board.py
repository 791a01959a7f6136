"""What a forwarder and its worker tell each other."""

import mmap
import struct

CHUNK = 2000


class _Cell:
    """A number in shared memory, as an attribute of `Board`."""

    def __init__(self, index: int) -> None:
        self._offset = 8 * index

    def __get__(self, board: "Board", owner: type) -> float:
        return float(struct.unpack_from("d", board.memory, self._offset)[0])

    def __set__(self, board: "Board", value: float) -> None:
        struct.pack_into("d", board.memory, self._offset, value)


class Board:
    """What forwarder and worker tell each other, in memory that both share.

    From the forwarder: `gone` (the training process), `hurry` (it waits). From the worker: `step_began`
    (`time.monotonic()` of the step at work; 0 none), `succeeded` (something was confirmed), `retry_after`
    (seconds that the service asked for), `chunk` (entries to send at a time).
    """

    gone, hurry, step_began, succeeded, retry_after, chunk = (_Cell(index) for index in range(6))

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 8 * 6)
        self.chunk = CHUNK
