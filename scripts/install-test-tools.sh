#!/usr/bin/env bash
# Installs the tools that tests use, where it may: as root on Debian and its
# relatives, through apt-get. Elsewhere it installs nothing. Then it lists the
# tools that are missing and what goes untested without them. It never fails:
# a missing tool costs tests, and the tests say so themselves.
#
#   scripts/install-test-tools.sh           install, then list
#   scripts/install-test-tools.sh --check   list only
set -uo pipefail
PATH=$PATH:/usr/sbin:/sbin

# command, Debian package, what is not tested without it
tools="
nft       nftables         the lab (real kernels in network namespaces)
conntrack conntrack        the lab
ip        iproute2         the lab
tcpdump   tcpdump          the lab
ssh       openssh-client   the lab's ssh sessions
sshd      openssh-server   the lab's ssh sessions
ethtool   ethtool          the lab
tshark    tshark           the comparison with Wireshark, frame by frame
zstd      zstd             captures packed by the real zstd
xz        xz-utils         captures packed by the real xz
lz4       lz4              captures packed by the real lz4
gcc       gcc              the race detector
chromium  chromium         the HTML report in a real browser
tmux      tmux             the screen of watch in a real terminal
promtool  prometheus       metrics, alert rules and dashboard in a real Prometheus
systemd-analyze systemd    the systemd unit
strace    strace           the unit's filter of system calls
"

have_libc() { [ "$(uname -s)" != Linux ] || [ -e /usr/include/stdlib.h ]; }

missing_packages() {
	while read -r command package _; do
		[ -z "$command" ] || command -v "$command" >/dev/null || echo "$package"
	done <<<"$tools"
	have_libc || echo libc6-dev
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=60 "$@" </dev/null; }

# No test needs a login server on this machine, only the program: Debian's unit
# and init script do not start while this file exists.
keep_sshd_stopped() {
	local flag=/etc/ssh/sshd_not_to_be_run
	mkdir -p "${flag%/*}" && [ ! -e "$flag" ] || return 0
	echo "made by kaflow's scripts/install-test-tools.sh, which installed openssh-server for tests; remove to run sshd" >"$flag"
	echo "tools: sshd is installed for tests and kept from starting by $flag"
}

# No test needs a service on this machine, only programs: Debian's packages start
# none while this file says so.
services_stay_stopped() {
	local policy=/usr/sbin/policy-rc.d
	[ ! -e "$policy" ] || return 0
	printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" || return 0
	trap "rm -f $policy" EXIT
}

install_missing() {
	local packages
	packages=$(missing_packages)
	[ -n "$packages" ] || return 0
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		command -v apt-get >/dev/null && echo "tools: not root, so nothing is installed; as root: apt-get install" $packages
		return 0
	fi
	echo "tools: installing" $packages
	case "$packages" in *openssh-server*) keep_sshd_stopped ;; esac
	services_stay_stopped
	echo 'wireshark-common wireshark-common/install-setuid boolean false' | debconf-set-selections 2>/dev/null
	apt_get update >/dev/null || echo "tools: warning: apt-get update failed"
	# One by one after a failure, so that one absent package costs only itself.
	apt_get install --no-install-recommends $packages >/dev/null && return 0
	for package in $packages; do
		apt_get install --no-install-recommends "$package" >/dev/null || echo "tools: warning: could not install $package"
	done
}

# report_missing prints one line for each thing that tests will do without.
report_missing() {
	while read -r command package what; do
		[ -z "$command" ] || command -v "$command" >/dev/null || missing "$command (package $package)" "$what"
	done <<<"$tools"
	have_libc || missing "C headers (package libc6-dev)" "the race detector"
	can_make_namespaces || missing "the right to make network namespaces (root on Linux)" "the lab"
}

# missing says what is missing and what becomes of the tests that need it.
missing() {
	local outcome=skipped
	[[ $2 != "the lab"* || ${LAB:-} != require ]] || outcome="will fail, for LAB=require is set"
	echo "tools: missing $1: $2: $outcome"
}

can_make_namespaces() {
	[ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ] && unshare --net true 2>/dev/null
}

[ "${1:-}" = --check ] || install_missing
report_missing
exit 0
