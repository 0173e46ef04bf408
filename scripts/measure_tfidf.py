"""Measures time, memory and disk of `TfidfClassifier` for growing numbers of rows.

Writes invented texts of 4 to 12 words, fits in a process of its own, and samples the memory of that process and of its
workers (without the pages of mapped files, which the system takes back when needed). Only Linux reports it. For up to
`--compare_up_to` rows, and for those of `--folder`, it also fits with one core, in parts although all features fit into
memory, and by scikit-learn's own vectorizers, and compares the results.
"""

import argparse
import json
import multiprocessing
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.frame import machine, own_memory

from textclf.console import run_script
from textclf.evaluation.stored_results import general_command
from textclf.files import atomic_path

WAYS = ("all cores", "one core", "in parts", "scikit-learn")
"""`in parts` is the way of sets that are too large for the memory."""
TEST_ROWS = 10_000
PREDICT_ROWS = 1024
"""Rows of a batch."""
COLUMNS = (
    ("seconds", "seconds", ",.1f"),
    ("MiB", "peak_mib", ",.0f"),
    ("workers", "peak_of_workers_mib", ",.0f"),
    ("disk MiB", "temporary_mib", ",.0f"),
    ("n-grams", "ngrams", ",d"),
    ("accuracy", "accuracy", ".4f"),
    ("loss", "loss", ".4f"),
    ("others", "other_predictions", ",d"),
    ("predict/s", "predicted_rows_per_second", ",.0f"),
)
"""Titles, keys and formats of the printed columns; `others` are test rows predicted otherwise than by the first way."""
WHOLE = {
    "seconds": "seconds",
    "peak_mib": "peak MiB",
    "peak_of_workers_mib": "MiB of workers",
    "temporary_mib": "MiB on disk",
    "ngrams": "n-grams",
    "other_predictions": "other predictions",
}
"""Keys and titles of what is rounded in the stored table."""


def write_rows(path: Path, rows: int, seed: int) -> None:
    """Writes rows of two classes as an Arrow stream: words by Zipf's law; of ten, one depends on the class."""
    import pyarrow as pa
    import pyarrow.compute as pc

    syllables = [start + end for start in "bdfgklmnprstvz가나다라마바사" for end in "aeiou의도는를이"]
    names = np.random.default_rng(0).choice(syllables, size=(200_000, 3))
    words = pa.array(["".join(name) for name in names.tolist()])
    draw = np.random.default_rng([seed, rows])
    schema = pa.schema([("text", pa.string()), ("label", pa.int64())])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for start in range(0, rows, 100_000):
            number = min(100_000, rows - start)
            labels = draw.integers(2, size=number)
            lengths = draw.integers(4, 13, size=number)
            drawn = np.minimum(draw.zipf(1.2, size=lengths.sum()), len(words)) - 1
            of_class = draw.random(len(drawn)) < 0.1
            drawn[of_class] = 500 + 300 * np.repeat(labels, lengths)[of_class] + drawn[of_class] % 500
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), words.take(pa.array(drawn)))
            batch = pa.record_batch([pc.binary_join(lists, " "), pa.array(labels)], schema=schema)
            writer.write_batch(batch)


def read_rows(path: Path, text_column: str) -> Any:
    """Rows on disk, with the columns `text` and `label`, without empty texts."""
    from datasets import Dataset

    if path.suffix == ".arrow":
        return Dataset.from_file(str(path))
    rows = Dataset.from_parquet(str(path)).select_columns([text_column, "label"])
    rows = rows.rename_column(text_column, "text") if text_column != "text" else rows
    return rows.filter(lambda row: bool((row["text"] or "").strip()))


