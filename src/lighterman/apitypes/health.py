"""How a container's health is shown. Source: Health and HealthcheckResult of the API."""

from lighterman.apitypes.wire import Wire


class HealthcheckResult(Wire, frozen=True):
    start: str
    end: str
    exit_code: int
    output: str


class Health(Wire, frozen=True):
    status: str
    failing_streak: int
    log: list[HealthcheckResult] | None
