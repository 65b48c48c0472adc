"""When a card, a cluster or another machine that refused a worker is tried again, and whether it is said again."""

from engine.scheduling.backoff import FIRST_SECONDS, LONGEST_SECONDS, Backoff


def test_each_pause_is_twice_as_long_and_a_worker_that_starts_ends_them():
    backoff = Backoff()
    pauses = [backoff.refuse("gpu0", "It is full.", 0.0)[0] for _ in range(9)]
    assert pauses == [min(FIRST_SECONDS * 2**number, LONGEST_SECONDS) for number in range(9)]
    assert (backoff.resting(LONGEST_SECONDS - 1), backoff.resting(LONGEST_SECONDS)) == ({"gpu0"}, set())
    backoff.accept("gpu0")
    assert backoff.refuse("gpu0", "It is full.", 0.0) == (FIRST_SECONDS, True)


def test_the_same_reason_with_other_numbers_is_not_said_again():
    backoff = Backoff()
    reasons = ("only 1.0 of 80 GiB are free", "only 1.3 of 80 GiB are free", "process 8 of ada", "process 77 of ada",
               "process 77 of bob")  # fmt: skip
    assert [backoff.refuse("gpu0", reason, 0.0)[1] for reason in reasons] == [True, False, True, False, True]
    assert backoff.reasons == {"gpu0": reasons[-1]}, "status has the latest"
