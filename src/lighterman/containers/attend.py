"""What goes on beside a container while it runs: somebody hears of its memory and asks for its health."""

from lighterman.containers.health import check_of, pause_s, share_of_interval
from lighterman.containers.oom import hear_oom
from lighterman.containers.probing import probe_on
from lighterman.containers.state import Container, Containers


def attend(cs: Containers, container: Container) -> None:
    """Begin, for a run that was just recorded (with the lock held): it goes on until that run ends."""
    cs.later.start(hear_oom, cs, container.id)
    if check_of(container.config):
        cs.later.start(probe_on, cs, container.id, None)


def attend_again(cs: Containers, container: Container) -> None:
    """Go on for a run that an engine before this one had attended."""
    cs.later.start(hear_oom, cs, container.id)
    if (check := check_of(container.config)) and container.health:
        usual_s = pause_s(container.health, check, ran_ns=0)
        cs.later.start(probe_on, cs, container.id, usual_s * share_of_interval(container.id))
