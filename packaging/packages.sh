#!/bin/bash
# Install those of the named Debian packages that are missing, without starting their services.
# A name that this release does not have is passed over: Debian 13 split docker-cli off docker.io.
set -euo pipefail

installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for package in "$@"; do
    # Another vendor's docker on PATH serves as well, and its packages conflict with Debian's.
    case $package in
    docker.io) command -v dockerd >/dev/null && command -v docker >/dev/null && continue ;;
    docker-cli) command -v docker >/dev/null && continue ;;
    esac
    installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "missing packages: ${missing[*]}; run this as root, or: apt-get install ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2 || echo "apt-get update failed: going on with the old lists" >&2

available=()
for package in "${missing[@]}"; do
    if [ -n "$(apt-cache show --no-all-versions "$package" 2>/dev/null)" ]; then
        available+=("$package")
    else
        echo "no package $package in this release" >&2
    fi
done
[ ${#available[@]} -gt 0 ] || exit 0

# invoke-rc.d asks policy-rc.d before it starts a service: 101 is "no". One that is there already stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
echo "installing ${available[*]}" >&2
apt-get install --quiet=2 --yes --no-install-recommends "${available[@]}" </dev/null >/dev/null

# A manager of a swarm starts an etcd of its own: the service that comes with the program is nobody's wish.
if [[ " ${available[*]} " == *" etcd-server "* ]]; then
    rm -f /etc/systemd/system/multi-user.target.wants/etcd.service /etc/systemd/system/etcd2.service
fi
