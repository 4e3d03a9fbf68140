#!/usr/bin/env bash
# Commit subjects are `area: what changes`, at most 72 characters; the why goes into the body.
#
#   .ci/check_subjects.sh           every commit since the rule came, merges left out (`make lint` calls it)
#   .ci/check_subjects.sh FILE      the message in FILE: as the hook commit-msg, which CONTRIBUTING.md says how to set
set -euo pipefail

RULE_SINCE=fca77846e1941b5ab4c258aae88784184275386b
FORM='^[a-z][a-z0-9 /_.,-]*: [^ ].*[^ .]$'

wrong=0
check() {
    if ((${#1} > 72)) || ! [[ $1 =~ $FORM ]]; then
        printf '%s\n    is no subject: write "area: what changes", at most 72 characters (it has %d)\n' "$1" ${#1} >&2
        wrong=1
    fi
}

if (($#)); then
    IFS= read -r subject <"$1" || true
    [[ $subject == "Merge "* || $subject == "Revert "* || $subject == "fixup! "* ]] || check "$subject"
elif git rev-parse --quiet --verify "$RULE_SINCE^{commit}" >/dev/null 2>&1; then # a shallow clone lacks it
    while IFS= read -r subject; do check "$subject"; done < <(git log --no-merges --format=%s "$RULE_SINCE..HEAD")
fi
exit "$wrong"
