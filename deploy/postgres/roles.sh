# Makes the database and two roles without rights on the rest of the server: one owns the database
# and migrates it, the application serves as the other, which the migrations grant what it needs.
# Runs once, when the database server's data is made. Harmless to repeat.
psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set owner_password `cat /run/secrets/database_password`
\set app_password `cat /run/secrets/database_app_password`
SET log_min_error_statement = panic;
SET client_min_messages = warning;
SELECT 'CREATE ROLE truepenny LOGIN'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'truepenny') \gexec
SELECT 'CREATE ROLE truepenny_app LOGIN'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'truepenny_app') \gexec
ALTER ROLE truepenny PASSWORD :'owner_password';
ALTER ROLE truepenny_app PASSWORD :'app_password';
GRANT truepenny_app TO truepenny; -- so that the owner sees and ends the application's sessions
SELECT 'CREATE DATABASE truepenny OWNER truepenny'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'truepenny') \gexec
SQL
