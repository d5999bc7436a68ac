from pathlib import Path

import pytest

from lighterman.linux.capabilities import NAMES, bounding_capabilities, mask_of, names_of


def test_a_name_stands_at_its_number() -> None:
    assert (NAMES.index("CAP_SYS_ADMIN"), NAMES.index("CAP_CHECKPOINT_RESTORE"), len(NAMES)) == (21, 40, 41)


def test_a_mask_is_the_set_of_its_bits() -> None:
    assert names_of(0xA80425FB) >= {"CAP_CHOWN", "CAP_AUDIT_WRITE"}
    assert len(names_of(0xA80425FB)) == 14


def test_bits_newer_than_the_table_are_left_out() -> None:
    assert names_of(1 << 63 | 1) == {"CAP_CHOWN"}


def test_a_set_is_read_from_the_status_of_a_process(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tinit\nCapEff:\t0000000000000000\nCapBnd:\t000001fffeffffff\n")
    assert set(NAMES) - bounding_capabilities(status) == {"CAP_SYS_RESOURCE"}
    with pytest.raises(KeyError):
        mask_of(status.read_text(), "CapAmb")
