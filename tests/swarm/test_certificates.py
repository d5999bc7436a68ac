"""Roots, leafs, tokens and the way from one root to the next. Clocks are given."""

import contextlib
import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from lighterman.apitypes.swarm import CAConfig
from lighterman.errdefs import InvalidParameter
from lighterman.swarm.ca import certificates
from lighterman.swarm.ca.certificates import Identity, Pair
from lighterman.swarm.ca.tokens import (
    BadToken,
    NeedsToken,
    human_key,
    new_token,
    new_unlock_key,
    parse_key,
    parse_token,
    same_token,
)
from lighterman.swarm.node import rotation
from lighterman.swarm.state import Authority

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
WORKER = Identity("n" * 25, "worker", "c" * 25)
MANAGER = Identity("m" * 25, "manager", "c" * 25)


def leaf(root: Pair, who: Identity, **wishes: object) -> tuple[str, str]:
    request, key = certificates.new_request()
    return certificates.issue(root, request, who, now=NOW, **wishes), key  # type: ignore[arg-type]


def talk(root: str, server: tuple[str, str], client: tuple[str, str], tmp_path: Path) -> bytes | None:
    """What a TLS server that trusts `root` has seen of the client's certificate."""
    files = []
    for number, (certificate, key) in enumerate((server, client)):
        path = tmp_path / f"{number}.pem"
        path.write_text(certificate + key)
        files.append(path)
    front, back = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    front.verify_mode = ssl.CERT_OPTIONAL
    for context, path in ((front, files[0]), (back, files[1])):
        context.load_verify_locations(cadata=root)
        context.load_cert_chain(path)
    a_in, a_out, b_in, b_out = (ssl.MemoryBIO() for _ in range(4))
    a = front.wrap_bio(a_in, a_out, server_side=True)
    b = back.wrap_bio(b_in, b_out, server_hostname=certificates.MANAGER_NAME)
    for _ in range(6):
        for end in (b, a):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
            a_in.write(b_out.read())
            b_in.write(a_out.read())
    return a.getpeercert(binary_form=True)


@pytest.mark.parametrize("who", [WORKER, MANAGER])
def test_a_leaf_says_who_its_node_is(who: Identity) -> None:
    root = certificates.new_root(NOW)
    certificate, _ = leaf(root, who)
    assert certificates.identity_of_pem(certificate) == who
    assert certificates.signed_by(certificate, root.certificate)
    assert not certificates.signed_by(certificate, certificates.new_root(NOW).certificate)


def test_a_leaf_is_valid_an_hour_before_it_was_made_and_90_days_after() -> None:
    certificate, _ = leaf(certificates.new_root(NOW), WORKER)
    assert certificates.valid_between(certificate) == (
        NOW - dt.timedelta(hours=1),
        NOW + dt.timedelta(days=90),
    )


def test_what_a_request_says_of_names_does_not_count() -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    key = ec.generate_private_key(ec.SECP256R1())
    forged = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "swarm-manager")])
    request = x509.CertificateSigningRequestBuilder().subject_name(forged).sign(key, hashes.SHA256())
    pem = request.public_bytes(Encoding.PEM).decode()
    made = certificates.issue(certificates.new_root(NOW), pem, WORKER, now=NOW)
    assert certificates.identity_of_pem(made) == WORKER


def test_a_request_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="CSR is invalid"):
        certificates.issue(certificates.new_root(NOW), "x", WORKER, now=NOW)


def test_nodes_of_either_root_understand_each_other_while_it_is_rotated(tmp_path: Path) -> None:
    old, new = certificates.new_root(NOW), certificates.new_root(NOW)
    crossed = certificates.cross_signed(new.certificate, old, NOW)
    server, key = leaf(new, MANAGER)
    young = (server + crossed, key)
    both = old.certificate + new.certificate
    for root, client in (
        (old.certificate, leaf(old, WORKER)),  # nobody has told this node of the next root yet
        (both, leaf(old, WORKER)),
        (both, young),
        (new.certificate, young),
    ):
        assert talk(root, young, client, tmp_path) is not None


