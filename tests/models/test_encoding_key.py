"""Cached rows are those of the same encoding: which changes of a class give other ones."""

import os
import subprocess
import sys
from importlib import import_module, reload

import pytest
import torch
from lightning.pytorch import Trainer

from textclf import models
from textclf.models import FineTunedClassifier, LinearProbe, TextClassifier
from textclf.models.encoding_key import overrides

NAMES = ("dry", "wet")
BUILT_IN = [getattr(models, name) for name in models.__all__]


def of(kind, name, value):
    """A subclass with one attribute of its own."""
    return type("Own", (kind,), {name: value})


def some(self, *args):
    return None


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        *((kind, "encode", True) for kind in BUILT_IN),
        *((kind, name, False) for kind in BUILT_IN for name in ("log_scores", "training_step", "collate", "mine")),
        (models.FineTunedClassifier, "_load_tokenizer", True),
        (models.FineTunedClassifier, "loss", False),
        (models.FineTunedClassifier, "configure_optimizers", False),
        (models.LinearProbe, "embedder", True),
        (models.NearestCentroid, "pairs", True),
        (models.NLIClassifier, "max_length", True),
        (models.NLIClassifier, "matched", True),
        (models.Seq2SeqClassifier, "prompts", True),
        (models.PretrainedClassifier, "load_tokenizer", True),
        (models.CausalLMClassifier, "template", True),
        (models.CausalLMClassifier, "examples_for", True),
        (models.CausalLMClassifier, "answer", True),
        (models.CausalLMClassifier, "score", False),
    ],
)
def test_what_encode_uses(kind, name, expected):
    owner = next(base for base in kind.__mro__ if "encoding_facts" in vars(base))
    assert overrides(of(kind, name, some), owner, "encode") == expected


@pytest.mark.parametrize("kind", BUILT_IN)
def test_a_method_that_has_an_encode_gives_its_facts(kind):
    encode, facts = (next(base for base in kind.__mro__ if name in vars(base)) for name in ("encode", "encoding_facts"))
    assert encode is facts or facts is TextClassifier


MODULE = """
from textclf.models import FineTunedClassifier, TextClassifier

def clean(text):
    return text.lower()

class Own(TextClassifier):
    def __init__(self, num_classes, label_names, knob: int = 1):
        super().__init__(num_classes, label_names)

    def encode(self, rows):
        return {"length": [1 + len(clean(text)) for text in rows["text"]]}

class Child(Own):
    pass

class Other(Own):
    def encode(self, rows):
        return super().encode(rows)

class Facts(Own):
    def encoding_facts(self):
        return ["mine"]

class Beyond(Facts):
    def encode(self, rows):
        return {"length": [2 for text in rows["text"]]}
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes the module, and gives the key of a class in it."""
    monkeypatch.syspath_prepend(tmp_path)

    def key(name, source=MODULE, **arguments):
        import linecache

        (tmp_path / "own_encodings.py").write_text(source)
        sys.modules.pop("own_encodings", None)
        linecache.clearcache()
        sys.dont_write_bytecode = True
        module = import_module("own_encodings")
        return getattr(reload(module), name)(2, NAMES, **arguments).encoding_key()

    yield key
    sys.modules.pop("own_encodings", None)
    sys.dont_write_bytecode = False


@pytest.mark.parametrize("name", ["Own", "Child", "Other", "Facts", "Beyond"])
def test_the_key_is_stable(written, name):
    assert written(name) == written(name)


def test_each_class_has_its_own_key(written):
    assert len({written(name) for name in ("Own", "Child", "Other", "Facts", "Beyond")}) == 5


@pytest.mark.parametrize(
    ("name", "change", "same"),
    [
        ("Own", {"source": MODULE.replace("text.lower()", "text.upper()")}, False),
        ("Child", {"source": MODULE.replace("text.lower()", "text.upper()")}, False),
        ("Own", {"source": MODULE.replace("1 + len", "2 + len")}, False),
        ("Child", {"source": MODULE.replace("1 + len", "2 + len")}, False),
        ("Own", {"knob": 2}, False),
        ("Other", {"knob": 2}, False),
        ("Own", {"knob": lambda: 1}, False),
        ("Facts", {"knob": 2}, True),
        ("Facts", {"source": MODULE.replace("text.lower()", "text.upper()")}, True),
        ("Facts", {"source": MODULE.replace('"mine"', '"yours"')}, False),
        ("Beyond", {"knob": 2}, False),
        ("Beyond", {"source": MODULE.replace("[2 for", "[3 for")}, False),
    ],
)
def test_what_changes_the_key(written, name, change, same):
    assert (written(name) == written(name, **change)) == same


@pytest.mark.parametrize("line", ["import own_words", "from own_words import clean as cut"])
def test_the_key_changes_with_the_code_of_a_module_that_is_imported(written, line, tmp_path):
    keys = []
    for body in ("text.lower()", "text.upper()", "text.lower()"):
        sys.modules.pop("own_words", None)
        (tmp_path / "own_words.py").write_text(f"def clean(text):\n    return {body}\n")
        keys.append(written("Own", line + "\n" + MODULE))
    sys.modules.pop("own_words", None)
    assert keys[0] == keys[2] != keys[1]


