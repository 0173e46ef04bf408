"""Many steps of training: memory and the number of files stay the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from soaks.memory import GROWTH, Sampler

ROWS = 40_000
BATCH = 4
FILES = 100
"""Number of files that a run folder may have at any moment; a run without figures and page has 13."""
CONFIG = """
model:
  class_path: FineTunedClassifier
  init_args:
    pretrained: null
    encoder_config:
      {vocab_size: 500, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 1, intermediate_size: 16}
    max_length: 16
data:
  class_path: FilesDataModule
  init_args: {cleaning: []}
trainer:
  max_epochs: -1
  accelerator: cpu
  devices: 1
  precision: 32-true
  logger: textclf.run.MetricsCSV
  callbacks: []
"""


def soak_fit(steps: int, folder: Path) -> dict[str, Any]:
    """Trains a tiny encoder by the command `fit`, with a checkpoint every 100 steps and validation after each epoch.

    Args:
        steps: Number of steps.
        folder: An empty folder for rows and the run.

    Returns:
        The counts, with `ok`: whether all steps were made, and memory and files stayed flat.
    """
    from textclf.cli import main
    from textclf.models.checkpoint import read_checkpoint

    (folder / "rows").mkdir()
    for split, rows in {"train": ROWS, "validation": 200, "test": 200}.items():
        lines = [f"text {i} is {'good' if i % 2 else 'bad'},{i % 2}" for i in range(rows)]
        (folder / "rows" / f"{split}.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    run = folder / "run"
    with Sampler(run) as sampler:
        main(
            [
                *("fit", "--config", str(folder / "config.yaml"), "--run_dir", str(run)),
                *("--data.data_dir", str(folder / "rows"), "--data.batch_size", str(BATCH)),
                *("--trainer.max_steps", str(steps)),
            ]
        )
    made = read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"]
    found = {"steps": made, "steps_per_second": round(made / sampler.elapsed, 1), **sampler.found()}
    is_flat = found["memory_growth_mib"] <= GROWTH and found["most_files"] <= FILES
    return {**found, "metrics_csv_bytes": (run / "metrics.csv").stat().st_size, "ok": made == steps and is_flat}
