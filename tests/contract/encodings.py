"""`encode` and `collate` that give something other than the rows' fields and a batch."""

import random
from collections import OrderedDict, UserDict

import numpy as np
import torch
from transformers import BatchEncoding

from tests.contract.basis import Letters, Uniform, counts_of

ENCODINGS = {  # name: what `encode` gives for rows of texts
    "without_length": lambda rows: {"characters": [len(text) for text in rows["text"]]},
    "length_of_0": lambda rows: {"length": [0] * len(rows["text"])},
    "length_of_empty_texts": lambda rows: {"length": [min(len(text), 20) - 20 for text in rows["text"]]},
    "length_in_floats": lambda rows: {"length": [len(text) / 2 for text in rows["text"]]},
    "length_in_words": lambda rows: {"length": [f"{len(text)} letters" for text in rows["text"]]},
    "length_none": lambda rows: {"length": [None for _ in rows["text"]]},
    "length_nested": lambda rows: {"length": [[len(text)] for text in rows["text"]]},
    "length_in_bools": lambda rows: {"length": [bool(text) for text in rows["text"]]},
    "one_length": lambda rows: {"length": len(rows["text"])},
    "fewer_rows": lambda rows: {"length": [1] * (len(rows["text"]) - 1)},
    "more_rows": lambda rows: {"length": [1] * (2 * len(rows["text"]))},
    "no_rows": lambda rows: {"length": []},
    "columns_of_two_lengths": lambda rows: {"length": [1] * len(rows["text"]), "ids": [[1, 2]]},
    "id": lambda rows: {"length": [1] * len(rows["text"]), "id": rows["text"]},
    "text": lambda rows: {"length": [1] * len(rows["text"]), "text": [text.upper() for text in rows["text"]]},
    "text_pair": lambda rows: {"length": [1] * len(rows["text"]), "text_pair": rows["text"]},
    "row": lambda rows: {"length": [1] * len(rows["text"]), "row": list(range(len(rows["text"])))},
    "label": lambda rows: {"length": [1] * len(rows["text"]), "label": [0] * len(rows["text"])},
    "labels": lambda rows: {"length": [1] * len(rows["text"]), "labels": [0] * len(rows["text"])},
    "filler": lambda rows: {"length": [1] * len(rows["text"]), "filler": [False] * len(rows["text"])},
    "its_input": lambda rows: {**rows, "length": [1] * len(rows["text"])},
    "none": lambda rows: None,
    "list_of_rows": lambda rows: [{"length": len(text)} for text in rows["text"]],
    "list_of_lengths": lambda rows: [len(text) for text in rows["text"]],
    "tuple": lambda rows: ({"length": [1] * len(rows["text"])}, 0),
    "generator": lambda rows: {"length": (len(text) for text in rows["text"])},
    "set_per_row": lambda rows: {"length": [1] * len(rows["text"]), "letters": [set(text) for text in rows["text"]]},
    "object_per_row": lambda rows: {"length": [1] * len(rows["text"]), "made": [object() for _ in rows["text"]]},
    "two_types": lambda rows: {"length": [1] * len(rows["text"]), "x": [1, "a", *([2] * (len(rows["text"]) - 2))]},
    "number_as_name": lambda rows: {"length": [1] * len(rows["text"]), 0: [1] * len(rows["text"])},
    "scalar_tensor": lambda rows: {"length": torch.tensor(len(rows["text"]))},
    "nothing": lambda rows: {},
    "column_of_none": lambda rows: {"length": [1] * len(rows["text"]), "extra": None},
    "text_as_column": lambda rows: {"length": [1] * len(rows["text"]), "extra": "x" * len(rows["text"])},
    "mapping_as_column": lambda rows: {"length": [1] * len(rows["text"]), "extra": dict.fromkeys(rows["text"], 1)},
    "function_as_column": lambda rows: {"length": [1] * len(rows["text"]), "extra": len},
    "tensors_of_two_batches": lambda rows: {"length": [1] * len(rows["text"]), "ids": torch.ones(1, 5)},
}
BATCHES = {  # name: what `collate` gives
    "list": lambda rows: rows["text"],
    "tuple": lambda rows: (counts_of(rows["text"]), rows["length"]),
    "tensor": lambda rows: counts_of(rows["text"]),
    "none": lambda rows: None,
    "list_of_rows": lambda rows: [{"text": text} for text in rows["text"]],
    "id": lambda rows: {"text": rows["text"], "id": rows["text"]},
    "row": lambda rows: {"text": rows["text"], "row": "first"},
    "labels": lambda rows: {"text": rows["text"], "labels": torch.zeros(1)},
    "filler": lambda rows: {"text": rows["text"], "filler": True},
}
KEPT = {  # what must work
    "tensor": lambda rows: {"length": torch.ones(len(rows["text"]), dtype=torch.long)},
    "numpy": lambda rows: {"length": np.ones(len(rows["text"]), dtype=np.int32)},
    "numpy_scalars": lambda rows: {"length": [np.int64(1 + len(text)) for text in rows["text"]]},
    "tensors_per_row": lambda rows: {"length": [1] * len(rows["text"]), "counts": list(counts_of(rows["text"]))},
    "batch_encoding": lambda rows: BatchEncoding({"length": [1] * len(rows["text"])}),
    "padded_tensor": lambda rows: {"length": [1] * len(rows["text"]), "ids": torch.ones(len(rows["text"]), 5)},
    "padded_array": lambda rows: {"length": [1] * len(rows["text"]), "ids": np.ones((len(rows["text"]), 5))},
    "arrays_per_row": lambda rows: {
        "length": [1] * len(rows["text"]),
        "ids": [np.arange(len(t)) for t in rows["text"]],
    },
    "texts_and_bytes": lambda rows: {"length": [1] * len(rows["text"]), "raw": [t.encode() for t in rows["text"]]},
    "tuple_of_lengths": lambda rows: {"length": tuple(1 for _ in rows["text"])},
    "whole_floats": lambda rows: {"length": [1] * len(rows["text"]), "share": [0.5] * len(rows["text"])},
}


