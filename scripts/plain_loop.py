"""Fine-tunes an encoder in plain torch and transformers, to be read from top to bottom.

It does what `fit` does with a `FineTunedClassifier`; in fp32 on a CPU both end with the same weights, to the bit. They
share `LengthBatchSampler`, which draws the batches of each epoch from the seed, and a dropout that is fast on CPUs.
"""

import argparse
import csv

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_scheduler

from textclf.data.batching import LengthBatchSampler  # rows of similar length together: little padding
from textclf.hardware.kernels import use_fast_dropout

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("encoder", help="hub id or folder of a pretrained encoder")
parser.add_argument("rows", help=".csv with the columns text and label")
parser.add_argument("folder", help="where to write the trained model")
for name, value in {"epochs": 3, "batch_size": 32, "max_length": 128, "learning_rate": 5e-5, "seed": 42}.items():
    parser.add_argument(f"--{name}", type=type(value), default=value, help=f"(default: {value})")
options = parser.parse_args()

with open(options.rows, newline="", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
names = sorted({row["label"] for row in rows})
labels = torch.tensor([names.index(row["label"]) for row in rows])

torch.manual_seed(options.seed)  # of the head's first weights, then of dropout
tokenizer = AutoTokenizer.from_pretrained(options.encoder)
ids = {name: i for i, name in enumerate(names)}
model = AutoModelForSequenceClassification.from_pretrained(
    options.encoder, dtype=torch.float32, label2id=ids, id2label=dict(enumerate(names))
)
use_fast_dropout(model)
encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=options.max_length)
lengths = [len(tokens) for tokens in encoded["input_ids"]]
batches = LengthBatchSampler(lengths, batch_size=options.batch_size, shuffle=True, seed=options.seed)

matrices = {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.01}
vectors = {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0}  # biases, gains of norms
optimizer = torch.optim.AdamW([matrices, vectors], lr=options.learning_rate, fused=True)
steps = options.epochs * len(batches)
schedule = get_scheduler("linear", optimizer, num_warmup_steps=round(0.1 * steps), num_training_steps=steps)

model.train()
for epoch in range(options.epochs):
    batches.set_epoch(epoch)
    for batch in batches:
        inputs = tokenizer.pad({field: [encoded[field][i] for i in batch] for field in encoded}, return_tensors="pt")
        loss = cross_entropy(model(**inputs).logits, labels[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type here
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        schedule.step()
    print(f"epoch {epoch}: loss of the last batch {loss.item():.4f}", flush=True)
model.save_pretrained(options.folder)
tokenizer.save_pretrained(options.folder)
