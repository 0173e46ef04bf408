r"""Runs MTEB on the encoder that a configuration names: on its own tasks, or by its protocol on this project's rows.

python scripts/run_mteb.py results --config configs/reference/R3.yaml --tasks STSBenchmark
python scripts/run_mteb.py results --config configs/reference/R3.yaml --rows

Another encoder, here that of the reference system R11:

python scripts/run_mteb.py results --config configs/reference/R3.yaml --tasks STSBenchmark \
    --model.pretrained sentence-transformers/all-MiniLM-L6-v2
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from textclf.classes.user_code import search_current_folder
from textclf.console import run_script
from textclf.data.base import TextDataModule
from textclf.embeddings import Embedder
from textclf.errors import UserError
from textclf.files import atomic_path


def require_mteb() -> Any:
    """Imports MTEB, which would otherwise ask its own hub for results.

    Raises:
        UserError: It is not installed.
    """
    os.environ.setdefault("MTEB_CACHE", str(Path.home() / ".cache" / "mteb"))
    try:
        import mteb
    except ImportError as error:
        raise UserError("MTEB is not installed: pip install -c scripts/constraints.txt -e '.[mteb]'") from error
    return mteb


def encoder_for(embedder: Embedder, name: str) -> Any:
    """An encoder for MTEB, with the cache of embeddings.

    Args:
        embedder: The encoder, with prompt, pooling, length and dtype of the configuration.
        name: The name of the encoder in the results.
    """
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder

    class Encoder(AbsEncoder):
        mteb_model_meta = ModelMeta.create_empty(
            {"name": f"textclf/{name}", "revision": embedder.key, "similarity_fn_name": "cosine"}
        )

        def __init__(self) -> None:
            self.model = embedder

        def encode(self, inputs: Any, **kwargs: Any) -> np.ndarray:
            texts = [text for batch in inputs for text in batch["text"]]
            return embedder.matrix(texts)

    return Encoder()


def task_over(data: TextDataModule) -> Any:
    """An MTEB classification task over the rows of a data module.

    As in all its classification tasks, MTEB draws 8 train rows of each label 10 times, fits a logistic regression to
    them, and scores the test split; the result is the mean accuracy.

    Args:
        data: The data module; its train and test splits are used, after cleaning.
    """
    from datasets import DatasetDict
    from mteb.abstasks.classification import AbsTaskClassification
    from mteb.abstasks.task_metadata import TaskMetadata

    name = type(data).__name__.removesuffix("DataModule")
    splits = {split: data.rows(split) for split in ("train", "test")}
    hangul = any("가" <= letter <= "힣" for text in splits["test"][:100]["text"] for letter in text)

    class Rows(AbsTaskClassification):
        metadata = TaskMetadata(
            name=name,
            description=f"The rows of {type(data).__name__}.",
            dataset={"path": data.data_dir or data.hub_id, "revision": "local" if data.data_dir else data.hub_revision},
            type="Classification",
            category="t2c",
            eval_splits=["test"],
            eval_langs=["kor-Hang" if hangul else "eng-Latn"],
            main_score="accuracy",
        )

        def load_data(self, *args: Any, **kwargs: Any) -> None:
            self.dataset = DatasetDict({s: rows.select_columns(["text", "label"]) for s, rows in splits.items()})
            self.data_loaded = True

    return Rows()


def build(arguments: Sequence[str]) -> tuple[Any, TextDataModule]:
    """Reads a configuration as the command line does; returns the method, without weights, and the data.

    Raises:
        UserError: The configuration is wrong, or its method does not embed texts.
    """
    from textclf.cli.app import build_parts
    from textclf.models.embedding import EmbeddingClassifier

    model, data = build_parts(arguments)
    if not isinstance(model, EmbeddingClassifier):
        raise UserError(f"{type(model).__name__} does not embed texts: add --config configs/model/linear_probe.yaml")
    return model, data


def run(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Runs the tasks one by one, and writes `FOLDER/<encoder>-<hash>/<task>.json` after each.

    (The hash is that of the weights and settings, so that encoders of the same name are distinguished.)
    """
    if bool(options.tasks) == options.rows:
        raise UserError("give one of --tasks (names of MTEB tasks) and --rows (the rows of the configuration)")
    mteb = require_mteb()
    model, data = build(arguments)
    try:
        tasks = [task_over(data)] if options.rows else mteb.get_tasks(tasks=options.tasks)
    except KeyError as error:
        raise UserError(f"--tasks: {error.args[0].removeprefix('KeyError: ')}") from error
    name = Path(model.pretrained).name if "://" not in model.pretrained else model.pretrained.split("/")[2]
    name = f"{name}-{model.embedder.key[:8]}"
    encoder = encoder_for(model.embedder, name)
    for task in tasks:
        task_name = task.metadata.name
        try:
            result = mteb.evaluate(encoder, task, cache=None, co2_tracker=False).task_results[0]
        except (ConnectionError, OSError) as error:
            raise UserError(
                f"MTEB cannot load {task_name!r} ({error}): fill the hub's cache, or take --rows"
            ) from error
        path = Path(options.folder, name, f"{task_name}.json")
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(result.to_dict(), indent=2, default=str) + "\n", encoding="utf-8")
        print(f"{task_name}: {task.metadata.main_score} {result.get_score():.4f} ({path})", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog="All other arguments are those of `python -m textclf test`: configs first, then values.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder of the results, as JSON")
    parser.add_argument("--tasks", nargs="+", default=[], help="names of MTEB tasks, which are loaded from the hub")
    parser.add_argument("--rows", action="store_true", help="use the rows of the configuration, by MTEB's protocol")
    options, rest = parser.parse_known_args(arguments)
    search_current_folder()  # classes of the user may be there
    return run_script("run_mteb", lambda: run(options, rest))


if __name__ == "__main__":
    sys.exit(main())
