#!/bin/sh
# Makes the secrets that docker-compose.yml mounts: `sh deploy/secrets.sh [FOLDER]`.
#
# Harmless to repeat: what is there is kept, for the servers' data knows it; only what is missing
# is made. Nobody but the owner of the folder gets into it. The files in it can be read by every
# user, since each container runs as one of its own and sees no more of it than it is given.
set -eu
umask 077

folder=${1:-.secrets}
mkdir -p "$folder"
chmod 0700 "$folder"

put() { # NAME, content on standard input; whole or not at all
    cat >"$folder/.$1.partial"
    chmod 0444 "$folder/.$1.partial"
    mv -f "$folder/.$1.partial" "$folder/$1"
}

random() { # 256 bits that need no escape in a URL or a configuration file
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

make() { # NAME [PREFIX]
    [ -s "$folder/$1" ] || printf '%s%s\n' "${2:-}" "$(random)" | put "$1"
}

make postgres_superuser_password
make database_password
make broker_password
make cache_password
make admin_api_key tp_
make flower_basic_auth flower:

# The same passwords in the forms in which they are read: as addresses, and by Redis itself.
database=$(cat "$folder/database_password")
broker=$(cat "$folder/broker_password")
cache=$(cat "$folder/cache_password")
echo "postgresql://truepenny:$database@postgres:5432/truepenny" | put database_url
echo "redis://:$broker@broker:6379/0" | put broker_url
echo "redis://:$cache@cache:6379/0" | put cache_url
echo "requirepass $broker" | put broker_requirepass
echo "requirepass $cache" | put cache_requirepass
