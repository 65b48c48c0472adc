"""What Slurm tells, read and put into words; needs no Slurm."""

import time

import pytest

from engine import protocol as p
from engine.workers import slurm
from engine.workers.slurm import Job
from svhn_tui.analysis.worker_status import fleet_text, members_of, summary_of
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import State

QUEUE = """
7|svhn-a|PENDING|1795634645|N/A||Resources
6|svhn-b|RUNNING|1795634525|1795634645|vm|None
3|svhn-b|CANCELLED|1795634025|1795634045|vm|None
8|svhn-c|PENDING|N/A|N/A||ReqNodeNotAvail, UnavailableNodes:vm|17
not of that form
"""


def test_the_latest_job_of_a_name_is_read_and_what_is_no_line_is_passed_over():
    jobs = slurm.read_jobs(QUEUE)
    assert jobs["svhn-b"] == Job("6", "svhn-b", "RUNNING", 1795634525.0, 1795634645.0, "vm", "None")
    assert [(job.is_waiting, job.has_ended) for job in jobs.values()] == [(True, False), (False, False), (True, False)]
    assert [job.why_waiting for job in jobs.values()] == ["the resources are in use", "", "the node is not available"]
    assert slurm.read_jobs("") == {}


@pytest.mark.parametrize(
    ("minutes", "epoch_seconds", "margin"),
    [(240, 5, 120), (1, 1, 12), (240, 200, 300)],
    ids=["a long time", "a short time", "long epochs"],
)
def test_a_worker_leaves_early_enough_to_end_its_epoch(minutes: float, epoch_seconds: float, margin: float):
    job = Job("1", "x", "RUNNING", 1_000.0, 1_000.0 + 60 * minutes)
    assert slurm.leaves_at(job, epoch_seconds) == 1_000.0 + 60 * minutes - margin
    assert not slurm.has_time(job, epoch_seconds)


def test_a_job_without_an_end_and_one_that_is_not_known_have_all_the_time():
    assert slurm.has_time(Job("1", "x", "RUNNING", 1_000.0), 5)
    assert slurm.has_time(None, 5)


@pytest.mark.parametrize(
    ("state", "text", "run_may_be_cause"),
    [("NODE_FAIL", "Its node was lost.", False), ("PREEMPTED", "Another job took its place.", False),
     ("FAILED", "", True), ("COMPLETED", "", True), ("TIMEOUT", "Its time was over.", False)],
)  # fmt: skip
def test_only_what_a_run_may_have_caused_counts_against_it(state: str, text: str, run_may_be_cause: bool):
    job_end = slurm.end_of(Job("1", "x", state))
    assert (job_end.text, job_end.run_may_be_cause) == (text, run_may_be_cause)
    assert not slurm.end_of(None).run_may_be_cause, "Slurm did not say"


def test_workers_elsewhere_are_put_into_words():
    at = time.mktime((2030, 1, 2, 20, 45, 0, 0, 0, -1))
    events = (
        p.FleetChanged(fleet=p.Fleet(slurm="--gres=gpu:1", workers=3)),
        p.WorkerChanged(worker="core0", state="ready", node="login"),
        p.WorkerChanged(
            worker="slurm0", state="waiting", where="Slurm", job="7", text="others come first", expected_at=at
        ),
        p.WorkerChanged(
            worker="slurm1", state="ready", where="Slurm", job="6", node="n17", gpu="1", ends_at=at, device="gpu"
        ),
        p.WorkerChanged(worker="slurm2", state="ended", where="Slurm", job="5", text="Its node was \x1b[31mlost."),
    )
    state = fold(events, State())
    assert [member.sentence for member in members_of(state)] == [
        "slurm1 is ready on n17, GPU 1: job 6 · until Jan 02 20:45",
        "slurm0 waits in Slurm's queue: job 7 · others come first · expected Jan 02 20:45",
        "slurm2 ended: job 5 · Its node was �[31mlost",
    ]
    assert summary_of(state) == (
        "0 of 2 workers train · 1 in Slurm's queue (others come first, the first expected Jan 02 20:45)"
    )
    assert fleet_text(state.fleet) == "through Slurm, 3 workers at a time with --gres=gpu:1"
    assert (summary_of(State()), fleet_text(p.Fleet())) == ("", "on this machine")