def fit(train: Path, test: Path, way: str, text_column: str, answer: Connection) -> None:
    """Fits and predicts in one way, and sends the result; it is run in a process of its own."""
    from textclf.models import TfidfClassifier, tfidf

    if way == "one core":
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    if way == "in parts":
        tfidf.MAX_VALUES = 0
    train_rows, test_rows = read_rows(train, text_column), read_rows(test, text_column)
    labels = np.array(test_rows["label"])
    classes = int(labels.max()) + 1
    model: Any = ScikitLearn() if way == "scikit-learn" else TfidfClassifier(classes, [str(i) for i in range(classes)])
    answer.send({"before_mib": own_memory(os.getpid()) / 2**20})
    start = time.perf_counter()
    model.prepare(train_rows)
    fitted = time.perf_counter()
    batches = test_rows.select_columns(["text"]).iter(batch_size=PREDICT_ROWS)
    scores = np.concatenate([np.asarray(model.log_scores(batch)) for batch in batches])
    predicted = time.perf_counter()
    answer.send(
        {
            "seconds": fitted - start,
            "rows_per_second": len(train_rows) / (fitted - start),
            "predicted_rows_per_second": len(test_rows) / (predicted - fitted),
            "ngrams": model.fitted["coefficients"].shape[1],
            "accuracy": float((scores.argmax(axis=1) == labels).mean()),
            "loss": float(-scores[np.arange(len(labels)), labels].mean()),
            "scores": scores,
        }
    )


class ScikitLearn:
    """The plain way that `TfidfClassifier` must agree with: all texts, counts and features in memory, on one core."""

    def prepare(self, rows: Any) -> None:
        """Fits to the rows."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        options = {"min_df": 2, "sublinear_tf": True, "norm": None}
        self.vectorizers = [
            TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **options),
            TfidfVectorizer(analyzer="char", ngram_range=(1, 4), **options),
        ]
        texts = list(rows["text"])
        features = self._joined([vectorizer.fit_transform(texts) for vectorizer in self.vectorizers])
        self.regression = LogisticRegression(C=5.0, solver="newton-cg", max_iter=1000)
        self.regression.fit(features, list(rows["label"]))
        self.fitted = {"coefficients": self.regression.coef_}

    def log_scores(self, batch: dict[str, Any]) -> np.ndarray:
        """Log-probabilities of texts."""
        features = self._joined([vectorizer.transform(batch["text"]) for vectorizer in self.vectorizers])
        scores: np.ndarray = self.regression.predict_log_proba(features)
        return scores

    @staticmethod
    def _joined(matrices: list[Any]) -> Any:
        from scipy.sparse import hstack
        from sklearn.preprocessing import normalize

        return normalize(hstack(matrices, format="csr"))


def measured(train: Path, test: Path, way: str, text_column: str = "text") -> dict[str, Any]:
    """Fits in a process of its own, and adds its largest memory and temporary files to what it sends."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=fit, args=(train, test, way, text_column, sender))
    process.start()
    sender.close()
    assert process.pid is not None
    found: dict[str, Any] = {}
    peaks = {"peak_mib": 0.0, "peak_of_workers_mib": 0.0, "temporary_mib": 0.0}
    while "scores" not in found:
        if receiver.poll(0.05):
            found |= receiver.recv()
        now = {
            "peak_mib": own_memory(process.pid),
            "peak_of_workers_mib": sum(map(own_memory, descendants(process.pid))),
            "temporary_mib": unnamed_files(process.pid),
        }
        peaks = {name: max(peak, now[name] / 2**20) for name, peak in peaks.items()}
    process.join()
    return {"way": way, **peaks, **found}


def descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, and those that these have."""
    try:
        children = [
            child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
        ]
    except OSError:  # it has ended
        return
    for child in map(int, children):
        yield child
        yield from descendants(child)


def unnamed_files(pid: int) -> int:
    """Bytes of the open files of a process that have no name."""
    sizes = {}
    for file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            status = file.stat()
            if "(deleted)" in os.readlink(file):
                sizes[status.st_ino] = status.st_size
        except OSError:  # it was closed
            continue
    return sum(sizes.values())


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Takes the scores out of the results, for how far they are from those of the first one."""
    reference = rows[0]["scores"]
    for row in rows:
        scores = row.pop("scores")
        row["largest_difference"] = float(np.abs(scores - reference).max())
        row["other_predictions"] = int((scores.argmax(axis=1) != reference.argmax(axis=1)).sum())
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Measures TF-IDF for growing numbers of rows.")
    parser.add_argument("--rows", nargs="*", type=int, default=[10_000, 100_000], help="numbers of train rows")
    parser.add_argument(
        "--compare_up_to", type=int, default=100_000, help="rows up to which ways of fitting are compared"
    )
    parser.add_argument("--folder", type=Path, help="a folder with train.parquet and test.parquet of a real data set")
    parser.add_argument("--text_column", default="text", help="the column of its texts")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args(arguments)
    words = ["python", "scripts/measure_tfidf.py", *(sys.argv[1:] if arguments is None else arguments)]
    command = general_command(shlex.join(words))
    return run_script("measure_tfidf", lambda: run(options, command))


