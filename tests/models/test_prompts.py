import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.scoring.tiny import byte_tokenizer, save_tiny_lm
from textclf.errors import UserError
from textclf.models import CausalLMClassifier
from textclf.models.prompts import PromptTemplate, fit_texts, shortened, with_examples

NAMES = ("negative", "positive")


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return save_tiny_lm(tmp_path_factory.mktemp("lm"))


def test_templates_are_filled_once():
    template = with_examples(PromptTemplate.of("{labels}? {text} {x} {text_pair}:"), "a, b", [], None)
    assert (
        template.fill({"text": "{labels} {text_pair}", "text_pair": "{text}"})
        == "a, b? {labels} {text_pair} {x} {text}:"
    )


def test_examples_stand_before_the_prompt():
    template = with_examples(
        PromptTemplate.of("Q {text}\nA"), "", [({"text": "{text}"}, " yes"), ({"text": "no?"}, " no")], None
    )
    assert template.fill({"text": "now"}) == "Q {text}\nA yes\n\nQ no?\nA no\n\nQ now\nA"


def test_examples_are_turns_of_a_chat(lm, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(lm)
    tokenizer.chat_template = (
        "<s>{% for m in messages %}[{{ m.role }}]{{ m.content }}[end]{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    template = with_examples(PromptTemplate.of("Q {text}"), "", [({"text": "eins"}, " yes")], tokenizer)
    assert template.fill({"text": "zwei"}) == "<s>[user]Q eins[end][assistant]yes[end][user]Q zwei[end][assistant]"
    AutoModelForCausalLM.from_pretrained(lm).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = CausalLMClassifier(2, NAMES, pretrained=str(tmp_path), prompt="Q {text}", chat_template=True)
    assert model.words == ["negative", "positive"]
    rows = model.encode({"text": ["drei"]})
    assert rows["length"] == [1 + len("[user]Q drei[end][assistant]")]  # one BOS


def test_only_the_text_is_shortened(lm):
    tokenizer = byte_tokenizer()
    template = PromptTemplate(("시작: ", "text", " 끝"))
    texts = ["짧다", "가나다라마바사" * 30, "abc" * 100]
    fitted = fit_texts([template] * len(texts), tokenizer, [{"text": text} for text in texts], 80)
    for text, found in zip(texts, fitted, strict=True):
        left = found.prompt.removeprefix("시작: ").removesuffix(" 끝")
        assert template.fill({"text": left}) == found.prompt
        assert text.startswith(left)
        assert found.input_ids == tokenizer(found.prompt)["input_ids"]
        assert len(found.input_ids) == 1 + len(found.prompt.encode()) <= 80
        assert found.cut == len(text.encode()) - len(left.encode())
        assert left == text or 1 + len(template.fill({"text": text[: len(left) + 1]}).encode()) > 80
    assert fitted[0].prompt == "시작: 짧다 끝"


def test_the_longer_of_two_texts_is_shortened_first():
    template = PromptTemplate(("", "text", "|", "text_pair", ""))
    row = {"text": "a" * 50, "text_pair": "b" * 10}
    assert shortened(template, row, 30) == {"text": "a" * 20, "text_pair": "b" * 10}
    assert shortened(template, row, 10) == {"text": "a" * 5, "text_pair": "b" * 5}
    assert shortened(template, row, 60) == row


@pytest.mark.parametrize(
    ("chat_template", "words"),
    [
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", ["changes what the user says", "'Q eins'"]),
        ("{{ messages[-1].content }}", ["changes what the user says", "'Q eins'"]),
        ("{% for m in messages %}{{ m.content * 2 }}{% endfor %}", ["leaves out or repeats"]),
        ("{{ raise_exception('roles must alternate') }}", ["fails (roles must alternate)"]),
        ("{% for m in messages", ["fails ("]),
    ],
)
def test_a_chat_template_that_changes_the_prompt_is_refused(chat_template, words, lm):
    tokenizer = AutoTokenizer.from_pretrained(lm)
    tokenizer.chat_template = chat_template
    with pytest.raises(UserError) as error:
        with_examples(PromptTemplate.of("Q {text}"), "", [({"text": "eins"}, " yes")], tokenizer)
    for word in [*words, "set chat_template to false"]:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_chat_template_may_strip_white_space(lm):
    tokenizer = AutoTokenizer.from_pretrained(lm)
    tokenizer.chat_template = "{% for m in messages %}[{{ m.content | trim }}]{% endfor %}"
    assert with_examples(PromptTemplate.of(" Q {text}\n"), "", [], tokenizer).fill({"text": " a"}) == "[Q  a]"
