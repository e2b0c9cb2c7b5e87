#!/usr/bin/env bash
# Makes the passwords and the token of the stack, once, in infra/compose/.env, for its owner only.
set -euo pipefail
cd "$(dirname "$0")"
if [ -e .env ]; then
    echo "secrets: .env is there already; remove it for new ones (and the volumes with it)"
    exit 0
fi
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
umask 077
for name in RAY_AUTH_TOKEN POSTGRES_PASSWORD MLFLOW_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY \
    AWS_SECRET_ACCESS_KEY; do
    echo "$name=$(random)"
done >.env.new
mv .env.new .env
echo "secrets: written to infra/compose/.env"