def test_a_certificate_of_another_swarm_gets_no_connection(tmp_path: Path) -> None:
    ours, theirs = certificates.new_root(NOW), certificates.new_root(NOW)
    with pytest.raises(ssl.SSLError):
        talk(ours.certificate, leaf(ours, MANAGER), leaf(theirs, WORKER), tmp_path)


def test_a_token_holds_the_digest_of_the_root() -> None:
    digest = certificates.digest(certificates.new_root(NOW).certificate)
    token = new_token(digest)
    assert len(token) == len("SWMTKN-1-") + 50 + 1 + 25
    assert parse_token(token).digest == digest
    assert same_token(token, token)
    assert not same_token(token, new_token(digest))
    assert not same_token("", "")


@pytest.mark.parametrize("text", ["bad", "SWMTKN-1-x-y", "SWMTKN-2-" + "0" * 50 + "-" + "0" * 25])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(BadToken, match="invalid join token"):
        parse_token(text)


def test_who_shows_no_token_is_told_that_he_needs_one() -> None:
    with pytest.raises(NeedsToken, match="A valid join token is necessary to join this cluster"):
        parse_token("")


def test_an_unlock_key_is_read_as_it_is_shown() -> None:
    key = new_unlock_key()
    assert parse_key(human_key(key)) == key
    for wrong in ("", "x", "SWMKEY-1-", "SWMKEY-1-short", human_key(key)[:-1]):
        with pytest.raises(InvalidParameter, match="invalid key string"):
            parse_key(wrong)


def authority() -> Authority:
    root, peers = certificates.new_root(NOW), certificates.new_root(NOW)
    return Authority(
        id="c",
        certificate=root.certificate,
        key=root.key,
        peer_certificate=peers.certificate,
        peer_key=peers.key,
    )


def test_a_rotation_begins_when_it_is_forced_once_more() -> None:
    before = authority()
    assert rotation.wished(before, CAConfig(), NOW) is before
    begun = rotation.wished(before, CAConfig(force_rotate=1), NOW)
    assert begun.rotation is not None
    assert (begun.certificate, begun.forced) == (before.certificate, 1)
    assert rotation.wished(begun, CAConfig(force_rotate=1), NOW) is begun
    done = rotation.finished(begun)
    assert (done.certificate, done.rotation) == (begun.rotation.certificate, None)


def test_a_root_that_is_brought_along_takes_the_place_of_the_present_one() -> None:
    brought = certificates.new_root(NOW)
    wish = CAConfig(signing_ca_cert=brought.certificate, signing_ca_key=brought.key)
    begun = rotation.wished(authority(), wish, NOW)
    assert begun.rotation is not None
    assert begun.rotation.certificate == brought.certificate


def test_a_rotation_back_to_the_present_root_is_called_off() -> None:
    before = authority()
    begun = rotation.wished(before, CAConfig(force_rotate=1), NOW)
    back = CAConfig(signing_ca_cert=before.certificate, signing_ca_key=before.key, force_rotate=1)
    assert rotation.wished(begun, back, NOW).rotation is None


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        (CAConfig(signing_ca_key="x"), "if a signing CA key is provided"),
        (CAConfig(signing_ca_cert="x"), "external CA"),
        (CAConfig(signing_ca_cert="x", signing_ca_key="y"), "cannot be read"),
    ],
)
def test_a_root_that_cannot_sign_is_refused(wish: CAConfig, text: str) -> None:
    with pytest.raises(InvalidParameter, match=text):
        rotation.wished(authority(), wish, NOW)


def test_a_key_of_another_root_is_refused() -> None:
    one, other = certificates.new_root(NOW), certificates.new_root(NOW)
    wish = CAConfig(signing_ca_cert=one.certificate, signing_ca_key=other.key)
    with pytest.raises(InvalidParameter, match="certificate key mismatch"):
        rotation.wished(authority(), wish, NOW)
