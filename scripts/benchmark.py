"""Measures how fast textclf is, part by part, each against a baseline on the same machine in the same minutes.

A part is a function under `@part`: it sets up, outside the clock, and returns its contenders by name, the baseline
first. A contender does the work once and returns counts of it, which vary less than seconds.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.frame import ROOT, Work, machine, measure, process, summarize, table

from textclf.console import run_script
from textclf.errors import UserError
from textclf.files import atomic_path

SetUp = Callable[[argparse.Namespace], dict[str, Work]]


@dataclass(frozen=True)
class Part:
    """A comparison: how to set it up, and how to read it."""

    set_up: SetUp
    unit: str | None
    bound: float | None
    warm: bool


PARTS: dict[str, Part] = {}


def part(unit: str | None = None, bound: float | None = None, warm: bool = False) -> Callable[[SetUp], SetUp]:
    """Decorator that registers a function from options to contenders as a part, under the name of the function.

    Args:
        unit: The count whose rate per second is shown, such as `rows`.
        bound: How many times the baseline's seconds each other contender may take.
        warm: Whether the set-up has already run each contender, so that no round is needed to warm it up.
    """

    def register(set_up: SetUp) -> SetUp:
        PARTS[set_up.__name__] = Part(set_up, unit, bound, warm)
        return set_up

    return register


# The parts


@part(bound=1.3)
def startup(options: argparse.Namespace) -> dict[str, Work]:
    """Whole processes: importing LightningCLI, the help, and printing a configuration."""
    commands = {
        "import LightningCLI": ["-c", "from lightning.pytorch.cli import LightningCLI"],
        "textclf --help": ["-m", "textclf", "--help"],
        "textclf fit --print_config": ["-m", "textclf", "fit", "--config", "configs/quickstart.yaml", "--print_config"],
    }
    return {
        name: process([sys.executable, *arguments], {"modules": imported_modules(arguments)})
        for name, arguments in commands.items()
    }


def imported_modules(arguments: Sequence[str]) -> int:
    """Counts the modules that `python ARGUMENTS` imports."""
    command = [sys.executable, "-X", "importtime", *arguments]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stderr.splitlines()
    return sum(line.startswith("import time:") for line in lines) - 1  # the first is the head


@part(unit="rows")
def batching(options: argparse.Namespace) -> dict[str, Work]:
    """Evaluating short texts with MiniLM: how batches are formed and padded."""
    from benchmarks.batching import contenders

    return contenders(short_texts(options.data_dir, options.rows))


@part(unit="rows")
def training(options: argparse.Namespace) -> dict[str, Work]:
    """One epoch of fine-tuning MiniLM on short texts, with invented labels."""
    from benchmarks.training import contenders

    return contenders(short_texts(options.data_dir, options.rows), train=True)


@part(unit="rows")
def evaluation(options: argparse.Namespace) -> dict[str, Work]:
    """Scoring short texts with MiniLM."""
    from benchmarks.training import contenders

    return contenders(short_texts(options.data_dir, options.rows), train=False)


@part(unit="rows", warm=True)
def checks(options: argparse.Namespace) -> dict[str, Work]:
    """Scoring short texts with MiniLM, without and with the checks of each batch's scores."""
    from benchmarks.checks import contenders

    return contenders(short_texts(options.data_dir, options.rows))


@part(unit="rows")
def embedding(options: argparse.Namespace) -> dict[str, Work]:
    """From texts to a trained linear probe on MiniLM, and to the scores of the test split."""
    from benchmarks.embeddings import contenders

    return contenders(options.data_dir, options.rows)


@part(unit="rows", warm=True)
def likelihood(options: argparse.Namespace) -> dict[str, Work]:
    """Four topics' likelihood with a causal LM, on test texts of a folder such as AG News."""
    from benchmarks.likelihood import contenders

    return contenders(options, test_texts(options))


@part(unit="rows", warm=True)
def likelihood_growth(options: argparse.Namespace) -> dict[str, Work]:
    """The same, for more labels and for longer prompts."""
    from benchmarks.likelihood import growth

    return growth(options, test_texts(options))


def test_texts(options: argparse.Namespace) -> list[str]:
    """The first texts of a test split, as they are; sentences of BBC News if there is no folder."""
    from textclf.data.read_files import read_split

    if options.data_dir is None:
        return short_texts(None, options.rows)
    return list(read_split(options.data_dir, "test")[: options.rows]["text"])


