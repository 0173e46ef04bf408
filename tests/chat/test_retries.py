"""When a server is asked again."""

import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from textclf.chat import retries
from textclf.chat.retries import PassingError, pause, retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "-5"}, 0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_what_a_server_asks_for(headers, seconds):
    assert retry_after(headers) == seconds


def test_a_date_that_is_to_come():
    date = formatdate(time.time() + 120, usegmt=True)
    assert 100 < retry_after({"retry-after": date}) <= 120


def pauses(attempt, wait=None):
    """Many draws of the pause after so many tries."""
    outcome = SimpleNamespace(exception=lambda: PassingError("x", wait))
    return [pause(SimpleNamespace(attempt_number=attempt, outcome=outcome)) for _ in range(500)]


@pytest.mark.parametrize(("attempt", "most"), [(1, 1), (3, 4), (6, 32), (7, 60), (50, 60)])
def test_pauses_grow_and_each_draws_its_own_share(attempt, most):
    for drawn in (pauses(attempt), pauses(attempt, 0.0)):
        assert 0 <= min(drawn) < most / 4
        assert most * 3 / 4 < max(drawn) <= most
        assert len(set(drawn)) > 400
    assert (retries.BACKOFF, retries.MAX_PAUSE) == (1, 60)


def test_what_is_asked_for_is_waited_and_little_more(capsys):
    drawn = pauses(1, 10.0)
    assert min(drawn) >= 10
    assert max(drawn) <= 11
    assert len(set(drawn)) > 400
    assert capsys.readouterr().err == ""
    pauses(1, 100.0)
    assert "asks to wait 100 s" in capsys.readouterr().err
