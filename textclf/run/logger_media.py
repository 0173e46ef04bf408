"""Logs the configuration, pictures and tables of a run with any logger that has a method for them.

Lightning's loggers share methods for metrics and hyperparameters alone. A logger of the user gets pictures and tables
where it has `log_image` or `log_table`, with the arguments of these methods of Lightning's `WandbLogger`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.loggers import CometLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from textclf.console import say
from textclf.run.yaml_values import dump

Rows = Sequence[Sequence[Any]]


def record_config(logger: Logger, config: dict[str, Any], parameters: dict[str, int]) -> None:
    """Logs the whole configuration.

    Args:
        logger: Any logger.
        config: As in `config.yaml`.
        parameters: Numbers of parameters of the model.
    """
    config = {**config, "parameters": parameters}
    with _reported_failure(logger, "the configuration"):
        logger.log_hyperparams(config)
        if isinstance(logger, TensorBoardLogger):  # whose hyper-parameters are flat
            text = dump(config)
            logger.experiment.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()))
        if isinstance(logger, WandbLogger) and (url := getattr(logger.experiment, "url", None)):  # none offline
            say(f"W&B: {url}")


def record_picture(logger: Logger, name: str, path: Path, step: int) -> None:
    """Logs a PNG file, where the logger takes pictures.

    Args:
        logger: Any logger.
        name: Such as `test/confusion_matrix`.
        path: The file.
        step: The trainer's step.
    """
    if (picture := _media(logger).picture) is not None:
        with _reported_failure(logger, f"the picture {name}"):
            picture(logger, name, path, step)


def record_table(logger: Logger, name: str, columns: list[str], rows: Rows, step: int) -> None:
    """Logs a table, where the logger takes tables.

    Args:
        logger: Any logger.
        name: Such as `test/sample`.
        columns: Names of the columns.
        rows: Texts, numbers and None.
        step: The trainer's step.
    """
    if (table := _media(logger).table) is not None:
        with _reported_failure(logger, f"the table {name}"):
            table(logger, name, columns, rows, step)


def takes_media(logger: Logger) -> bool:
    """Whether a logger takes pictures or tables."""
    return any(_media(logger))


@contextmanager
def _reported_failure(logger: Logger, what: str) -> Iterator[None]:
    """Reports a failure of a logger in a line: it must not end a run, whose own files hold the same."""
    try:
        yield
    except Exception as error:  # each service has its own classes of errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        say(f"{type(logger).__name__} did not take {what} ({reason}): the run continues")


class Media(NamedTuple):
    """How a kind of logger takes pictures and tables; None where it does not."""

    picture: Callable[[Any, str, Path, int], None] | None
    table: Callable[[Any, str, list[str], Rows, int], None] | None


def _media(logger: Logger) -> Media:
    for kind, media in MEDIA.items():
        if isinstance(logger, kind):
            return media
    media = Media(None, None)
    if hasattr(logger, "log_image"):
        media = media._replace(picture=_picture_by_method)
    if hasattr(logger, "log_table"):
        media = media._replace(table=_table_by_method)
    return media


def _picture_by_method(logger: Any, name: str, path: Path, step: int) -> None:
    logger.log_image(key=name, images=[str(path)], step=step)


def _table_by_method(logger: Any, name: str, columns: list[str], rows: Rows, step: int) -> None:
    logger.log_table(key=name, columns=columns, data=[list(row) for row in rows], step=step)


def _picture_to_tensorboard(logger: TensorBoardLogger, name: str, path: Path, step: int) -> None:
    from matplotlib.image import imread

    logger.experiment.add_image(name, imread(path), step, dataformats="HWC")


def _table_to_tensorboard(logger: TensorBoardLogger, name: str, columns: list[str], rows: Rows, step: int) -> None:
    lines = [columns, ["---"] * len(columns), *rows]
    logger.experiment.add_text(name, "\n".join(" | ".join(map(_cell, line)) for line in lines), step)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def _picture_to_mlflow(logger: MLFlowLogger, name: str, path: Path, step: int) -> None:
    logger.experiment.log_artifact(logger.run_id, str(path), artifact_path=name.rpartition("/")[0])


def _table_to_mlflow(logger: MLFlowLogger, name: str, columns: list[str], rows: Rows, step: int) -> None:
    data = {column: [row[index] for row in rows] for index, column in enumerate(columns)}
    logger.experiment.log_table(logger.run_id, data=data, artifact_file=f"{name}.json")


def _picture_to_comet(logger: CometLogger, name: str, path: Path, step: int) -> None:
    logger.experiment.log_image(str(path), name=name, step=step)


def _table_to_comet(logger: CometLogger, name: str, columns: list[str], rows: Rows, step: int) -> None:
    # Comet fails on a list without rows, so the names of the columns are passed as the first row.
    logger.experiment.log_table(f"{name}.csv", tabular_data=[columns, *map(list, rows)], headers=False)


def _table_to_wandb(logger: WandbLogger, name: str, columns: list[str], rows: Rows, step: int) -> None:
    """Logs a table; the copy that W&B sends later is kept in the run folder, not in the home folder.

    W&B makes two copies of each table. It sends one, and removes it then; the other would stay.
    """
    import wandb

    table = wandb.Table(columns=[*columns], data=[list(row) for row in rows])
    metrics: Any = {name: table}  # the logger is typed for numbers alone
    if "WANDB_DATA_DIR" in os.environ:  # a folder of the user, where other runs may have copies
        logger.log_metrics(metrics, step)
        return
    folder = Path(logger.save_dir or ".", "wandb").resolve()
    copies = folder / "artifacts" / "staging"
    before = set(copies.glob("*"))
    os.environ["WANDB_DATA_DIR"] = str(folder)
    try:
        logger.log_metrics(metrics, step)
    finally:
        del os.environ["WANDB_DATA_DIR"]
    sent = _copies_to_send(table)
    if sent:
        for spare in set(copies.glob("*")) - before - sent:
            spare.unlink()


def _copies_to_send(table: Any) -> set[Path]:
    """The files that W&B sends of a table that was logged; none where this version of W&B does not say.

    W&B has no public way from a table to its artifact, whose manifest lists the files.
    """
    artifact = getattr(getattr(table, "_artifact_target", None), "artifact", None)
    if artifact is None:
        return set()
    return {Path(entry.local_path) for entry in artifact.manifest.entries.values() if entry.local_path}


MEDIA: dict[type[Logger], Media] = {
    WandbLogger: Media(_picture_by_method, _table_to_wandb),
    TensorBoardLogger: Media(_picture_to_tensorboard, _table_to_tensorboard),
    MLFlowLogger: Media(_picture_to_mlflow, _table_to_mlflow),
    CometLogger: Media(_picture_to_comet, _table_to_comet),
}
"""How the loggers of Lightning that have no methods of that name take pictures and tables."""
