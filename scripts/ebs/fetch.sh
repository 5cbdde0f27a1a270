#!/bin/bash
# Writes a snapshot of an EBS volume into a sparse raw image, through the EBS
# direct APIs, with curl, jq and openssl alone:
#
#   AWS_REGION=... AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... [AWS_SESSION_TOKEN=...] fetch.sh SNAPSHOT FILE
#
# Every block is compared with the SHA-256 that the service gives. A run that was
# ended is gone on with: FILE.have names the blocks that are there.
set -euo pipefail
export snapshot=$1 file=$2
export url=${AWS_ENDPOINT_URL_EBS:-https://ebs.$AWS_REGION.amazonaws.com}/snapshots/$snapshot/blocks
export block=524288

call() { # PATH [OUTPUT HEADERS]: tries again where the service is busy
  curl --silent --show-error --fail --retry 8 --retry-all-errors --aws-sigv4 "aws:amz:$AWS_REGION:ebs" --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
    ${AWS_SESSION_TOKEN:+--header "x-amz-security-token: $AWS_SESSION_TOKEN"} ${2:+--output "$2" --dump-header "$3"} "$url$1"
}

one() { # INDEX TOKEN
  local tmp
  tmp=$(mktemp -d "$file.XXXXXX")
  trap 'rm -rf "$tmp"' RETURN
  for _ in 1 2 3 4; do
    call "/$1?blockToken=$2" "$tmp/data" "$tmp/head" || continue
    want=$(tr -d '\r' <"$tmp/head" | awk 'tolower($1) == "x-amz-checksum:" {sum = $2} END {print sum}')
    if [ "$(openssl dgst -sha256 -binary "$tmp/data" | base64)" = "$want" ]; then
      dd if="$tmp/data" of="$file" bs="$block" seek="$1" conv=notrunc status=none
      echo "$1" >>"$file.have"
      return
    fi
  done
  echo "block $1 could not be fetched" >&2
  return 1
}
export -f call one

touch "$file.have"
next=''
while :; do
  page=$(call "?maxResults=1000${next:+&pageToken=$next}")
  gib=$(jq .VolumeSize <<<"$page")
  truncate -s "${gib}G" "$file"
  jq -r '.Blocks[] | [.BlockIndex, (.BlockToken | @uri)] | @tsv' <<<"$page" |
    awk -v have="$file.have" 'BEGIN {while ((getline block <have) > 0) seen[block]} !($1 in seen)' |
    xargs -r -P 8 -L 1 bash -c 'one "$@"' fetch
  next=$(jq -r '.NextToken // empty | @uri' <<<"$page")
  [ -n "$next" ] || break
done
echo "$file: $gib GiB, $(sort -u "$file.have" | wc -l) blocks"
rm "$file.have"
