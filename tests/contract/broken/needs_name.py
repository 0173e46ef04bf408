"""Imports a name that is not there."""

from tests.contract.basis import NoSuchMethod


class Method(NoSuchMethod):
    pass
