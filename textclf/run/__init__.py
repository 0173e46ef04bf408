"""What lives for one run: its folder, checkpoints, loggers, callbacks and report."""
