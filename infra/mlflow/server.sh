#!/usr/bin/env bash
# MLflow's server with basic authentication. All settings come from the environment, so that no
# secret is on a command line:
#   MLFLOW_BACKEND_STORE_URI        postgresql+psycopg2://user:password@host/db, or sqlite:///…
#   MLFLOW_AUTH_DATABASE_URI        where users are kept (another database)
#   MLFLOW_ADMIN_PASSWORD           of the user `admin`, made at the first start; 12 characters or more
#   MLFLOW_FLASK_SERVER_SECRET_KEY  any long random text
#   MLFLOW_ARTIFACTS_DESTINATION    s3://bucket/folder or a folder
#   MLFLOW_HOST, MLFLOW_PORT        127.0.0.1 and 5000 where they are not set
#   MLFLOW_SERVER_ALLOWED_HOSTS     names under which browsers and clients reach it
set -euo pipefail
for name in MLFLOW_BACKEND_STORE_URI MLFLOW_AUTH_DATABASE_URI MLFLOW_ADMIN_PASSWORD \
    MLFLOW_FLASK_SERVER_SECRET_KEY MLFLOW_ARTIFACTS_DESTINATION; do
    if [ -z "${!name:-}" ]; then
        echo "mlflow server: set $name" >&2
        exit 2
    fi
done
if [ "${#MLFLOW_ADMIN_PASSWORD}" -lt 12 ]; then
    echo "mlflow server: MLFLOW_ADMIN_PASSWORD needs 12 characters or more" >&2
    exit 2
fi

umask 077
config=$(mktemp "${TMPDIR:-/tmp}/mlflow-auth-XXXXXXXX.ini")
trap 'rm -f "$config"' EXIT
# The file's syntax gives % a meaning. A password once checked is not hashed anew for a minute: every
# file of a sweep is a request. What this one worker changes counts at once all the same.
cat >"$config" <<INI
[mlflow]
default_permission = READ
database_uri = ${MLFLOW_AUTH_DATABASE_URI//%/%%}
admin_username = admin
admin_password = ${MLFLOW_ADMIN_PASSWORD//%/%%}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
INI
unset MLFLOW_ADMIN_PASSWORD
# Its name goes at once, so that no password stays behind, however the server ends. What is in it is
# there for the server and its workers as long as the server, which has this process's number, holds it.
exec 9<"$config"
rm -f "$config"
export MLFLOW_AUTH_CONFIG_PATH="/proc/$$/fd/9"
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true
exec mlflow server --app-name basic-auth --workers 1 \
    --host "${MLFLOW_HOST:-127.0.0.1}" --port "${MLFLOW_PORT:-5000}"
