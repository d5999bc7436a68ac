"""Committing: a writable layer becomes an image that unpacks to the same."""

import os
import stat
from pathlib import Path

import pytest
from tests.content.archives import archive, directory, file
from tests.images.shelf import Shelf, layer, opened, put

from lighterman.apitypes.container import ContainerConfig
from lighterman.images import CommitWish, Image, NoSuchImage, tagged_reference
from lighterman.images.commit import EMPTY_DIFF_ID


async def changed_root(shelf: Shelf, image: Image) -> Path:
    """The mounted root of a container of `image`."""
    await shelf.rooms.snapshots.prepare("c", image.top_chain)
    return await shelf.rooms.snapshots.mount("c")


async def commit(shelf: Shelf, parent: Image, **more: object) -> Image:
    upper = Path(shelf.rooms.snapshots.dirs("c")["UpperDir"])
    wish = CommitWish(
        upper=upper,
        parent=parent.id,
        config=ContainerConfig(cmd=["sh"]),
        container_id="c",
        container_config=ContainerConfig(cmd=["echo", "hi"]),
        **more,  # type: ignore[arg-type]
    )
    return await shelf.images.commit(wish, tagged_reference("made", "1"))


def described(root: Path) -> dict[str, tuple[object, ...]]:
    """Every path with what matters of it, but for the places to mount on: each image gets new ones."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        if folder == str(root):
            folders[:] = [name for name in folders if name not in ("dev", "etc", "proc", "sys")]
            files.remove(".dockerenv")
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            facts = os.lstat(path)
            data: object = None
            if stat.S_ISREG(facts.st_mode):
                data = Path(path).read_bytes()
            elif stat.S_ISLNK(facts.st_mode):
                data = os.readlink(path)
            xattrs = {key: os.getxattr(path, key, follow_symlinks=False)
                      for key in os.listxattr(path, follow_symlinks=False)}  # fmt: skip
            found[os.path.relpath(path, root)] = (
                facts.st_mode, facts.st_uid, facts.st_gid, facts.st_rdev, int(facts.st_mtime), data, xattrs,
                facts.st_nlink if stat.S_ISREG(facts.st_mode) else 0,
            )  # fmt: skip
    return found


def work(root: Path) -> None:
    """Everything that a container may do to files."""
    (root / "gone").unlink()
    (root / "dir/inner").unlink()
    (root / "dir/inner").mkdir()
    os.rename(root / "dir/old", root / "dir/new")
    (root / "new").write_bytes(b"x" * 100_000)
    os.chmod(root / "new", 0o4755)
    os.chown(root / "new", 1000, 1001)
    os.chmod(root / "new", 0o4755)
    os.setxattr(root / "new", "user.k", b"v")
    os.link(root / "new", root / "link")
    os.symlink("/nowhere", root / "symlink")
    os.mkfifo(root / "fifo")
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (root / "sparse").touch()
    os.truncate(root / "sparse", 300_000)
    for name in ("a", "b"):
        (root / "replaced" / name).unlink()
    (root / "replaced").rmdir()
    (root / "replaced").mkdir()
    (root / "replaced/c").write_text("c")
    (root / ("n" * 200)).mkdir()
    (root / ("n" * 200) / ("ü" * 100)).write_text("long")


async def test_a_container_of_the_image_sees_what_the_container_saw(shelf: Shelf) -> None:
    low = archive(
        file("gone"), directory("dir"), file("dir/inner"), file("dir/old", b"old"), directory("replaced"),
        file("replaced/a"), file("replaced/b"),
    )  # fmt: skip
    await put(shelf, "a:1", layers=[low])
    parent = shelf.images.find("a:1")
    work(await changed_root(shelf, parent))
    image = await commit(shelf, parent, author="me", comment="why")
    before = described(await shelf.rooms.snapshots.mount("c"))
    await shelf.rooms.snapshots.prepare("d", image.top_chain)
    assert described(await shelf.rooms.snapshots.mount("d")) == before
    assert image.chain[:-1] == parent.chain
    assert shelf.images.find("made:1").id == image.id
    await shelf.rooms.snapshots.remove("c")
    await shelf.rooms.snapshots.remove("d")


async def test_the_configuration_is_dockers(shelf: Shelf) -> None:
    await put(shelf, "a:1", layers=[layer("f")])
    parent = shelf.images.find("a:1")
    (await changed_root(shelf, parent) / "new").touch()
    image = await commit(shelf, parent, author="me", comment="why")
    shown = shelf.images.inspect(image.id)
    assert (shown.author, shown.comment, shown.container, shown.parent) == ("me", "why", "c", parent.id)
    assert (shown.config, shown.container_config.cmd) == (ContainerConfig(cmd=["sh"]), ["echo", "hi"])
    assert (shown.architecture, shown.os) == ("amd64", "linux")
    newest, oldest = shelf.images.history(image.id)
    assert (newest.created_by, newest.comment, newest.size) == ("echo hi", "why", 0)
    assert oldest.created_by == "step 0"
    assert [action for action, _, _ in shelf.told()][-1] == "tag"
    await shelf.rooms.snapshots.remove("c")


async def test_where_nothing_changed_no_layer_is_added(shelf: Shelf) -> None:
    await put(shelf, "a:1", layers=[layer("f")])
    parent = shelf.images.find("a:1")
    await changed_root(shelf, parent)
    image = await commit(shelf, parent)
    assert image.chain == parent.chain
    assert EMPTY_DIFF_ID not in image.diff_ids
    assert shelf.images.history(image.id)[0].size == 0
    await shelf.rooms.snapshots.remove("c")


async def test_a_commit_outlives_a_start(tmp_path: Path) -> None:
    async with opened(tmp_path / "root") as shelf:
        await put(shelf, "a:1", layers=[layer("f")])
        parent = shelf.images.find("a:1")
        (await changed_root(shelf, parent) / "new").touch()
        image = await commit(shelf, parent)
        await shelf.rooms.snapshots.remove("c")
    async with opened(tmp_path / "root") as again:
        assert again.images.find("made:1").chain == image.chain
        assert again.images.inspect("made:1").parent == parent.id


async def test_a_parent_that_is_gone_is_told_and_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    wish = CommitWish(upper=tmp_path, parent="sha256:" + "0" * 64, config=ContainerConfig())
    with pytest.raises(NoSuchImage):
        await shelf.images.commit(wish, None)
