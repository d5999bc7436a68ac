"""Names: finding, listing, tagging, deleting and pruning, by dockerd's rules and in its words."""

import asyncio
import os

import msgspec
import pytest
from tests.images.shelf import Shelf, ids, layer, put

from lighterman.apitypes.image import ImageDeleted
from lighterman.errdefs import Conflict, InvalidParameter, NotFound
from lighterman.images import ImageUser, NoSuchImage
from lighterman.lib.filters import Filters

STOPPED = ImageUser("c" * 64, "/stopped", False)
RUNNING = ImageUser("d" * 64, "/running", True)


def done(deleted: "list[ImageDeleted] | object") -> list[dict[str, str]]:
    decoded: list[dict[str, str]] = msgspec.to_builtins(deleted)
    return decoded


async def test_an_image_is_found_by_all_its_names(shelf: Shelf) -> None:
    image_id = await put(shelf, "a:1", "a:latest")
    for ref in ("a", "a:1", "docker.io/library/a", image_id, image_id[7:], image_id[7:19], image_id[:20]):
        assert shelf.images.find(ref).id == image_id


async def test_what_is_not_there_is_named_in_full(shelf: Shelf) -> None:
    with pytest.raises(NoSuchImage, match=r"^No such image: nope:latest$"):
        shelf.images.find("nope")
    with pytest.raises(NotFound, match=r"^no such image: nope: No such image: nope:latest$"):
        shelf.images.inspect("nope")
    with pytest.raises(NoSuchImage, match=rf"^No such image: sha256:{'0' * 64}$"):
        shelf.images.find("0" * 64)
    with pytest.raises(InvalidParameter):
        shelf.images.find("UP")


async def test_a_blank_name_is_none(shelf: Shelf) -> None:
    with pytest.raises(InvalidParameter, match=r"^image name cannot be blank$"):
        await shelf.images.delete(" ")


async def test_a_list_is_newest_first_and_has_no_names_where_there_are_none(shelf: Shelf) -> None:
    old, new = await put(shelf, "a:1", day=1), await put(shelf, day=2)
    summaries = shelf.images.list(Filters())
    assert [summary.id for summary in summaries] == [new, old]
    assert (summaries[0].repo_tags, summaries[0].repo_digests) == ([], [])
    assert (summaries[1].repo_tags, summaries[1].repo_digests) == (["a:1"], [])


async def test_filters_choose(shelf: Shelf) -> None:
    one = await put(shelf, "me/a:1", day=1, Labels={"k": "v"})
    two = await put(shelf, "b:1", day=2)
    three = await put(shelf, day=3)
    assert ids(shelf, before="b:1") == [one]
    assert ids(shelf, since="b:1") == [three]
    assert ids(shelf, label="k") == ids(shelf, label="k=v") == [one]
    assert ids(shelf, label="k=w") == []
    assert ids(shelf, reference="*/a") == ids(shelf, reference="me/a:*") == [one]
    assert ids(shelf, dangling="true") == [three]
    assert ids(shelf, dangling="false") == [two, one]


@pytest.mark.parametrize(("name", "value"), [("foo", "x"), ("dangling", "maybe")])
async def test_other_filters_are_refused_in_dockers_words(shelf: Shelf, name: str, value: str) -> None:
    shown = "foo" if name == "foo" else "dangling=[maybe]"
    with pytest.raises(InvalidParameter) as refused:
        ids(shelf, **{name: value})
    assert str(refused.value) == f"Invalid filter '{shown}'"


async def test_a_tag_is_told_and_remembered_with_its_time(shelf: Shelf) -> None:
    image_id = await put(shelf, "a:1")
    assert shelf.images.inspect("a:1").metadata.last_tag_time == "0001-01-01T00:00:00Z"
    await shelf.images.tag("a:1", "q.io/b", "2")
    await shelf.images.tag("a:1", "c")
    assert shelf.images.inspect("a:1").repo_tags == ["a:1", "c:latest", "q.io/b:2"]
    assert shelf.images.inspect("a:1").metadata.last_tag_time > "2026"
    assert ("tag", image_id, {"name": "q.io/b:2"}) in shelf.told()
    with pytest.raises(InvalidParameter, match="repository name must be lowercase"):
        await shelf.images.tag("a:1", "UP")
    with pytest.raises(InvalidParameter, match="ambiguous tag using digest algorithm as name"):
        await shelf.images.tag("a:1", "sha256:1")


