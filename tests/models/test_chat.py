"""Chat classification against a real server on loopback that has every trouble there is."""

import json
import math
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.chat_server import ChatServer, completion, step
from tests.models.contract import MethodContract
from textclf.chat import client, retries
from textclf.cli import main
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import ChatClassifier

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("negative", "positive")
SECRET = "sk-a-secret-that-nobody-may-see"
ANSWERS = {"부정": "negative", "긍정": "positive", "0": "negative", "1": "positive"}
EXPECTED = {  # by hand: what a text leads to, 0, 1, or -1 for none
    "good": 1,
    "bad": 0,
    "429 good": 1,
    "500 bad": 0,
    "hangs good": 1,
    "breaks bad": 0,
    "garbage good": 1,
    "garbage always": -1,
    "too long": -1,
    "한국어": 1,
    "empty": -1,
    "marks": 0,
    "wide": 1,
    "talk": -1,
    "minus": -1,
    "no content": -1,
    "your key": -1,
}
SAYS = {
    "한국어": "긍정",
    "empty": "",
    "marks": ' "0." \n',
    "wide": "１",
    "talk": "It is positive.",
    "minus": "-1",
    "no content": None,
}


def reply(body):
    text = body["messages"][-1]["content"].removeprefix("Judge: ")
    return completion(SAYS.get(text, "1" if "good" in text else "0"))


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setattr(retries, "BACKOFF", 0.02)
    with ChatServer(reply) as running:
        yield running
        running.shutdown()


@pytest.fixture
def folder(tmp_path):
    """Rows with every trouble; the first text stands there twice."""
    rows = [f'"{text}",{i % 2}' for i, text in enumerate([*EXPECTED, "good"])]
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "test.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return tmp_path


def options(server, folder, **values):
    """A test's command line."""
    given = {
        "base_url": server.url,
        "prompt": "Judge: [DOCUMENT]",
        "answers": ANSWERS,
        "cache": str(folder / "answers.sqlite"),
        "timeout": 2.5,
        "max_retries": 2,
        **values,
    }
    (folder / "more.yaml").write_text(json.dumps({"model": {"init_args": given}}))
    configs = (CONFIGS / "files.yaml", CONFIGS / "model" / "chat.yaml", folder / "more.yaml")
    return [
        "test",
        *(f"--config={config}" for config in configs),
        *("--data.data_dir", str(folder / "rows"), "--data.label_names", '["negative", "positive"]'),
        *("--data.cleaning", "[]", "--trainer.logger", "textclf.run.WandbRunLogger"),
    ]


def run(server, folder, name="run", **values):
    """The metrics and predictions of a test."""
    main([*options(server, folder, **values), "--run_dir", str(folder / name)])
    report = folder / name / "report"
    return json.loads((report / "metrics.json").read_text()), read_predictions(report / "predictions.parquet")


def refused(capsys, *arguments, said=()):
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert SECRET not in error
    for words in said:
        assert words in error
    return error.strip().splitlines()[-1]


@pytest.mark.slow
def test_every_row_ends_as_a_class_or_as_invalid(server, folder, capsys):
    metrics, table = run(server, folder)
    assert dict(zip(table.texts, table.predictions.tolist(), strict=True)) == EXPECTED
    assert metrics["test/invalid"] == sum(label < 0 for label in EXPECTED.values())
    assert metrics["test/nll"] is None
    assert (metrics["chat/failed"], metrics["chat/refused"]) == (1, 1)
    assert metrics["chat/requests"] == sum(server.asked.values())
    assert server.asked["Judge: good"] == 1, "it stands there twice"
    assert set(server.answered.values()) == {1}
    assert 1 < server.most <= 8
    told = np.diff(server.pauses["Judge: 429 good"])
    assert (told >= 0.3).all(), "Retry-After"
    # Again: only what came to nothing is asked again.
    before = server.asked.copy()
    again, same = run(server, folder, "again")
    assert (same.predictions == table.predictions).all()
    assert set(server.asked - before) == {"Judge: garbage always"}
    for name in ("test/accuracy", "chat/prompt_tokens", "chat/completion_tokens", "chat/refused"):
        assert again[name] == metrics[name]
    # The key is nowhere.
    out = capsys.readouterr()
    assert SECRET not in out.out + out.err
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert any(path.suffix == ".sqlite" for path in files)
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.mark.slow
def test_a_limit_stops_the_run_and_the_next_goes_on(server, folder, capsys):
    keep = {"text": ["good", "bad", "한국어", "marks", "wide"]}
    (folder / "rows" / "test.csv").write_text(
        "text,label\n" + "\n".join(f"{t},{i % 2}" for i, t in enumerate(keep["text"]))
    )
    said = ["2 requests sent", "40 tokens asked, 10 answered; no prices given"]
    line = refused(capsys, *options(server, folder, max_requests=2), "--run_dir", str(folder / "a"), said=said)
    assert "max_requests 2 is reached" in line
    assert "go on" in line
    assert sum(server.asked.values()) == 2
    # 20 tokens at 1000 and 5 at 2000 a million: 0.03 each.
    prices = {"input_price": 1000, "output_price": 2000, "concurrency": 1}
    line = refused(capsys, *options(server, folder, max_cost=0.065, **prices), "--run_dir", str(folder / "b"))
    assert "max_cost 0.065 is reached (0.060000 spent)" in line
    assert sum(server.asked.values()) == 4
    line = refused(capsys, *options(server, folder, replay=True), "--run_dir", str(folder / "c"))
    assert "1 of 5 questions have no answer" in line
    metrics, table = run(server, folder, "d", max_requests=1, **prices)
    assert table.predictions.tolist() == [1, 0, 1, 0, 1]
    assert (metrics["chat/requests"], metrics["chat/cached"]) == (1, 4)
    assert metrics["chat/cost"] == pytest.approx(5 * 0.03)
    assert metrics["chat/cost_of_run"] == pytest.approx(0.03)
    assert set(server.asked.values()) == {1}


