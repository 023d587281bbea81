#!/usr/bin/env bash
# Runs what depends on the version of RabbitMQ once more, on 4.x: Debian's is 3.10, and docker-compose.yml has 4.1. Where it can't be
# had this says so and fails.
#
#     scripts/test-rabbitmq-4.sh target/debug/stack
set -euo pipefail

readonly tests=(connection topology dead_letters worker faults deploy mismatch)

tools=$(scripts/install-tools.sh rabbitmq-server-4)
if [[ ! -x $tools/rabbitmq-server-4 ]]; then
    echo "RabbitMQ 4 was NOT tried"
    exit 1
fi
export STACK_RABBITMQ_SERVER="$tools/rabbitmq-server-4"
# All packages, as before: fewer would have other features of their dependencies, and be built anew.
exec "$1" exec -- cargo test --workspace "${tests[@]/#/--test=}"