async def test_history_is_newest_first(shelf: Shelf) -> None:
    image_id = await put(shelf, "a:1", layers=[layer("low", b"123"), layer("top", b"12345")])
    items = shelf.images.history("a:1")
    assert [(item.id, item.size, item.tags) for item in items] == [
        (image_id, 5, ["a:1"]),
        ("<missing>", 3, None),
    ]


async def test_one_of_two_names_is_untagged(shelf: Shelf) -> None:
    image_id = await put(shelf, "a:1", "b:1")
    shelf.users[image_id] = [RUNNING]
    assert done(await shelf.images.delete("a:1")) == [{"Untagged": "a:1"}]
    assert shelf.images.find("b:1").id == image_id


async def test_with_the_last_name_the_image_goes(shelf: Shelf) -> None:
    image_id = await put(shelf, "a:1", layers=[layer("low"), layer("top")])
    low, top = shelf.images.find("a:1").chain
    deleted = done(await shelf.images.delete("a:1"))
    assert deleted == [{"Untagged": "a:1"}, {"Deleted": image_id}, {"Deleted": top}, {"Deleted": low}]
    assert [action for action, _, _ in shelf.told()] == ["load", "untag", "delete"]
    assert shelf.rooms.content.digests() == set()


async def test_layers_that_another_image_has_stay(shelf: Shelf) -> None:
    await put(shelf, "a:1", layers=[layer("low"), layer("top")])
    await put(shelf, "b:1", day=2, layers=[layer("low")])
    low, top = shelf.images.find("a:1").chain
    assert {"Deleted": top} in done(await shelf.images.delete("a:1"))
    assert shelf.rooms.snapshots.layer(low) is not None


async def test_a_name_in_use_must_be_forced(shelf: Shelf) -> None:
    image_id = await put(shelf, "a:1")
    shelf.users[image_id] = [STOPPED]
    with pytest.raises(Conflict) as refused:
        await shelf.images.delete("a:1")
    assert str(refused.value) == (
        'conflict: unable to remove repository reference "a:1" (must force) - container cccccccccccc '
        f"is using its referenced image {image_id[7:19]}"
    )
    assert {"Deleted": image_id} in done(await shelf.images.delete("a:1", force=True))


CONFLICTS = [
    ([STOPPED], "must be forced", "image is being used by stopped container cccccccccccc"),
    ([STOPPED, RUNNING], "cannot be forced", "image is being used by running container dddddddddddd"),
]


@pytest.mark.parametrize(("users", "hope", "reason"), CONFLICTS)
async def test_an_id_in_use_is_a_conflict(
    shelf: Shelf, users: list[ImageUser], hope: str, reason: str
) -> None:
    image_id = await put(shelf, "a:1")
    shelf.users[image_id] = users
    with pytest.raises(Conflict) as refused:
        await shelf.images.delete(image_id[7:])
    assert str(refused.value) == f"conflict: unable to delete {image_id[7:19]} ({hope}) - {reason}"


async def test_a_running_container_is_never_overruled(shelf: Shelf) -> None:
    image_id = await put(shelf, "a:1")
    shelf.users[image_id] = [RUNNING]
    with pytest.raises(Conflict, match="cannot be forced"):
        await shelf.images.delete(image_id, force=True)


async def test_an_id_with_names_in_two_repositories_must_be_forced(shelf: Shelf) -> None:
    image_id = await put(shelf, "a:1", "b:1")
    with pytest.raises(Conflict, match="image is referenced in multiple repositories"):
        await shelf.images.delete(image_id)
    deleted = done(await shelf.images.delete(image_id, force=True))
    assert deleted[:3] == [{"Untagged": "a:1"}, {"Untagged": "b:1"}, {"Deleted": image_id}]


