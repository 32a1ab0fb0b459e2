#!/bin/sh
# Install what inkgate needs and is missing, into this clone where possible.
#
#   tools/bootstrap.sh run    Squid, and inkgate in .inkgate/venv
#   tools/bootstrap.sh dev    the same with the development tools and the tests' servers
#   tools/bootstrap.sh bench  the same with the peers that bench/ measures beside us
#
# Every step leaves a stamp when it is done, so an interrupted run is taken up again.
set -eu

purpose=${1:-run}
clone=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$clone"
squid_user=proxy
unasking=-n

say() { echo "inkgate: $*" >&2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        # Without a terminal nobody can type a password: then it fails instead of waiting.
        # shellcheck disable=SC2086 # no word, or one
        sudo $unasking "$@"
    fi
}

# Whether sudo can be used; asks for its password, once, where there is a terminal.
may_be_root() {
    command -v sudo >/dev/null || return 1
    unasking=-n
    sudo -n true 2>/dev/null && return
    # Standard error, since it shows the question; the answer is read from the terminal.
    [ -t 2 ] && { : </dev/tty; } 2>/dev/null || return 1
    unasking=
    say "root is needed to install packages; sudo asks for your password"
    sudo -v
}

install_packages() {
    # shellcheck disable=SC2086 # a list of words
    set -- $1
    if ! command -v apt-get >/dev/null; then
        say "missing: $*. Install them with your system's package manager."
        exit 1
    fi
    if [ "$(id -u)" != 0 ] && ! may_be_root; then
        say "missing: $*. Run as root: apt-get update && apt-get install $*"
        exit 1
    fi
    say "installing: $*"
    as_root apt-get update -q >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >&2
}

# Debian packages, a program of them, the service that Debian starts when it installs them.
wanted="curl:curl: squid-openssl:squid:squid"
if [ "$purpose" != run ]; then
    wanted="$wanted mariadb-server:mariadbd:mariadb redis-server:redis-server:redis-server
        c-icap,libc-icap-mod-urlcheck:c-icap-client:c-icap nginx-light:nginx:nginx
        apache2-bin:apache2:"
fi
if [ "$purpose" = bench ]; then
    wanted="$wanted squidguard:squidGuard: wrk:wrk: valgrind:valgrind:"
fi
missing="" unasked=""
for entry in $wanted; do
    package=${entry%%:*} service=${entry##*:} program=${entry#*:} program=${program%:*}
    if ! PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null; then
        missing="$missing $(echo "$package" | tr , " ")" unasked="$unasked $service"
    fi
done
/usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3 python3-venv"
[ -z "$missing" ] || install_packages "$missing"
# Nobody asked for a service: a Squid on 3128, a web server on 80, a database.
for service in $unasked; do
    if [ -d /run/systemd/system ]; then
        as_root systemctl disable --now "$service" >&2 || true
    elif [ -x "/etc/init.d/$service" ]; then
        as_root "/etc/init.d/$service" stop >/dev/null 2>&1 || true
    fi
done

# Squid runs the helper as its own user, who must be able to reach it. A clone in a
# private folder stays private: then what Squid needs lies elsewhere.
reachable() {
    [ "$(id -u)" != 0 ] || setpriv --reuid="$squid_user" --regid="$squid_user" --clear-groups \
        test -x "$clone" 2>/dev/null
}
if [ ! -e .inkgate ]; then
    if [ -L .inkgate ]; then
        rm .inkgate
    fi
    if reachable; then
        mkdir .inkgate
    else
        place=/var/lib/inkgate-trial/$(printf %s "$clone" | cksum | cut -d' ' -f1)
        mkdir -p "$place"
        chmod 755 /var/lib/inkgate-trial "$place"
        ln -s "$place" .inkgate
    fi
fi

home=$(cd .inkgate && pwd -P)
venv=$home/venv
stamps=$home/stamps
umask 022
mkdir -p "$stamps"

# Of this machine's interpreters the one whose path every user can reach.
if [ ! -e "$stamps/venv" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
    rm -rf "$venv" "$stamps"/*
    /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        say "/usr/bin/python3 is older than 3.11; inkgate needs Debian 12 or newer"
        exit 1
    }
    say "making a virtual environment"
    /usr/bin/python3 -m venv "$venv"
    touch "$stamps/venv"
fi

pip() {
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -m pip --quiet --quiet "$@" >&2
}

# need NAME FILE: whether step NAME has to be done again since FILE changed.
changed() {
    [ "$(cat "$stamps/$1" 2>/dev/null)" != "$2" ]
}

# The trial makes its own rules, which is a publisher's work.
lock=locks/publisher.txt
[ "$purpose" = run ] || lock=locks/dev.txt
for file in locks/build.txt "$lock"; do
    sum=$(cksum "$file")
    name=$(basename "$file")
    if changed "$name" "$sum"; then
        say "installing what $file locks"
        pip install --require-hashes --no-build-isolation -r "$file"
        echo "$sum" >"$stamps/$name"
    fi
done

sum=$(find admin blocked_page config health helper icap_server misp remote rules sightings squid_conf src pyproject.toml -type f \
    ! -name '*.pyc' -exec cksum {} + 2>/dev/null | sort | cksum)
if changed inkgate "$sum"; then
    pip install --no-deps --no-build-isolation --force-reinstall .
    echo "$sum" >"$stamps/inkgate"
fi
