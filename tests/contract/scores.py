"""`log_scores` that gives something other than log-probabilities."""

import torch
from transformers.modeling_outputs import SequenceClassifierOutput

from tests.contract.basis import Letters, Uniform

DEFECTS = {  # name: what is made of right scores
    "logits": lambda s: s * 5 + 3,
    "log_softmax_slightly_off": lambda s: s + 0.01,
    "mass_lost": lambda s: s - 0.01,
    "probabilities": lambda s: s.exp(),
    "percent": lambda s: s.exp() * 100,
    "negative": lambda s: -s,
    "base_two": lambda s: s / torch.tensor(2.0).log(),
    "sigmoid": lambda s: torch.nn.functional.logsigmoid(s + 2),
    "softmax_over_rows": lambda s: (s + torch.arange(len(s))[:, None]).log_softmax(0),
    "last_row_alone": lambda s: torch.cat([s[:-1], s[-1:] + 1]),
    "squeezed": lambda s: s.squeeze(),
    "of_one_class": lambda s: s[:, 0],
    "one_column": lambda s: s[:, :1],
    "one_column_more": lambda s: torch.cat([s, s[:, :1]], dim=1),
    "one_dimension_more": lambda s: s[..., None],
    "transposed": lambda s: s.T,
    "mean": lambda s: s.mean(),
    "last_row_missing": lambda s: s[:-1],
    "twice": lambda s: torch.cat([s, s]),
    "nothing": lambda s: s[:0],
    "argmax": lambda s: s.argmax(-1),
    "one_hot": lambda s: torch.nn.functional.one_hot(s.argmax(-1), 2),
    "bools": lambda s: s > -1,
    "complex": lambda s: s.to(torch.complex64),
    "half": lambda s: s.half(),
    "bfloat16": lambda s: s.bfloat16(),
    "meta": lambda s: s.to("meta"),
    "sparse": lambda s: s.to_sparse(),
    "numpy": lambda s: s.numpy(),
    "nested_list": lambda s: s.tolist(),
    "rows": lambda s: list(s),
    "tuple": lambda s: (s, s),
    "dictionary": lambda s: {"logits": s},
    "model_output": lambda s: SequenceClassifierOutput(logits=s),
    "none": lambda s: None,
    "infinite": lambda s: s.index_fill(1, torch.tensor([0]), torch.inf),
    "impossible": lambda s: torch.full_like(s, -torch.inf),
    "all_nan": lambda s: s * torch.nan,
    "half_nan": lambda s: s.index_fill(1, torch.tensor([0]), torch.nan),
    "one_nan": lambda s: torch.cat([s[:-1], torch.stack([torch.tensor(torch.nan), s[-1, 1]])[None]]),
}


class Scores(Uniform):
    """Has one of the defects."""

    def __init__(self, num_classes, label_names, defect: str):
        super().__init__(num_classes, label_names)
        self.defect = defect

    def log_scores(self, batch):
        return DEFECTS[self.defect](super().log_scores(batch))


class TrainedScores(Letters):
    """Has one of the defects in evaluation; its loss is right."""

    def __init__(self, num_classes, label_names, defect: str):
        super().__init__(num_classes, label_names)
        self.defect = defect

    def log_scores(self, batch):
        scores = super().log_scores(batch)
        return scores if self.training else DEFECTS[self.defect](scores)


class Diverged(Letters):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e38)


class InAutocast(Letters):
    autocast = True


class HalfWeights(Letters):
    """A layer in bf16, as frozen models are loaded."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.layer.bfloat16()

    def log_scores(self, batch):
        return self.layer(batch["counts"].bfloat16()).log_softmax(-1)


class OwnException(Uniform):
    def log_scores(self, batch):
        return batch["no such field"]


class Nameless(Uniform):
    log_scores = None


class WrongDevice(Uniform):
    def log_scores(self, batch):
        return torch.zeros(len(batch["text"]), 2, device="cuda").log_softmax(-1)


class MissingAnswers(Uniform):  # right: rows of NaN are answers that fit no class
    def log_scores(self, batch):
        scores = super().log_scores(batch)
        scores[["on day 7," in text for text in batch["text"]]] = torch.nan
        return scores


class Words(Uniform):  # right: without probabilities, any order of the scores will do
    has_probabilities = False

    def log_scores(self, batch):
        return super().log_scores(batch) * 7 + 5


class WordsByArgument(Words):  # right: a property may use an attribute that is set after `super().__init__()`
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.mode = "words"

    @property
    def has_probabilities(self):
        return self.mode != "words"


class DoublePrecision(Uniform):  # right
    def log_scores(self, batch):
        return super().log_scores(batch).double()


class AlmostCertain(Uniform):  # right: a probability may be 0
    def log_scores(self, batch):
        return torch.tensor([[0.0, -torch.inf]]).repeat(len(batch["text"]), 1)


class Expanded(Uniform):  # right: a view that cannot be written to
    def log_scores(self, batch):
        return torch.tensor([[0.5, 0.5]]).log().expand(len(batch["text"]), 2)


class WithGradient(Letters):  # right: a method without training may have weights
    training_step = Uniform.training_step
