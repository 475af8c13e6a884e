#!/bin/sh
# What the machine's directory holds: agent/ (DevPod's), docker/ (the data root of a dind machine), .tools/ (what is
# kept for the next start) and .layout, three lines: "layout N", "docker host" or "docker dind", and "start STAMP", of the
# start that made it. Functions of machine.sh.
# shellcheck disable=SC2154 # dir, docker_mode, expect_data, only_of, start: machine_base.sh

layout_known=1

has_data() { [ -f "$dir/.layout" ] || [ -e "$dir/agent" ]; }

# A machine that ran before and finds nothing is on the wrong node, or somebody took its directory away. It must not
# come up empty: no DevPod would fill it again. The provider knows this exit code (SPEC_EXIT_NO_DATA).
check_data() {
	if [ -n "$expect_data" ] && ! has_data; then
		say "error: $dir on this node is empty: the machine's data are not here"
		exit 66
	fi
}

# Refuses a directory that this script would harm or not understand, before anything in it is touched.
check_layout() {
	version=$layout_known
	if [ -f "$dir/.layout" ]; then
		{
			read -r layout_word version
			read -r docker_word noted_mode
		} <"$dir/.layout"
		case "$layout_word $docker_word $version" in
		"layout docker "*[!0-9]* | "layout docker ") fail "$dir/.layout is not understood" ;;
		"layout docker "*) ;;
		*) fail "$dir/.layout is not understood" ;;
		esac
	elif [ -d "$dir/docker" ]; then
		noted_mode=dind
	elif [ -e "$dir/agent" ]; then
		# made by a provider that knew nothing else
		noted_mode=host
	else
		noted_mode=$docker_mode
	fi
	[ "$version" -le "$layout_known" ] ||
		fail "$dir has layout $version, this provider knows $layout_known: use the newer provider that wrote it, or delete the machine"
	[ "$noted_mode" = "$docker_mode" ] ||
		fail "this machine was made with NOMAD_DOCKER_MODE=$noted_mode, its devcontainers are there, and now it is $docker_mode: set it back, or delete the machine and create it anew"
}

# What a start has found is not for its failure to take away.
is_of_other_start() { [ -n "$only_of" ] && has_data && ! grep -qxF "start $only_of" "$dir/.layout" 2>/dev/null; }

write_layout() {
	[ -f "$dir/.layout" ] && return 0
	if ! printf 'layout %s\ndocker %s\nstart %s\n' "$layout_known" "$docker_mode" "$start" >"$dir/.layout.new" ||
		! mv "$dir/.layout.new" "$dir/.layout"; then
		fail "$dir/.layout cannot be written"
	fi
}
