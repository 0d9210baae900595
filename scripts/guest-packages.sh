#!/usr/bin/env bash
# The Debian packages that building and booting the test guest needs: installed when root, else named in one line.
# Exit 0: all there. Exit 3: something is missing and cannot be installed here.
set -euo pipefail

missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need qemu-system-x86_64 qemu-system-x86
need iasl acpica-tools
need cpio cpio
need zstd zstd
# Only the static busybox runs in an initramfs that holds no libraries.
dpkg-query --show --showformat='${db:Status-Status}' busybox-static 2>/dev/null | grep -qx installed ||
    missing+=(busybox-static)

[ ${#missing[@]} = 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "guest: installing ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2 &&
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 && exit 0
    echo "guest: apt could not install ${missing[*]}" >&2
else
    echo "guest: packages are missing: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
fi
exit 3
