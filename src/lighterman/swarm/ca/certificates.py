"""Certificates of a swarm: one root, a leaf for each node that says who it is and what it may do.

A leaf's subject is its identity: CN the node's id, OU its role (`swarm-manager`, `swarm-worker`), O the
cluster's id. Its names (SAN) hold the role too, so that a node that connects to a manager checks "swarm-
manager" as others check a host's name. Source: ca/certificates.go of SwarmKit. All keys are ECDSA P-256;
all texts are PEM.
"""

import datetime as dt
import functools
import hashlib
import ipaddress

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from lighterman.errdefs import InvalidParameter

ROOT_NAME = "swarm-ca"
ROOT_LIFE = dt.timedelta(days=20 * 365)
LEAF_LIFE = dt.timedelta(days=90)
SHORTEST_LEAF_LIFE = dt.timedelta(hours=1)
BACKDATED = dt.timedelta(hours=1)
"""Clocks of nodes differ."""
MANAGER_NAME = "swarm-manager"
WORKER_NAME = "swarm-worker"
_ROLES = {"manager": MANAGER_NAME, "worker": WORKER_NAME}


class Pair(Struct, frozen=True):
    """A certificate (or chain) and its key."""

    certificate: str
    key: str


class Identity(Struct, frozen=True):
    """Whom a certificate speaks of."""

    node_id: str
    role: str
    """manager or worker."""
    cluster_id: str


def new_root(now: dt.datetime, name: str = ROOT_NAME) -> Pair:
    """A root that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = _authority(subject, subject, key.public_key(), now).sign(key, hashes.SHA256())
    return Pair(_pem(made), _key_pem(key))


def cross_signed(new_root_pem: str, old: Pair, now: dt.datetime) -> str:
    """The new root's key and name, signed by the old root: who trusts only the old one trusts the new one's
    leafs.

    A leaf of the new root that carries this behind it is good in the eyes of nodes of either age.
    """
    new = _load(new_root_pem)
    key, issuer, public_key = _load_key(old.key), _load(old.certificate), new.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        raise InvalidParameter("only ECDSA keys are supported")
    # All roots have one name: only by the identifier of its signer's key is this known not to sign itself.
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    made = _authority(new.subject, issuer.subject, public_key, now).add_extension(signer, critical=False)
    return _pem(made.sign(key, hashes.SHA256()))


def new_request() -> tuple[str, str]:
    """A signing request and the key that it is for. What it says of a name is not read."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode(), _key_pem(key)


def issue(
    root: Pair,
    request: str,
    identity: Identity,
    *,
    now: dt.datetime,
    life: dt.timedelta = LEAF_LIFE,
    addresses: tuple[str, ...] = (),
) -> str:
    """A leaf for the key of `request`; what the request says of names does not count.

    `addresses` are those of the host, where the other side checks them (etcd does).

    Raises: InvalidParameter: a request that is none, or not signed by its key.
    """
    try:
        asked = x509.load_pem_x509_csr(request.encode())
        if not asked.is_signature_valid:
            raise ValueError("bad signature")
    except ValueError as error:
        raise InvalidParameter(f"CSR is invalid: {error}") from error
    role = _ROLES[identity.role]
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.cluster_id),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
            x509.NameAttribute(NameOID.COMMON_NAME, identity.node_id),
        ]
    )
    issuer, key = _load(root.certificate), _load_key(root.key)
    names = [role, identity.node_id, *([ROOT_NAME] if identity.role == "manager" else [])]
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(asked.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(made)


def identity_of(certificate: bytes) -> Identity:
    """Whom a certificate (DER, as TLS has checked it) speaks of.

    Raises: InvalidParameter when its subject is not that of a node.
    """
    subject = x509.load_der_x509_certificate(certificate).subject
    try:
        (node,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        (unit,) = subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        (cluster,) = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        role = {name: role for role, name in _ROLES.items()}[str(unit.value)]
    except (ValueError, KeyError) as error:
        raise InvalidParameter("the certificate is not that of a node") from error
    return Identity(str(node.value), role, str(cluster.value))


def identity_of_pem(certificate: str) -> Identity:
    """As `identity_of`, of the first certificate of a chain."""
    return identity_of(_load(certificate).public_bytes(serialization.Encoding.DER))


def valid_between(certificate: str) -> tuple[dt.datetime, dt.datetime]:
    """When the first certificate of a chain begins and ends to be valid."""
    leaf = _load(certificate)
    return leaf.not_valid_before_utc, leaf.not_valid_after_utc


def digest(certificate: str) -> str:
    """SHA-256 of the text, in hex: what join tokens tell of the root."""
    return hashlib.sha256(certificate.encode()).hexdigest()


@functools.lru_cache(maxsize=16)
def issuer_of(root: str) -> tuple[bytes, bytes]:
    """Subject and public key of a root, in DER: how the API names who has signed."""
    loaded = _load(root)
    public = loaded.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return loaded.subject.public_bytes(), public


def issuer_in(certificate: str, roots: str) -> tuple[bytes, bytes]:
    """Subject and public key of that of the `roots` which has signed the certificate; of the last one
    else.
    """
    pems = [_pem(loaded) for loaded in x509.load_pem_x509_certificates(roots.encode())]
    return issuer_of(next((pem for pem in pems if signed_by(certificate, pem)), pems[-1]))


def check_pair(certificate: str, key: str, now: dt.datetime) -> None:
    """Raises: InvalidParameter unless this is one certificate of an authority, valid now, with its key."""
    try:
        (loaded,) = x509.load_pem_x509_certificates(certificate.encode())
        own = _load_key(key)
        basic = loaded.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise InvalidParameter(f"the CA certificate or its key cannot be read: {error}") from error
    if not basic.ca:
        raise InvalidParameter("the certificate is not that of an authority")
    if loaded.public_key() != own.public_key():
        raise InvalidParameter("certificate key mismatch")
    if not loaded.not_valid_before_utc <= now <= loaded.not_valid_after_utc:
        raise InvalidParameter("the CA certificate is not valid now")


def signed_by(leaf: str, root: str) -> bool:
    """Whether the first certificate of a chain was signed by this root's key."""
    try:
        _load(leaf).verify_directly_issued_by(_load(root))
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _authority(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=not signs,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _load(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidParameter("only ECDSA keys are supported")
    return key


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
