#!/usr/bin/env bash
# Everything that is checked without running the system; cheap checks first.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
    step "formatting" cargo fmt --all --check
    step "formatting of fuzz" cargo fmt --manifest-path fuzz/Cargo.toml --check
    step "lock file of fuzz" cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml --quiet >/dev/null
    step "crate edges" scripts/check-crate-edges.sh
    PATH="$(scripts/install-tools.sh buf cargo-deny shellcheck):$PATH"
    step "scripts" shellcheck .ci/run scripts/*.sh deploy/*.sh
    step "contracts" buf lint proto
    step "dependencies" cargo deny --locked check bans licenses sources
    advisories
    compose_file
    step "lints" cargo clippy --locked --workspace --all-targets -- -D warnings
}

step() {
    echo "== $1" >&2
    "${@:2}"
}

# The database of advisories is a git repository on GitHub, which not every machine can reach.
advisories() {
    if cargo deny fetch db 2>/dev/null; then
        step "advisories" cargo deny --locked check --disable-fetch advisories
    else
        echo "WARNING: advisories were NOT checked: https://github.com/RustSec/advisory-db can't be fetched" >&2
    fi
}

compose_file() {
    if command -v go >/dev/null; then
        step "docker-compose.yml" go run -C scripts/check-compose . ../../docker-compose.yml
    else
        echo "WARNING: docker-compose.yml was NOT checked: Go is missing" >&2
    fi
}

main
