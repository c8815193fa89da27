#!/usr/bin/env bash
# A throw-away Postgres for tests, with all of its files in one folder.
#
#   postgres.sh start FOLDER          starts it, made anew where FOLDER holds none, and prints its URL
#   postgres.sh stop FOLDER [MODE]    stops it (fast by default, or immediate); its files stay, and
#                                     a later start goes on with them at the same port
#   postgres.sh hold FOLDER           like start; once its standard input ends, it stops the server
#                                     and removes FOLDER
#
# It listens on loopback and on a socket in FOLDER, and lets everybody in there without a password:
# for tests only. Syncs are off, so data survives the death of the server, but not of the machine.
set -euo pipefail

fail() {
    echo "postgres.sh: $*" >&2
    exit 1
}

# The folder of the newest server's binaries; empty where there is none.
find_binaries() {
    local found
    found=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
    if [[ -x "$found/initdb" && -x "$found/pg_ctl" ]]; then
        echo "$found"
    elif command -v initdb >/dev/null && command -v pg_ctl >/dev/null; then
        dirname "$(readlink -f "$(command -v pg_ctl)")"
    fi
}

binaries() {
    local found
    found=$(find_binaries)
    if [[ -z "$found" && $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
        # Another process of the same run may be installing too: apt waits for its lock.
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq \
            --no-install-recommends postgresql >&2
        found=$(find_binaries)
    fi
    [[ -n "$found" ]] || fail "no Postgres server found; expected initdb and pg_ctl on PATH or in /usr/lib/postgresql/*/bin"
    echo "$found"
}

# Postgres refuses to run as root.
as_server() {
    if [[ $EUID -eq 0 ]]; then
        (cd / && runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

make_cluster() {
    local bin=$1 folder=$2
    mkdir -p "$folder"
    if [[ $EUID -eq 0 ]]; then
        id postgres >/dev/null 2>&1 || fail "no unix user 'postgres'; Postgres refuses to run as root"
        chown postgres "$folder"
    fi
    chmod 0700 "$folder"
    as_server "$bin/initdb" --pgdata="$folder/data" --username=twzrd --auth=trust \
        --encoding=UTF8 --locale=C --no-sync >"$folder/initdb.log" 2>&1 ||
        fail "initdb failed: $(tail -n 3 "$folder/initdb.log")"
    as_server tee -a "$folder/data/postgresql.conf" >/dev/null <<-SETTINGS
	fsync = off
	full_page_writes = off
	max_connections = 200
	listen_addresses = '127.0.0.1'
	SETTINGS
}

start() {
    local folder=$1 bin port sockets attempt
    bin=$(binaries)
    [[ -d "$folder/data" ]] || make_cluster "$bin" "$folder"
    # A path of a socket has at most 107 bytes.
    sockets=$folder
    ((${#folder} <= 80)) || sockets=
    for attempt in {1..20}; do
        # Below the range from which the system takes the ports of outgoing connections.
        port=$(cat "$folder/port" 2>/dev/null || echo $((20000 + (RANDOM * 32768 + RANDOM) % 12000)))
        if as_server "$bin/pg_ctl" --pgdata="$folder/data" --wait --timeout=60 --silent \
            --log="$folder/data/server.log" \
            --options="-p $port -c unix_socket_directories='$sockets'" start >/dev/null 2>&1; then
            echo "$port" >"$folder/port"
            echo "postgres://twzrd:unused@127.0.0.1:$port/postgres"
            return
        fi
        # The port may be taken; after that many attempts it is something else.
        as_server "$bin/pg_ctl" --pgdata="$folder/data" --silent --mode=immediate stop >/dev/null 2>&1 || true
    done
    fail "the server did not start $attempt times: $(as_server tail -n 5 "$folder/data/server.log")"
}

stop() {
    local folder=$1 mode=${2:-fast} bin
    bin=$(binaries)
    as_server "$bin/pg_ctl" --pgdata="$folder/data" --wait --silent --mode="$mode" stop >/dev/null
}

[[ $# -ge 2 ]] || fail "expected: start FOLDER, stop FOLDER [MODE], or hold FOLDER"
folder=$(realpath -m "$2")
case $1 in
    start) start "$folder" ;;
    stop) stop "$folder" "${3:-fast}" ;;
    hold)
        start "$folder"
        # Whoever asked for the server holds the other end; it closes however that process ends.
        cat >/dev/null || true
        stop "$folder" immediate || true
        rm -rf "$folder"
        ;;
    *) fail "unknown command '$1'; expected start, stop or hold" ;;
esac
