#!/bin/sh
# fill-in.sh TEMPLATE RESULT: writes the template with every @NAME_PASSWORD@ replaced by that variable's value.
# For the two servers that can't read their users' passwords from the environment: Redis and RabbitMQ.
set -eu

# Only this user may read the result.
umask 077
grep -o '@[A-Z_]*_PASSWORD@' "$1" | sort -u | tr -d @ | {
    script=
    while read -r name; do
        value=$(printenv "$name") || { echo "fill-in.sh: $name is not set" >&2 && exit 1; }
        # It also stands in a URL, and here in an ACL line or in JSON, and in sed's own language.
        case $value in
            '' | *[!A-Za-z0-9_-]*) echo "fill-in.sh: $name must be letters, digits, - and _" >&2 && exit 1 ;;
        esac
        script="$script;s/@$name@/$value/g"
    done
    sed "$script" "$1" >"$2"
}
