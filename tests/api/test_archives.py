"""Whether a client takes an archive compressed."""

import pytest

from lighterman.api.handlers.archives import accepts_gzip


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("identity", False),
        ("deflate", False),
        ("gzip", True),
        ("GZIP", True),
        ("gzip, deflate", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("*", True),
        ("x-gzip2", False),
    ],
)
def test_gzip_is_for_those_who_name_it(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted
