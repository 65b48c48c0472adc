"""What `run` prints of failures and retries: each reason once for a group."""

from engine import protocol as p
from svhn_tui.cli.run_output import News
from svhn_tui.client.state import State


def test_why_a_group_that_trained_nothing_was_stopped_is_said_once():
    news, state = News(), State()
    stopped = [("a", "Its GPU cannot be used.", 0), ("b", "Its GPU cannot be used.", 0), ("c", "Its GPU failed.", 0),
               ("c", "Its GPU failed.", 0), ("d", "Its GPU failed.", 7), ("e", "Its GPU failed.", 7)]  # fmt: skip
    events = [p.RunInterrupted(run_id=run, reason=reason, epoch=epoch) for run, reason, epoch in stopped]
    sentences = [news.sentence_on(event, state) for event in events]
    assert [bool(sentence) for sentence in sentences] == [True, False, True, True, True, True]
    assert sentences[0] == "a stopped at epoch 0: Its GPU cannot be used."
    assert news.sentence_on(p.Noticed(text="gpu0 is not used.", severity="error"), state) == "gpu0 is not used."
