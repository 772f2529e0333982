#!/bin/sh
# Makes the secrets that docker-compose.yml mounts: `sh deploy/secrets.sh [FOLDER]`.
#
# Harmless to repeat: existing secrets are kept, because the servers' data depends on them; only
# missing ones are made. Only the owner of the folder can enter it. The files in it are readable by
# every user, because each container runs as a user of its own and sees only the files mounted in it.
set -eu
umask 077

folder=${1:-.secrets}
mkdir -p "$folder"
chmod 0700 "$folder"

put() { # NAME, content on standard input. The file is replaced as a whole.
    cat >"$folder/.$1.partial"
    chmod 0444 "$folder/.$1.partial"
    mv -f "$folder/.$1.partial" "$folder/$1"
}

random() { # 256 bits, in characters that need no escape in a URL or a configuration file
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

make() { # NAME [PREFIX]
    [ -s "$folder/$1" ] || printf '%s%s\n' "${2:-}" "$(random)" | put "$1"
}

make postgres_superuser_password
make database_password
make database_app_password
make broker_password
make cache_password
make intake_secret
make admin_api_key tp_
make flower_basic_auth flower:
# A name, not a secret: it must only be another one than that of every other installation.
[ -s "$folder/installation_id" ] || random | cut -c 1-16 | put installation_id

# The same passwords as the programs read them: in URLs, and in Redis' own configuration.
database=$(cat "$folder/database_app_password")
owner=$(cat "$folder/database_password")
broker=$(cat "$folder/broker_password")
cache=$(cat "$folder/cache_password")
echo "postgresql://truepenny_app:$database@postgres:5432/truepenny" | put database_url
echo "postgresql://truepenny:$owner@postgres:5432/truepenny" | put migrations_database_url
echo "redis://:$broker@broker:6379/0" | put broker_url
echo "redis://:$cache@cache:6379/0" | put cache_url
echo "requirepass $broker" | put broker_requirepass
echo "requirepass $cache" | put cache_requirepass
