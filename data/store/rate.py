"""How far the reading of a text has come, at what rate, and how long it will take."""

from collections.abc import Callable
from time import monotonic

EVERY_SECONDS = 10.0
_LEAST_MEGABYTES = 1.0  # of a text whose rate is reported at the end


class ReadingRate:
    """Reports megabytes, megabytes a second and the seconds that are left, every ten seconds and at the end.

    Args:
        what: is being done.
        total: bytes that there are; None where nobody knows.
        report: takes the lines.
    """

    def __init__(self, what: str, total: int | None, report: Callable[[str], None]) -> None:
        self.what, self.total, self.report = what, total, report
        self.done = 0
        self.began = self.reported = monotonic()

    def add(self, num_bytes: int) -> None:
        """Counts what was done."""
        self.done += num_bytes
        now = monotonic()
        if now - self.reported >= EVERY_SECONDS:
            self.reported = now
            rate = self.done / (now - self.began)
            left = None if self.total is None else max(self.total - self.done, 0) / rate
            of = "" if self.total is None else f" of {self.total / 1e6:,.0f}"
            remaining = "" if left is None else f", {left:,.0f} s left"
            self.report(f"{self.what}: {self.done / 1e6:,.0f}{of} MB, {rate / 1e6:.1f} MB/s{remaining}")

    def finish(self) -> None:
        """Reports the rate of it all, where it was more than a little."""
        seconds = max(monotonic() - self.began, 1e-9)
        if self.done >= _LEAST_MEGABYTES * 1e6:
            rate = self.done / 1e6 / seconds
            self.report(f"{self.what}: {self.done / 1e6:,.1f} MB in {seconds:.1f} s, {rate:.1f} MB/s")
