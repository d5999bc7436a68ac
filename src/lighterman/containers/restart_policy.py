"""Whether and when a container that ended starts again. Pure."""

from lighterman.apitypes.container import RestartPolicy


def restart_delay_s(
    policy: RestartPolicy, code: int, tries: int, ran_s: float, last_s: float
) -> float | None:
    """Seconds to wait before the next start, or None to let the container rest.

    `code` of the exit, `tries` restarts so far, `ran_s` its last run, `last_s` the last delay (0.0: none).
    0.1 s, doubled up to 60 s, 0.1 s again after a run of 10 s. A retry count of 0 is no limit.
    Source: RestartPolicy in the API; backoff as in moby v20.10, restartmanager/.
    """
    limit = policy.maximum_retry_count
    failed = policy.name == "on-failure" and code != 0 and (limit == 0 or tries < limit)
    if not failed and policy.name not in ("always", "unless-stopped"):
        return None
    return 0.1 if ran_s >= 10 or last_s == 0.0 else min(last_s * 2, 60.0)
