#!/bin/bash
# Run the engine of this clone in the foreground, apart from every other engine on the host: data, sockets,
# bridge and firewall table are its own. `run.sh check` only tells what the host offers.
set -euo pipefail
cd "$(dirname "$0")/.."

# An overlay's upper layer cannot lie on an overlay or a network file system.
carries_overlay() {
    case $(stat --file-system --format %T "$1") in
    overlayfs | nfs* | cifs | smb* | fuse* | v9fs | vfat | msdos) return 1 ;;
    esac
}

mkdir -p .run
tag=$(pwd | md5sum | cut -c 1-6) # one per clone
data=$PWD/.run/data
if ! carries_overlay .run; then
    data=/var/lib/lighterman-$tag
    carries_overlay /var/lib ||
        echo "neither $PWD nor /var/lib can hold layers: move this clone, or see 'make check'" >&2
fi

if [ "${1:-}" = check ]; then
    exec .venv/bin/lighterman check --data-root "$data"
fi

if [ "$(id -u)" != 0 ]; then
    echo "the engine needs root: sudo make run" >&2
    exit 1
fi
# The exec root is in /run: a tmpfs forgets with the boot what the boot ends, and a short path keeps the
# socket's name within the 107 bytes that unix(7) allows, wherever the clone lies.
exec_root=/run/lighterman-$tag
[ -e .run/daemon.json ] || echo '{}' >.run/daemon.json
exec .venv/bin/lighterman daemon \
    --config-file "$PWD/.run/daemon.json" \
    --data-root "$data" \
    --exec-root "$exec_root" \
    --pidfile "$exec_root/lighterman.pid" \
    --host "unix://$exec_root/docker.sock" \
    --bridge "lighter$tag" \
    ${LIGHTERMAN_FLAGS:-}
