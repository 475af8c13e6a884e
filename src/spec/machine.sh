#!/bin/sh
# What a machine runs. One script, three parts; $1 says which:
#   run      the task `machine`: prepare the container, say ready, stay until TERM
#   stopped  the task `stopped`, after the allocation has ended by whatever cause (Nomad's poststop: it does not run when
#            the task is merely restarted): stop this machine's devcontainers
#   delete   the clean-up job's only task: remove the devcontainers and the machine's directory
#
# The build puts this file behind machine_base.sh and the other machine_*.sh, which hold functions. It comes into the
# container as an argument of sh. Nomad reads that argument as an HCL template, so neither a dollar nor a percent sign may
# stand before an opening brace in any of them (a test looks). POSIX sh; dash, busybox and bash run it.
# shellcheck disable=SC2154 # the variables: machine_base.sh

run() {
	trap 'exit 0' TERM INT
	trap : HUP # a secret has changed, with VAULT_CHANGE_MODE=signal
	case $docker_mode in
	host) [ -S "$sock" ] || fail "$sock is no socket: does docker on this client listen there?" ;;
	dind) ;;
	*) fail "DEVPOD_DOCKER_MODE is neither host nor dind but '$docker_mode'" ;;
	esac
	check_data
	check_layout
	{ mkdir -p "$dir" && chmod 700 "$dir"; } || fail "the machine's directory $dir cannot be made"
	write_layout
	install_missing
	trust_certificates
	# DevPod 0.6.15 installs its daemon only where there is systemd or this directory
	mkdir -p "$root/etc/init.d" 2>/dev/null || say "warning: /etc/init.d cannot be made"
	[ "$docker_mode" = host ] || start_dind
	# src/spec/secrets.sh, where there are secrets
	if have keep_secrets; then
		keep_secrets &
	fi
	say ready
	if [ "$docker_mode" = dind ]; then
		stay_with_dind
	fi
	while :; do
		sleep 86400 &
		wait $!
	done
}

# one log, in order; the provider follows stdout
exec 2>&1
case "$1" in
run | stopped | delete) "$1" ;;
*) fail "unknown part '$1'" ;;
esac
