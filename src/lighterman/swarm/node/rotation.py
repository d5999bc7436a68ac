"""From one root to the next, while everything runs. Pure but for the keys that are made.

The next root is signed by the present one; from then on leafs are of the next root, and carry that
signature. Nodes renew their certificates; when the last one has done it, the next root is the present one.
Source: ca/reconciler.go of SwarmKit.
"""

import datetime as dt

from msgspec.structs import replace

from lighterman.apitypes.swarm import CAConfig
from lighterman.errdefs import InvalidParameter
from lighterman.swarm.ca import certificates
from lighterman.swarm.ca.certificates import Pair
from lighterman.swarm.state import Authority, Rotation

_INVALID = "rpc error: code = InvalidArgument desc = "
_SHORTEST_ROOT_LIFE = dt.timedelta(days=365)


def wished(authority: Authority, wish: CAConfig, now: dt.datetime) -> Authority:
    """The authority after an update of the swarm's settings; a rotation begins here, or is called off.

    Raises: InvalidParameter. Source: manager/controlapi/ca_rotation.go of SwarmKit.
    """
    if wish.signing_ca_key and not wish.signing_ca_cert:
        raise InvalidParameter(
            _INVALID + "if a signing CA key is provided, the signing CA cert must also be provided"
        )
    if not wish.signing_ca_cert:
        if wish.force_rotate == authority.forced:
            return authority
        return _begun(authority, certificates.new_root(now), wish.force_rotate, now)
    if not wish.signing_ca_key:
        raise InvalidParameter(
            _INVALID + "there must be at least one valid, reachable external CA corresponding to the desired "
            "CA certificate"
        )
    pair = Pair(wish.signing_ca_cert.strip() + "\n", wish.signing_ca_key)
    try:
        certificates.check_pair(pair.certificate, pair.key, now)
    except InvalidParameter as error:
        raise InvalidParameter(f"{_INVALID}{error}") from None
    if certificates.valid_between(pair.certificate)[1] < now + _SHORTEST_ROOT_LIFE:
        raise InvalidParameter(_INVALID + "CA certificate expires too soon")
    if pair.certificate == authority.certificate:
        return replace(authority, key=pair.key, rotation=None, forced=wish.force_rotate)
    return _begun(authority, pair, wish.force_rotate, now)


def _begun(authority: Authority, new: Pair, forced: int, now: dt.datetime) -> Authority:
    """A rotation that is under way already starts over: the present root is still the one that is trusted."""
    old = Pair(authority.certificate, authority.key)
    crossed = certificates.cross_signed(new.certificate, old, now)
    return replace(authority, rotation=Rotation(new.certificate, new.key, crossed), forced=forced)


def finished(authority: Authority) -> Authority:
    """The next root is the present one."""
    rotation = authority.rotation
    assert rotation is not None
    return replace(authority, certificate=rotation.certificate, key=rotation.key, rotation=None)
