"""Methods that a run with one batch size and one process would not find fault with."""

import random

import torch
from torch import nn

from tests.contract.basis import Letters, Uniform, counts_of
from textclf.errors import UserError


class SortsLabels(Uniform):
    """Zero-shot by the letters of the label's name, with columns in alphabetical order."""

    def log_scores(self, batch):
        letters = torch.tensor([sum(map(ord, name)) % 7.0 for name in sorted(self.label_names)])
        return letters.log_softmax(-1).repeat(len(batch["text"]), 1)


class ByName(Uniform):  # right
    def log_scores(self, batch):
        letters = torch.tensor([sum(map(ord, name)) % 7.0 for name in self.label_names])
        return letters.log_softmax(-1).repeat(len(batch["text"]), 1)


class ForTwoLabels(Uniform):
    def log_scores(self, batch):
        return torch.tensor([[0.5, 0.5]]).log().repeat(len(batch["text"]), 1)


class DropoutInEvaluation(Letters):
    def log_scores(self, batch):
        return self.layer(nn.functional.dropout(batch["counts"], 0.5)).log_softmax(-1)


class DrawsWhenItCollates(Letters):
    def collate(self, rows):
        return {"counts": counts_of(rows["text"]) + torch.rand(64)}


class AverageOfBatch(Letters):
    """Its layer normalises over the rows of the batch, in evaluation too."""

    def log_scores(self, batch):
        logits = self.layer(batch["counts"])
        return (logits - logits.mean(0)).log_softmax(-1)


class LargeBatches(Letters):
    """Another path for batches of more than 32 rows."""

    def log_scores(self, batch):
        scale = 1 + (len(batch["counts"]) > 32) / 10
        return (self.layer(batch["counts"]) * scale).log_softmax(-1)


class PaddedWithoutMask(Letters):
    """The mean over all places of the longest text in the batch, the empty ones included."""

    def collate(self, rows):
        longest = max(len(text) for text in rows["text"]) + 1
        return {"counts": counts_of(rows["text"]) / longest}


class FailsOnEmptyText(Letters):
    def encode(self, rows):
        return {"length": [len(text) for text in rows["text"]], "first": [ord(text[0]) for text in rows["text"]]}


class FailsOnKorean(Uniform):
    def encode(self, rows):
        return {"length": [max(1, len(text.encode("ascii"))) for text in rows["text"]]}


class WeightsInCollate(Letters):
    """Embeds texts where batches are made: worker processes have no weights."""

    def collate(self, rows):
        return {"counts": counts_of(rows["text"]) * self.layer.weight[0].detach()}


class Unpicklable(Letters):
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.split = lambda text: text.split()


class FixedKey(Letters):
    """The cached rows of one `ngram` are read with another."""

    def __init__(self, num_classes, label_names, ngram: int = 1):
        super().__init__(num_classes, label_names)
        self.ngram = ngram

    def encode(self, rows):
        return {"length": [1 + len(text) // self.ngram for text in rows["text"]]}

    def encoding_key(self):
        return "letters"


class KeyOfSubclasses(Letters):
    """A subclass that overrides `encode` reads the rows of this one."""

    def encoding_key(self):
        return f"letters {self.num_classes}"


class UnseededTraining(Letters):
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        nn.init.uniform_(self.layer.weight, 0, random.SystemRandom().random())


class CountsInClass(Letters):
    """State in the class: the second object differs from the first."""

    made = 0

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        type(self).made += 1
        with torch.no_grad():
            self.layer.weight.mul_(self.made)


class LayerAsArgument(Letters):
    def __init__(self, num_classes, label_names, layer: nn.Module | None = None):
        super().__init__(num_classes, label_names)
        self.extra = layer


class TwoFaults(FixedKey):
    def encode(self, rows):
        rows["text"][:] = [text.upper() for text in rows["text"]]
        return super().encode(rows)


class OtherClassify(Uniform):
    """`predict_step` scores otherwise than `test_step`."""

    def predict_step(self, batch, batch_idx):
        scores = torch.tensor([[0.9, *([0.1 / (self.num_classes - 1)] * (self.num_classes - 1))]]).log()
        return {
            "row": batch["row"],
            "log_scores": scores.repeat(len(batch["row"]), 1),
            "prediction": torch.ones_like(batch["row"]),
        }


class FixedNgram(FixedKey):
    """Fixes an argument of its base class, and has one of its own that the key does not know."""

    def __init__(self, num_classes, label_names, offset: int = 1):
        super().__init__(num_classes, label_names, ngram=2)
        self.offset = offset

    def encode(self, rows):
        return {"length": [self.offset + len(text) for text in rows["text"]]}


class RightNgram(FixedNgram):  # right
    encoding_key = Letters.encoding_key


class OtherThirdLabel(Letters):
    """Breaks the contract with more than two labels: `kind` says how."""

    def __init__(self, num_classes, label_names, kind: str = ""):
        super().__init__(num_classes, label_names)
        if kind == "best_by" and num_classes > 2:
            self.best_by = ("val/f1", "max")
        self.kind = kind

    def prepare(self, train_rows):
        if self.kind == "fitted" and self.num_classes > 2:
            self.fitted = {"object": object()}
        if self.kind == "refused" and self.num_classes > 2:
            raise UserError("it takes two labels")

    def log_scores(self, batch):
        scores = super().log_scores(batch)
        return scores[:, :2] if self.kind == "scores" and self.num_classes > 2 else scores


class OtherPairs(Letters):
    """What it does with pairs of texts: `kind` says it."""

    def __init__(self, num_classes, label_names, kind: str):
        super().__init__(num_classes, label_names)
        self.kind = kind

    def encode(self, rows):
        if "text_pair" in rows and self.kind == "value_error":
            raise ValueError("one text is wanted")
        if "text_pair" in rows and self.kind == "user_error":
            raise UserError("OtherPairs takes one text")
        if "text_pair" in rows and self.kind == "broken":
            return {"length": [0 for _ in rows["text"]]}
        return super().encode(rows)


class FailsInRun(Letters):
    """Fails alike with texts and with pairs of texts."""

    def on_train_start(self):
        raise UserError("FailsInRun: no")
