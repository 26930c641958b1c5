"""A byte-level fuzzer, and what every reader owes to what it makes: an answer or one sentence, soon, in little memory."""

from __future__ import annotations

import random
import resource
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import ffrecur

SECONDS = 20.0  # of the processor, for one input
MEGABYTES = 300  # that the process may grow by, over all inputs of a test


def truncate(data: bytearray, source: random.Random) -> None:
    """Cut the end off."""
    del data[source.randrange(len(data)) :]


def flip(data: bytearray, source: random.Random) -> None:
    """Flip one to eight bits."""
    for _ in range(source.randint(1, 8)):
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)


def extend(data: bytearray, source: random.Random) -> None:
    """Put something behind, or in between."""
    place = source.choice([len(data), source.randrange(len(data))])
    data[place:place] = source.choice(
        [source.randbytes(source.randint(1, 40)), bytes(source.randint(1, 40)), data[:40]]
    )


def swap(data: bytearray, source: random.Random) -> None:
    """Exchange two ranges."""
    a, b, c, d = sorted(source.randrange(len(data) + 1) for _ in range(4))
    data[a:d] = data[c:d] + data[b:c] + data[a:b]


def overwrite(data: bytearray, source: random.Random) -> None:
    """Write the bytes of a number that no header means well with."""
    place = source.randrange(len(data))
    number = source.choice(
        [b"\xff" * 4, b"\xff" * 8, b"\x00" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80" + bytes(7)]
    )
    data[place : place + len(number)] = number


WAYS = (truncate, flip, extend, swap, overwrite)


def mutate(data: bytes, source: random.Random) -> bytes:
    """Return the data changed in one to three ways; half of the time near its beginning or its end, where headers are."""
    changed = bytearray(data)
    for _ in range(source.choice([1, 1, 2, 3])):
        if not changed:
            break
        part = min(len(changed), source.choice([len(changed), len(changed), 64, 400]))
        start = source.choice([0, len(changed) - part])
        piece = changed[start : start + part]
        source.choice(WAYS)(piece, source)
        changed[start : start + part] = piece
    return bytes(changed)


def answer(read: Callable[[], Any]) -> Any:
    """Return what `read` returns, or the `UserError` that it raises, of one line; anything else is a failure."""

    def too_long(*_: object) -> None:
        raise AssertionError(f"it takes more than {SECONDS} seconds")

    before = signal.signal(signal.SIGVTALRM, too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        found = read()
    except ffrecur.UserError as error:
        found = error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert not isinstance(found, ffrecur.UserError) or len(str(found).splitlines()) == 1, str(found)
    return found


def fuzz(name: str, data: bytes, examples: int, check: Callable[[bytes], str]) -> Counter[str]:
    """Call `check` with so many mutations of the data; it says what came out. Print and return the counts of that."""
    counts: Counter[str] = Counter()
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(examples):
        changed = mutate(data, random.Random(f"{name} {number}"))
        try:
            counts[check(changed)] += 1
        except BaseException as error:
            error.add_note(f"mutation {number} of {name}: {len(changed)} bytes, {changed[:200]!r}")
            raise
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - largest) / 1024
    assert grown < MEGABYTES, f"{name}: the process grew by {grown:.0f} MB"
    print(f"{name}: {examples:,} inputs: {dict(counts)}")
    return counts
