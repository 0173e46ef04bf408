"""What becomes of each question, against a server on loopback."""

import logging
import signal
import threading

import pytest

from tests import chat_server
from tests.chat_server import completion
from textclf.chat import retries
from textclf.chat.client import GIVE_UP, ChatServer
from textclf.chat.spending import Limits, tokens_of
from textclf.chat.store import AnswerStore
from textclf.errors import UserError

SECRET = "sk-a-secret-that-nobody-may-see"
PRICES = (1000.0, 2000.0)  # 20 tokens asked and 5 answered: 0.03 a question


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setattr(retries, "BACKOFF", 0.02)
    with chat_server.ChatServer(lambda body: completion("1")) as running:
        yield running
        running.shutdown()


@pytest.fixture
def restored_sigint():
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def ask(server, tmp_path):
    """Asks texts, a call for each list, as one run; gives the contents (None for an error) and what was spent."""

    def run(*calls, replay=False, **limits):
        client = ChatServer(
            server.url, AnswerStore(tmp_path / "answers"), Limits(**{"max_retries": 1, **limits}), replay
        )
        contents = []
        try:
            for texts in calls:
                answers = client.ask([{"model": "m", "messages": [{"role": "user", "content": t}]} for t in texts])
                contents += [None if "error" in a else a["choices"][0]["message"]["content"] for a in answers]
        finally:
            client.close()
        return contents, client.account.spent

    return run


@pytest.mark.slow
def test_a_run_whose_last_missing_row_is_refused_comes_to_its_end(ask, server):
    assert ask(["too long", "good"])[0] == [None, "1"]
    assert ask(["too long", "good"])[1].cached == 2, "a refusal beside an answer is kept"
    for calls in ([["good", "also too long"]], [["too long, it comes first"], ["too long 2"], ["good"]]):
        contents, spent = ask(*calls)
        assert contents.count(None) == spent.refused
        assert contents.count("1") == 1
        assert ask(*calls)[1].requests == 0, "kept, once the server has answered"
    assert ask(["too long alone"])[0] == [None]
    assert ask(["too long alone"])[1].requests == 1, "not kept: the whole command may be wrong"
    with pytest.raises(UserError, match="rejects every request"):
        ask(*([f"always too long {i}"] for i in range(GIVE_UP)))


def test_what_came_to_nothing_can_be_replayed(ask, server):
    calls = [["good", "garbage always"], ["too long"], ["bad"]]
    contents, spent = ask(*calls)
    assert contents == ["1", None, None, "1"]
    assert (spent.failed, spent.refused) == (1, 1)
    before = server.asked.copy()
    again, replayed = ask(*calls, replay=True)
    assert again == contents
    assert server.asked == before
    assert (replayed.requests, replayed.cached, replayed.failed, replayed.refused) == (0, 4, 1, 1)
    ask(*calls)
    assert set(server.asked - before) == {"garbage always"}


UNREADABLE = [
    completion(None),
    completion([{"type": "thinking", "thinking": "1"}]),
    completion(1),
    completion("<think>1", finish_reason="length"),
    completion(None, refusal="I cannot."),
    completion("half an emoji: \ud83d", finish_reason="length"),
    {**completion("1"), "choices": []},
    {**completion("1"), "choices": None},
    {**completion("1"), "choices": [{"text": "1"}]},
    {"usage": {"input_tokens": 20, "output_tokens": 5}},
]


