# Runs once, when the database server's data is made: the application gets a role that owns one
# database and has no rights on the rest of the server.
psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set password `cat /run/secrets/database_password`
SET log_min_error_statement = panic;
CREATE ROLE truepenny LOGIN PASSWORD :'password';
CREATE DATABASE truepenny OWNER truepenny;
SQL
