"""What a client asks of a server's certificate: what Go's clients do, and so Docker's."""

import ssl


def client_context(ca_file: str = "", *, verify: bool = True) -> ssl.SSLContext:
    """Trusts the authorities of `ca_file`, "" for the system's; without `verify` it trusts anybody.

    Python 3.13 asks for all of RFC 5280 by default (VERIFY_X509_STRICT), which the certificates that people
    made by hand for their registries and receivers often lack; Go asks for a chain and a name.

    Raises: OSError.
    """
    if not verify:  # and no authorities are read: that takes longer than a connection
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    context = ssl.create_default_context(cafile=ca_file or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
