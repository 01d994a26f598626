#!/usr/bin/env bash
# Everything a change must pass; `make test` runs it. Writes nothing into the
# tree. What will be skipped is printed before go test starts, since go hides
# skips, and go test's own lines come last.
set -euo pipefail
cd "$(dirname "$0")/.."

go=${GO:-go}
staticcheck=${STATICCHECK:-honnef.co/go/tools/cmd/staticcheck@v0.8.2}
export CGO_ENABLED=0

step() { printf '== %s\n' "$*"; }
fail() { printf 'test: %s\n' "$*" >&2; exit 1; }

# sources lists our Go files: those under version control and new ones.
sources() {
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files -co --exclude-standard -- '*.go' | while read -r f; do [ ! -e "$f" ] || printf '%s\n' "$f"; done
	else
		find . -name '*.go'
	fi
}

check_format() {
	local gofmt wrong
	gofmt=$("$go" env GOROOT)/bin/gofmt
	[ -x "$gofmt" ] || gofmt=gofmt
	wrong=$(sources | xargs "$gofmt" -l)
	[ -z "$wrong" ] || fail "gofmt would change: $(echo $wrong)"
}

# check_static builds the checker first, to tell "could not be fetched" from
# "found something". Offline it only warns.
check_static() {
	local log
	if log=$("$go" run "$staticcheck" -version 2>&1); then
		"$go" run "$staticcheck" ./...
	elif grep -qE 'dial tcp|no such host|module lookup disabled|i/o timeout|network is unreachable|connection refused' <<<"$log"; then
		printf 'warning: staticcheck is not in the module cache and cannot be fetched; not run:\n%s\n' "$log" >&2
	else
		printf '%s\n' "$log" >&2
		fail "staticcheck could not be built"
	fi
}

cross_build() {
	local target
	for target in linux/arm64 darwin/arm64 windows/amd64 freebsd/amd64; do
		GOOS=${target%/*} GOARCH=${target#*/} "$go" build ./... || fail "does not build for $target"
	done
}

can_race() {
	local cc
	cc=$("$go" env CC)
	command -v "${cc%% *}" >/dev/null && echo '#include <stdlib.h>' | $cc -x c -fsyntax-only - 2>/dev/null
}

step tools
./scripts/install-test-tools.sh
step gofmt
check_format
step go vet
"$go" vet ./...
step staticcheck
check_static
step "cross builds (linux/arm64, darwin/arm64, windows/amd64, freebsd/amd64)"
cross_build
race=()
if can_race; then
	race=(-race)
	export CGO_ENABLED=1
else
	echo "warning: no working C compiler: tests run without the race detector" >&2
fi
step go test "${race[@]}"
exec "$go" test "${race[@]}" -timeout 60m ./... # a hang guard: the lab takes ten minutes here, and more where the machine is busy
