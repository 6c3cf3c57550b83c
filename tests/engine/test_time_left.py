"""How long a search still takes, by hand."""

from __future__ import annotations

from interp_dsl.circuits.progress import Work
from interp_dsl.engine.time_left import TimeLeft


def test_a_rate_of_the_later_half_times_the_work_ahead() -> None:
    left = TimeLeft()
    assert left(10.0, Work(0, 0, 100)) is None
    assert left(12.0, Work(4, 10, 96)) == (10 * 2 / 4, 96 * 2 / 4)
    # since 12.0, when half of the work was done: 2 s for 4
    assert left(14.0, Work(8, 20, 92)) == (20 * 2 / 4, 92 * 2 / 4)
    # still since 12.0, the last moment before half of it was: 8 s for 10
    assert left(20.0, Work(14, 30, 40)) == (30 * 8 / 10, 40 * 8 / 10)


def test_at_the_most_tests_are_as_slow_as_a_pass() -> None:
    left = TimeLeft()
    left.one_pass = 2.0
    left(0.0, Work(0, 0, 100))
    assert left(1.0, Work(4, 10, 96)) == (10 / 4, 96 * 2.0)
    assert left(13.0, Work(8, 20, 92)) == (20 * 12 / 4, 92 * 12 / 4)


def test_what_an_earlier_run_did_sets_no_rate() -> None:
    left = TimeLeft()
    assert left(0.0, Work(1000, 5, 50)) is None
    assert left(3.0, Work(1001, 5, 49)) == (15.0, 147.0)


def test_another_threshold_counts_anew() -> None:
    left = TimeLeft()
    left(0.0, Work(0, 0, 10))
    assert left(5.0, Work(10, 0, 0)) == (0.0, 0.0)
    assert left(6.0, Work(2, 3, 8)) is None
    assert left(7.0, Work(4, 3, 6)) == (1.5, 3.0)
