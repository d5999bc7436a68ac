"""`lighterman check --store`: everything that is kept of images, verified to the byte."""

import json
from pathlib import Path

from msgspec.structs import asdict

from lighterman.errdefs import EngineError
from lighterman.images.check import check_store


def main(data_root: Path, as_json: bool) -> int:
    """Print what is wrong with the store of a data root. 0 if nothing is, else 1."""
    try:
        checked = check_store(data_root)
    except (EngineError, OSError) as error:
        print(json.dumps({"error": str(error)}) if as_json else f"The store cannot be verified: {error}")
        return 1
    if as_json:
        print(json.dumps(asdict(checked)))
    else:
        for complaint in checked.complaints:
            print(complaint)
        verdict = (
            f"{len(checked.complaints)} things are wrong." if checked.complaints else "Nothing is wrong."
        )
        print(
            f"Verified {checked.images} images with {checked.names} names, {checked.layers} layers and the "
            f"writable layers of {checked.containers} containers. {verdict}"
        )
    return 1 if checked.complaints else 0
