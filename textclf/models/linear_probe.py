"""Logistic regression on frozen embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor, nn

from textclf.console import say
from textclf.data.columns import class_counts
from textclf.errors import UserError, check_range
from textclf.models.dataloaders import as_list, check_batch
from textclf.models.embedding import FEATURES_OF_PAIR, EmbeddingClassifier, facts
from textclf.models.hooks import required_hook
from textclf.models.label_arguments import check_class_weights, weights_in_loss
from textclf.models.top_features import TopFeatures, top_features
from textclf.types import Dataset

TOLERANCE = 1e-9
"""L-BFGS stops when no entry of the gradient of the mean loss is larger."""
NOT_CONVERGED = 100 * TOLERANCE
"""A larger gradient after the last iteration is reported."""


class LinearProbe(EmbeddingClassifier):
    """Multinomial logistic regression with an L2 penalty of the weights: only the head is trained.

    It has the optimum of scikit-learn's `LogisticRegression` at the same `C`: the sum of the rows' losses, times `C`,
    plus half the squared norm of the weights, without the intercepts. Two classes share one vector, the log-odds of
    the second. A class without train rows has the probability 0.

    `lbfgs` ends after one epoch, however large `max_epochs` is: it collects the rows, and solves for the optimum at the
    last batch. With several values of `C` it solves for each, from the smallest on, and keeps the head with the lowest
    mean negative log-likelihood of the validation rows, which is smooth in `C`, whereas macro-F1 jumps with single
    rows. `fitted` then has the values of all, by `C`, under `grid`.
    `adamw` minimizes the same loss by mini-batches with a decreasing learning rate, for rows that do not fit into
    memory.

    Source: Alain and Bengio, 2016, https://arxiv.org/abs/1610.01644.
    """

    weights: nn.Parameter
    intercepts: nn.Parameter

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        pretrained: str = "sentence-transformers/all-mpnet-base-v2",
        max_length: int | None = None,
        embedding: dict[str, Any] | None = None,
        C: float | list[float] = 1.0,
        class_weights: Literal["balanced"] | dict[str, float] | None = None,
        optimizer: Literal["lbfgs", "adamw"] = "lbfgs",
        max_iterations: int = 1000,
        learning_rate: float = 1e-2,
    ) -> None:
        """Stores the hyperparameters; `lbfgs` uses no random numbers.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Any encoder of sentence-transformers: hub id, folder, or `package://module/path`.
            max_length: Maximum length of a text in tokens; null for that of the encoder's configuration.
            embedding: How texts are embedded: any of `prompt`, `prompt_name`, `pooling`, `normalize`,
                `truncate_dim`, `dtype`, `max_batch_tokens`.
            C: Inverse strength of the L2 regularisation; smaller is stronger. Of several values, the one with the
                lowest `val/nll` is selected; only `lbfgs` takes several.
            class_weights: Weights of the classes in the loss by name, 1 for those not named; `balanced`
                for weights inverse to the counts.
            optimizer: `lbfgs`, over all rows at once, in one epoch; or `adamw`, by mini-batches for
                `trainer.max_epochs`.
            max_iterations: Maximum number of iterations of `lbfgs`.
            learning_rate: Initial learning rate of `adamw`; it decreases to 0 linearly.

        Raises:
            UserError: A value is out of range, or a weight's name is not a label.
        """
        super().__init__(num_classes, label_names, pretrained, max_length, embedding)
        self.grid = sorted(set(C)) if isinstance(C, list) else [C]
        valid = bool(self.grid) and all(0 < value < math.inf for value in self.grid)
        check_range("C", C, valid, "a number above 0, such as 1.0, or a list of them")
        if optimizer == "adamw" and len(self.grid) > 1:
            raise UserError(f"C {C} is a choice, which adamw does not make: give one number, or optimizer lbfgs")
        check_range("max_iterations", max_iterations, max_iterations > 0, "more than 0")
        check_range("learning_rate", learning_rate, learning_rate > 0, "more than 0")
        self.class_weights = check_class_weights(class_weights, self.label_names)
        self.optimizer = optimizer
        self.max_iterations = max_iterations
        self.learning_rate = learning_rate
        self.automatic_optimization = optimizer == "adamw"
        self._collected: list[tuple[Tensor, Tensor]] = []

    def prepare(self, train_rows: Dataset) -> None:
        """Counts the classes, and stores which encoder the head belongs to.

        Raises:
            UserError: There are several values of `C`, and no validation rows to select by.
        """
        data = self._data_module()
        if data is not None and not data.has_split("validation"):
            self._refuse_selection()  # before the encoder runs, which may take long
        vectors = FEATURES_OF_PAIR if "text_pair" in train_rows.column_names else 1
        self.fitted = {
            **facts(self.embedder),
            "features": self.embedder.dimension * vectors,
            "class_counts": class_counts(train_rows, self.num_classes),
        }

    @property
    def fitted_features(self) -> int | None:
        """Number of features of a row in training; None before."""
        return self.fitted.get("features")

    @property
    def trains_by_batches(self) -> bool:
        """Whether mini-batches are used for training; `lbfgs` uses all rows at once."""
        return self.optimizer == "adamw"

    def configure_model(self) -> None:
        """Builds the head: zeros, float64. A head of the right shape is kept, and training continues from it."""
        present = len(self.present)
        outputs = 1 if present == 2 else present
        shape = (outputs, self.fitted["features"])
        if "weights" in self._parameters and self.weights.shape == shape:
            return
        self.weights = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        self.intercepts = nn.Parameter(torch.zeros(outputs, dtype=torch.float64))

    @property
    def present(self) -> list[int]:
        """The classes that have train rows."""
        if "class_counts" not in self.fitted:
            raise UserError(f"{type(self).__name__} is not fitted: run `fit` first, or load a checkpoint")
        return [label for label, count in enumerate(self.fitted["class_counts"]) if count]

    # The contract

    def forward(self, embeddings: Tensor) -> Tensor:
        """Logits of the classes that have train rows, float64, shape `(batch, present)`.

        Args:
            embeddings: float32 or float64, shape `(batch, features)`.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            logits: Tensor = embeddings.double() @ self.weights.T + self.intercepts
        if len(self.intercepts) == 1:
            return torch.cat([torch.zeros_like(logits), logits], dim=1)
        return logits

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities in nats, float64, shape `(batch, num_classes)`."""
        logits = self.forward(batch["embeddings"])
        scores = logits.new_full((len(logits), self.num_classes), -torch.inf)
        scores[:, self.present] = logits.log_softmax(dim=1)
        return scores

    def top_features(self, number: int) -> TopFeatures:
        """The dimensions of the embeddings with the largest weights of each class."""
        weights = self.weights.detach().cpu().numpy()
        dimension = self.embedder.dimension
        parts = [""] if weights.shape[1] == dimension else ["text: ", "text_pair: ", "difference: ", "product: "]
        names = [f"{part}dimension {i}" for part in parts for i in range(dimension)]
        return top_features("directions", names, weights, [self.label_names[i] for i in self.present], number)

    # Training

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor | None:
        """One step of `adamw`; or collects a batch, and fits the head after the last one."""
        if self.optimizer == "adamw":
            loss = self.loss(batch["embeddings"], batch["labels"], self.grid[0], sum(self.fitted["class_counts"]))
            self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch["labels"]))
            return loss
        self._collected.append((batch["embeddings"], batch["labels"]))
        if self.trainer.is_last_batch:
            embeddings = torch.cat([vectors for vectors, _ in self._collected])
            labels = torch.cat([targets for _, targets in self._collected])
            self._collected = []
            with torch.autocast(embeddings.device.type, enabled=False):  # the backward pass, too
                self._fit_head(embeddings.double(), labels)
            self.trainer.should_stop = True  # another epoch would find the same optimum; validation still follows
        return None

    def _fit_head(self, embeddings: Tensor, labels: Tensor) -> None:
        """Solves for the optimum, at the best `C` if there are several, and logs it.

        Args:
            embeddings: All rows, float64, shape `(rows, features)`.
            labels: Class indices, shape `(rows,)`.
        """
        expected = sum(self.fitted["class_counts"])
        if len(labels) != expected:
            say(f"L-BFGS was given {len(labels)} of {expected} train rows: the optimum is that of these rows only")
        selected = self.grid[0]
        if len(self.grid) == 1:
            self.solve(embeddings, labels, selected)
        else:
            selected = self._solve_grid(embeddings, labels)
        self.fitted = {**self.fitted, "C": selected}
        loss = self.loss(embeddings, labels, selected, len(labels)).detach().float()
        self.log_dict({"train/loss": loss, "train/C": selected}, on_step=False, on_epoch=True, batch_size=len(labels))

    def _solve_grid(self, embeddings: Tensor, labels: Tensor) -> float:
        """Solves for the optimum at each `C`, and keeps the head that is best on the validation rows.

        Args:
            embeddings: All train rows, float64, shape `(rows, features)`.
            labels: Class indices, shape `(rows,)`.

        Returns:
            The `C` of that head; of equally good ones the smallest.
        """
        batches = self._validation_batches()
        losses: dict[float, float] = {}
        for strength in self.grid:
            self.solve(embeddings, labels, strength)
            losses[strength] = self._validation_nll(batches)
            say(f"C {strength:g}: val/nll {losses[strength]:.4f}")
            selected = min(losses, key=lambda each: losses[each])  # the first of equal ones
            if selected == strength:
                head = {name: weights.clone() for name, weights in self.state_dict().items()}
        self.load_state_dict(head)
        self.fitted = {**self.fitted, "grid": {str(each): loss for each, loss in losses.items()}}
        self._report_selection(selected, losses[selected])
        return selected

    def _validation_batches(self) -> list[dict[str, Any]]:
        """The batches that the validation after this epoch will score, on this module's device."""
        batches = []
        uncounted = 0
        for loader, count in zip(as_list(self.trainer.val_dataloaders), self.trainer.num_val_batches, strict=True):
            # Only a loader without a length has infinitely many.
            for batch in islice(loader, None if count == math.inf else int(count)):
                check_batch(batch, "row", "labels")
                before = self.on_before_batch_transfer(batch, dataloader_idx=0)
                moved = self.trainer.strategy.batch_to_device(before)  # calls the other two hooks of the transfer
                uncounted += int((~self._is_present(moved["labels"])).sum())
                batches.append(moved)
        if uncounted:
            say(f"{uncounted} validation rows have a label without train rows: they do not count in the choice of C")
        return batches

    def _validation_nll(self, batches: Sequence[dict[str, Any]]) -> float:
        """Mean negative log-likelihood of the labels in nats, as `val/nll`.

        Rows of classes without train rows are left out: they have the probability 0 at every `C`.

        Args:
            batches: As `_validation_batches` gives them.
        """
        total = 0.0
        rows = 0
        for batch in batches:
            counted = self._is_present(batch["labels"])
            log_scores = self.checked_scores(batch)[counted]
            total += float(nn.functional.nll_loss(log_scores, batch["labels"][counted], reduction="sum"))
            rows += len(log_scores)
        return total / rows if rows else math.inf

    def _is_present(self, labels: Tensor) -> Tensor:
        """Whether the class of each row has train rows."""
        return torch.isin(labels, torch.tensor(self.present, device=labels.device))

    def _report_selection(self, selected: float, loss: float) -> None:
        candidates = ", ".join(f"{C:g}" for C in self.grid)
        line = f"C {selected:g} was chosen of {candidates} by val/nll, {loss:.4f}"
        if selected == self.grid[0]:
            line += ": try smaller ones, too"
        elif selected == self.grid[-1]:
            line += ": try larger ones, too"
        say(line)

    def solve(self, embeddings: Tensor, labels: Tensor, C: float) -> None:
        """Solves for the optimum, starting at the current weights.

        Args:
            embeddings: All rows, float64 (with a large `C`, float32 does not converge), shape `(rows, features)`.
            labels: Class indices, shape `(rows,)`.
            C: Inverse strength of the regularisation.
        """
        optimizer: Any = self.optimizers()

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = self.loss(embeddings, labels, C, len(labels))
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure=closure)
        optimizer.optimizer.state.clear()  # the curvature estimated for this C does not fit the next one
        closure()
        gradients = [self.weights.grad, self.intercepts.grad]
        largest = max(float(gradient.abs().max()) for gradient in gradients if gradient is not None)
        if largest > NOT_CONVERGED:
            say(
                f"L-BFGS has not converged at C {C:g}: the gradient is still {largest:.1e} after at most "
                f"{self.max_iterations} iterations; give more max_iterations, or a smaller C"
            )

    def loss(self, embeddings: Tensor, labels: Tensor, C: float, rows: int) -> Tensor:
        """The mean of the rows' losses in nats, plus the penalty divided by the number of rows; float64.

        Args:
            embeddings: Some or all rows, shape `(batch, features)`.
            labels: Class indices, shape `(batch,)`.
            C: Inverse strength of the regularisation.
            rows: Number of all train rows, by which the penalty is divided.
        """
        log_probs = self.forward(embeddings).log_softmax(dim=1)
        # `forward` has columns for the classes with train rows only.
        columns = torch.zeros(self.num_classes, dtype=torch.int64, device=labels.device)
        columns[self.present] = torch.arange(len(self.present), device=labels.device)
        label_columns = columns[labels]
        label_log_probs = log_probs.gather(1, label_columns[:, None])[:, 0]
        weights = torch.tensor(self._weights_of_present(), dtype=torch.float64, device=labels.device)
        penalty: Tensor = self.weights.square().sum() / (2 * C * rows)
        return penalty - (weights[label_columns] * label_log_probs).mean()

    def _weights_of_present(self) -> list[float]:
        """Weights in the loss of the classes that have train rows."""
        names = [self.label_names[label] for label in self.present]
        counts = [self.fitted["class_counts"][label] for label in self.present]
        return weights_in_loss(self.class_weights, names, counts)

    @required_hook
    def on_fit_start(self) -> None:
        """Refuses several processes for `lbfgs`, which needs all rows in one.

        Raises:
            UserError: There are several processes.
        """
        if self.optimizer == "lbfgs" and self.trainer.world_size > 1:
            raise UserError("fit: lbfgs takes all rows in one process: pass --trainer.devices 1, or optimizer adamw")

    @required_hook
    def on_train_start(self) -> None:
        """Ends training at once if it is resumed after its only epoch: the head of the checkpoint is the optimum."""
        super().on_train_start()
        if self.optimizer == "lbfgs" and self.trainer.global_step > 0:
            self.trainer.should_stop = True

    @required_hook
    def on_train_epoch_start(self) -> None:
        """Starts with no rows: an epoch that was interrupted is repeated.

        Raises:
            UserError: There are several values of `C`, and no validation rows to select by.
        """
        self._collected = []
        if not sum(self.trainer.num_val_batches):
            self._refuse_selection()

    def _refuse_selection(self) -> None:
        if len(self.grid) > 1:
            raise UserError(
                f"C {self.grid} is a choice, and there is no validation split to choose by: give one number, or "
                "--data.val_size"
            )

    def configure_optimizers(self) -> Any:
        """L-BFGS, one step of which solves for the optimum, or AdamW; the penalty is part of the loss."""
        if self.optimizer == "adamw":
            optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=0.0)
            steps = self.trainer.estimated_stepping_batches
            if steps == float("inf"):
                raise UserError("adamw needs an end for its learning rate: set trainer.max_epochs or max_steps")
            schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, int(steps))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
        return torch.optim.LBFGS(
            self.parameters(),
            max_iter=self.max_iterations,
            max_eval=2 * self.max_iterations,
            tolerance_grad=TOLERANCE,
            tolerance_change=1e-14,
            line_search_fn="strong_wolfe",
        )
