"""The command line, and what it builds for scripts and notebooks."""

from textclf.cli.app import build, main, merged_config

__all__ = ["build", "main", "merged_config"]