BATCHES_KEPT = {
    "user_dict": lambda rows: UserDict(text=rows["text"]),
    "batch_encoding": lambda rows: BatchEncoding({"text": rows["text"]}),
    "ordered_dict": lambda rows: OrderedDict(text=rows["text"]),
    "more": lambda rows: {"text": rows["text"], "length": rows["length"], "mask": torch.ones(len(rows["text"]), 3)},
}


class Encoded(Uniform):
    """`encode` is one of those above."""

    def __init__(self, num_classes, label_names, kind: str):
        super().__init__(num_classes, label_names)
        self.kind = kind

    def encode(self, rows):
        return {**ENCODINGS, **KEPT}[self.kind](rows)


class Collated(Uniform):
    """`collate` is one of those above."""

    def __init__(self, num_classes, label_names, kind: str):
        super().__init__(num_classes, label_names)
        self.kind = kind

    def collate(self, rows):
        return {**BATCHES, **BATCHES_KEPT}[self.kind](rows)


class NeedsLabel(Uniform):
    """Looks at what is not known when it predicts."""

    def encode(self, rows):
        return {"length": [1 + label for label in rows["label"]]}


class CollatesLabel(Letters):
    def collate(self, rows):
        return {**super().collate(rows), "weights": torch.tensor(rows["label"]) + 1.0}


class Shuffles(Uniform):
    """Draws from the global random state."""

    def encode(self, rows):
        return {"length": [random.randint(1, 9) for _ in rows["text"]]}


class DropsLetters(Letters):
    def encode(self, rows):
        kept = [[int(keep) for keep in torch.rand(len(text)) > 0.5] for text in rows["text"]]
        return {"length": [1 + len(text) for text in rows["text"]], "kept": kept}


class Lowercases(Letters):
    """Changes the rows that it is given."""

    def encode(self, rows):
        rows["text"][:] = [text.lower() for text in rows["text"]]
        return {"length": [1 + len(text) for text in rows["text"]]}


class Pops(Letters):
    def collate(self, rows):
        return {"counts": counts_of(rows.pop("text"))}


class Counts(Uniform):
    """Remembers what it has encoded."""

    def encode(self, rows):
        self.seen = getattr(self, "seen", 0) + 1
        return {"length": [self.seen for _ in rows["text"]]}


class RelativeToBatch(Letters):
    """A row's score depends on the others in its batch."""

    def collate(self, rows):
        counts = counts_of(rows["text"])
        return {"counts": (counts - counts.mean(0)) / (counts.std(0, correction=0) + 1)}


class RelativeToWindow(Uniform):
    """A row's encoding depends on the others that are encoded with it."""

    def encode(self, rows):
        longest = max(len(text) for text in rows["text"])
        return {"length": [1] * len(rows["text"]), "share": [len(text) / (longest + 1) for text in rows["text"]]}

    def collate(self, rows):
        return {"share": torch.tensor(rows["share"])}

    def log_scores(self, batch):
        return torch.stack([batch["share"], 1 - batch["share"]], dim=1).log()
