"""Names of containers: which are allowed, and how one is made up."""

import re
from collections.abc import Container
from random import Random

from lighterman.errdefs import InvalidParameter

_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def check_name(name: str) -> str:
    """`name` without a leading slash. Raises InvalidParameter in Docker's words."""
    if not _NAME.fullmatch(name):
        raise InvalidParameter(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return name.removeprefix("/")


def made_up_name(taken: Container[str], chance: Random) -> str:
    """An adjective and a surname that are not `taken`; with a digit behind them when chance is against us."""
    for attempt in range(12):
        name = f"{chance.choice(_ADJECTIVES)}_{chance.choice(_SURNAMES)}"
        if attempt > 5:
            name += str(chance.randrange(10 ** (attempt - 5)))
        if name not in taken:
            return name
    raise RuntimeError("no free name was found in a space of billions")


_ADJECTIVES_TEXT = """
able airy amber ample azure bold brave breezy bright brisk buoyant calm candid cheerful clear clever
coastal cordial cosy crisp dapper daring deft eager early earnest even fair fearless fleet fluent fond
frank fresh gallant gentle glad golden graceful grand handy hardy hearty honest humble jaunty jolly keen
kind lively loyal lucid mellow merry mild modest neat nimble noble open patient placid plucky polite
prompt proud quick quiet ready robust rosy serene sharp silver simple sincere smooth snug sober spry
staunch steady stout sturdy subtle sunny sure swift tender tidy trim trusty upbeat vivid warm wise witty
young zealous
"""
_ADJECTIVES = _ADJECTIVES_TEXT.split()

_SURNAMES_TEXT = """
adelman allen babbage bardeen bell bernerslee bohr bohm boole borg brooks brunel byron cerf church codd
conway corbato curie darwin davies dekker dennis dijkstra edison engelbart erdos euler faraday fermat
fermi feynman floyd franklin galileo galois gauss goedel goldberg goodall gray hamilton hamming hawking
herschel hilbert hoare hodgkin hopper huffman iverson jacquard johnson joule kahn karp kay kelvin kepler
knuth kolmogorov lamarr lamport landin lehmann leibniz lick liskov lovelace maxwell mccarthy mcclintock
meitner metcalfe milner minsky moore naur neumann newton noether nygaard papert pascal pasteur perlis
planck poincare postel rabin raman ritchie rivest sagan sammet saxena shamir shannon simon stallman
strachey sutherland tarjan tesla thompson torvalds turing ullman volta wiener wilkes wilkinson wing wirth
yalow yao zuse
"""
_SURNAMES = _SURNAMES_TEXT.split()
