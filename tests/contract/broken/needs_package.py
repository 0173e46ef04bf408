"""Imports what is not installed."""

import surely_not_installed_anywhere  # noqa: F401

from tests.contract.basis import Uniform


class Method(Uniform):
    pass
