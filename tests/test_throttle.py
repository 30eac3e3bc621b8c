from bot.throttle import Throttle


def test_counts_for_each_key_and_for_all_together_in_a_sliding_period() -> None:
    now = 0.0
    throttle = Throttle(per_key=2, overall=3, period=60.0, clock=lambda: now)
    assert [throttle.allow("a") for _ in range(3)] == [True, True, False]
    now = 30.0
    assert [throttle.allow(key) for key in ("b", "b", "c")] == [True, False, False], "three in all"
    now = 60.0
    assert [throttle.allow(key) for key in ("a", "b", "c")] == [True, True, False], "those of the beginning are over"


def test_a_refusal_does_not_prolong_the_wait() -> None:
    now = 0.0
    throttle = Throttle(per_key=1, overall=10, period=60.0, clock=lambda: now)
    assert throttle.allow("a")
    now = 59.0
    assert not throttle.allow("a")
    now = 60.0
    assert throttle.allow("a")


def test_memory_is_bounded_whatever_the_number_of_keys() -> None:
    throttle = Throttle(per_key=1, overall=5, clock=lambda: 0.0)
    assert sum(throttle.allow(key) for key in range(100_000)) == 5
    assert len(throttle._allowed) == 5
