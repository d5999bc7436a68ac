"""nftables: whose change it was."""

import subprocess
import sys

IN_ITS_OWN_NAMESPACES = ("unshare", "--net", "--pid", "--fork", "--mount-proc", sys.executable, "-c")
SCRIPT = """
import threading
from lighterman.linux.nft import Nft, NftMonitor, own_thread

nft, monitor = Nft(), NftMonitor()
known = own_thread(nft)
list(monitor.changes())
nft.run("table inet mine {}")
assert list(monitor.changes()) == [(known, frozenset({"mine"}))], known
assert known != threading.get_native_id()
"""


def test_a_thread_in_a_pid_namespace_knows_its_own_changes() -> None:
    subprocess.run([*IN_ITS_OWN_NAMESPACES, SCRIPT], check=True, timeout=60)
