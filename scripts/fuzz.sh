#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, for FUZZTIME each
# (default 60s). What it finds lands in the package's testdata/fuzz, to stay
# there as a test.
set -euo pipefail
cd "$(dirname "$0")/.."

go=${GO:-go}
found=0
status=0
for package in $("$go" list ./...); do
	for target in $("$go" test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		found=$((found + 1))
		printf '== %s %s\n' "$package" "$target"
		"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-60s}" "$package" || status=1
	done
done
[ "$found" -gt 0 ] || { echo "fuzz: no fuzz target found" >&2; exit 1; }
exit $status