def run(options: argparse.Namespace, command: str) -> None:
    """Measures each size, prints a line for each fit, and writes the figures."""
    report: dict[str, Any] = {"command": command, "machine": machine(), "fits": []}
    print(f"{'':<14}{'rows':>12}" + "".join(f"{title:>10}" for title, _, _ in COLUMNS))
    with tempfile.TemporaryDirectory() as name:
        for rows, fits in all_fits(options, Path(name)):
            for fitted in fits:
                report["fits"].append({"rows": rows, **fitted})
                print(line(rows, fitted), flush=True)
            if options.json:
                report |= stored_table_of(report["fits"])
                report["robustness"] = checks(report["fits"], command)
                with atomic_path(options.json) as path:
                    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def all_fits(options: argparse.Namespace, folder: Path) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yields the number of rows, and the fits to these rows."""
    if options.folder:
        train, test = options.folder / "train.parquet", options.folder / "test.parquet"
        fits = [measured(train, test, way, options.text_column) for way in WAYS]
        yield len(read_rows(train, options.text_column)), compared(fits)
    for rows in options.rows:
        train, test = folder / "train.arrow", folder / "test.arrow"
        write_rows(train, rows, seed=0)
        write_rows(test, TEST_ROWS, seed=1)
        ways = WAYS if rows <= options.compare_up_to else WAYS[:1]
        yield rows, compared([measured(train, test, way) for way in ways])


def line(rows: int, fitted: dict[str, Any]) -> str:
    """A line of the printed table."""
    numbers = [f"{fitted[key]:{form}}" for _, key, form in COLUMNS]
    return f"{fitted['way']:<14}{rows:>12,}" + "".join(f"{number:>10}" for number in numbers)


def stored_table_of(fits: list[dict[str, Any]]) -> dict[str, Any]:
    """The fits as `textclf.evaluation.stored_results.stored_table` takes them: whole seconds and MiB."""
    keys = [("way", "text"), ("rows", "count"), *((key, "count") for key in WHOLE), ("accuracy", "share")]
    rows = []
    for fitted in fits:
        whole = {key: round(fitted[key]) for key in WHOLE}
        rows.append({"way": fitted["way"], "rows": fitted["rows"], **whole, "accuracy": fitted["accuracy"]})
    titles = {"way": "fitted by", "rows": "train rows", **WHOLE, "accuracy": "accuracy"}
    return {"columns": [{"key": key, "title": titles[key], "kind": kind} for key, kind in keys], "rows": rows}


def checks(fits: list[dict[str, Any]], command: str) -> list[dict[str, Any]]:
    """The comparisons with other ways as rows of the table of robustness."""
    titles = {
        "one core": "TF-IDF fitted with one core instead of all",
        "scikit-learn": "TF-IDF fitted by scikit-learn's vectorizers, all rows in memory",
    }
    found = []
    for way, title in titles.items():
        of_way = [fitted for fitted in fits if fitted["way"] == way]
        if of_way:
            found.append(
                {
                    "check": title,
                    "tried": f"{sum(fitted['rows'] for fitted in of_way):,} train rows",
                    **dict.fromkeys(("faults", "bad_inputs", "crashes")),
                    "lost": sum(fitted["other_predictions"] for fitted in of_way),
                    "difference": max(fitted["largest_difference"] for fitted in of_way),
                    "command": command,
                }
            )
    return found


if __name__ == "__main__":
    sys.exit(main())
