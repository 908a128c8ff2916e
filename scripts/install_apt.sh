#!/bin/sh
# Installs with apt-get what some tests need and pip has not: Chromium, and a Redis server.
#
# It never fails: the tests that have to do without are skipped, and say so.

set -u

say() { printf '==> %s\n' "$*"; }

# The first of some programs that is here.
first_of() {
    for name; do
        if [ -n "$name" ] && command -v "$name"; then return; fi
    done
    return 1
}

find_chromium() { first_of "${FARM_TEST_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; }

# The package redis-server would start a service. In redis-tools is the same program, under another name.
find_redis() { first_of redis-server redis-check-rdb; }

look() { # the program's function, its package, its tests
    if found=$($1); then
        say "$3 will use $found"
    else
        packages="$packages $2"
        tests="${tests:+$tests and }$3"
    fi
}

skip() {
    say "$*; $tests will be skipped"
    exit 0
}

packages='' tests=''
look find_chromium chromium "the browser tests"
look find_redis redis-tools "the tests of Redis"
[ -n "$packages" ] || exit 0

command -v apt-get >/dev/null || skip "not here:$packages, and no apt-get to install it with"
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=sudo # asks for a password only where someone can type it
else
    skip "not here:$packages, and installing it needs root"
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp) || skip "no temporary file could be made"
trap 'rm -f "$log"' EXIT
$as_root apt-get update -q >"$log" 2>&1 # where it fails, the next step may still do
for package in $packages; do
    say "installing $package with ${as_root:+$as_root }apt-get"
    $as_root apt-get install -q -y --no-install-recommends "$package" >>"$log" 2>&1 || tail -n 5 "$log" >&2
done

packages='' tests=''
look find_chromium chromium "the browser tests"
look find_redis redis-tools "the tests of Redis"
[ -z "$packages" ] || skip "apt-get could not install$packages, see above"
