"""The command line."""

from textclf.cli.app import main

__all__ = ["main"]
