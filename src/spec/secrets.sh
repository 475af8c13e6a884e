#!/bin/sh
# The machine's secrets as a file in each workspace. Part of the machine script where the machine has secrets, before
# its other parts; keep_secrets runs in the background from the start to the end.
#
# Nomad renders a secret as $NOMAD_SECRETS_DIR/vault-N.sh, again whenever it changes. All of them together become
# .vault-secrets in the root of each workspace. What is in a workspace is its people's: its links are not followed, and
# nothing of theirs is written over but that one name. POSIX sh without `$` or `%` before an opening brace, as in
# machine.sh, whose say() this uses. In the environment: DEVPOD_MACHINE_DATA, where DevPod's agent keeps workspaces.

# DevPod clones into a directory that must be empty, and a clone is done once there is an index; another source needs
# only something in it.
workspace_is_filled() {
	if [ -d "$1/.git" ]; then
		[ -f "$1/.git/index" ]
		return
	fi
	for entry in "$1"/* "$1"/.[!.]*; do
		[ -e "$entry" ] && return 0
	done
	return 1
}

has_secrets() {
	[ -f "$1/.vault-secrets" ] && ! [ -L "$1/.vault-secrets" ] &&
		[ "$(cat "$1/.vault-secrets")" = "$secrets" ] &&
		[ "$(stat -c %u:%g:%a "$1/.vault-secrets")" = "$(stat -c %u:%g "$1"):600" ]
}

# replace NAME UMASK: a file in the directory we are in becomes stdin, all at once, and its owner the directory's. With -C
# the shell creates it and never opens what somebody put there, and the random name is nobody's to guess; mv -T never
# goes into a directory, not even where a link leads to one (busybox's does not replace that one, either).
replace() {
	(
		umask "$2"
		[ -L "$1" ] && rm -f "$1"
		temporary=$(mktemp -u ./.vault-secrets.XXXXXX) && set -C && cat >"$temporary" || exit 1
		chown -h "$(stat -c %u:%g .)" "$temporary" && mv -fT "$temporary" "$1" && exit 0
		rm -f "$temporary"
		exit 1
	)
}

# go_to DIRECTORY: false where a link stands on the way.
go_to() {
	cd "$1" 2>/dev/null && [ "$(pwd -P)" = "$1" ]
}

# Git shall not offer it for a commit.
hide_from_git() (
	[ -d "$1/.git" ] && go_to "$1/.git" || exit 0
	[ -e info ] || [ -L info ] || mkdir info
	go_to "$1/.git/info" || exit 0
	[ -L exclude ] && exit 0
	if [ -e exclude ]; then
		[ -f exclude ] || exit 0
		grep -qxF /.vault-secrets exclude && exit 0
	fi
	{
		[ -e exclude ] && cat exclude && [ -n "$(tail -c 1 exclude)" ] && echo
		echo /.vault-secrets
	} | replace exclude 022
)

install_secrets() (
	go_to "$1" || exit 1
	hide_from_git "$1"
	printf '%s\n' "$secrets" | replace .vault-secrets 077
)

keep_secrets() {
	# file names and values are bytes, in whatever language
	LC_ALL=C
	export LC_ALL
	refused=
	while :; do
		secrets=$(cat "$NOMAD_SECRETS_DIR"/vault-*.sh 2>/dev/null)
		data=$(cd "$DEVPOD_MACHINE_DATA" 2>/dev/null && pwd -P)
		for workspace in "$data"/contexts/*/workspaces/*/content; do
			if [ -z "$secrets" ] || ! [ -d "$workspace" ] || ! workspace_is_filled "$workspace" ||
				has_secrets "$workspace" 2>/dev/null || install_secrets "$workspace" 2>/dev/null; then
				continue
			fi
			# once, not every two seconds
			[ "$refused" = "$workspace" ] || say "warning: .vault-secrets cannot be written in $workspace"
			refused=$workspace
		done
		sleep 2
	done
}