def short_texts(data_dir: str | None, number: int) -> list[str]:
    """Texts that are evenly spread over a train split.

    Args:
        data_dir: Rotten Tomatoes on disk; None for sentences of BBC News, at most 40 words of each.
        number: Number of texts.

    Raises:
        UserError: There are fewer texts, or the data cannot be read.
    """
    if data_dir is not None:
        from textclf.data.sets.rotten_tomatoes import RottenTomatoesDataModule

        texts = list(RottenTomatoesDataModule(data_dir=data_dir).rows("train")["text"])
    else:
        from textclf.data.sets.bbc_news import BBCNewsDataModule

        articles = BBCNewsDataModule().rows("train")["text"]
        texts = []
        for article in articles:
            for sentence in re.split(r"(?<=[.!?])\s+|\n+", article):
                words = sentence.split()
                if words:
                    texts.append(" ".join(words[:40]))
    if len(texts) < number:
        raise UserError(f"--rows {number} is more than the {len(texts)} texts that there are: give at most that many")
    return [texts[i * len(texts) // number] for i in range(number)]


def zero_shot(name: str, what: str, bound: float | None = None) -> None:
    """Makes a part of a function in `benchmarks.methods`, on an eighth of the texts: its baseline is slow."""

    def set_up(options: argparse.Namespace) -> dict[str, Work]:
        from benchmarks import methods

        method: Callable[[list[str]], dict[str, Work]] = getattr(methods, name)
        return method(short_texts(options.data_dir, -(-options.rows // 8)))

    set_up.__name__, set_up.__doc__ = name, what
    part(unit="rows", bound=bound)(set_up)


zero_shot("pretrained", "A ready-made classifier.")
zero_shot("nli", "Zero-shot by NLI, ten labels.", bound=1 / 4)
zero_shot("seq2seq", "An encoder-decoder's likelihoods of ten labels.", bound=1 / 8)
zero_shot("chat", "A chat server that takes 50 ms per answer.")


# The command line


def run(options: argparse.Namespace) -> None:
    """Runs the parts and prints their tables; with `--json`, writes the results so far after each part.

    Raises:
        UserError: An option's value cannot be used, or a package is missing.
    """
    if unknown := [name for name in options.parts if name not in PARTS]:
        raise UserError(f"unknown part {', '.join(map(repr, unknown))}: the parts are {', '.join(PARTS)}")
    for name in ("repeats", "rows"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)} is too small: give 1 or more")
    if options.json and Path(options.json).is_dir():
        raise UserError(f"--json {options.json!r} is a folder: name a file")
    settings = {name: getattr(options, name) for name in ("repeats", "rows", "data_dir", "pretrained")}
    report: dict[str, Any] = {"machine": machine(), "options": settings, "parts": {}}
    for name, value in report["machine"].items():
        print(f"{name:<14} {'none' if value is None else value}", flush=True)
    for name in dict.fromkeys(options.parts or PARTS):
        each = PARTS[name]
        load = [os.getloadavg()[0]]
        try:
            contenders = each.set_up(options)
        except UserError as error:
            if options.parts:
                raise
            print(f"\n{name} is left out: {error}", flush=True)  # all parts run, this one was not requested
            continue
        summary = summarize(measure(contenders, options.repeats, each.warm), each.unit)
        # It includes this process. If it is far above the number of threads, other processes disturbed the times.
        load.append(os.getloadavg()[0])
        print(f"\n{name}: {options.repeats} rounds, load {load[0]:.1f} to {load[1]:.1f}; ratios to the first line")
        print(table(summary, each.unit, each.bound), flush=True)
        report["parts"][name] = {"unit": each.unit, "bound": each.bound, "load": load, "contenders": summary}
        if options.json:
            with atomic_path(options.json) as path:
                path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Measures textclf against baselines, on this machine.")
    parser.add_argument("parts", nargs="*", metavar="PART", help="what to measure; everything by default")
    parser.add_argument("--repeats", type=int, default=5, help="rounds, after one warm-up each (default: 5)")
    parser.add_argument("--json", metavar="FILE", help="write all results to this file, with the time of each round")
    parser.add_argument("--list", action="store_true", help="list the parts, and exit")
    parser.add_argument(
        "--rows", type=int, default=512, help="number of texts; `embedding` with 8530 takes all (default: 512)"
    )
    parser.add_argument(
        "--data_dir", help="folder of AG News for `likelihood`, of Rotten Tomatoes else; BBC News by default"
    )
    smollm2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
    parser.add_argument("--pretrained", default=smollm2, help="likelihood: causal LM (default: SmolLM2-135M-Instruct)")
    options = parser.parse_args(arguments)

    return run_script("benchmark", lambda: list_parts() if options.list else run(options))


def list_parts() -> None:
    """Prints the parts."""
    for name, each in PARTS.items():
        print(f"{name:<14} {each.set_up.__doc__}")


if __name__ == "__main__":
    sys.exit(main())
