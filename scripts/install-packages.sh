#!/bin/sh
# Installs the Debian packages of the groups named, as far as they are missing:
#
#   servers   Postgres, Redis and RabbitMQ, which the tests and `make up` start for themselves
#   edge      nginx, which a test puts in front of two replicas
#   metrics   Prometheus with promtool, which tests have read the metrics and the rules
#   browser   Chromium with chromedriver, in which tests look at the pages
#   bench     h2load, which `make bench` measures with
#
# As root it installs them; otherwise it says what to install and exits with 1. It never leaves a system
# service running: only the programs are wanted.
set -eu

# Where Debian keeps daemons; an ordinary user's PATH lacks it.
PATH="$PATH:/usr/sbin:/sbin"
policy=/usr/sbin/policy-rc.d

main() {
    [ "$#" -gt 0 ] || usage
    for group in "$@"; do
        packages_of "$group" >/dev/null || usage
    done
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || exit 0
    if [ "$(id -u)" -ne 0 ] || ! has apt-get; then
        say_what_to_install
        exit 1
    fi
    install_missing
}

usage() {
    echo "usage: $0 servers|edge|metrics|browser|bench..." >&2
    exit 2
}

missing_packages() {
    for group in "$@"; do
        for package in $(packages_of "$group"); do
            is_there "$package" || printf '%s ' "$package"
        done
    done
}

packages_of() {
    case $1 in
        servers) echo postgresql redis-server rabbitmq-server ;;
        edge) echo nginx ;;
        metrics) echo prometheus ;;
        browser) echo chromium chromium-driver fonts-dejavu-core ;;
        bench) echo nghttp2-client ;;
        *) return 1 ;;
    esac
}

# Asks for the program, not for the package: however it came here, it will do.
is_there() {
    case $1 in
        postgresql) has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ;;
        chromium-driver) has chromedriver ;;
        # Any font will do.
        fonts-dejavu-core) ls /usr/share/fonts/* >/dev/null 2>&1 ;;
        nghttp2-client) has h2load ;;
        prometheus) has prometheus && has promtool ;;
        *) has "$1" ;;
    esac
}

has() {
    command -v "$1" >/dev/null
}

say_what_to_install() {
    {
        echo "Missing programs. Install them and try again; on Debian or Ubuntu:"
        echo "    sudo apt-get install --no-install-recommends $missing"
    } >&2
}

install_missing() {
    echo "installing $missing" >&2
    keep_services_stopped
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    # shellcheck disable=SC2086  # A list of package names, to be split.
    apt-get install -qq -y --no-install-recommends $missing >&2
}

# Packages ask this program whether they may start their services; 101 is no. A machine that has one
# already has its own policy.
keep_services_stopped() {
    [ ! -e "$policy" ] || return 0
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

main "$@"
