"""The profile of containers."""

import subprocess

import pytest

from lighterman.linux.apparmor import parser
from lighterman.oci.apparmor import default_profile


@pytest.mark.engine
def test_the_default_profile_is_one_that_the_parser_takes() -> None:
    done = subprocess.run(
        [str(parser()), "--skip-kernel-load", "--skip-cache"],
        input=default_profile("lighterman-test").encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
