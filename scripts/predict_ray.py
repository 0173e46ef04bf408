"""Runs `predict` over Ray Data: on this machine, or on the cluster that the variable RAY_ADDRESS names.

The output is a folder of shards, as `textclf predict --output FOLDER` writes it, in fp32. Each worker loads the
checkpoint once. A worker that dies is replaced, and its shard is written again. The checkpoint, the input and the
output are on a file system that all machines share.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
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
        UserError: Ray is not installed; the input, the output or the checkpoint cannot be used; or the workers fail.
    """
    check_least("--workers", options.workers, 1)
    check_least("--gpus", options.gpus, 0)
    check_least("--shard_rows", options.shard_rows, 1)
    check_least("--max_batch_tokens", options.max_batch_tokens, 1)
    from textclf.hashing import file_hash
    from textclf.models.base import TextClassifier
    from textclf.run.prediction_files import check_output_apart
    from textclf.run.prediction_inputs import read_texts
    from textclf.run.prediction_outputs import reserved_names
    from textclf.run.prediction_shards import ShardFolder
    from textclf.run.ray_data import RayJob
    from textclf.version import __version__

    import_ray()
    model = TextClassifier.load_from_checkpoint(options.ckpt_path)
    inputs = read_texts(
        None,
        options.input and os.path.abspath(options.input),  # workers have other working directories
        options.text_column,
        options.text_pair_column,
        keep=options.keep,
        reserved=reserved_names(model.label_names),
    )
    check_output_apart(options.output, inputs.files)
    names = ("text_column", "text_pair_column", "keep", "max_batch_tokens")
    facts = {
        "textclf": __version__,
        "input": inputs.content,
        "checkpoint": {"path": str(options.ckpt_path), "hash": file_hash(options.ckpt_path)},
        "options": {f"--{name}": getattr(options, name) for name in names},
    }
    folder = ShardFolder(options.output.resolve(), ".parquet", options.shard_rows)
    done = folder.claim(facts, options.resume)
    shards = ShardFolder(folder.path, folder.suffix, folder.rows)  # without the lock of this process
    device = "cuda" if options.gpus else "cpu"
    job = RayJob(options.ckpt_path.resolve(), inputs, shards, device, options.max_batch_tokens)
    try:
        total = inputs.reader().skip(sys.maxsize)
        write_shards(job, sorted(set(range(len(folder.shards(total)))) - set(done)), options)
    except BaseException:
        folder.abandon(others_write=True)
        raise
    folder.complete(total)
    say(f"{total:,} rows are in {str(options.output)!r}")


def import_ray() -> Any:
    """Imports Ray with its data sets.

    Raises:
        UserError: It is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError("Ray is not installed: run pip install -e '.[ray]'") from error
    return ray


def write_shards(job: Any, shards: Sequence[int], options: argparse.Namespace) -> None:
    """Lets the workers write shards.

    Args:
        job: What they need to know.
        shards: The numbers of the shards.
        options: The command line.

    Raises:
        UserError: The cluster cannot be reached or is too small, a shard cannot be written, or the workers fail.
    """
    if not shards:
        return
    ray = import_ray()
    try:
        start(ray, options)
        for shard in written_shards(ray, job, shards, options):
            if shard["error"]:
                raise UserError(shard["error"])
            say(f"shard {shard['id']:,}: {shard['rows']:,} rows")
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1:]
        raise UserError(f"the workers failed ({' '.join(last)}): --resume goes on once the cause is removed") from error
    finally:
        ray.shutdown()


def start(ray: Any, options: argparse.Namespace) -> None:
    """Connects to the cluster, or starts one on this machine.

    Raises:
        UserError: The cluster cannot be reached, or this machine has too few GPUs.
    """
    address = os.environ.get("RAY_ADDRESS")
    here = {} if address else {"num_cpus": options.workers + 1, "include_dashboard": False}
    try:
        ray.init(**here, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"RAY_ADDRESS {address!r}: {error}: give the address of a cluster, or unset it") from error
    logging.getLogger("ray.data").setLevel("ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    needed, there = options.workers * options.gpus, ray.cluster_resources().get("GPU", 0)
    if needed > there:
        short = (
            f"--workers {options.workers} with --gpus {options.gpus:g} need {needed:g} GPUs, and there are {there:g}"
        )
        if not address:
            raise UserError(f"{short}: give fewer")
        say(f"{short}: the workers wait for more")


def written_shards(ray: Any, job: Any, shards: Sequence[int], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What `ShardPredictor` gives for each shard, as the workers complete them."""
    from textclf.run.ray_data import ShardPredictor

    rows = ray.data.from_items([{"id": shard} for shard in shards], override_num_blocks=len(shards))
    written = rows.map_batches(
        ShardPredictor,
        fn_constructor_args=(job,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=options.workers),
        num_cpus=1,
        num_gpus=options.gpus,
    )
    yield from written.iter_rows()


if __name__ == "__main__":
    sys.exit(main())
