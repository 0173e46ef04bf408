import json
import os
import sys
from pathlib import Path

import pytest
from benchmarks import frame

from textclf.data.base import TextDataModule
from textclf.errors import UserError


@pytest.fixture
def benchmark(script, monkeypatch):
    """The script with `fake` as its only part, on a machine with a short description."""
    monkeypatch.setattr(script, "machine", lambda: {"cpu": "abacus", "gpu": None})
    script.PARTS.clear()

    @script.part(unit="rows", bound=1.3)
    def fake(options):
        """Nothing at all."""
        return {"slow": lambda: {"rows": options.rows, "padding": 0.5}, "fast": lambda: {"rows": options.rows}}

    return script


class Workshop:
    """Contenders that take given numbers of seconds, by a clock that only they move."""

    def __init__(self, **seconds):
        self.now, self.log = 100.0, []
        self.contenders = {name: self.contender(name, iter(durations)) for name, durations in seconds.items()}

    def contender(self, name, durations):
        def work():
            self.log.append(name)
            self.now += next(durations)
            return {"rows": 12.0, "runs": float(self.log.count(name))}

        return work

    def clock(self):
        return self.now


def test_the_memory_of_a_process():
    assert (frame.own_memory(os.getpid()) > 2**20) == Path("/proc/self/status").exists()
    assert frame.own_memory(2**30) == 0


def test_contenders_run_in_turn_after_a_warm_up_that_is_not_timed(benchmark):
    workshop = Workshop(a=[99, 1, 2], b=[99, 3, 4], c=[99, 5, 6])
    measured = benchmark.measure(workshop.contenders, 2, clock=workshop.clock)
    assert workshop.log == list("abc" * 3)
    assert {m.name: m.seconds for m in measured} == {"a": [1, 2], "b": [3, 4], "c": [5, 6]}
    assert measured[0].counts == {"rows": 12, "runs": 3}


def test_what_was_warmed_while_setting_up_is_not_run_again(benchmark):
    workshop = Workshop(a=[1, 2], b=[3, 4])
    measured = benchmark.measure(workshop.contenders, 2, warm=True, clock=workshop.clock)
    assert workshop.log == list("abab")
    assert {m.name: m.seconds for m in measured} == {"a": [1, 2], "b": [3, 4]}


def test_both_ratios_are_to_the_first_contender(benchmark):
    # The two ratios differ here: medians 2 and 3, but round by round 4, 1.5 and 0.5.
    workshop = Workshop(base=[0, 1, 2, 4], other=[0, 4, 3, 2])
    base, other = benchmark.summarize(benchmark.measure(workshop.contenders, 3, clock=workshop.clock), "rows")
    assert (base["ratio"], base["paired_ratio"], base["rate"]) == (1, 1, 6)
    assert (other["median"], other["min"], other["max"], other["rate"]) == (3, 2, 4, 4)
    assert (other["ratio"], other["paired_ratio"]) == (1.5, 1.5)
    workshop = Workshop(base=[0, 1, 2, 4], other=[0, 2, 6, 3])
    _, other = benchmark.summarize(benchmark.measure(workshop.contenders, 3, clock=workshop.clock))
    assert (other["ratio"], other["paired_ratio"], other["rate"]) == (1.5, 2, None)


def test_the_table_has_a_row_per_contender_and_a_column_per_count(benchmark):
    measured = [
        frame.Measured("in order", [2.0, 1.0, 4.0], {"rows": 512.0, "tokens": 28672.0, "padding": 0.4321}),
        frame.Measured("by length", [1.0, 0.5, 3.0], {"rows": 512.0}),
    ]
    head, first, second = benchmark.table(benchmark.summarize(measured, "rows"), "rows").splitlines()
    assert head.split() == "median s min s max s rows/s ratio paired rows tokens padding".split()
    assert first.split() == "in order 2.000 1.000 4.000 256.0 1.000 1.000 512 28,672 0.4321".split()
    assert second.split() == "by length 1.000 0.500 3.000 512.0 0.500 0.500 512 - -".split()
    assert len(head) == len(first) == len(second)


def test_the_share_of_matmul_is_of_the_median(benchmark):
    (row,) = benchmark.summarize([frame.Measured("base", [1.0, 2.0, 9.0], {"matmul seconds": 0.5})])
    assert row["counts"] == {"share of matmul": 0.25}


