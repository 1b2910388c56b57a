#!/usr/bin/env bash
# Registers a tenant, waits until it is ready, and prints its workspace, its admin's user and its address.
#
#   ./provision.sh SLUG DATABASE_NAME [CLERK_ORG_ID [ADMIN_EMAIL]]
#
# PROVISIONING_API_URL and PROVISIONING_API_KEY must be set. Each argument may be a variable of its name instead; also
# NAME (else the slug) and TIMEOUT_SECONDS (else 300). Needs curl 7.76 or newer, and jq.
set -euo pipefail

url=${PROVISIONING_API_URL:?must be the address of provisioning serve}
key=${PROVISIONING_API_KEY:?must be a key that provisioning keys create made}
slug=${1:-${SLUG:?must be given, as an argument or a variable}}
database_name=${2:-${DATABASE_NAME:?must be given, as an argument or a variable}}
clerk_org_id=${3:-${CLERK_ORG_ID:-}}
admin_email=${4:-${ADMIN_EMAIL:-}}
timeout_seconds=${TIMEOUT_SECONDS:-300}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# ask METHOD URL [more of curl's options]: leaves the answer in $folder/body, its status in $status and the seconds to
# wait in $pause. curl tries again by itself, as Retry-After says. The key comes from a file: `ps` shows arguments.
ask() {
  status=$(curl --silent --show-error --globoff --max-time 60 --retry 3 --retry-all-errors --retry-max-time 120 \
    --header @<(printf 'Authorization: Bearer %s\n' "$key") \
    --dump-header "$folder/headers" --output "$folder/body" --write-out '%{http_code}' \
    --request "$1" --url "$2" "${@:3}")
  pause=$(awk 'tolower($1) == "retry-after:" { seconds = $2 + 0; found = 1 } END { print found ? seconds : 2 }' \
    "$folder/headers")
  if [[ $status != 2?? ]] || ! jq --exit-status .state "$folder/body" >/dev/null 2>&1; then
    said=$(tell '[.detail, (.errors[]? | "\(.field): \(.message)")] | join(" ")')
    fail "HTTP $status: ${said:-what answered is not the provisioning server}"
  fi
}

tell() { jq --raw-output "$1" "$folder/body" 2>/dev/null || true; }

fail() {
  echo "$1" >&2
  exit 1
}

# One key for one request, however often curl sends it.
request=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
tenant=$(jq --null-input --arg name "${NAME:-$slug}" --arg database_name "$database_name" \
  --arg clerk_org_id "$clerk_org_id" --arg admin_email "$admin_email" \
  '{$name, $database_name, $clerk_org_id, $admin_email} | with_entries(select(.value != ""))')
ask PUT "${url%/}/v1/tenants/$(jq --null-input --raw-output --arg slug "$slug" '$slug | @uri')" \
  --header "Idempotency-Key: $request" --header 'Content-Type: application/json' --data "$tenant"

# 202: it is being made ready. The status URL tells how far it is.
end=$((SECONDS + timeout_seconds))
while [ "$status" = 202 ] || [ "$(tell .state)" != ready ] || [ "$(tell .waiting)" = true ]; do
  if [ "$(tell .state)" = aside ] || [ "$SECONDS" -ge "$end" ]; then
    fail "$slug is $(tell .state): $(tell '.conditions[] | select(.status != "True") | "\(.type): \(.message)"')"
  fi
  sleep "$pause"
  ask GET "$(tell .status_url)"
done

tell '"workspace_id \(.workspace_id)", "user_id \(.user_id)", "workspace_url \(.workspace_url)"'
