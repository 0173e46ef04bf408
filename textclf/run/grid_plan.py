"""The runs of a grid: data sets x methods x seeds x folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden

from textclf.errors import UserError
from textclf.run.grid_job import GridRun

EXAMPLES = {"--data": "configs/rotten_tomatoes.yaml", "--methods": "configs/model/tfidf.yaml"}
OWN_OPTIONS = {
    "--seed_everything": "give --seeds instead",
    "--data.folds": "give --folds instead",
    "--data.fold": "--folds tests each of them",
    "--run_dir": "the first argument is the folder of all runs",
    "--run_name": "the first argument is the folder of all runs",
    "--ckpt_path": "runs that were cut off are resumed without it",
}
"""Options that differ from run to run, and what to do instead of giving them."""
Config = dict[str, Any]
Merge = Callable[[Sequence[str]], Config]


@dataclass(frozen=True)
class Cell:
    """A data set with a method: runs that differ in seed and fold alone.

    Attributes:
        folder: The folder of these runs.
        command: `fit`, or `test` for a method that is not trained.
        arguments: Options of each of the runs.
        config: The merged configuration, without seed and fold.
        varied: The options that get the seed; none where the seed has no effect.
    """

    folder: Path
    command: str
    arguments: tuple[str, ...]
    config: Config
    varied: tuple[str, ...]

    def runs(self, seeds: Sequence[int], folds: int | None) -> list[GridRun]:
        """The runs: for each seed, all folds.

        Args:
            seeds: Seeds; only the first is used where the seed has no effect.
            folds: The number of folds; None for the test split of the data.
        """
        found = []
        for seed in seeds if self.varied else seeds[:1]:
            words = [self.command, *self.arguments]
            for option in self.varied or ("--seed_everything",):
                words += [option, str(seed)]
            if folds is None:
                found.append(GridRun(self.folder / f"seed-{seed}", tuple(words)))
            for fold in range(folds or 0):
                folder = self.folder / f"seed-{seed}-fold-{fold}"
                found.append(GridRun(folder, (*words, "--data.fold", str(fold))))
        return found


def plan(
    root: Path,
    data: Sequence[str],
    methods: Sequence[str],
    arguments: Sequence[str],
    folds: int | None,
    merge: Merge,
) -> list[Cell]:
    """Finds out how each data set is run with each method, before anything is started.

    Args:
        root: The folder of all runs.
        data: Configurations of data sets; several files of one, joined by `+`.
        methods: Configurations of methods, likewise.
        arguments: Further options of every run.
        folds: The number of folds; None for the test split of the data.
        merge: Gives the merged configuration of a command line, and raises an error where an option is wrong.

    Raises:
        UserError: A file does not exist, an option is wrong, or two configurations have the same name.
    """
    if not data or not methods:
        missing = "--methods" if data else "--data"
        raise UserError(f"{missing} is missing: give at least one configuration, such as {EXAMPLES[missing]}")
    files_of = {given: _files(given) for given in (*data, *methods)}
    cells: dict[Path, Cell] = {}
    for one in data:
        for other in methods:
            folder = root / f"{_name(files_of[one])}-{_name(files_of[other])}"
            if folder in cells:
                raise UserError(
                    f"two combinations have the name {folder.name}: give the configurations different file names"
                )
            configs = [word for file in (*files_of[one], *files_of[other]) for word in ("--config", file)]
            cells[folder] = _cell(folder, (*configs, *arguments), folds, merge)
    return list(cells.values())


def _files(given: str) -> list[str]:
    """The files of a configuration; a file name may contain a plus sign itself."""
    files = [given] if Path(given).is_file() else given.split("+")
    for file in files:
        if not Path(file).is_file():
            example = EXAMPLES["--methods"]
            raise UserError(f"the configuration {file!r} does not exist: give the path of a file, such as {example}")
    return files


def _name(files: Sequence[str]) -> str:
    return "-".join(dict.fromkeys(Path(file).stem for file in files))


def _cell(folder: Path, arguments: tuple[str, ...], folds: int | None, merge: Merge) -> Cell:
    first_fold: tuple[str, ...] = ()
    _refuse_own_options(arguments)
    if folds is not None:
        arguments = (*arguments, "--data.folds", str(folds))
        first_fold = ("--data.fold", "0")
    try:
        config = merge(["fit", *arguments, *first_fold])
        command = "fit" if _is_trained(config) else "test"
        if command == "test":
            config = merge(["test", *arguments, *first_fold])
        varied = _varied(config, command)
        for option in varied:
            _refuse_option(arguments, option, "it is one of --seeds: leave it out")
    except UserError as error:
        raise UserError(f"{folder.name}: {error}") from error
    for name in ("seed_everything", "run_name", "run_dir", "ckpt_path"):
        config.pop(name, None)
    config["data"]["init_args"].pop("fold", None)
    return Cell(folder, command, arguments, config, varied)


def _refuse_own_options(arguments: Sequence[str]) -> None:
    """Refuses options that each run gets by itself: they would be overwritten.

    Raises:
        UserError: One of them is given.
    """
    for option, remedy in OWN_OPTIONS.items():
        _refuse_option(arguments, option, remedy)


def _refuse_option(arguments: Sequence[str], option: str, remedy: str) -> None:
    if any(word.partition("=")[0] == option for word in arguments):
        raise UserError(f"{option} cannot be the same for all runs: {remedy}")


def _class_of(config: Config) -> Any:
    module, _, name = config["class_path"].rpartition(".")
    return getattr(import_module(module), name)


def _is_trained(config: Config) -> bool:
    """Whether the method of a configuration is trained; if it is not, it is tested as it is."""
    return is_overridden("training_step", _class_of(config["model"]), LightningModule)


def _varied(config: Config, command: str) -> tuple[str, ...]:
    """The options that get the seed of a run; none where it would have no effect.

    Raises:
        UserError: There are no rows to test on.
    """
    data_arguments = config["data"]["init_args"]
    given = {name: value for name, value in data_arguments.items() if name != "cleaning"}
    data = _class_of(config["data"])(**given)
    if not data.has_split("test"):
        raise UserError(
            "runs are compared on test rows, and the data has no test split: pass --folds 5 to test on train rows"
        )
    model_arguments = config["model"].get("init_args", {})
    if command == "test" and not model_arguments.get("shots"):
        return ()
    varied = ["--seed_everything"]
    # Of a test split alone, some rows are reserved for training, by the seed of the data: other rows would be tested.
    if "seed" in data_arguments and data.used_splits() != ("test",):
        varied.append("--data.seed")
    if command == "test" and "shot_seed" in model_arguments:
        varied.append("--model.shot_seed")
    return tuple(varied)
