"""Stored results: what is kept of a comparison, and the tables of the documentation that are made from it.

A page has blocks between `<!-- results:NAME -->` and `<!-- /results:NAME -->`. `summary`, `comparison` and `ranks` are
made from `comparison.json`, `leak_worth` from `leaks.json` and `near_repeats.json`, `robustness` and its sums from all
files, each other one from the file of its name.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from textclf.errors import UserError
from textclf.evaluation.leaderboard_formats import markdown_of_one, markdown_of_ranks, markdown_table
from textclf.evaluation.leaderboard_tables import UNKNOWN, Table, with_interval
from textclf.evaluation.robustness import robustness_sums, robustness_table
from textclf.evaluation.simulation_table import markdown as simulation_markdown
from textclf.evaluation.simulation_table import summary as simulation_summary
from textclf.files import atomic_path

Values = Mapping[str, Any]
COMPARISON = "comparison.json"
PAGES = ("README.md", "scripts/README.md", "scripts/results/README.md")
RESULTS = Path("scripts/results")
NOT_MEASURED = "not measured"
NOT_SHOWN = ("agreement", "all_miss", "ensembles")
"""Keys of a comparison that no table is made from."""
BLOCK = re.compile(r"<!-- results:(\w+) -->\n(.*?)<!-- /results:\1 -->", re.DOTALL)


# What is stored


def stored(values: Any) -> Any:
    """What the tables need of a comparison: no ids of rows, no paths of this machine, pairs with their sentence alone.

    Args:
        values: What `textclf.evaluation.comparison.compare` gives, or a part of it.
    """
    if isinstance(values, list):
        return [stored(entry) for entry in values]
    if not isinstance(values, dict):
        return values
    kept = {}
    for key, entry in values.items():
        if key in NOT_SHOWN or (key == "runs" and all(isinstance(path, str) for path in entry)):
            continue
        if key == "difference" and "sentence" in values:
            continue
        kept[key] = general_command(entry) if key == "command" and entry else stored(entry)
    return kept


def general_command(command: str) -> str:
    """A command without the paths of a machine.

    `DIR` stands for the folder of the data. A configuration of the repository keeps its path from `configs` on; of any
    other path, the last part is left.

    Args:
        command: The words of a command line.
    """
    words: list[str] = []
    option = ""
    for word in shlex.split(command):
        name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if name:
            option = name
        if option in ("--run_dir", "--run_name"):
            continue
        if option == "--data.data_dir" and value:
            value = "DIR"
        elif value.startswith("/"):
            value = _without_root(value)
        words.append(name + equals + value)
    return shlex.join(words)


def _without_root(path: str) -> str:
    parts = Path(path).parts
    return "/".join(parts[parts.index("configs") :]) if "configs" in parts else parts[-1]


def store(values: Values, root: Path) -> None:
    """Stores a comparison, and rewrites the tables of the pages.

    Args:
        values: What `textclf.evaluation.comparison.compare` gives.
        root: The clone of the repository.

    Raises:
        UserError: There is no such clone.
    """
    if not all((root / page).is_file() for page in PAGES):
        raise UserError(f"{root} is no clone of textclf: --update-readme rewrites its {', '.join(PAGES)}")
    with atomic_path(root / RESULTS / COMPARISON) as temporary:
        temporary.write_text(json.dumps(stored(values), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for page in PAGES:
        text = rendered(root / page, root)
        with atomic_path(root / page) as temporary:
            temporary.write_text(text, encoding="utf-8")


# What is made of it


def rendered(page: Path, root: Path) -> str:
    """The text of a page with its blocks rendered again from the stored results.

    Args:
        page: A Markdown file.
        root: The clone of the repository.
    """

    def block(found: re.Match[str]) -> str:
        name = found[1]
        return f"<!-- results:{name} -->\n\n{rendered_block(name, root / RESULTS)}\n\n<!-- /results:{name} -->"

    return BLOCK.sub(block, page.read_text(encoding="utf-8"))


def rendered_block(name: str, folder: Path) -> str:
    """A block of a page in Markdown.

    Args:
        name: Its name.
        folder: The folder of the stored results.
    """
    of_several_files = {
        "leak_worth": leak_worth,
        "robustness": robustness_table,
        "robustness_sums": robustness_sums,
    }
    if name in of_several_files:
        return of_several_files[name](folder)
    renderers: dict[str, tuple[str, Callable[[Values], str]]] = {
        "summary": (COMPARISON, summary),
        "comparison": (COMPARISON, all_tables),
        "ranks": (COMPARISON, ranks),
        "statistics": ("statistics.json", simulation),
    }
    file, render = renderers.get(name, (f"{name}.json", stored_table))
    path = folder / file
    if not path.is_file():
        return f"{NOT_MEASURED}."
    return render(json.loads(path.read_text(encoding="utf-8"))).strip()


def summary(values: Values) -> str:
    """Methods by data sets: accuracy with its interval and the group of ties."""
    data_sets: dict[str, Values] = values["data_sets"]
    found: dict[str, dict[str, Values]] = {}
    for name, result in data_sets.items():
        for run in result["runs"]:
            found.setdefault(run["name"], {})[name] = run
    titles = [f"{name.replace('DataModule', '')} ({result['rows']:,} rows)" for name, result in data_sets.items()]
    rows = []
    for method, runs in found.items():
        cells = []
        for name in data_sets:
            run = runs.get(name)
            cells.append(NOT_MEASURED if run is None else _accuracy_and_group(run))
        rows.append([method, *cells])
    return markdown_table(Table(["method", *titles], "<" + ">" * len(data_sets), rows))


def leak_worth(folder: Path) -> str:
    """What leaks are worth: the accuracy with each one, and without it."""
    rows = []
    for file in ("leaks.json", "near_repeats.json"):
        path = folder / file
        if not path.is_file():
            return f"{NOT_MEASURED}."
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            shares = [_cell(row[key], "share") for key in ("accuracy_with", "accuracy")]
            leak = row.get("leak", "near repeats of test rows")
            rows.append([row["data"], leak, row["method"], *shares, row.get("difference", UNKNOWN)])
    header = ["data", "what is left in train", "method", "accuracy with it", "without", "difference in points"]
    return markdown_table(Table(header, "<<<>><", rows))


def _accuracy_and_group(run: Values) -> str:
    return f"{with_interval('accuracy', run['metrics']['accuracy'])}, group {run['group']}"


def all_tables(values: Values) -> str:
    """The tables of each data set, below a heading."""
    parts = []
    for name, result in values["data_sets"].items():
        parts.append(f"### {name}\n\n{markdown_of_one(name, result, values['metric'])}")
    return "\n\n".join(parts)


def ranks(values: Values) -> str:
    """The ranks over the data sets."""
    return markdown_of_ranks(values["ranks"]) if values["ranks"] is not None else f"{NOT_MEASURED}."


def simulation(values: Values) -> str:
    """The cells of `scripts/simulate_statistics.py`, and what they show."""
    found = "\n".join(f"- {line}" for line in simulation_summary(values))
    return f"{simulation_markdown(values)}\n\n{found}"


def stored_table(values: Values) -> str:
    """A table of single results.

    Args:
        values: `columns`, whose `title` is that of the column and whose `key` is that of a value in each of the `rows`.
            Values of the `kind` `share` are rounded to three digits, those of `count` have thousands separated, and
            those of `code` are commands. `commands` are listed below the table.
    """
    columns = values["columns"]
    rows = []
    for row in values["rows"]:
        rows.append([_cell(row.get(column["key"]), column.get("kind", "text")) for column in columns])
    alignment = "".join(">" if column.get("kind") in ("share", "count") else "<" for column in columns)
    lines = [markdown_table(Table([column["title"] for column in columns], alignment, rows))]
    if values.get("commands"):
        listed = [f"- {name}: `{command}`" for name, command in values["commands"].items()]
        lines.append("\n".join(listed))
    return "\n\n".join(lines)


def _cell(value: Any, kind: str) -> str:
    if value is None:
        return NOT_MEASURED
    if kind == "share":
        return f"{value:.3f}"
    if kind == "count":
        return f"{value:,}"
    return f"`{value}`" if kind == "code" else str(value)
