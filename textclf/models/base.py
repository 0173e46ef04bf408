"""The method axis: how a text becomes tensors, and tensors become one score per label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self
from uuid import uuid4

from lightning.pytorch import Callback
from lightning.pytorch.utilities.model_helpers import is_overridden

import textclf
from textclf.data.labels import listed, normalized_names
from textclf.errors import UserError
from textclf.evaluation.calibration import Calibrator, restored_calibrators, stored_calibrators
from textclf.hashing import code_of, fingerprint, overrides
from textclf.models.checkpoint import accepted, plain, read_checkpoint, resolve_class
from textclf.models.evaluated import EvaluatedModule
from textclf.models.hooks import required_hook
from textclf.models.read_back import CheckpointReadBack
from textclf.plain_values import plain_arguments, plain_part, plain_state
from textclf.types import Dataset


@dataclass(frozen=True)
class Wanted:
    """A request for labelled rows, by a method that is not trained; see `TextClassifier.wanted`.

    Attributes:
        shots: Number of examples that it shows in its prompts, as many of each class as of the others.
        seed: Of their draw.
        fit: Whether it cannot score without rows that a few numbers are fitted to. Otherwise it is given such rows only
            where they cost no row of the test.
        all_rows: Whether it chooses its examples itself: it is then given all train rows to choose from.
    """

    shots: int
    seed: int
    fit: bool
    all_rows: bool = False


class TextClassifier(EvaluatedModule):
    """A way of classifying texts; a subclass defines `log_scores` and whatever else it needs of the rest.

    The life of a method: `prepare` (once, from the train rows), `encode` (once per split, cached on disk), then per
    batch `collate` and `log_scores`. A method that trains adds `training_step` and `configure_optimizers`. Weights are
    loaded in `configure_model`, never in `__init__`. What `prepare` finds goes into `self.fitted`: numbers, strings,
    lists, dictionaries and tensors, which are saved in the checkpoint and given back before anything is encoded.
    `fitted` is replaced as a whole when that happens: build from it on use, not before.

    Attributes:
        architecture: Arguments that must be as they were when the checkpoint was made.
        encoded_together: Rows that `encode` is given at once, at most.
        fitted: What `prepare` found.
    """

    architecture: ClassVar[tuple[str, ...]] = ("pretrained",)
    encoded_together: ClassVar[int] = 1000

    def __init__(self, num_classes: int, label_names: Sequence[str]) -> None:
        """Takes the facts of the data; a subclass passes them on, first thing in its own `__init__`.

        Args:
            num_classes: Number of labels; the command line links it from the data.
            label_names: Name of each class, linked as well.

        Raises:
            UserError: The two do not agree.
        """
        super().__init__(num_classes, label_names)
        self.save_hyperparameters(logger=False)
        if num_classes != len(label_names):
            raise UserError(
                f"num_classes is {num_classes}, but there are {len(label_names)} label_names: {list(label_names)}"
            )
        self.fitted: dict[str, Any] = {}

    @property
    def trains_by_batches(self) -> bool:
        """Whether it learns from each batch of `fit`, so that it matters which rows a batch has."""
        return is_overridden("training_step", self)

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> list[str]:
        """Weights that cannot be sent among processes (`textclf.hardware.kernels`): each has loaded them itself."""
        return [name for name, weight in self.named_parameters() if weight.is_mkldnn]

    @required_hook
    def setup(self, stage: str) -> None:
        """Refuses to train without rows to prepare with: a DataLoader has batches alone.

        Raises:
            UserError: There is no data module, and nothing is fitted.
        """
        data = getattr(self._trainer, "datamodule", None)
        prepares = is_overridden("prepare", self, TextClassifier)
        if stage == "fit" and data is None and prepares and not self.fitted:
            raise UserError(
                f"{type(self).__name__} must see the train rows before the first batch: pass a data module, as in "
                "trainer.fit(model, datamodule=data), or call model.prepare(data.rows('train')) before"
            )

    # The contract with the data

    def prepare(self, train_rows: Dataset) -> None:
        """Fits what must be known before rows can be encoded, and puts it into `self.fitted`; by default nothing.

        It runs on one process; the others are sent `self.fitted`.

        Args:
            train_rows: The train split, on disk: columns `id`, `text`, `label`, and `text_pair` where there is one.
        """

    def wanted(self) -> Wanted | None:
        """Requests labelled rows for a method without training; by default it needs none.

        The data module asks for it in `test`, `validate` and `predict`, before any row is encoded, and answers by
        calling `see`. Rows that are scored are never among the ones it gives.
        """
        return None

    def see(self, shown: Dataset | None, fit: Dataset | None, of_test: bool = False) -> None:
        """Takes the requested rows; called on every process, with the same ones. May also be called by hand.

        Rows have the columns `id`, `text`, `label` (an index into `label_names`), and `text_pair` where there is one.

        Args:
            shown: Examples for the prompts, in this order, or all train rows to choose from (`Wanted.all_rows`).
            fit: Rows to fit a few numbers to, or None where there are none.
            of_test: Whether `fit` was taken out of the test split, for nothing but this.
        """

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """From texts to per-row fields and a `length` for batching; by default the length in characters.

        A method that cuts long texts gives `cut`, the tokens cut off each row, so that they are counted and said.

        Args:
            rows: Columns `text`, and `text_pair` where there is one.

        Returns:
            New columns with one entry per row, `length` among them.
        """
        return {"length": [max(1, len(text)) for text in rows["text"]]}

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """From encoded rows to a batch; by default the texts themselves.

        Args:
            rows: The columns that `encode` gave, and `text` (and `text_pair`).
        """
        return {name: rows[name] for name in ("text", "text_pair") if name in rows}

    def for_workers(self) -> Self:
        """A copy that can `collate`, for the processes of `num_workers`: its parameters, buffers and modules are None.

        Where processes are not forked, it is pickled. A method leaves out here what else its `collate` does not need:
        what is large, or cannot be pickled.
        """
        light = copy(self)  # without the trainer
        for kind in ("_parameters", "_buffers", "_modules"):
            light.__dict__[kind] = dict.fromkeys(light.__dict__[kind])
        return light

    def encoding_key(self) -> str:
        """A hash of all that `encode` depends on: part of the name of the cached rows.

        It is made of `encoding_facts`. Where a class does not give them, or a subclass of that class overrides `encode`
        or anything that `encode` uses, its source, that of its module, all arguments and what was fitted are added.
        """
        kind = type(self)
        owner = next(base for base in kind.__mro__ if "encoding_facts" in vars(base))
        facts: list[Any] = [textclf.__version__, self.encoding_facts()]
        if not owner.__module__.startswith("textclf."):  # ours tell themselves apart, or encode alike
            facts.append(f"{owner.__module__}.{owner.__qualname__}")
        if "encode" in vars(self):
            facts.append(uuid4().hex)
        if owner is TextClassifier or overrides(kind, owner, "encode"):
            lineage = kind.__mro__[: kind.__mro__.index(owner)]
            facts += [code_of(base) for base in lineage]
            facts.append(plain_state(self._fitted_state(), f"{kind.__name__}.fitted"))
            try:
                facts.append(plain_arguments(self))
            except UserError:  # an object, which cannot be compared with that of another run
                facts.append(uuid4().hex)
        return fingerprint(facts)

    def encoding_facts(self) -> list[Any]:
        """What `encode` depends on beyond the texts: strings, numbers, and lists and dictionaries of them.

        A method that overrides `encode` may override this as well, so that its cached rows are kept when its source or
        an argument that is not among the facts changes.
        """
        return []

    def _fitted_state(self) -> dict[str, Any]:
        """What was fitted; nothing where `fitted` is an attribute of a subclass, such as a flag."""
        return self.fitted if isinstance(self.fitted, dict) else {}

    # Checkpoints: weights, what was fitted, and how to build the object again

    @required_hook
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what `load_from_checkpoint` and the command line need: plain values only, so that it loads safely."""
        if isinstance(self.fitted, dict):
            self.fitted = plain_state(self.fitted, f"{type(self).__name__}.fitted")
        checkpoint["hyper_parameters"] = plain_arguments(self)
        checkpoint["textclf"] = {
            "version": textclf.__version__,
            "class_path": f"{type(self).__module__}.{type(self).__qualname__}",
            "label_names": list(self.label_names),
            "train_rows": self.textclf.train_rows,
            "seed": self.textclf.train_seed,
            "fitted": self._fitted_state(),
            "text_steps": [step.as_config() for step in self.textclf.text_steps],
            **stored_calibrators(self.textclf.calibrators, self.label_names),
        }
        data = getattr(self._trainer, "datamodule", None)
        if data is not None:
            init_args = plain_part(data.hparams)
            if data.CHECKPOINT_HYPER_PARAMS_KEY in checkpoint:  # Lightning's copy may hold objects
                checkpoint[data.CHECKPOINT_HYPER_PARAMS_KEY] = dict(init_args)
            if "label_names" in init_args:  # as they were found, so that no file is needed to know them
                init_args["label_names"] = list(data.label_names)
            checkpoint["textclf"]["data"] = {
                "class_path": f"{type(data).__module__}.{type(data).__qualname__}",
                "init_args": init_args,
            }

    @required_hook
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes what was fitted, after checking that the checkpoint is of this method, architecture and labels."""
        self.restore(checkpoint)

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Takes from a checkpoint all but the weights: before its rows are encoded, or its network is built.

        Raises:
            UserError: The checkpoint is of another class, architecture, or set of labels.
        """
        saved = checkpoint["textclf"]
        own = f"{type(self).__module__}.{type(self).__qualname__}"
        if saved["class_path"] != own:
            raise UserError(
                f"the checkpoint holds a {saved['class_path']}, the configuration describes a {own}: "
                "use the config.yaml of the checkpoint's own run"
            )
        label_names = normalized_names(saved["label_names"])
        if set(label_names) != set(self.label_names):
            raise UserError(
                f"the checkpoint's labels are {listed(label_names, self.label_names)}, the data's are "
                f"{listed(self.label_names, label_names)}: evaluate it on data with the same labels"
            )
        for name in self.architecture:
            theirs, ours = checkpoint["hyper_parameters"].get(name), plain(self.hparams).get(name)
            if theirs != ours:
                raise UserError(
                    f"the checkpoint was trained with {name} {theirs!r}, the configuration says {ours!r}: "
                    "use the config.yaml of the checkpoint's own run"
                )
        from textclf.data.cleaning import TextStep

        self.label_names = label_names
        if saved["fitted"] or isinstance(self.fitted, dict):
            self.fitted = saved["fitted"]
        self.textclf.train_rows, self.textclf.train_seed = saved.get("train_rows"), saved.get("seed")
        self.textclf.text_steps = [
            resolve_class(step["class_path"], TextStep, "the checkpoint")(**step["init_args"])  # type: ignore[type-abstract]
            for step in saved["text_steps"]
        ]
        self.textclf.calibrators = restored_calibrators(
            saved,
            label_names,
            lambda path: resolve_class(path, Calibrator, "the checkpoint"),  # type: ignore[type-abstract]
        )
        self.textclf.restored = True

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # one path, one way: no hparams file, no strictness
        cls, checkpoint_path: str | Path, map_location: Any = None, **arguments: Any
    ) -> Self:
        """Builds the classifier that a checkpoint holds, in evaluation mode.

        Nothing but the file is needed, save for pretrained weights that were frozen.

        Args:
            checkpoint_path: A `.ckpt` of a run.
            map_location: Device of the weights, the CPU by default.
            **arguments: Instead of the stored ones.

        Raises:
            UserError: The file is missing, damaged or not safe, of another class, or its class is not imported.
        """
        checkpoint = read_checkpoint(checkpoint_path)
        kind = resolve_class(checkpoint["textclf"]["class_path"], cls, str(checkpoint_path))
        model = kind.built_from(checkpoint, **arguments)
        try:
            model.load_state_dict(checkpoint["state_dict"])
        except RuntimeError as error:
            raise UserError(
                f"{str(checkpoint_path)!r} does not fit its own architecture ({str(error).splitlines()[0]}): train anew"
            ) from error
        return model.to(map_location or "cpu").eval()

    @classmethod
    def built_from(cls, checkpoint: Mapping[str, Any], **arguments: Any) -> Self:
        """Builds an object of this class from a checkpoint, all but its weights.

        Args:
            checkpoint: As `read_checkpoint` gives it.
            **arguments: Instead of the stored ones.
        """
        model = cls(**{**accepted(cls, checkpoint["hyper_parameters"]), **arguments})
        model.restore(checkpoint)
        model.configure_model()
        model.on_load_checkpoint(dict(checkpoint))  # a subclass may read what it has stored there
        return model

    def share_frozen(self, copy: Self) -> None:
        """Gives a copy of this method what is frozen and large, and would be loaded again; by default nothing."""

    @required_hook
    def configure_callbacks(self) -> Sequence[Callback] | Callback:
        """The check of the checkpoint at the end of `fit`."""
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        known = any(isinstance(callback, CheckpointReadBack) for callback in callbacks)
        return [] if known else [CheckpointReadBack()]

    # Use

    def classify(
        self, texts: Iterable[Any], text_pairs: Iterable[Any] | None = None, *, max_batch_tokens: int | None = None
    ) -> list[dict[str, Any]]:
        """The most probable label of each text, in order, with a progress bar where there is a terminal.

        Args:
            texts: Any number of texts; a missing one (None, NaN) is an empty text, as `textclf.data.values` says.
            text_pairs: The second text of each, for a method that reads two.
            max_batch_tokens: Tokens in a padded batch; by default 4,096 on a CPU, and 32,768 on other devices.

        Returns:
            One `{"label": name, "score": probability}` per text; the label is None for an answer that fits no class.
            With tuned thresholds also `decision` and `thresholded_scores`; see
            `textclf.models.streaming.prediction_of`.

        Raises:
            UserError: `texts` is one text or no series of texts, or one of them is a list, an object, or bytes.
        """
        from textclf.models.streaming import score_rows

        _check_series("texts", texts)
        if text_pairs is not None:
            _check_series("text_pairs", text_pairs)
        rows = (
            ({"text": text} for text in texts)
            if text_pairs is None
            else ({"text": a, "text_pair": b} for a, b in _paired(texts, text_pairs))
        )
        if max_batch_tokens is None:
            max_batch_tokens = 4096 if self.device.type == "cpu" else 32_768
        scored = score_rows(self, rows, max_batch_tokens, total=len(texts) if isinstance(texts, Sized) else None)
        return [{name: value for name, value in answer.items() if name != "scores"} for answer in scored]


