#!/usr/bin/env bash
# Fails when a crate is built from what it must do without. `cargo tree` sees what the features of one package bring,
# which deny.toml, that looks at the whole workspace, can't.
set -euo pipefail

main() {
    # Its first build must be short.
    forbid standalone lapin redis sqlx-postgres sqlx-macros
    # Pure functions, to be tested with nothing running.
    forbid ratelimit-core tokio tonic redis sqlx lapin
    # Services know each other over the wire.
    forbid chassis snippets ratelimit counter-worker
    forbid database snippets ratelimit counter-worker
    forbid counter-worker snippets ratelimit
    forbid ratelimit snippets counter-worker
    forbid snippets ratelimit counter-worker
}

# forbid PACKAGE CRATE...
forbid() {
    local package=$1 tree
    shift
    tree=$(cargo tree --locked --quiet -p "$package" -e normal,build --prefix none --format '{p}' | cut -d' ' -f1 | sort -u)
    for crate in "$@"; do
        if grep -qx "$crate" <<<"$tree"; then
            echo "$package must not depend on $crate:" >&2
            cargo tree --locked --quiet -p "$package" -e normal,build -i "$crate" >&2
            exit 1
        fi
    done
}

main
