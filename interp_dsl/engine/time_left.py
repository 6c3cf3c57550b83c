"""How long a search still takes."""

from __future__ import annotations

from bisect import bisect_right

from interp_dsl.circuits.progress import Work


class TimeLeft:
    """Seconds: at the least, what is sure to be tested takes as long as the later half of the work
    done; at the most, every edge ahead is tested with all that lies behind it, as slowly as a whole
    pass, which takes `one_pass` seconds. The two close as edges are judged."""

    def __init__(self) -> None:
        self.one_pass = 0.0
        self._times: list[float] = []
        self._done: list[float] = []

    def __call__(self, now: float, work: Work) -> tuple[float, float] | None:
        """At a time; None while nothing has been measured."""
        if self._done and work.done < self._done[-1]:  # another threshold counts anew
            self._times, self._done = [], []
        self._times.append(now)
        self._done.append(work.done)
        half = bisect_right(self._done, (self._done[0] + work.done) / 2) - 1
        done = work.done - self._done[half]
        if not done:
            return None
        rate = (now - self._times[half]) / done
        return rate * work.least, max(rate, self.one_pass) * work.most
