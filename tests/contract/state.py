"""Methods whose state, names or checkpoints collide with the base, or are lost on the way to the checkpoint."""

import logging
import pathlib
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from tests.contract.basis import Letters, Means, Uniform, means_of, nearest
from textclf.models import PreparedClassifier

SHARP = torch.tensor([[1.0, 0.9]])


@dataclass
class Found:
    mean: float = 1.0


FITTED = {  # name: what cannot be kept in a checkpoint
    "sklearn": lambda: {"model": LogisticRegression()},
    "function": lambda: {"score": len},
    "class": lambda: {"kind": Found},
    "dataclass": lambda: {"found": Found()},
    "module": lambda: {"layer": nn.Linear(2, 2)},
    "object": lambda: {"object": object()},
    "complex": lambda: {"root": 1j},
    "generator": lambda: {"numbers": (i for i in range(3))},
    "array_of_objects": lambda: {"words": np.array([object()])},
    "none": lambda: None,
    "list": lambda: [1.0, 2.0],
    "array": lambda: np.ones(2),
}
KEPT = {  # name: what is made plain, or was
    "numpy": lambda: {"means": np.ones((2, 64))},
    "numpy_scalars": lambda: {"count": np.int64(3), "share": np.float32(0.5), "name": np.str_("a"), "is": np.bool_(1)},
    "nested": lambda: {"a": {"b": [np.arange(3), {"c": (1, 2)}]}},
    "tuple": lambda: {"sizes": (1, 2)},
    "counter": lambda: {"words": Counter("rain"), "more": defaultdict(int, a=1), "order": OrderedDict(a=1)},
    "tensors": lambda: {"means": torch.ones(2, 64), "half": torch.ones(2, dtype=torch.bfloat16)},
    "gradient": lambda: {"means": torch.ones(2, 64, requires_grad=True) * 2},
    "nothing": lambda: {},
}


class Keeps(PreparedClassifier):
    """`fitted` is one of those above."""

    def __init__(self, num_classes, label_names, kind: str):
        super().__init__(num_classes, label_names)
        self.kind = kind

    def prepare(self, train_rows):
        self.fitted = {**FITTED, **KEPT}[self.kind]()

    log_scores = Uniform.log_scores


class Own(Uniform):
    """Gives the scores log_softmax([1.0, 0.9] / 0.05) whatever its attributes are called: NLL is 1.035 on 17 of 33."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.own()

    def log_scores(self, batch):
        return (SHARP.repeat(len(batch["text"]), 1) / 0.05).log_softmax(-1)


class OwnTemperature(Own):
    def own(self):
        self.temperature = 0.05


class OwnTemperatureParameter(Own):
    def own(self):
        self.temperature = nn.Parameter(torch.tensor(0.05))


class OwnTemperatureMethod(Own):
    def temperature(self):
        return 0.05

    def own(self):
        pass


class OwnThresholds(Own):
    def own(self):
        self.thresholds = torch.tensor([0.1, 0.9])


class OwnThresholdNumber(Own):
    def own(self):
        self.thresholds = 0.5


class OwnFitted(Own):
    def own(self):
        self.fitted = True


class OwnRestored(Own):
    def own(self):
        self.restored = True


class OwnMetrics(Own):
    def own(self):
        self.metrics = {"loss": []}
        self.val_metrics = []
        self.test_metrics = []


class OwnTrainRows(Own):
    def own(self):
        self.train_rows = ["drizzle"]
        self.train_seed = "a"


class OwnCalibrator(Own):
    def own(self):
        self.calibrator = None
        self.calibrated = False


class OwnState(Own):
    def own(self):
        self.state = {}
        self.history = []
        self.scores = []
        self.results = []
        self.labels = ("dry", "wet")


class OwnTextSteps(Own):
    def own(self):
        self.text_steps = ["lower"]


class OwnLog(Own):
    def own(self):
        self.log = logging.getLogger("mine")


class OwnFigures(Own):
    def own(self):
        self.figures = []


class OwnClassify(Own):
    def own(self):
        self.classify = nn.Linear(2, 2)


class OwnDevice(Own):
    def own(self):
        self.device = "cpu"


class OwnTrainer(Own):
    def own(self):
        self.trainer = None


class OwnDtype(Own):
    def own(self):
        self.dtype = "float32"


class OwnLabelNames(Own):
    def own(self):
        self.label_names = {"dry": 0, "wet": 1}


class OwnNumClasses(Own):
    def own(self):
        self.num_classes = 3


class OwnFittedWhileTraining(Letters):
    """`fitted = True` is set once training is done, as in scikit-learn's habits."""

    def on_train_end(self):
        self.fitted = True


class SuperLast(Uniform):
    def __init__(self, num_classes, label_names):
        self.layer = nn.Linear(1, 1)
        super().__init__(num_classes, label_names)