@pytest.mark.slow
def test_replay_needs_neither_server_nor_key(server, folder, monkeypatch, capsys):
    (folder / "rows" / "test.csv").write_text("text,label\ngood,1\ntoo long,0\n")
    _, table = run(server, folder)
    before = server.asked.copy()
    monkeypatch.delenv("OPENAI_API_KEY")
    metrics, replayed = run(server, folder, "again", replay=True, concurrency=1)
    assert metrics["chat/cost"] is None, "there are no prices"
    assert metrics["chat/prompt_tokens"] == 20
    assert replayed.predictions.tolist() == table.predictions.tolist() == [1, -1]
    assert metrics["chat/requests"] == 0
    assert server.asked == before
    line = refused(capsys, *options(server, folder, replay=True, temperature=0.5), "--run_dir", str(folder / "c"))
    assert "2 of 2 questions" in line


@pytest.mark.parametrize(
    ("texts", "values", "words"),
    [
        (["forbidden"], {}, ["Incorrect API key provided: ***", "OPENAI_API_KEY"]),
        ([f"too long {i}" for i in range(10)], {}, ["rejects every request", "too many tokens, ***", "answer_format"]),
        (["bad", "no credit"], {"concurrency": 1}, ["insufficient balance, ***", "its account"]),
        (["bad", "tomorrow"], {"concurrency": 1}, ["asks to wait 3600 s", "the answers so far are stored"]),
        (["good"], {"options": {"max_token": 5}}, ["options cannot be sent", "'max_token'", "extra_body"]),
        (["good"], {"options": {"extra_headers": {"x-api-key": SECRET}}}, ["cannot have extra_headers"]),
        (["good"], {"options": {"stream": True}}, ["cannot have stream"]),
        (
            [f"garbage always {i}" for i in range(12)],
            {"max_retries": 0},
            ["no answer to 10 questions", "not a chat completion"],
        ),
        (["good"], {"answer_format": "logprobs"}, ["no log-probabilities", "--model.answer_format text"]),
        (["good"], {"base_url": "http://me:secret@127.0.0.1"}, ["a user name, a password or a query"]),
        (["good"], {"base_url": "127.0.0.1/v1"}, ["'127.0.0.1/v1' is not an address", "http://"]),
        ([f"good {i}" for i in range(10)], {"base_url": "http://127.0.0.1:9", "max_retries": 0}, ["attempts failed"]),
        (["good"], {"max_cost": 1}, ["input_price"]),
        (["good"], {"max_cost": 0, "input_price": 1}, ["max_cost 0 ", "more than 0"]),
        (["good"], {"output_price": -1}, ["output_price -1", "0 or more"]),
        (["good"], {"prompt": "Judge"}, ["has no {text}"]),
        (["good"], {"answers": {"1": "positive"}}, ["no answer means negative"]),
        (["good"], {"answers": {"1": "good"}}, ["'good', which is not a label"]),
        (["good"], {"answers": {"Yes": "positive", "yes.": "negative"}}, ["'yes' twice"]),
        (["good"], {"concurrency": 0}, ["concurrency 0"]),
        (["good"], {"cache": "/dev/null/x"}, ["'/dev/null/x' cannot be used"]),
    ],
)
def test_mistakes_of_a_user_are_named(texts, values, words, server, tmp_path, capsys):
    with pytest.raises(UserError) as error:
        given = {"base_url": server.url, "prompt": "{text}", "cache": str(tmp_path / "c"), **values}
        ChatClassifier(2, NAMES, **given).classify(texts)
    assert error.value.__cause__ is None or SECRET not in str(error.value.__cause__)
    for word in words:
        assert word in str(error.value)
    assert SECRET not in str(error.value) + capsys.readouterr().err


