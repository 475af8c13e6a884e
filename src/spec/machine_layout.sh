#!/bin/sh
# What the machine's directory holds: agent/ (DevPod's), docker/ (the data root of a dind machine), .tools/ (what is
# kept for the next start) and .layout, two lines: "layout N" and "docker host" or "docker dind". Functions of machine.sh.
# shellcheck disable=SC2154 # dir, docker_mode: machine_base.sh

layout_known=1

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

write_layout() {
	[ -f "$dir/.layout" ] && return 0
	if ! printf 'layout %s\ndocker %s\n' "$layout_known" "$docker_mode" >"$dir/.layout.new" ||
		! mv "$dir/.layout.new" "$dir/.layout"; then
		fail "$dir/.layout cannot be written"
	fi
}
