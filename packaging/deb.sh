#!/bin/bash
# Make dist/lighterman_VERSION_ARCH.deb: an environment of its own in /opt/lighterman with the wheels that
# requirements.lock names by their hashes, so that it needs nothing of Debian's Python but the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

python=/usr/bin/python3
series=$($python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
next=$($python -c 'import sys; print("%d.%d" % (sys.version_info[0], sys.version_info[1] + 1))')
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
architecture=$(dpkg --print-architecture)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

site=$root/opt/lighterman/lib/python$series/site-packages
mkdir -p "$site" "$root/opt/lighterman/bin"
pip=(.venv/bin/python -m pip --quiet --disable-pip-version-check)
into=(--python-version "$series" --only-binary=:all: --no-compile --no-deps --target "$site")
"${pip[@]}" wheel --no-deps --wheel-dir dist .
"${pip[@]}" install "${into[@]}" --require-hashes --requirement packaging/requirements.lock
"${pip[@]}" install "${into[@]}" "dist/lighterman-$version-py3-none-any.whl"
rm -rf "$site/bin"
ln -s $python "$root/opt/lighterman/bin/python3"
printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = %s\n' "$series" >"$root/opt/lighterman/pyvenv.cfg"
cat >"$root/opt/lighterman/bin/lighterman" <<'SCRIPT'
#!/opt/lighterman/bin/python3 -P
import sys

from lighterman.__main__ import main

sys.exit(main(prog_name="lighterman"))
SCRIPT
chmod 755 "$root/opt/lighterman/bin/lighterman"

install -d "$root/usr/bin" "$root/lib/systemd/system" "$root/usr/share/man/man8" "$root/usr/share/doc/lighterman/docs" \
    "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions" \
    "$root/usr/share/fish/vendor_completions.d"
ln -s /opt/lighterman/bin/lighterman "$root/usr/bin/lighterman"
install -m 644 packaging/lighterman.service packaging/lighterman.socket "$root/lib/systemd/system"
install -m 644 README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md LICENSE "$root/usr/share/doc/lighterman"
install -m 644 docs/*.md docs/*.png "$root/usr/share/doc/lighterman/docs" # where the links of the others lead
.venv/bin/python packaging/manual.py | gzip -9n >"$root/usr/share/man/man8/lighterman.8.gz"
_LIGHTERMAN_COMPLETE=bash_source .venv/bin/lighterman >"$root/usr/share/bash-completion/completions/lighterman"
_LIGHTERMAN_COMPLETE=zsh_source .venv/bin/lighterman >"$root/usr/share/zsh/vendor-completions/_lighterman"
_LIGHTERMAN_COMPLETE=fish_source .venv/bin/lighterman >"$root/usr/share/fish/vendor_completions.d/lighterman.fish"

install -d "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<CONTROL
Package: lighterman
Version: $version
Architecture: $architecture
Maintainer: Lighterman <root@localhost>
Section: admin
Priority: optional
Installed-Size: $(du -sk "$root" | cut -f1)
Depends: python3 (>= $series), python3 (<< $next), crun | runc, libnftables1
Recommends: tini, apparmor
Suggests: docker-cli, etcd-server
Description: Docker Engine in Python
 Serves the Docker Engine API, so that docker and its relatives work unchanged, without containerd and
 without a process of 13 MB for each container. Containers outlive the engine.
CONTROL
cat >"$root/DEBIAN/postinst" <<'POSTINST'
#!/bin/sh
set -e
getent group docker >/dev/null || groupadd --system docker
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # An engine that runs already is restarted; containers go on. A new one is for the operator to start:
    # systemctl enable --now lighterman
    systemctl try-restart lighterman.service
fi
POSTINST
cat >"$root/DEBIAN/prerm" <<'PRERM'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now lighterman.service lighterman.socket
fi
find /opt/lighterman -name __pycache__ -type d -prune -exec rm -rf {} +
PRERM
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm"
mkdir -p dist
dpkg-deb --root-owner-group --build "$root" "dist/lighterman_${version}_$architecture.deb" >/dev/null
echo "dist/lighterman_${version}_$architecture.deb"