async def test_prune_removes_what_has_no_name_and_all_only_when_asked(shelf: Shelf) -> None:
    nameless = await put(shelf, day=1, layers=[layer("f", b"123")])
    named = await put(shelf, "a:1", day=2)
    used = await put(shelf, "b:1", day=3)
    shelf.users[used] = [STOPPED]
    pruned = await shelf.images.prune(Filters())
    assert {"Deleted": nameless} in done(pruned.images_deleted)
    assert pruned.space_reclaimed == 3
    assert (await shelf.images.prune(Filters())).images_deleted is None
    pruned = await shelf.images.prune(Filters({"dangling": ("false",)}))
    assert {"Deleted": named} in done(pruned.images_deleted)
    assert ids(shelf) == [used]
    assert shelf.told()[-1] == ("prune", "", {"reclaimed": str(pruned.space_reclaimed)})


async def test_prune_looks_at_labels_and_age(shelf: Shelf) -> None:
    await put(shelf, day=1, Labels={"keep": "1"})
    labelled = Filters({"label!": ("keep",)})
    assert (await shelf.images.prune(labelled)).images_deleted is None
    assert (await shelf.images.prune(Filters({"until": ("2025-01-01",)}))).images_deleted is None
    assert (await shelf.images.prune(Filters({"label": ("keep=1",)}))).images_deleted is not None
    with pytest.raises(InvalidParameter, match=r"^Invalid filter 'dangling="):
        await shelf.images.prune(Filters({"dangling": ("maybe",)}))


async def test_layers_of_a_deleted_image_stay_for_its_container(shelf: Shelf) -> None:
    await put(shelf, "a:1")
    image = shelf.images.find("a:1")
    await shelf.rooms.snapshots.prepare("c", image.top_chain)
    shelf.users[image.id] = [STOPPED]
    deleted = done(await shelf.images.delete("a:1", force=True))
    assert deleted == [{"Untagged": "a:1"}, {"Deleted": image.id}]
    assert (await shelf.rooms.snapshots.mount("c") / "f").exists()
    await shelf.rooms.snapshots.remove("c")
    assert len(shelf.rooms.snapshots.layer_ids()) == 0


async def test_an_image_has_the_fields_that_dockerd_sends(shelf: Shelf) -> None:
    await put(shelf, "a:1", layers=[layer("low"), layer("top")])
    shown = msgspec.to_builtins(shelf.images.inspect("a:1"))
    assert list(shown) == [
        "Id", "RepoTags", "RepoDigests", "Parent", "Comment", "Created", "Container", "ContainerConfig",
        "DockerVersion", "Author", "Config", "Architecture", "Os", "Size", "GraphDriver",
        "RootFS", "Metadata",
    ]  # fmt: skip
    assert list(shown["GraphDriver"]["Data"]) == ["LowerDir", "MergedDir", "UpperDir", "WorkDir"]
    assert os.listdir(shown["GraphDriver"]["Data"]["UpperDir"]) == ["top"]
    listed = msgspec.to_builtins(shelf.images.list(Filters())[0])
    assert listed["SharedSize"] == listed["Containers"] == -1
    assert listed["Labels"] is None


async def test_changes_at_the_same_time_end_in_one_truth(shelf: Shelf) -> None:
    image_id = await put(shelf, "a:1")
    outcomes = await asyncio.gather(
        shelf.images.delete("a:1"),
        shelf.images.delete(image_id, force=True),
        shelf.images.tag("a:1", "b"),
        shelf.images.prune(Filters({"dangling": ("false",)})),
        return_exceptions=True,
    )
    assert not [outcome for outcome in outcomes if isinstance(outcome, KeyError)]
    assert len(shelf.images) == len(ids(shelf))
    assert bool(len(shelf.images)) == bool(shelf.rooms.snapshots.layer_ids())
