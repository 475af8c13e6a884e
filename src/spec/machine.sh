#!/bin/sh
# What a machine runs. One script, three parts; $1 says which:
#   run      the task `machine`: prepare the container, say ready, stay until TERM
#   stopped  the task `stopped`, after the allocation has ended by whatever cause (Nomad's poststop: it does not run when
#            the task is merely restarted): stop this machine's devcontainers
#   delete   the clean-up job's only task: remove the devcontainers and the machine's directory
#
# It comes into the container as an argument of sh. Nomad reads that argument as an HCL template, so neither a dollar
# nor a percent sign may stand before an opening brace here (a test looks). POSIX sh; dash, busybox and bash run it.
#
# In the environment: DEVPOD_MACHINE_DIR, the machine's directory, the same path here and on the host.
# DOCKER_HOST=unix://PATH names another socket than docker's own.
set -u
umask 022

dir=$DEVPOD_MACHINE_DIR
tools=$dir/.tools
sock=/var/run/docker.sock
case "$(printenv DOCKER_HOST)" in unix://*) sock=$(printenv DOCKER_HOST | cut -c8-) ;; esac

say() { printf 'machine: %s\n' "$*"; }
fail() {
	say "error: $*"
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# A trap runs only between commands: what may take long runs in the background and is waited for.
attended() {
	"$@" &
	wait $!
}

install_packages() {
	say "installing:$*"
	if have apt-get; then
		export DEBIAN_FRONTEND=noninteractive
		attended apt-get -qq update && attended apt-get -qq install -y --no-install-recommends "$@"
	elif have apk; then
		attended apk add --quiet --no-cache "$@"
	elif have dnf; then
		attended dnf -q install -y "$@"
	elif have microdnf; then
		attended microdnf install -y "$@"
	else
		say "no apt-get, apk, dnf or microdnf in this image"
		return 1
	fi
}

install_missing() {
	set --
	have curl || set -- "$@" curl
	have git || set -- "$@" git
	[ -s /etc/ssl/certs/ca-certificates.crt ] || [ -s /etc/pki/tls/certs/ca-bundle.crt ] || have update-ca-certificates ||
		set -- "$@" ca-certificates
	[ $# -gt 0 ] || return 0
	lacking=$*
	install_packages "$@" ||
		fail "the image lacks: $lacking, and they could not be installed; use an image that has them, or give the machine a network"
	case " $lacking " in *" curl "*) keep_curl ;; esac
}

# The task `stopped` and the clean-up start from the bare image and may have no network: leave them a curl.
keep_curl() {
	have ldd || return 0
	rm -rf "$tools"
	mkdir -p "$tools/lib"
	cp "$(command -v curl)" "$tools/curl" || return 0
	ldd "$tools/curl" | sed -n 's/.*=> *\(\/[^ ]*\).*/\1/p' | while read -r library; do
		cp "$library" "$tools/lib/"
	done
}

trust_certificates() {
	certificate=/usr/local/share/ca-certificates/registry.cluster.crt
	if [ -d "$certificate" ]; then
		say "warning: the client has no file $certificate, docker made a directory of it: the registry's certificate is not trusted"
	fi
	if ! have update-ca-certificates || ! [ -f "$certificate" ]; then
		return 0
	fi
	# It takes half a second. In a container of its own, whose bundle nobody else reads, the certificate is trusted at once
	# and the rest, which writes the bundle anew with it, need not be waited for.
	bundle=/etc/ssl/certs/ca-certificates.crt
	if [ -f /.dockerenv ] && [ -s "$bundle" ]; then
		cat "$certificate" >>"$bundle"
		update_certificates &
	else
		attended update_certificates
	fi
}

update_certificates() {
	update-ca-certificates >/dev/null 2>&1 || say "warning: update-ca-certificates failed"
}

run() {
	trap 'exit 0' TERM INT HUP
	# one log, in order; the provider follows stdout
	exec 2>&1
	[ -S "$sock" ] || fail "$sock is no socket: does docker on this client listen there?"
	{ mkdir -p "$dir" && chmod 700 "$dir"; } || fail "the machine's directory $dir cannot be made"
	install_missing
	trust_certificates
	# DevPod 0.6.15 installs its daemon only where there is systemd or this directory
	mkdir -p /etc/init.d 2>/dev/null || say "warning: /etc/init.d cannot be made"
	say ready
	while :; do
		sleep 86400 &
		wait $!
	done
}

find_curl() {
	if have curl; then
		curl=curl
	elif LD_LIBRARY_PATH=$tools/lib "$tools/curl" --version >/dev/null 2>&1; then
		curl=$tools/curl
		export LD_LIBRARY_PATH="$tools/lib"
	else
		install_packages curl || fail "no curl to talk to docker with"
		curl=curl
	fi
}

# docker_api SECONDS METHOD PATH STATUS...: the reply on stdout when its status is one of these; false otherwise.
docker_api() {
	seconds=$1 method=$2 path=$3
	shift 3
	status_format='%'
	reply=$("$curl" -sS --max-time "$seconds" --unix-socket "$sock" -X "$method" -w "\\n$status_format{http_code}" \
		"http://docker$path") || return 1
	status=$(printf '%s\n' "$reply" | tail -n 1)
	for good in "$@"; do
		if [ "$status" = "$good" ]; then
			printf '%s\n' "$reply" | sed '$d'
			return 0
		fi
	done
	say "error: docker: $method $path: HTTP $status"
	return 1
}

# This machine's containers, an id a line: those with a mount out of its directory, or of a compose project in it; not
# Nomad's own. In docker's JSON a quote inside a string is escaped, so these patterns match members only.
devcontainers() {
	list=$(docker_api 30 GET '/containers/json?all=1' 200) || return 1
	printf '%s\n' "$list" | sed 's/{"Id":"/\
&/g' | grep -F -e "\"Source\":\"$dir/" -e "\"Source\":\"$dir\"" -e "\"com.docker.compose.project.working_dir\":\"$dir/" |
		grep -v -F '"com.hashicorp.nomad.alloc_id"' | sed -n 's/^{"Id":"\([0-9a-f]\{64\}\)".*/\1/p'
}

# for_devcontainers SECONDS METHOD PREFIX SUFFIX STATUS...: the same request for each, all at once.
for_devcontainers() {
	seconds=$1 method=$2 prefix=$3 suffix=$4
	shift 4
	ids=$(devcontainers) || fail "docker on this client does not tell its containers: $ids"
	jobs_started=
	for id in $ids; do
		docker_api "$seconds" "$method" "$prefix$id$suffix" "$@" &
		jobs_started="$jobs_started $!"
	done
	failed=0
	for job in $jobs_started; do
		wait "$job" || failed=1
	done
	return $failed
}

stopped() {
	[ -S "$sock" ] || fail "$sock is no socket"
	find_curl
	# 304: it was not running; 404: it went away meanwhile
	for_devcontainers 60 POST /containers/ '/stop?t=10' 204 304 404 || fail "a devcontainer could not be stopped"
}

delete() {
	case "$dir" in
	/*/?*) ;;
	*) fail "'$dir' is no machine's directory" ;;
	esac
	if [ -S "$sock" ]; then
		find_curl
		# 409: docker is removing it already
		for_devcontainers 60 DELETE /containers/ '?force=1&v=1' 204 404 409 || fail "a devcontainer could not be removed"
	fi
	rm -rf "$dir" || fail "$dir could not be removed"
	say deleted
}

case "$1" in
run | stopped | delete) "$1" ;;
*) fail "unknown part '$1'" ;;
esac
