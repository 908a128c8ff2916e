#!/bin/sh
# Installs Chromium for the browser tests where there is no browser they could use.
#
# It never fails: without a browser those tests are skipped, and say so.

set -u

say() { printf '==> %s\n' "$*"; }
skip() {
    say "$*; the browser tests will be skipped"
    exit 0
}

for name in "${FARM_TEST_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
    if [ -n "$name" ] && found=$(command -v "$name"); then
        say "the browser tests will use $found"
        exit 0
    fi
done

command -v apt-get >/dev/null || skip "there is no Chromium here, and no apt-get to install it with"
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=sudo  # asks for a password only where someone can type it
else
    skip "there is no Chromium here, and installing it needs root"
fi

say "installing Chromium with ${as_root:+$as_root }apt-get"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp) || skip "no temporary file could be made"
trap 'rm -f "$log"' EXIT
{ $as_root apt-get update -q && $as_root apt-get install -q -y --no-install-recommends chromium; } >"$log" 2>&1 || {
    tail -n 5 "$log" >&2
    skip "apt-get could not install Chromium, see above"
}
