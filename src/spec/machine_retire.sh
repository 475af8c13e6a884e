#!/bin/sh
# The ends of a machine: its devcontainers in the client's docker stopped or removed (host mode), its directory removed.
# Functions of machine.sh.
# shellcheck disable=SC2154 # dir, tools, sock, docker_mode: machine_base.sh

# This machine's containers, an object a line: those with a mount out of its directory, or of a compose project in it; not
# Nomad's own.
devcontainers() {
	list=$(docker_api 30 GET '/containers/json?all=1' 200) || return 1
	printf '%s\n' "$list" | split_containers |
		grep -F -e "\"Source\":\"$dir/" -e "\"Source\":\"$dir\"" -e "\"com.docker.compose.project.working_dir\":\"$dir/" |
		grep -v -F '"com.hashicorp.nomad.alloc_id"'
	return 0
}

# for_each SECONDS METHOD PREFIX SUFFIX STATUS...: the same request for each of $names, all at once.
for_each() {
	seconds=$1 method=$2 prefix=$3 suffix=$4
	shift 4
	jobs_started=
	for name in $names; do
		docker_api "$seconds" "$method" "$prefix$name$suffix" "$@" >/dev/null &
		jobs_started="$jobs_started $!"
	done
	failed=0
	for job in $jobs_started; do
		wait "$job" || failed=1
	done
	return $failed
}

find_devcontainers() {
	found=$(devcontainers) || fail "docker on this client does not tell its containers"
	names=$(printf '%s\n' "$found" | container_ids)
}

stopped() {
	[ -S "$sock" ] || fail "$sock is no socket"
	find_curl
	find_devcontainers
	# 304: it was not running; 404: it went away meanwhile
	for_each 60 POST /containers/ '/stop?t=10' 204 304 404 || fail "a devcontainer could not be stopped"
}

delete() {
	case "$dir" in
	/*/?*) ;;
	*) fail "'$dir' is no machine's directory" ;;
	esac
	if is_of_other_start; then
		say "$dir is of an earlier machine of this name, and stays"
		return 0
	fi
	# a dind machine's containers are files in its directory
	if [ "$docker_mode" = host ] && [ -S "$sock" ]; then
		find_curl
		find_devcontainers
		note_projects
		# 409: docker is removing it already
		for_each 60 DELETE /containers/ '?force=1&v=1' 204 404 409 || fail "a devcontainer could not be removed"
		delete_projects
	fi
	rm -rf "$dir" || fail "$dir could not be removed"
	say deleted
}

# The compose projects in the machine's directory, found by their containers, are noted before these are removed: a
# delete that fails half-way is tried again.
note_projects() {
	projects=$(printf '%s\n' "$found" | grep -F "\"com.docker.compose.project.working_dir\":\"$dir/" |
		sed -n 's/.*"com\.docker\.compose\.project":"\([a-z0-9][a-z0-9_-]*\)".*/\1/p' | sort -u)
	[ -n "$projects" ] || return 0
	if ! mkdir -p "$tools" || ! printf '%s\n' "$projects" >>"$tools/projects"; then
		fail "$tools/projects cannot be written"
	fi
}

# Networks and named volumes carry their project's name and nothing of the machine. Another machine may have a project of
# the same name: as long as it has a container, running or not, they are its too.
delete_projects() {
	[ -f "$tools/projects" ] || return 0
	projects=$(sort -u "$tools/projects")
	for project in $projects; do
		of_project="filters=%7B%22label%22%3A%5B%22com.docker.compose.project%3D$project%22%5D%7D"
		left=$(docker_api 30 GET "/containers/json?all=1&$of_project" 200) || fail "docker on this client does not tell its containers"
		[ "$left" = '[]' ] || continue
		list=$(docker_api 30 GET "/networks?$of_project" 200) || fail "docker on this client does not tell its networks"
		names=$(printf '%s\n' "$list" | sed 's/{"Name":"/\
&/g' | sed -n 's/^{"Name":"[^"]*","Id":"\([0-9a-f]\{64\}\)".*/\1/p')
		# 403, 409: used by a container that came meanwhile
		for_each 60 DELETE /networks/ '' 204 403 404 409 || fail "a network of the compose project $project could not be removed"
		list=$(docker_api 30 GET "/volumes?$of_project" 200) || fail "docker on this client does not tell its volumes"
		names=$(printf '%s\n' "$list" | sed 's/"Mountpoint":"/\
&/g' | sed -n 's/^"Mountpoint":"[^"]*","Name":"\([A-Za-z0-9][A-Za-z0-9_.-]*\)".*/\1/p')
		for_each 60 DELETE /volumes/ '' 204 404 409 || fail "a volume of the compose project $project could not be removed"
	done
}
