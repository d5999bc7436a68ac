"""What a registry answers that is no success, and what that is called here.

Source: the error codes of the distribution-spec; texts and kinds of dockerd's distribution/errors.go.
"""

import msgspec
from msgspec import Struct

from lighterman.errdefs import EngineError, NotFound, System, Unauthorized
from lighterman.reference import Reference


class _Error(Struct):
    code: str = "UNKNOWN"
    message: str = ""


class _Errors(Struct):
    errors: list[_Error] | None = None
    details: str = ""
    """What some token servers say in place of errors."""


_BY_STATUS = {401: "UNAUTHORIZED", 429: "TOOMANYREQUESTS"}


class RegistryError(System):
    """A registry that cannot be used, or does not want to be."""


def refused(status: int, reason: str, body: bytes, reference: Reference | None) -> EngineError:
    """The error for an answer other than success to a request, perhaps about `reference`."""
    first = _first_error(status, body)
    if status >= 500 or (first is None and status not in (401, 403, 404)):
        return RegistryError(f"received unexpected HTTP status: {status} {reason}")
    if first is None:
        return _without_words(status, body, reference)
    return _with_words(first, reference)


def _with_words(first: _Error, reference: Reference | None) -> EngineError:
    said = f"{first.code.replace('_', ' ').lower()}: {first.message}"
    if first.code == "UNAUTHORIZED":
        return Unauthorized(said)
    if reference is not None:
        match first.code:
            case "DENIED":
                return _denied(reference, said)
            case "MANIFEST_UNKNOWN":
                return NotFound(f"manifest for {reference.familiar()} not found: {said}")
            case "NAME_UNKNOWN":
                return NotFound(f"repository {reference.familiar_name} not found: {said}")
    return RegistryError(said)


def _without_words(status: int, body: bytes, reference: Reference | None) -> EngineError:
    if status == 401:
        return Unauthorized("unauthorized: authentication required")
    if status == 403 and reference is not None:
        return _denied(reference, "denied: requested access to the resource is denied")
    text = body[:200].decode(errors="replace")
    return RegistryError(f'error parsing HTTP {status} response body: not JSON: "{text}"')


def _denied(reference: Reference, said: str) -> EngineError:
    return NotFound(
        f"pull access denied for {reference.familiar_name}, repository does not exist or may require "
        f"'docker login': {said}"
    )


def _first_error(status: int, body: bytes) -> _Error | None:
    try:
        said = msgspec.convert(_in_lower_case(msgspec.json.decode(body)), _Errors)
    except (msgspec.DecodeError, RecursionError):
        return None
    if said.details:
        return _Error(_BY_STATUS.get(status, "UNKNOWN"), said.details)
    return said.errors[0] if said.errors else None


def _in_lower_case(said: object) -> object:
    """The same with keys in lower case: Go reads them in any, and so registries write them."""
    match said:
        case dict():
            return {str(key).lower(): _in_lower_case(value) for key, value in said.items()}
        case list():
            return [_in_lower_case(each) for each in said]
    return said