def test_a_key_is_asked_for(server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(UserError, match="OPENAI_API_KEY is not set"):
        ChatClassifier(2, NAMES).configure_model()


def test_json_answers(server, tmp_path):
    says = {
        "a": '{"answer": "긍정"}',
        "b": '{"answer": 0}',
        "c": "부정",
        "d": '{"answer": "other"}',
        "e": '["긍정", 1]',
        "f": '{"answer": null}',
        "g": '{"answer": ["긍정"]}',
        "h": '{"answer": {"긍정": 1}}',
    }
    server.reply = lambda body: completion(says[body["messages"][-1]["content"]])
    model = ChatClassifier(
        2,
        NAMES,
        base_url=server.url,
        prompt="{text}",
        answers={**ANSWERS, "None": "negative"},
        answer_format="json_schema",
        cache=str(tmp_path / "c"),
    )
    found = model.classify(list(says))
    assert [each["label"] for each in found] == ["positive", "negative", "negative", *[None] * 5]
    assert [each["score"] for each in found] == [None] * 8
    schema = server.bodies[0]["response_format"]["json_schema"]
    assert schema["strict"]
    assert schema["schema"]["properties"]["answer"]["enum"] == [*ANSWERS, "None"]
    model.teardown("test")


ANSWERED = {
    "parts": completion([{"type": "text", "text": "긍정"}]),
    "thought": completion("<think>부정? 아니다.</think>\n\n긍정"),
    "fenced": completion('```json\n{"label": "긍정"}\n```'),
    "announced": completion("정답: **긍정**"),
    "one token": completion("긍정", finish_reason="length"),
    "cut thought": completion("<think>부정", finish_reason="length"),
    "cut": completion("이 문장은 부정", finish_reason="length"),
    "no text": completion(None, reasoning_content="부정"),
    "refused": completion(None, refusal="부정"),
    "filtered": completion("부정", finish_reason="content_filter"),
    "no choices": {**completion("부정"), "choices": []},
}


@pytest.mark.parametrize("parse", ["equals", "contains"])
@pytest.mark.parametrize("answer_format", ["text", "json_schema"])
def test_answers_in_every_form(parse, answer_format, server, tmp_path, capsys):
    server.reply = lambda body: ANSWERED[body["messages"][-1]["content"]]
    given = {"base_url": server.url, "prompt": "{text}", "answers": ANSWERS, "cache": str(tmp_path / "c")}
    model = ChatClassifier(2, NAMES, parse=parse, answer_format=answer_format, **given)
    found = model.classify([*ANSWERED, *ANSWERED])
    assert [each["label"] for each in found] == 2 * [*["positive"] * 5, *[None] * 6]
    model.teardown("test")
    lines = [line for line in capsys.readouterr().err.splitlines() if "counts as invalid" in line]
    assert [line.removeprefix("textclf: an answer counts as invalid: ") for line in lines] == [
        "its reasoning does not end: the token limit cut it off; raise max_tokens in --model.options",
        "it is not complete: the token limit cut it off; raise max_tokens in --model.options",
        "it has no text",
        "the model refused",
        "the server's content filter stopped it",
    ]
    assert sum(server.asked.values()) == len(ANSWERED)


def test_log_probabilities_of_the_server(server, folder):
    (folder / "rows" / "test.csv").write_text("text,label\ngood,1\nbad,0\nodd,1\n")
    shown = {
        "good": step(("1", 0.9), ("0", 0.1)),
        "bad": step(("0", 0.6), ("1", 0.2), ("긍", 0.1)),
        "odd": step(("x", 1.0)),
    }
    server.reply = lambda body: completion("?", {"content": [shown[body["messages"][-1]["content"].split()[-1]]]})
    metrics, table = run(server, folder, answer_format="logprobs", answers={"0": "negative", "1": "positive"})
    assert table.predictions.tolist() == [1, 0, -1]
    assert np.exp(table.log_scores[:2]) == pytest.approx(np.array([[0.1, 0.9], [0.75, 0.25]]))
    assert metrics["test/nll"] == pytest.approx(-(math.log(0.9) + math.log(0.75)) / 2)
    assert server.bodies[0]["top_logprobs"] == 20


def test_an_answer_without_log_probabilities_is_invalid_where_others_have_them(server, tmp_path):
    shown = {"content": [step(("positive", 0.9), ("negative", 0.1))]}
    answers = {
        "a": completion("positive", shown),
        "b": completion("positive", None),
        "c": completion(None, shown),
        "d": completion(None, None),
        "e": completion("positive", {"content": [{"token": "positive"}]}),
        "f": completion("positive", {"content": [{"token": "positive", "logprob": None}]}),
        "g": completion("positive", [1]),
        "h": completion("positive", {"content": []}),
    }
    server.reply = lambda body: answers[body["messages"][-1]["content"]]
    model = ChatClassifier(
        2, NAMES, base_url=server.url, prompt="{text}", answer_format="logprobs", cache=str(tmp_path / "c")
    )
    invalid = {"label": None, "score": None}
    first = model.classify(["d"])
    assert first == [invalid], "no answer, so nothing is known of the server"
    with pytest.raises(UserError, match="no log-probabilities"):
        model.classify(["b"])
    found = model.classify(list(answers))
    assert [each["label"] for each in found] == ["positive", None, "positive", *[None] * 5]
    assert found[0]["score"] == pytest.approx(0.9)
    assert model.classify(["b"]) == [invalid], "others of the run have shown theirs"
    model.teardown("test")


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (["very"], "it is not complete"),
        (["I", " think"], "it is not complete"),
        (["<think>", "well"], "its reasoning does not end"),
    ],
)
def test_a_cut_answer_with_log_probabilities_names_the_remedy(server, tmp_path, capsys, tokens, said):
    shown = {"content": [step((token, 0.9), ("x", 0.1)) for token in tokens]}
    server.reply = lambda body: completion("".join(tokens), shown, finish_reason="length")
    given = {"base_url": server.url, "prompt": "{text}", "cache": str(tmp_path / "c"), "answer_format": "logprobs"}
    model = ChatClassifier(3, ("very bad", "very good", "fair"), **given)
    assert model.classify(["a"]) == [{"label": None, "score": None}]
    model.teardown("test")
    remedy = "the token limit cut it off; raise max_tokens in --model.options"
    assert f"an answer counts as invalid: {said}: {remedy}" in capsys.readouterr().err


