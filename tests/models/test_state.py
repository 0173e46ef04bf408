"""The state of a method: names that a subclass may use, and what a checkpoint can keep."""

from collections import Counter, OrderedDict, namedtuple
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from lightning.pytorch import Trainer
from torch import nn

from tests.contract.basis import SKIES, Forecasts, Letters
from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.models import FineTunedClassifier, PreparedClassifier, TextClassifier
from textclf.models.checkpoint import check_readable, import_calibrators, read_checkpoint
from textclf.plain_values import plain_arguments, plain_state
from textclf.run.checkpoints import LastCheckpoint
from textclf.run.report import ReportWriter

QUIET = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


def fit_and_test(model, folder):
    trainer = Trainer(default_root_dir=folder, callbacks=[LastCheckpoint(), ReportWriter()], max_epochs=1, **QUIET)
    trainer.fit(model, datamodule=Forecasts(batch_size=11))
    last = str(folder / "checkpoints" / "last.ckpt")
    return trainer.test(model, trainer.datamodule, ckpt_path=last, verbose=False)[0]


OWN = {
    "temperature": 0.05,
    "fitted": True,
    "thresholds": (0.1, 0.9),
    "restored": True,
    "train_rows": "all",
    "freeze": True,
    "train_seed": object,
    "text_steps": [1],
    "val_metrics": [0],
    "test_metrics": nn.Linear(2, 2),
    "calibrators": None,
    "calibrator": "none",
    "_waiting": [1],
    "_seen_splits": None,
    "waiting": 1,
    "state": {},
    "_rows": None,
    "settings": 1,
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    torch.manual_seed(0)
    return fit_and_test(Letters(2, SKIES), tmp_path_factory.mktemp("expected"))


def test_attributes_of_a_subclass_change_no_figure(expected, tmp_path):
    class Own(Letters):
        def __init__(self, num_classes, label_names):
            super().__init__(num_classes, label_names)
            self.label_names = list(label_names)
            for name, value in OWN.items():
                setattr(self, name, value)

    torch.manual_seed(0)
    model = Own(2, SKIES)
    assert fit_and_test(model, tmp_path) == expected
    assert all(getattr(model, name) is value for name, value in OWN.items())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_classes", "2", "is set to '2', a str: it must be the number of labels"),
        ("label_names", "dry wet", "is set to 'dry wet', a str: it must be the names of the labels"),
        ("label_names", {"dry", "wet"}, "is set to {.*}, a set: it must be the names of the labels"),
        ("has_probabilities", "no", "is set to 'no', a str: it must be true or false"),
        ("needs_whole_split", None, "is set to None, a NoneType: it must be true or false"),
        ("architecture", "hidden", "is set to 'hidden', a str: it must be the names of arguments, in a tuple"),
        ("best_by", "val/nll", "is set to 'val/nll', a str: it must be the name of a figure, and max or min"),
        ("textclf", {}, "is set to {}, a dict: it must be what the package keeps of the method"),
        ("classify", nn.Linear(1, 1), "is a method of TextClassifier"),
        ("prepare", True, "is a method of TextClassifier"),
        ("figures", [], "is a method of TextClassifier"),
        ("restore", nn.Linear(1, 1), "is a method of TextClassifier"),
        ("trains_by_batches", True, "is a property of TextClassifier"),
    ],
)
def test_a_name_of_the_base_class_is_refused(name, value, message):
    class Own(Letters):
        def __init__(self):
            super().__init__(2, SKIES)
            setattr(self, name, value)

    with pytest.raises(UserError, match=rf"^Own\.{name} {message}"):
        Own()


def test_a_layer_that_a_class_attribute_hides_is_refused():
    class Own(Letters):
        head = None

        def __init__(self):
            super().__init__(2, SKIES)
            self.head = nn.Linear(1, 1)

    with pytest.raises(UserError, match=r"Own\.head is a class attribute of Own: give an attribute"):
        Own()


@pytest.mark.parametrize(
    ("base", "name"),
    [
        *((kind, name) for kind in (Letters, FineTunedClassifier) for name in ("_evaluate", "_log_metrics", "best_by")),
        *((kind, name) for kind in (Forecasts, FilesDataModule) for name in ("_load", "_encode", "_rows", "ledger")),
    ],
)
def test_a_private_name_of_the_base_class_is_refused(base, name):
    arguments = {Letters: (2, SKIES), FineTunedClassifier: (2, SKIES, "none"), FilesDataModule: (".",)}.get(base, ())
    with pytest.raises(UserError, match=rf"^Own\.{name}"):
        type("Own", (base,), {name: 1})(*arguments)


@pytest.mark.parametrize(
    ("base", "name"), [(Letters, "_load"), (Letters, "_matched"), (Forecasts, "_evaluate"), (Forecasts, "_own")]
)
def test_other_private_names_are_free(base, name):
    arguments = (2, SKIES) if base is Letters else ()
    assert getattr(type("Own", (base,), {name: 1})(*arguments), name) == 1