class AttributeFirst(Uniform):
    def __init__(self, num_classes, label_names):
        self.device_name = "cpu"
        self.num_classes = num_classes
        super().__init__(num_classes, label_names)


class NoSuper(Uniform):
    def __init__(self, num_classes, label_names):
        self.names = label_names


class SuperWithoutFacts(Uniform):
    def __init__(self, num_classes, label_names):
        super().__init__()


class NoFacts(Uniform):
    def __init__(self, knob: int = 1):
        super().__init__(2, ("dry", "wet"))


class AttributeNotKept(Means):
    """What `prepare` finds is in an attribute, and not in the checkpoint."""

    def prepare(self, train_rows):
        self.means = means_of(train_rows, self.num_classes)

    def log_scores(self, batch):
        return nearest(batch["counts"], self.means)


class AttributeWithDefault(AttributeNotKept):
    """As before, but reading it again does not fail."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.means = torch.zeros(num_classes, 64)


class LayerInPrepare(Letters):
    """A layer that a loaded checkpoint does not have."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        del self.layer

    def prepare(self, train_rows):
        self.layer = nn.Linear(64, self.num_classes)


class BufferInPrepare(Letters):
    def prepare(self, train_rows):
        self.register_buffer("mean", torch.ones(64))


class BufferNotKept(Means):
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.register_buffer("means", torch.zeros(num_classes, 64), persistent=False)

    def prepare(self, train_rows):
        self.means = means_of(train_rows, self.num_classes)

    def log_scores(self, batch):
        return nearest(batch["counts"], self.means)


class RandomProjection(Letters):
    """Random numbers that are neither a parameter nor a buffer: others after loading."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.projection = torch.randn(64, 64)

    def log_scores(self, batch):
        return self.layer(batch["counts"] @ self.projection).log_softmax(-1)


class LayersInList(Letters):
    """A plain list hides layers: they are not saved."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.layers = [nn.Linear(64, 64)]

    def log_scores(self, batch):
        return self.layer(self.layers[0](batch["counts"])).log_softmax(-1)


class LearntInAttribute(Letters):
    """A prior that is counted in training, and not saved."""

    prior = None

    def training_step(self, batch, batch_idx):
        counted = torch.bincount(batch["labels"], minlength=2)
        self.prior = counted if self.prior is None else self.prior + counted
        return super().training_step(batch, batch_idx)

    def log_scores(self, batch):
        scores = super().log_scores(batch)
        return scores if self.prior is None else (scores + (1.0 + self.prior).log() * 3).log_softmax(-1)


class Vocabulary(Letters):
    """`prepare` finds words that `encode` needs, and keeps them in an attribute."""

    def prepare(self, train_rows):
        self.words = {
            word: i for i, word in enumerate(sorted({w for text in train_rows["text"] for w in text.split()}))
        }

    def encode(self, rows):
        ids = [[self.words.get(word, 0) % 64 for word in text.split()] for text in rows["text"]]
        return {"length": [max(1, len(words)) for words in ids], "ids": ids}

    def collate(self, rows):
        counts = torch.zeros(len(rows["ids"]), 64)
        for row, ids in zip(counts, rows["ids"], strict=True):
            row[ids] += 1
        return {"counts": counts}


class Argument(Letters):
    """An argument that a checkpoint cannot keep."""

    def __init__(self, num_classes, label_names, layer: nn.Module | None = None, path: pathlib.Path | None = None):
        super().__init__(num_classes, label_names)
        self.extra = layer
        self.path = path


class LayerFromFitted(Letters):  # right: its size is known from `fitted` before the weights are loaded
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        del self.layer

    def prepare(self, train_rows):
        self.fitted = {"letters": 64}

    def configure_model(self):
        if not hasattr(self, "layer"):
            self.layer = nn.Linear(self.fitted["letters"], self.num_classes)


class ReplacedFitted(Means):  # right
    def prepare(self, train_rows):
        self.fitted["means"] = means_of(train_rows, self.num_classes).numpy()


class SplitNotRequested(Uniform):
    """Overrides what needs `needs_whole_split`."""

    def calibrate_split(self, log_scores):
        return log_scores


class ExamplesNotRequested(Uniform):
    def set_examples(self, shown, fit, of_test=False):
        self.shown = shown


class PreparesWithoutTraining(Uniform):
    def prepare(self, train_rows):
        self.fitted = {"rows": len(train_rows)}


class DecidesAboutSplit(SplitNotRequested):  # right: the constructor decides
    def __init__(self, num_classes, label_names, whole: bool = False):
        super().__init__(num_classes, label_names)
        self.needs_whole_split = whole


class RequestsNothing(ExamplesNotRequested):  # right: examples are an option
    def example_request(self):
        return None
