#!/bin/sh
# What the machine's script (machine.sh) knows and says.
#
# In the environment: DEVPOD_MACHINE_DIR, the machine's directory, the same path here and on the host.
# DEVPOD_DOCKER_MODE: host, the client's docker through its socket; dind, a docker of the machine's own.
# DEVPOD_EXPECT_DATA: not empty where the machine ran before. DEVPOD_ONLY_OF: delete nothing but what that start made.
# DOCKER_HOST=unix://PATH names another socket than docker's own. NOMAD_ALLOC_ID, from Nomad. DEVPOD_TEST_ROOT: where tests,
# which are in no container, have what is changed outside that directory.
# shellcheck disable=SC2034,SC2153,SC2154 # the variables are those of all files
dir=$DEVPOD_MACHINE_DIR docker_mode=$DEVPOD_DOCKER_MODE docker_host=$DOCKER_HOST allocation=$NOMAD_ALLOC_ID root=$DEVPOD_TEST_ROOT
expect_data=$DEVPOD_EXPECT_DATA only_of=$DEVPOD_ONLY_OF start=$NOMAD_META_devpod_start
set -u
umask 022

tools=$dir/.tools
sock=/var/run/docker.sock
case $docker_host in unix://*) sock=$(printf '%s' "$docker_host" | cut -c8-) ;; esac
[ -n "$docker_mode" ] || docker_mode=host

say() { printf 'machine: %s\n' "$*"; }
fail() {
	say "error: $*"
	exit 1
}
# Only a container's file system is the script's to change as it likes, and to look at as a whole; the tests run it outside.
in_container() { [ -f "$root/.dockerenv" ]; }
have() { command -v "$1" >/dev/null 2>&1; }

# await PID: its exit code. A trapped signal ends a wait, not what is waited for.
await() {
	while :; do
		code=0
		wait "$1" || code=$?
		if [ "$code" -le 128 ] || ! kill -0 "$1" 2>/dev/null; then
			return "$code"
		fi
	done
}

# A trap runs only between commands: what may take long runs in the background and is waited for.
attended() {
	"$@" &
	await $!
}
