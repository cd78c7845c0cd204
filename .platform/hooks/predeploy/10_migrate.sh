#!/usr/bin/env bash
# Migrate the database with the new image, before the new version serves.
#
# Runs on every instance, for a new version and for changed settings, and on an instance that is added
# later. Runs take turns (web/migrations/env.py), and do nothing if the database is up to date.
# If it fails, the instance's deployment fails, and the old version continues to serve: every migration
# leaves a database that the version before it can work with.
set -euo pipefail
shopt -s inherit_errexit

# If only settings changed, the staging folder is empty
for folder in "$PWD" /var/app/staging /var/app/current; do
    [ ! -f "$folder/Dockerrun.aws.json" ] || break
done
image=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["Image"]["Name"])' "$folder/Dockerrun.aws.json") || {
    echo "10_migrate: no image is named in $folder/Dockerrun.aws.json. Deploy a bundle that scripts/build_and_deploy.sh made." >&2
    exit 1
}

# By name only, so that no value is on a command line; Beanstalk sets them for hooks
settings=()
for name in DATABASE_URL RDS_HOSTNAME RDS_PORT RDS_DB_NAME RDS_USERNAME RDS_PASSWORD RDS_NEXT_PASSWORD DATABASE_TLS DATABASE_CA_FILE; do
    settings+=(--env "$name")
done

# The platform has usually pulled it. If it has not, its login to ECR may have expired: it lasts twelve hours
registry=${image%%/*}
if [[ $registry == *.dkr.ecr.*.amazonaws.com* ]] && ! docker image inspect "$image" >/dev/null 2>&1; then
    aws ecr get-login-password --region "$(cut -d. -f4 <<<"$registry")" |
        docker login --username AWS --password-stdin "$registry" >&2 || {
        echo "10_migrate: the registry $registry refuses the login. The instance's role must allow ecr:GetAuthorizationToken." >&2
        exit 1
    }
fi

echo "10_migrate: migrating with $image" >&2
timeout 300 docker run --rm --init --read-only --cap-drop ALL --volume /etc/pki/rds:/etc/pki/rds:ro \
    "${settings[@]}" "$image" flask db upgrade || {
    echo "10_migrate: the database is not migrated (exit code $?). The lines above say why; nothing has been changed by this run." >&2
    exit 1
}
echo "10_migrate: the database is ready for this version" >&2
