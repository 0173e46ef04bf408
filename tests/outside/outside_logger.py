"""A logger of somebody else's: a file of JSON lines."""

import json
from pathlib import Path

from lightning.pytorch.loggers import Logger


class JSONLines(Logger):
    name = version = "lines"

    def __init__(self, save_dir: str = "."):
        super().__init__()
        self.path = Path(save_dir, "lines.jsonl")

    def write(self, entry):
        with self.path.open("a") as file:
            file.write(json.dumps(entry, default=str) + "\n")

    def log_hyperparams(self, params, *args, **kwargs):
        self.write({"config": params})

    def log_metrics(self, metrics, step=None):
        self.write({"step": step, **metrics})
