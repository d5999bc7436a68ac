"""Image references: the field's grammar, pure.

Three words. A *reference* is a registry's domain and a path in it, with a tag, a digest, both or none; its
*familiar* form leaves out what Docker's users never type (`docker.io/library/`); an *identifier* is 64
hex digits, which name an image and never a repository.
"""

from lighterman.reference.glob import familiar_match
from lighterman.reference.reference import (
    DEFAULT_DOMAIN,
    Reference,
    is_digest,
    parse_any,
    parse_reference,
)

__all__ = ["DEFAULT_DOMAIN", "Reference", "familiar_match", "is_digest", "parse_any", "parse_reference"]
