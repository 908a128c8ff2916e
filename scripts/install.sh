#!/bin/sh
# Makes .venv and installs this package into it with one of its extras.
#
#     sh scripts/install.sh kernel|lab|docs|test|dev
#
# What was installed is remembered under .venv; nothing happens, and nothing is asked of the network, until
# pyproject.toml or scripts/constraints.txt changes. PYTHON names an interpreter; by default a fitting one is
# looked for.

set -u

extra=${1:?which extra? kernel, lab, docs, test or dev}
venv=.venv
log=$venv/install.log

say() { printf '==> %s\n' "$*"; }
stop() {
    printf '%s\n' "error: $1" >&2
    shift
    for line; do printf '       %s\n' "$line" >&2; done
    exit 1
}

# Whose record will do: an extra's own, or that of one that holds it.
case $extra in
kernel) enough='kernel lab docs test dev' ;;
lab) enough='lab test dev' ;;
docs) enough='docs test dev' ;;
test) enough='test dev' ;;
dev) enough='dev' ;;
*) stop "there is no extra '$extra'; valid: kernel, lab, docs, test, dev" ;;
esac

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    # A name on the path may be a stub that runs nothing, so each one is tried.
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
        fits "$candidate" && { printf '%s\n' "$candidate"; return 0; }
    done
    return 1
}

# An environment knows its folder by its full path, and its interpreter may have been uninstalled.
if [ -d "$venv" ] && { [ "$(cat "$venv/made-for" 2>/dev/null)" != "$PWD" ] || ! fits "$venv/bin/python"; }; then
    say "$venv belongs to another folder or has lost its Python; it is made anew"
    rm -rf "$venv" || stop "$venv cannot be removed"
fi

if [ ! -d "$venv" ]; then
    python=$(find_python) || stop \
        "${PYTHON:+$PYTHON is no Python 3.11 or newer, and }Python 3.11 or newer is needed." \
        "Install it (on Debian or Ubuntu: apt-get install python3 python3-venv)," \
        "or name it: make PYTHON=/path/to/python3 ..."
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 || stop \
        "$python cannot make virtual environments: its venv or ensurepip module is missing." \
        "On Debian or Ubuntu: apt-get install python3-venv"
    say "making a virtual environment in $venv with $("$python" --version 2>&1)"
    problem=$("$python" -m venv "$venv" 2>&1) || {
        rm -rf "$venv"
        stop "$python -m venv $venv failed:" "$problem"
    }
    printf '%s' "$PWD" >"$venv/made-for" || stop "$venv cannot be written"
fi

[ -f pyproject.toml ] || stop "pyproject.toml is not here; run make in the project's folder"
wanted=$(cat pyproject.toml scripts/constraints.txt | cksum)
for name in $enough; do
    if [ "$(cat "$venv/installed-$name" 2>/dev/null)" = "$wanted" ]; then
        say "$venv has the package and its extra '$extra' already"
        exit 0
    fi
done

say "installing the package with its extra '$extra' into $venv (its output: $log)"
if ! "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off \
    -c scripts/constraints.txt -e ".[$extra]" >"$log" 2>&1; then
    grep -v '^WARNING' "$log" | tail -n 12 >&2
    stop "pip could not install the package; the end of $log stands above." \
        "If it could not reach its index: check the network, and PIP_INDEX_URL or \`pip config list\`" \
        "where this machine needs a mirror or a proxy. Then run the same command again."
fi
printf '%s' "$wanted" >"$venv/installed-$extra"
