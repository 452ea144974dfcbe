# What has to be installed, for quickstart and run-tests, which source this file.
# shellcheck shell=sh

BUILD_PACKAGES="autoconf automake gcc libcurl4-openssl-dev libfcgi-dev libinih-dev libjson-c-dev
	libsqlite3-dev libssl-dev make pkg-config"
SERVE_PACKAGES="curl jq lighttpd"
# shellcheck disable=SC2034
TEST_PACKAGES="$BUILD_PACKAGES $SERVE_PACKAGES apache2 binutils chromium clang fonts-dejavu-core
	libapache2-mod-fcgid libclang-rt-14-dev libfcgi-bin mandoc nginx-light openssl procps python3 python3-jsonschema
	python3-prometheus-client python3-yaml shellcheck spawn-fcgi sqlite3
	strace"
# Node from elsewhere, which brings npm along, stays: Debian's packages would conflict with it.
command -v npm >/dev/null || TEST_PACKAGES="$TEST_PACKAGES nodejs npm"

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

missing_packages() {
	for package in "$@"; do
		dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf ' %s' "$package"
	done
}

# Install those of the packages that are missing. The web servers are needed as programs: Debian
# shall not start them as services.
install_packages() {
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	command -v apt-get >/dev/null || {
		echo "These Debian packages are missing, and there is no apt-get:$missing" >&2
		return 1
	}
	echo "Installing$missing"
	policy=/usr/sbin/policy-rc.d
	ours=no
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null && as_root chmod 755 $policy && ours=yes
	fi
	# shellcheck disable=SC2086
	as_root apt-get update -qq </dev/null &&
		as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing </dev/null
	status=$?
	if [ $ours = yes ]; then
		as_root rm -f $policy
	fi
	return $status
}

# Once for all builds: the libraries of the dashboard, into dashboard/vendor/. Where they can't be had, configure wants
# --disable-dashboard.
fetch_dashboard() {
	[ -z "$(find dashboard/vendor/licences.txt -newer dashboard/package-lock.json -newer dashboard/fetch 2>/dev/null)" ] || return 0
	command -v npm >/dev/null || install_packages npm || return 1
	dashboard/fetch .
}