class PreparedClassifier(TextClassifier):
    """A method that is fitted in `prepare` alone: `fit` ends training after its first step, validates and saves.

    The trainer's `max_epochs` and `limit_train_batches` do not matter to it.
    """

    @property
    def trains_by_batches(self) -> bool:
        """It is given all train rows at once."""
        return False

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Learns nothing from batches."""

    @required_hook
    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        """Ends training after the first step; Lightning then still validates, and saves checkpoints.

        (A batch need not be a step, with `accumulate_grad_batches`; at step 0 Lightning saves no checkpoint.)
        """
        if self.trainer.global_step > 0:
            self.trainer.should_stop = True

    def configure_optimizers(self) -> None:
        """Nothing to optimise."""


def _check_series(argument: str, texts: Any) -> None:
    """Refuses what is no series of texts.

    Raises:
        UserError: It is one text, a mapping, a table, or nothing that can be iterated over.
    """
    if isinstance(texts, str):
        raise UserError(f"classify takes a list of texts, not one text: write classify([{texts!r}])")
    if isinstance(texts, bytes | Mapping) or not isinstance(texts, Iterable):
        raise UserError(f"classify: {argument} is of type {type(texts).__name__}: give a list of texts")
    if getattr(texts, "ndim", 1) != 1:
        raise UserError(f"classify: {argument} has {texts.ndim} dimensions: give one column of texts")  # type: ignore[attr-defined]  # asked just before


def _paired(texts: Iterable[Any], pairs: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    try:
        yield from zip(texts, pairs, strict=True)
    except ValueError as error:
        raise UserError(f"classify got more of one text than of the other ({error}): give pairs") from error