@pytest.mark.parametrize(
    ("former", "name"),
    [
        ("wanted", "example_request"),
        ("see", "set_examples"),
        ("settle", "calibrate_split"),
        ("judged_together", "needs_whole_split"),
    ],
)
def test_a_former_name_of_a_hook_is_refused(former, name):
    kind = type("Former", (Letters,), {former: True})
    with pytest.raises(UserError, match=rf"^Former.{former} is called '{name}' now: rename it$"):
        kind(2, ["a", "b"])


@pytest.mark.parametrize("value", [3, [1], nn.Linear(1, 1), nn.Parameter(torch.zeros(1)), {"a": 1}, "text", None])
@pytest.mark.parametrize("name", ["layer", "knob", "temperature", "fitted"])
@pytest.mark.parametrize(("base", "call"), [(Letters, r"num_classes, label_names"), (Forecasts, r"\*\*kwargs")])
def test_an_attribute_before_the_base_class_is_refused(base, call, name, value):
    class Early(base):
        def __init__(self):
            setattr(self, name, value)
            super().__init__()

    with pytest.raises(UserError, match=rf"^Early.__init__ sets '{name}' too early: call super\(\).__init__\({call}\)"):
        Early()


@pytest.mark.parametrize("base", [Letters, Forecasts])
def test_a_base_class_that_is_not_called_is_refused(base):
    class Forgotten(base):
        def __init__(self):
            pass

    with pytest.raises(UserError, match=r"Forgotten.__init__ .* too early: call super\(\).__init__\("):
        Trainer(**QUIET).test(*((Forgotten(), Forecasts()) if base is Letters else (Letters(2, SKIES), Forgotten())))


class Colour(Enum):
    RED = 1


Pair = namedtuple("Pair", "first second")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.ones(2), torch.ones(2, dtype=torch.float64)),
        (np.array([1, 2], dtype=">i4"), torch.tensor([1, 2], dtype=torch.int32)),
        (np.arange(6.0).reshape(2, 3)[:, ::-1], torch.tensor([[2.0, 1, 0], [5, 4, 3]], dtype=torch.float64)),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([["a"], ["b"]], dtype=object), [["a"], ["b"]]),
        (np.array(2.5), torch.tensor(2.5, dtype=torch.float64)),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        ((1, (2, "a")), [1, [2, "a"]]),
        (Dataset.from_dict({"text": ["a", "b"]})["text"], ["a", "b"]),
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(a=np.int8(1)), {"a": 1}),
        ({np.int64(1): {"deep": (np.float64(1),)}}, {1: {"deep": [1.0]}}),
        (nn.Parameter(torch.ones(1)), torch.ones(1)),
        (torch.ones(1, requires_grad=True) * 2, torch.tensor([2.0])),
        (b"\x00\xff", b"\x00\xff"),
        (None, None),
        (float("nan"), float("nan")),
    ],
)
def test_plain_state(value, expected, tmp_path):
    found = plain_state({"x": value}, "Own.prepare: fitted")
    torch.save(found, tmp_path / "state")
    loaded = torch.load(tmp_path / "state", weights_only=True)["x"]
    assert repr(loaded) == repr(expected)
    assert plain_state(found, "") is found


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, r"\['x'\] is a set: keep numbers, strings, lists, dictionaries, arrays"),
        (Colour.RED, r"\['x'\] is a Colour"),
        (Pair(1, 2), r"\['x'\] is a Pair"),
        (nn.Linear(1, 1), r"\['x'\] is a Linear"),
        ([1, {"deep": object()}], r"\['x'\]\[1\]\['deep'\] is an object"),
        (Path("a"), r"\['x'\] is a PosixPath"),
        (len, r"\['x'\] is a builtin_function_or_method"),
        (np.array([object()]), r"\['x'\]\[0\] is an object"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), r"\['x'\] is a ndarray of datetime64"),
        (np.ma.masked_array([1.0], [True]), r"\['x'\] is a MaskedArray"),
        (1j, r"\['x'\] is a complex"),
        (torch.eye(2).to_sparse(), r"\['x'\] is a sparse tensor"),
        ({(1, 2): 3}, r"\['x'\] has the key \(1, 2\)"),
        (torch.float32, r"\['x'\] is a dtype"),
    ],
)
def test_what_is_no_plain_state(value, message):
    with pytest.raises(UserError, match=r"^Own\.prepare: fitted" + message):
        plain_state({"x": value}, "Own.prepare: fitted")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (nn.Linear(1, 1), "Own: the argument 'x' is a Linear: give numbers, strings"),
        ([np.ones(1)], r"Own: the argument 'x'\[0\] is a ndarray of float64: give numbers"),
        ({"a": torch.ones(1)}, r"Own: the argument 'x'\['a'\] is a Tensor"),
        (Colour.RED, "Own: the argument 'x' is a Colour"),
        (len, "Own: the argument 'x' is a builtin_function_or_method"),
        ({1}, "Own: the argument 'x' is a set"),
    ],
)
def test_what_is_no_plain_argument(value, message):
    class Own(Letters):
        def __init__(self, x):
            super().__init__(2, SKIES)

    with pytest.raises(UserError, match="^" + message):
        plain_arguments(Own(value))


