"""The filters that make warnings of deprecation errors."""

import logging
import subprocess
import sys
import warnings

import pytest


@pytest.mark.parametrize("category", [DeprecationWarning, PendingDeprecationWarning, FutureWarning])
def test_a_deprecation_is_an_error(category):
    with pytest.raises(category):
        warnings.warn("`x` is deprecated", category, stacklevel=1)


def test_what_one_library_uses_of_another_is_none():
    warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated, use ...", FutureWarning, stacklevel=1)


@pytest.mark.parametrize("name", ["transformers.configuration_utils", "datasets.load", "unknown"])
def test_a_log_line_about_a_deprecation_is_an_error(name):
    with pytest.raises(DeprecationWarning, match="torch_dtype"):
        logging.getLogger(name).warning("`torch_dtype` is deprecated! Use `dtype` instead!")
    logging.getLogger(name).warning("all is well")


def test_processes_that_tests_start_have_the_same_filters():
    code = "import warnings\ntry:\n  warnings.warn('x', {})\nexcept {}:\n  print('error')"
    for category in ("DeprecationWarning", "FutureWarning"):
        command = [sys.executable, "-c", code.format(category, category)]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "error\n"
    code = "import warnings\nwarnings.warn('`isinstance(treespec, LeafSpec)` is deprecated', FutureWarning)"
    subprocess.run([sys.executable, "-c", code], check=True)
