"""What may be wrong with an image, in Docker's words."""

from lighterman.content import JobFailed
from lighterman.errdefs import EngineError, InvalidParameter, NotFound, System


class NoSuchImage(NotFound):
    """`ref` names no image; `repo:latest` is spelled out where no tag was given."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"No such image: {ref}")


def bad_archive(error: JobFailed) -> EngineError:
    """A worker's failure, where the archive came from the client."""
    text = str(error)
    if error.kind == "damaged":
        go = "archive/tar: " if text.startswith("invalid tar header") else ""
        return InvalidParameter(f"Error processing tar file(exit status 1): {go}{text}")
    if error.kind == "refused":
        return InvalidParameter(f"Error processing tar file(exit status 1): {text}")
    return InvalidParameter(text) if error.kind == "mismatch" else System(text)


def bad_layer(error: JobFailed) -> EngineError:
    """A worker's failure, where the layer came from a registry."""
    if error.kind in ("damaged", "refused"):
        return System(f"failed to register layer: {bad_archive(error)}")
    if error.kind == "registry" and error.status == 404:
        return NotFound("unknown blob")
    return System(str(error))