def test_plain_arguments():
    class Own(Letters):
        def __init__(self, a, b, c, d, e):
            super().__init__(2, SKIES)

    given = {"a": (1, np.int64(2)), "b": Path("x/y"), "c": {1: "one"}, "d": None, "e": True}
    expected = {"a": [1, 2], "b": "x/y", "c": {"1": "one"}, "d": None, "e": True}
    assert plain_arguments(Own(**given)) == {"num_classes": 2, "label_names": list(SKIES), **expected}


class Priors(PreparedClassifier):
    """Answers by what `give` made of the labels in `prepare`."""

    def __init__(self, num_classes=2, label_names=SKIES, extra=None):
        super().__init__(num_classes, label_names)

    def give(self, counts):
        return {"priors": counts / counts.sum()}

    def prepare(self, train_rows):
        self.fitted = self.give(np.bincount(train_rows["label"], minlength=self.num_classes))

    def log_scores(self, batch):
        return torch.as_tensor(self.fitted["priors"]).double().log().expand(len(batch["text"]), -1)


def test_arrays_in_fitted_are_tensors_in_the_checkpoint(tmp_path):
    fit_and_test(Priors(), tmp_path)
    last = tmp_path / "checkpoints" / "last.ckpt"
    priors = torch.tensor([17, 16]).double() / 33
    assert torch.equal(read_checkpoint(last)["textclf"]["fitted"]["priors"], priors)
    assert TextClassifier.load_from_checkpoint(last).classify(["x"])[0]["score"] == pytest.approx(17 / 33)


class Vectorizer(Priors):
    def give(self, counts):
        from sklearn.feature_extraction.text import TfidfVectorizer

        return {"vectorizer": TfidfVectorizer(), **super().give(counts)}


class NotADictionary(Priors):
    def give(self, counts):
        return list(counts)


class Late(Letters):
    def on_train_epoch_end(self):
        self.fitted["seen"] = {1, 2}


class InPlace(Priors):
    def prepare(self, train_rows):
        super().prepare(train_rows)
        self.fitted["rows"] = train_rows


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Vectorizer, r"Vectorizer\.prepare: fitted\['vectorizer'\] is a TfidfVectorizer: keep numbers"),
        (NotADictionary, r"NotADictionary\.prepare: fitted is a list: keep a dictionary"),
        (InPlace, r"InPlace\.prepare: fitted\['rows'\] is a Dataset"),
        (Late, r"Late\.fitted\['seen'\] is a set"),
        (lambda *facts: Priors(*facts, extra=nn.Linear(1, 1)), "Priors: the argument 'extra' is a Linear"),
        (lambda *facts: Priors(*facts, extra=lambda text: text), "Priors: the argument 'extra' is a function"),
    ],
)
def test_state_that_no_checkpoint_can_keep_is_refused(model, message, tmp_path):
    with pytest.raises(UserError, match="^" + message):
        fit_and_test(model(2, SKIES), tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            None,
            "the checkpoint was calibrated by own_calibration.Own, and own_calibration is not there: put its folder",
        ),
        ("import nowhere_at_all", "own_calibration.Own: importing its module fails: ModuleNotFoundError: .*nowhere"),
        ("1 / 0", "own_calibration.Own: importing its module fails: ZeroDivisionError: division by zero"),
    ],
)
def test_the_module_of_a_calibrator(source, message, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    if source is not None:
        (tmp_path / "own_calibration.py").write_text(source)
    with pytest.raises(UserError, match=f"^{message}"):
        import_calibrators({"textclf": {"calibrators": [{"class_path": "own_calibration.Own"}]}})


@pytest.mark.parametrize("value", [{1, 2}, torch.Size([2]), nn.Parameter(torch.ones(2)), [OrderedDict(a={"b": {1}})]])
def test_what_can_be_read_from_a_checkpoint(value):
    check_readable({"mine": value}, "Own")


@pytest.mark.parametrize("value", [Enum, [object()], {Path("a"): 1}, OrderedDict(a=Path), lambda: 1])
def test_what_cannot_be_read_from_a_checkpoint(value):
    with pytest.raises(UserError, match=r"^Own stores under 'mine' what cannot be read"):
        check_readable({"mine": value}, "Own")


def test_plain_values_are_known_to_be_readable_without_writing_them(monkeypatch):
    monkeypatch.delattr(torch, "save")
    averaged = nn.Linear(2, 2).state_dict()
    check_readable({"mine": {"weights": averaged, 1: [2.0, None, True, b"c", ("d", {})]}}, "Own")
