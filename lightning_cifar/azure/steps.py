"""The steps that a metric has at the service: of ten million a set would take a gigabyte, and the relay has little."""

from collections.abc import Iterable, Iterator

_BITS = 10


class Steps:
    """A set of integers, one bit each, in words of 1,024: small where they are dense, as steps are."""

    def __init__(self, steps: Iterable[int] = ()) -> None:
        self._words: dict[int, int] = {}
        for step in steps:
            self.add(step)

    def __iter__(self) -> Iterator[int]:
        for number, word in self._words.items():
            yield from ((number << _BITS) + bit for bit in range(1 << _BITS) if word >> bit & 1)

    def add(self, step: int) -> bool:
        """Add a step; return False if it was there."""
        number, bit = step >> _BITS, 1 << (step & (1 << _BITS) - 1)
        word = self._words.get(number, 0)
        self._words[number] = word | bit
        return not word & bit
