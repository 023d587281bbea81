#!/usr/bin/env bash
# Runs each fuzz target for a while: SECONDS_EACH=60 scripts/fuzz.sh [TARGET...]
#
# Exits with 1 when a target finds something, and prints how to see it again. It needs the stable toolchain and, as libFuzzer
# is C++, a compiler for that, which it installs as root on Debian. The seeds in fuzz/corpus are only read; what it learns
# goes into fuzz/target, where the next run begins.
set -euo pipefail

home=$(realpath "$(dirname "$0")/../fuzz")
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-$home/target}")
seconds=${SECONDS_EACH:-60}
host=$(rustc -vV | sed -n 's/^host: //p')

main() {
    cd "$home"
    [ "$#" -gt 0 ] || set -- rules check api
    for target in "$@"; do
        [ -f "src/$target/main.rs" ] || { echo "usage: $0 [rules] [check] [api]" >&2; exit 2; }
    done
    install_compiler
    build
    local failed=0
    for target in "$@"; do
        echo "== $target, for $seconds s" >&2
        fuzz "$target" || failed=1
    done
    exit "$failed"
}

install_compiler() {
    ! command -v "${CXX:-c++}" >/dev/null || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "A C++ compiler is missing; on Debian or Ubuntu: sudo apt-get install --no-install-recommends g++" >&2
        exit 1
    fi
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends g++ >&2
}

# Coverage for libFuzzer, by flags that the stable compiler has. With --target they don't reach build scripts, which could
# not be linked.
build() {
    local coverage=(
        --cfg fuzzing
        -Cpasses=sancov-module
        -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
        -Cllvm-args=-sanitizer-coverage-pc-table
        -Cllvm-args=-sanitizer-coverage-trace-compares
    )
    # Cargo would take this variable instead.
    unset CARGO_ENCODED_RUSTFLAGS
    RUSTFLAGS="${coverage[*]}" cargo build --locked --release --bins --target "$host" --target-dir "$target_dir"
}

fuzz() {
    local target=$1 learned="$target_dir/corpus/$1" findings="$target_dir/findings/$1" log
    log="$findings/log"
    mkdir -p "$learned" "$findings"
    local options=(-max_len=4096 -timeout=10 -rss_limit_mb=2048 "-artifact_prefix=$findings/")
    local seeds=("corpus/$target")
    case $target in
        rules)
            options+=(-dict=rules.dict)
            seeds+=(../services/ratelimit-core/tests/malformed_rules ../services/ratelimit/rules/examples)
            ;;
        check | api) options+=(-len_control=20) ;;
    esac
    local binary="$target_dir/$host/release/$target"
    # Only into the first folder it writes.
    if RUST_BACKTRACE=1 "$binary" -max_total_time="$seconds" -print_final_stats=1 "${options[@]}" "$learned" "${seeds[@]}" \
        >"$log" 2>&1; then
        grep -E '^(#.*DONE|stat::average_exec|stat::peak_rss)' "$log" >&2
    else
        tail -n 60 "$log" >&2
        say_how_to_see_it_again "$target" "$binary" "$log"
        return 1
    fi
}

say_how_to_see_it_again() {
    local target=$1 binary=$2 log=$3 input
    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    cat >&2 <<END

$target failed; the whole log is in $log
    see it again:     $binary $input
    make it smaller:  $binary -minimize_crash=1 -max_total_time=60 -exact_artifact_path=smaller $input
    keep it:          cp $input fuzz/corpus/$target/NAME_OF_WHAT_WAS_WRONG
END
}

main "$@"