@pytest.mark.parametrize("answer", UNREADABLE)
def test_what_was_paid_is_kept_and_counted_whatever_it_says(answer, server, tmp_path):
    server.reply = lambda body: answer

    def ask(replay, **limits):
        client = ChatServer(server.url, AnswerStore(tmp_path / "answers"), Limits(prices=PRICES, **limits), replay)
        try:
            return client.ask([{"model": "m", "messages": [{"role": "user", "content": f"{i}"}]} for i in range(3)])
        finally:
            client.close()
            spent.append(client.account.spent)

    spent = []
    with pytest.raises(UserError, match=r"max_cost 0.07 is reached \(0\.06"):
        ask(False, max_cost=0.07, concurrency=1)
    assert sum(server.asked.values()) == 2
    assert len(ask(False)) == len(ask(True)) == 3
    assert sum(server.asked.values()) == 3, "each question once"
    assert [round(each.cost, 9) for each in spent] == [0.06, 0.09, 0.09]
    assert [each.failed for each in spent] == [0, 0, 0]


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 20, "completion_tokens": 5}, (20, 5)),
        ({"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}, (20, 5)),
        ({"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 125}, (20, 105)),
        ({"prompt_tokens": 20, "completion_tokens": None, "total_tokens": 25}, (20, 5)),
        ({"input_tokens": 20, "output_tokens": 5}, (20, 5)),
        ({"prompt_tokens": 20.0, "completion_tokens": 5.0}, (20, 5)),
        ({"prompt_tokens": "20", "completion_tokens": float("nan")}, (0, 0)),
        ({"prompt_tokens": -1}, (0, 0)),
        ({}, (0, 0)),
        (None, (0, 0)),
        ([20, 5], (0, 0)),
    ],
)
def test_tokens_that_a_server_tells(usage, tokens):
    assert tokens_of({"usage": usage}) == tokens


def test_a_cost_cannot_be_kept_where_no_tokens_are_told(ask, server):
    server.reply = lambda body: {**completion("1"), "usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    with pytest.raises(UserError, match="does not report tokens"):
        ask(["a", "b"], max_cost=1.0, prices=PRICES)
    assert sum(server.asked.values()) == 1


def test_no_credit_stops_the_run_and_spoils_nothing(ask, server):
    texts = ["good", "no credit", *(f"later {i}" for i in range(5))]
    with pytest.raises(UserError, match=r"insufficient balance, \*\*\*"):
        ask(texts, concurrency=1)
    assert sum(server.asked.values()) == 2
    assert ask(texts[:1])[1].cached == 1
    assert ask(texts[2:])[0] == ["1"] * 5


def test_no_more_is_asked_once_answers_cannot_be_stored(ask, server, monkeypatch):
    put, stored = AnswerStore.put, []

    def put_until_the_disk_is_full(store, *answer):
        if len(stored) == 5:
            raise UserError("cache 'answers' cannot be used (database or disk is full): name another file")
        put(store, *answer)
        stored.append(answer)

    texts = [f"good {i}" for i in range(64)]
    with monkeypatch.context() as full, pytest.raises(UserError, match="disk is full"):
        full.setattr(AnswerStore, "put", put_until_the_disk_is_full)
        ask(texts, concurrency=4)
    assert 5 < server.answered.total() <= 5 + 4, "those under way alone are lost"
    assert ask(texts)[1].cached == 5


def test_a_very_long_pause_stops_the_run(ask, server):
    with pytest.raises(UserError, match="asks to wait 3600 s: the answers so far are stored"):
        ask(["good", "tomorrow", "later"], concurrency=1)
    assert "later" not in server.asked


@pytest.mark.slow
@pytest.mark.parametrize("first", [[], ["known"]])
def test_costs_are_kept_with_many_at_once(first, ask, server):
    if first:
        ask(first)
    texts = [*first, *(f"slow {i}" for i in range(12))]
    with pytest.raises(UserError, match=r"max_cost 0.1 is reached \(0\.0"):
        ask(texts, max_cost=0.1, prices=PRICES, concurrency=8)
    assert sum(server.answered.values()) == 3 + len(first), "0.09, and no more"


@pytest.mark.slow
@pytest.mark.parametrize("waits_go_on", [False, True])
def test_ctrl_c_awaits_what_is_under_way(waits_go_on, ask, server, capsys, restored_sigint):
    signal.siginterrupt(signal.SIGINT, not waits_go_on)

    def reply(body):
        if body["messages"][0]["content"] == "slow 3":
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return completion("1")

    server.reply = reply
    with pytest.raises(KeyboardInterrupt):
        ask([f"slow {i}" for i in range(40)], concurrency=4)
    asked = sum(server.asked.values())
    assert 4 <= asked <= 12
    assert "waiting for the answers that are in flight" in capsys.readouterr().err
    contents, spent = ask([f"slow {i}" for i in range(4)])
    assert spent.cached == 4
    assert contents == ["1"] * 4
    assert sum(server.asked.values()) == sum(server.answered.values()) == asked


@pytest.mark.parametrize("key", ["1", "x", "none", f"  {SECRET}\n"])
def test_a_dummy_key_does_no_harm_and_blanks_are_no_part_of_one(key, ask, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    server.reply = lambda body: completion("1 nonexistent x")
    assert ask(["good"])[0] == ["1 nonexistent x"]
    shown = {SECRET: "it is ***"}.get(key.strip(), f"it is {key}")
    assert ask(["what is your key"])[0] == [shown]


def test_keys_and_addresses_that_cannot_be_used(tmp_path, monkeypatch):
    def build(url=None):
        return ChatServer(url, AnswerStore(tmp_path / "answers"), Limits())

    monkeypatch.setenv("OPENAI_API_KEY", "sk-a\nb")
    with pytest.raises(UserError, match="OPENAI_API_KEY has characters"):
        build()
    for url, words in {
        "http://me:hidden@127.0.0.1/v1": "a user name, a password or a query",
        "http://127.0.0.1/v1?key=hidden": "a user name, a password or a query",
        "localhost:8000/v1": "not an address",
        "http:///v1": "not an address",
    }.items():
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        for given, name in ((None, "OPENAI_BASE_URL"), (url, "base_url")):
            with pytest.raises(UserError, match=words) as error:
                build(given)
            assert str(error.value).startswith(name)
            assert "hidden" not in str(error.value)


def test_a_lost_connection_is_told_with_its_cause(monkeypatch, ask, server, capsys):
    monkeypatch.setattr(server, "url", "http://127.0.0.1:9/v1")
    assert ask(["good"], max_retries=0)[0] == [None]
    assert "Connection error. All connection attempts failed" in capsys.readouterr().err


def test_the_key_is_in_no_log(ask, server, caplog):
    with caplog.at_level(logging.DEBUG):
        for name in ("openai", "httpx", "httpcore", "httpx2", "httpcore2"):
            caplog.set_level(logging.DEBUG, logger=name)
        ask(["good", "429 good", "500", "too long", "your key", "breaks"], max_retries=2)
        with pytest.raises(UserError):
            ask(["forbidden"])
    assert {record.name.split(".")[0].rstrip("2") for record in caplog.records} >= {"openai", "httpx", "httpcore"}
    assert SECRET not in caplog.text
