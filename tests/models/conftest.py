"""Fixtures of `MethodContract`, made once for each class of tests."""

import pytest

import textclf


@pytest.fixture(scope="class")
def arguments(request, tmp_path_factory):
    """Arguments of the constructor."""
    with request.cls.arguments(tmp_path_factory.mktemp("model")) as arguments:
        yield arguments


@pytest.fixture(scope="class")
def checks(request, arguments):
    """The checks of `check_method` by their names."""
    found = textclf.check_method(request.cls.method, labels=request.cls.labels, on_fail="report", **arguments)
    return {check.name: check for check in found}
