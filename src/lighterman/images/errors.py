"""What may be wrong with an image, in Docker's words."""

from lighterman.errdefs import NotFound


class NoSuchImage(NotFound):
    """`ref` names no image; `repo:latest` is spelled out where no tag was given."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"No such image: {ref}")
