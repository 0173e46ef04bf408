"""Runs `predict` over Ray Data: on this machine, or on the cluster that the variable RAY_ADDRESS names.

The output is a folder of shards, as `textclf predict --output FOLDER` writes it, in fp32. Each worker loads the
checkpoint once. A worker that dies is replaced, and its shard is written again. The checkpoint, the input and the
output are on a file system that all machines share.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textclf.console import run_script, say
from textclf.errors import UserError, check_least


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Runs predict over Ray Data.")
    parser.add_argument("--ckpt_path", required=True, type=Path, help="the checkpoint")
    parser.add_argument("--input", required=True, help="a file, a folder, or a pattern in quotation marks")
    parser.add_argument("--output", required=True, type=Path, help="folder for the shards")
    parser.add_argument("--workers", type=int, default=2, help="number of actors")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each actor; 0 for the CPU")
    parser.add_argument("--text_column", default="text")
    parser.add_argument("--text_pair_column", default=None)
    parser.add_argument("--keep", nargs="*", default=[], help="columns of the input that are copied to the output")
    parser.add_argument("--shard_rows", type=int, default=100_000)
    parser.add_argument("--max_batch_tokens", type=int, default=16_384)
    parser.add_argument("--resume", action="store_true", help="resume an interrupted run")
    options = parser.parse_args(arguments)

    return run_script("predict_ray", lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Opens the input and the output, and lets the workers write the shards.

    Raises:
        UserError: Ray is not installed, or the input, the output or the checkpoint cannot be used.
    """
    check_least("--workers", options.workers, 1)
    check_least("--shard_rows", options.shard_rows, 1)
    from textclf.hashing import file_hash
    from textclf.models.base import TextClassifier
    from textclf.run.prediction_inputs import read_texts
    from textclf.run.prediction_outputs import reserved_names
    from textclf.run.prediction_shards import ShardFolder
    from textclf.run.ray_data import RayJob
    from textclf.version import __version__

    model = TextClassifier.load_from_checkpoint(options.ckpt_path)
    inputs = read_texts(
        None,
        options.input,
        options.text_column,
        options.text_pair_column,
        keep=options.keep,
        reserved=reserved_names(model.label_names),
    )
    names = ("text_column", "text_pair_column", "keep", "max_batch_tokens")
    facts = {
        "textclf": __version__,
        "input": inputs.content,
        "checkpoint": {"path": str(options.ckpt_path), "hash": file_hash(options.ckpt_path)},
        "options": {f"--{name}": getattr(options, name) for name in names},
    }
    folder = ShardFolder(options.output.resolve(), ".parquet", options.shard_rows)
    done = folder.claim(facts, options.resume)
    total = inputs.reader().skip(sys.maxsize)
    missing = sorted(set(range(len(folder.shards(total)))) - set(done))
    device = "cuda" if options.gpus else "cpu"
    shards = ShardFolder(folder.path, folder.suffix, folder.rows)  # without the lock of this process
    job = RayJob(options.ckpt_path.resolve(), inputs, shards, device, options.max_batch_tokens)
    try:
        write_shards(job, missing, options)
    except BaseException:
        folder.abandon(others_write=True)
        raise
    folder.complete(total)
    say(f"{total:,} rows are in {str(options.output)!r}")


def write_shards(job: Any, shards: Sequence[int], options: argparse.Namespace) -> None:
    """Lets the workers write shards.

    Args:
        job: What they need to know.
        shards: The numbers of the shards.
        options: The command line.

    Raises:
        UserError: Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError("Ray is not installed: run pip install -e '.[ray]'") from error
    from textclf.run.ray_data import ShardPredictor

    here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": options.workers + 1, "include_dashboard": False}
    ray.init(**here, log_to_driver=False, logging_level=logging.ERROR)
    logging.getLogger("ray.data").setLevel("ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.from_items([{"id": shard} for shard in shards], override_num_blocks=max(1, len(shards)))
    written = rows.map_batches(
        ShardPredictor,
        fn_constructor_args=(job,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=options.workers),
        num_cpus=1,
        num_gpus=options.gpus,
    )
    for shard in written.iter_rows():
        say(f"shard {shard['id']:,}: {shard['rows']:,} rows")
    ray.shutdown()


if __name__ == "__main__":
    sys.exit(main())