@pytest.mark.slow
def test_any_precision_of_the_trainer(server, folder):
    (folder / "rows" / "test.csv").write_text("text,label\ngood,1\nbad,0\n")
    main([*options(server, folder), "--run_dir", str(folder / "run"), "--trainer.precision", "bf16-true"])
    assert read_predictions(folder / "run" / "report" / "predictions.parquet").predictions.tolist() == [1, 0]


def test_texts_are_asked_in_their_order_and_many_at_once_however_long(server, tmp_path, monkeypatch):
    at_once, ask = [], client.ChatServer.ask
    monkeypatch.setattr(client.ChatServer, "ask", lambda self, rows: at_once.append(len(rows)) or ask(self, rows))
    model = ChatClassifier(2, NAMES, base_url=server.url, prompt="{text}", answers=ANSWERS, cache=str(tmp_path / "c"))
    texts = [f"{'good' if i % 3 else 'bad'} {'long ' * (i % 7 * 1000)}{i}" for i in range(70)]
    assert [each["label"] for each in model.classify(texts)] == [NAMES[i % 3 > 0] for i in range(70)]
    assert at_once == [64, 6]
    places = [texts.index(body["messages"][0]["content"]) for body in server.bodies]
    assert max(abs(place - i) for i, place in enumerate(places)) < 16
    model.teardown("test")


def test_everything_that_is_sent_is_in_the_key(server, tmp_path):
    def ask(**values):
        model = ChatClassifier(2, NAMES, base_url=server.url, prompt="{text}", cache=str(tmp_path / "c"), **values)
        model.classify(["good"])
        model.teardown("test")

    for values in ({}, {"model": "x"}, {"system": "{labels}?"}, {"temperature": None}, {"options": {"seed": 1}}, {}):
        ask(**values)
    assert sum(server.asked.values()) == 5
    assert server.bodies[2]["messages"][0] == {"role": "system", "content": "negative, positive?"}
    assert "temperature" not in server.bodies[3]
    assert server.bodies[4]["seed"] == 1


def test_texts_are_filled_in_once(server, tmp_path):
    model = ChatClassifier(2, NAMES, base_url=server.url, prompt="{labels}: [DOCUMENT]", cache=str(tmp_path / "c"))
    row = {"text": "[DOCUMENT] {labels} {text}"}
    assert model.request(row)["messages"][0]["content"] == "negative, positive: [DOCUMENT] {labels} {text}"


class TestContract(MethodContract):
    method = ChatClassifier

    @classmethod
    @contextmanager
    def arguments(cls, folder):
        def rate(body):
            return completion("0" if "film" in body["messages"][-1]["content"] else "1")

        with pytest.MonkeyPatch.context() as patch, ChatServer(rate) as server:
            patch.setenv("OPENAI_API_KEY", "none")
            answers = {"0": "negative", "1": "positive"}
            yield {"model": "m", "base_url": server.url, "prompt": "Judge: {text}", "answers": answers}