def test_what_cannot_be_set_up_is_left_out_unless_it_was_asked_for(benchmark, capsys):
    @benchmark.part()
    def hopeless(options):
        """Never."""
        raise UserError("no model here")

    assert benchmark.main(["--repeats", "1"]) == 0
    printed = capsys.readouterr().out
    assert "hopeless is left out: no model here" in printed
    assert "fake: 1 rounds" in printed
    assert benchmark.main(["hopeless"]) == 2


def test_below_the_table_is_whether_the_target_is_met(benchmark):
    measured = [frame.Measured(name, [seconds], {}) for name, seconds in {"base": 1.0, "a": 1.3, "b": 1.4}.items()]
    assert benchmark.table(benchmark.summarize(measured), bound=1.3).endswith("1.3 times the baseline: missed by b")
    assert benchmark.table(benchmark.summarize(measured[:2]), bound=1.3).endswith("1.3 times the baseline: met")
    faster = [frame.Measured(name, [seconds], {}) for name, seconds in {"base": 8.0, "a": 1.9, "b": 2.1}.items()]
    assert benchmark.table(benchmark.summarize(faster), bound=0.25).endswith("baseline: missed by b")


def test_json_holds_the_machine_the_options_and_each_single_time(benchmark, tmp_path, capsys):
    target = tmp_path / "new" / "report.json"
    assert benchmark.main(["fake", "--repeats", "3", "--rows", "7", "--json", str(target)]) == 0
    report = json.loads(target.read_text())
    assert report["machine"] == {"cpu": "abacus", "gpu": None}
    pretrained = "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert report["options"] == {"repeats": 3, "rows": 7, "data_dir": None, "pretrained": pretrained}
    assert list(report["parts"]) == ["fake"]
    assert (report["parts"]["fake"]["unit"], report["parts"]["fake"]["bound"]) == ("rows", 1.3)
    slow, fast = report["parts"]["fake"]["contenders"]
    assert (slow["name"], fast["name"]) == ("slow", "fast")
    assert slow["counts"] == {"rows": 7, "padding": 0.5}
    assert len(slow["seconds"]) == len(fast["seconds"]) == 3
    assert min(fast["seconds"]) == fast["min"]
    assert fast["rate"] == 7 / fast["median"]
    assert [path.name for path in target.parent.iterdir()] == ["report.json"]
    printed = capsys.readouterr().out
    assert "abacus" in printed
    assert "fake: 3 rounds" in printed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fake", "nosuch"], "unknown part 'nosuch': the parts are fake"),
        (["--repeats", "0"], "--repeats 0 is too small: give 1 or more"),
        (["--rows", "-1"], "--rows -1 is too small: give 1 or more"),
        (["--json", "."], "--json '.' is a folder: name a file"),
    ],
)
def test_what_the_user_can_mend_is_one_line(benchmark, arguments, expected, capsys):
    assert benchmark.main(arguments) == 2
    assert tuple(capsys.readouterr()) == ("", f"benchmark: error: {expected}\n")


def test_a_missing_package_is_one_line(benchmark, capsys):
    @benchmark.part()
    def needs_a_package(options):
        raise UserError("the package is not installed")

    assert benchmark.main(["needs_a_package"]) == 2
    assert capsys.readouterr().err == "benchmark: error: the package is not installed\n"


def test_list_tells_the_parts_and_runs_none(benchmark, capsys):
    assert benchmark.main(["--list"]) == 0
    assert capsys.readouterr().out.split() == ["fake", "Nothing", "at", "all."]


def test_a_process_gives_the_counts_it_was_given_and_its_failure_is_seen(benchmark):
    assert frame.process([sys.executable, "-Sc", "pass"], {"modules": 3})() == {"modules": 3}
    with pytest.raises(RuntimeError, match="exit code 5"):
        frame.process([sys.executable, "-Sc", "raise SystemExit(5)"])()


def test_short_texts_are_spread_over_the_split(benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr(TextDataModule, "rows", lambda self, split: {"text": [f"review {i}" for i in range(12)]})
    assert benchmark.short_texts(str(tmp_path), 4) == ["review 0", "review 3", "review 6", "review 9"]
    with pytest.raises(UserError, match="more than the 12 texts"):
        benchmark.short_texts(str(tmp_path), 13)


def test_articles_are_cut_into_sentences_of_at_most_40_words(benchmark, monkeypatch):
    article = "Head\n\nIt rose 2.5%. Why? " + "a " * 50
    monkeypatch.setattr(TextDataModule, "rows", lambda self, split: {"text": [article]})
    assert benchmark.short_texts(None, 4) == ["Head", "It rose 2.5%.", "Why?", " ".join("a" * 40)]
