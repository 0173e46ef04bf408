"""Compares all score rules on a run of label likelihood, with no model loaded."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from textclf.classes.user_code import search_current_folder
from textclf.console import run_script
from textclf.errors import UserError


def run(options: argparse.Namespace) -> None:
    """Prints the metrics of the rules, and what the run has not stored.

    Raises:
        UserError: There is no such run, rule or label; or the run has not stored what a rule that is asked for needs.
    """
    import numpy as np

    from textclf.evaluation.rescoring import facts_lines, missing_lines, rescore, rules_table
    from textclf.files import atomic_path
    from textclf.scoring.rules import find_rule
    from textclf.scoring.score_file import read_scores

    path = Path(options.run)
    stored = read_scores(path / "report" / "scores.parquet" if path.is_dir() else path)
    for rule in options.rule or []:
        if rule != stored.facts["rule"]:
            find_rule(rule)
    if options.prior:
        prior = np.array(shares_of(options.prior, stored.label_names))
        stored = replace(stored, words=replace(stored.words, prior=prior))
    metrics, absent = rescore(stored, options.rule)
    if metrics:
        print(rules_table(metrics, stored.facts["rule"]))
    for line in [*missing_lines(metrics), *facts_lines(stored.facts)]:
        print(line)
    if not options.rule:
        for line in absent:
            print(f"rescore: {line}")
    if options.json:
        with atomic_path(options.json) as temporary:
            temporary.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if options.rule and absent:
        raise UserError("; ".join(absent))


def shares_of(prior: Sequence[str], label_names: Sequence[str]) -> list[float]:
    """The share of each class, in the order of the classes.

    Args:
        prior: Values of `--prior`, such as `sport=0.3`.
        label_names: Name of each class.

    Raises:
        UserError: A value is not a name and a number, or not exactly one share is given for each class.
    """
    from textclf.data.labels import normalized_name

    shares: dict[str, float] = {}
    try:
        for value in prior:
            name, _, share = value.rpartition("=")
            shares[normalized_name(name)] = float(share)
        found = [shares[normalized_name(name)] for name in label_names]
    except (KeyError, ValueError):
        found = []
    if not len(found) == len(shares) == len(prior):
        names = " ".join(f"{name}=SHARE" for name in label_names)
        raise UserError(f"--prior {' '.join(prior)}: write --prior {names}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", metavar="RUN", help="run folder of a test, or its report/scores.parquet")
    parser.add_argument(
        "--rule", nargs="+", metavar="RULE", help="rules to apply, or paths of your own functions; all by default"
    )
    parser.add_argument("--prior", nargs="+", metavar="NAME=SHARE", help="for the rule `prior`: each class's share")
    parser.add_argument("--json", metavar="FILE", help="write all metrics there as well")
    options = parser.parse_args(arguments)

    search_current_folder()  # a rule of the user may be there
    return run_script("rescore", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
