"""Replicated and global services: how many tasks there are, and in which places."""

from collections import Counter

from tests.swarm.world import World, nodes_of, spec

from lighterman.swarm.state import Kind, TaskState


def test_one_transaction_makes_a_service_with_tasks_that_are_on_their_nodes() -> None:
    world = World()
    world.create(spec(replicas=3))
    world.store.write(world.agenda.think(world.now_ns))
    tasks = world.tasks("web")
    assert [task.slot for task in tasks] == [1, 2, 3]
    assert {task.state for task in tasks} == {TaskState.ASSIGNED}
    assert {task.message for task in tasks} == {"scheduler assigned task to node"}


def test_a_service_that_grows_fills_the_lowest_free_slots() -> None:
    world = World()
    world.create(spec(replicas=2))
    world.settle()
    world.update("web", spec(replicas=5))
    world.settle()
    assert world.slots("web") == [1, 2, 3, 4, 5]


def test_a_service_that_shrinks_leaves_the_nodes_even() -> None:
    world = World(nodes=2)
    world.create(spec(replicas=6))
    world.settle()
    world.update("web", spec(replicas=2))
    world.settle()
    assert Counter(nodes_of(world.running("web"))) == {"node1": 1, "node2": 1}


def test_a_service_that_shrinks_loses_what_does_not_run_and_high_slots_first() -> None:
    world = World()
    world.create(spec(replicas=3))
    world.think()
    first, second, third = world.tasks("web")
    world.report(second, TaskState.RUNNING)
    world.report(third, TaskState.RUNNING)
    world.update("web", spec(replicas=2))
    world.think()
    assert [task.slot for task in world.tasks("web") if task.desired is TaskState.RUNNING] == [2, 3]
    assert world.state.tasks[first.id].desired is TaskState.REMOVE


def test_removed_tasks_are_forgotten_when_their_node_has_stopped_them() -> None:
    world = World()
    world.create(spec(replicas=2))
    world.settle()
    world.update("web", spec(replicas=1))
    world.think()
    assert len(world.tasks("web")) == 2
    world.settle()
    assert len(world.tasks("web")) == 1
    assert len(world.state.observations) == 1


def test_a_slot_whose_task_still_stops_is_not_started_twice() -> None:
    world = World()
    world.create(spec(replicas=2))
    world.settle()
    old = world.running("web")[1]
    world.update("web", spec(replicas=1))
    world.think()
    world.update("web", spec(replicas=2))
    world.think()
    new = next(task for task in world.tasks("web") if task.slot == 2 and task.id != old.id)
    assert new.desired is TaskState.READY
    world.settle()
    assert world.slots("web") == [1, 2]


def test_a_service_that_is_gone_leaves_nothing() -> None:
    world = World()
    world.create(spec(replicas=3))
    world.settle()
    world.put(Kind.SERVICE, None, "web")
    world.settle()
    assert not world.state.tasks
    assert not world.state.observations
    assert not world.state.templates
    assert not world.state.service_statuses


def test_a_global_service_has_one_task_on_each_node() -> None:
    world = World(nodes=3)
    world.create(spec(replicas=None))
    world.settle()
    assert sorted(nodes_of(world.running("web"))) == ["node1", "node2", "node3"]
    world.add_node("node4")
    world.settle()
    assert sorted(nodes_of(world.running("web"))) == ["node1", "node2", "node3", "node4"]


def test_a_global_service_is_on_the_nodes_that_its_constraints_allow() -> None:
    world = World(nodes=2)
    world.create(spec(replicas=None, constraints=["node.labels.disk==ssd"]))
    world.settle()
    assert not world.running("web")
    world.change_node("node2", labels={"disk": "ssd"})
    world.settle()
    assert list(nodes_of(world.running("web"))) == ["node2"]
    world.change_node("node2", labels={})
    world.settle()
    assert not world.running("web")


def test_a_drained_node_loses_its_tasks_and_a_paused_one_keeps_them() -> None:
    world = World(nodes=2)
    world.create(spec("all", replicas=None))
    world.create(spec("web", replicas=2))
    world.settle()
    world.change_node("node2", availability="pause")
    world.settle()
    assert len(world.running("all")) == 2
    world.change_node("node2", availability="drain")
    world.settle()
    assert list(nodes_of(world.running("all"))) == ["node1"]
    assert list(nodes_of(world.running("web"))) == ["node1", "node1"]
    world.change_node("node2", availability="active")
    world.settle()
    assert sorted(nodes_of(world.running("all"))) == ["node1", "node2"]


def test_a_paused_node_gets_no_new_tasks() -> None:
    world = World(nodes=2)
    world.change_node("node2", availability="pause")
    world.create(spec("all", replicas=None))
    world.create(spec("web", replicas=4))
    world.settle()
    assert set(nodes_of(world.running("all"))) == {"node1"}
    assert set(nodes_of(world.running("web"))) == {"node1"}


def test_many_tasks_are_made_in_several_rounds() -> None:
    world = World()
    world.create(spec(replicas=450))
    first = world.agenda.think(world.now_ns)
    assert sum(write.kind is Kind.TASK for write in first) == 100
    world = World()
    world.create(spec(replicas=450))
    world.settle()
    assert len(world.running("web")) == 450


def test_a_new_leader_finds_nothing_to_do() -> None:
    world = World(nodes=2)
    world.create(spec(replicas=3))
    world.create(spec("all", replicas=None))
    world.settle()
    world.agenda.note(list(world.state))
    assert world.think() == []