def test_rows_are_kept_if_a_package_without_code_is_imported(written, tmp_path):
    (tmp_path / "key_package").mkdir()
    (tmp_path / "key_package" / "__init__.py").write_text("")
    (tmp_path / "key_package" / "words.py").write_text("def clean(text):\n    return text\n")
    source = "import key_package.words\n" + MODULE
    assert written("Own", source) == written("Own", source)


def prefixed(prefix):
    class Own(TextClassifier):
        def encode(self, rows):
            return {"length": [len(prefix + text) for text in rows["text"]]}

    return Own(2, NAMES)


class Plain(TextClassifier):
    pass


def replaced(prefix):
    model = Plain(2, NAMES)
    model.encode = lambda rows: {"length": [len(prefix + text) for text in rows["text"]]}
    return model


@pytest.mark.parametrize("make", [prefixed, replaced, lambda prefix: of(Plain, "encode", some)(2, NAMES)])
def test_what_cannot_be_known_is_never_cached(make):
    assert len({make("a").encoding_key(), make("a").encoding_key(), make("b").encoding_key()}) == 3


class Focal(FineTunedClassifier):
    def __init__(self, num_classes, label_names, pretrained, gamma: float = 2.0):
        super().__init__(num_classes, label_names, pretrained, max_length=16)

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * 2


class Shouted(FineTunedClassifier):
    def _load_tokenizer(self):
        return super()._load_tokenizer()


class Doubled(LinearProbe):
    pairs = False


def test_rows_are_shared_where_encoding_is_the_same(tiny_encoder):
    source = str(tiny_encoder)
    plain = FineTunedClassifier(2, NAMES, source, max_length=16).encoding_key()
    assert Focal(2, NAMES, source).encoding_key() == Focal(2, NAMES, source, gamma=1.0).encoding_key() == plain
    assert Shouted(2, NAMES, source, max_length=16).encoding_key() != plain
    assert Doubled(2, NAMES, source).encoding_key() != LinearProbe(2, NAMES, source).encoding_key()


class Lexicon:
    size = 3


class Knobs(TextClassifier):
    """Reads attributes in `encode`, some of them in another method."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.k = 1
        self.words = ["rain"]
        self.known = {"rain", "sun", "wind"}
        self.split = str.split
        self._table = torch.zeros(3)
        self.lexicon = Lexicon()
        self.history = []
        self.client = object()
        self.register_buffer("mean", torch.zeros(1))
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.table = torch.nn.Embedding.from_pretrained(torch.zeros(3, 2))
        self.head = torch.nn.Linear(2, 2)

    def encode(self, rows):
        return {"length": [self.k + len(self.split(text)) for text in rows["text"]], "more": self.more(rows["text"])}

    def more(self, texts):
        shift = self._table[0] + self.mean + self.scale + self.table.weight[0, 0]
        return [len(self.words) + len(self.known) + shift.item() + self.lexicon.size for _ in texts]

    def training_step(self, batch, batch_idx):
        self.history.append(self.client)


class Tuned(FineTunedClassifier):
    """Has attributes of the package, which the arguments tell."""

    def encode(self, rows):
        return super().encode(rows)


ATTRIBUTES = {
    "number": (lambda model: setattr(model, "k", 100), False),
    "list": (lambda model: model.words.append("sun"), False),
    "set": (lambda model: model.known.add("snow"), False),
    "function": (lambda model: setattr(model, "split", str.splitlines), False),
    "tensor": (lambda model: model._table.add_(1), False),
    "buffer": (lambda model: model.mean.add_(1), False),
    "parameter": (lambda model: model.scale.data.add_(1), False),
    "module": (lambda model: model.table.weight.data.add_(1), False),
    "other_module": (lambda model: model.head.weight.data.add_(1), True),
    "object": (lambda model: setattr(model.lexicon, "size", 4), False),
    "labels": (lambda model: setattr(model, "label_names", NAMES[::-1]), True),  # `encode` does not read them
    "of_training": (lambda model: model.history.append(object()), True),
    "of_lightning": (lambda model: setattr(model, "trainer", Trainer(logger=False, accelerator="cpu")), True),
    "of_torch": (lambda model: model.eval(), True),
    "unread": (lambda model: setattr(model, "other", 3), True),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_that_encode_reads(name):
    model = Knobs(2, NAMES)
    before = model.encoding_key()
    assert Knobs(2, NAMES).encoding_key() == before
    change, same = ATTRIBUTES[name]
    change(model)
    assert (model.encoding_key() == before) == same


def test_attributes_of_the_package_are_told_by_its_facts(tiny_encoder):
    model = Tuned(2, NAMES, str(tiny_encoder), max_length=16)
    before = model.encoding_key()
    model.encode({"text": ["rain"]})
    assert model.encoding_key() == before == Tuned(2, NAMES, str(tiny_encoder), max_length=16).encoding_key()


@pytest.mark.exhaustive
def test_the_key_is_the_same_in_each_process():
    code = "from tests.models.test_encoding_key import *; print(Knobs(2, NAMES).encoding_key())"
    keys = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
        keys.add(done.stdout)
    assert len(keys) == 1
