"""threadpoolctl sees and sets the number of charl's threads."""

import pytest

from charl.runtime import threads

threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")


@pytest.fixture(autouse=True)
def registered():
    from charl.runtime import threadpool

    assert threadpool.CharlController
    before = threads.num_threads()
    yield
    threads.set_num_threads(before)


def test_threads_are_found():
    threads.set_num_threads(3)
    found = [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "charl"]
    assert [info["num_threads"] for info in found] == [3]


def test_limits_hold_within_and_end():
    threads.set_num_threads(3)
    with threadpoolctl.threadpool_limits(1):
        assert threads.num_threads() == 1
    with threadpoolctl.threadpool_limits(2, user_api="charl"):
        assert threads.num_threads() == 2
    assert threads.num_threads() == 3
