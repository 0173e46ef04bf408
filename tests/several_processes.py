"""Commands of `textclf` on several processes; starting these takes seconds, so one start runs several commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

from textclf.cli import main

ROOT = Path(__file__).parents[1]


def run_on_processes(number, *commands):
    """Runs the commands one after another on `number` processes."""
    several = ("--trainer.devices", str(number), "--trainer.strategy", "ddp")
    lines = json.dumps([[*command, *several] for command in commands])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, lines]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


if __name__ == "__main__":
    for line in json.loads(sys.argv[1]):
        main(line)
