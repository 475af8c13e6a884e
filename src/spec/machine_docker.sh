#!/bin/sh
# Docker's API, spoken with curl. Functions of machine.sh.
# shellcheck disable=SC2154 # sock, tools: machine_base.sh

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

# docker_api SECONDS METHOD PATH STATUS...: the reply on stdout when its status is one of these; otherwise said on stderr,
# and false.
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
	say "error: docker: $method $path: HTTP $status: $(printf '%s\n' "$reply" | sed '$d')" >&2
	return 1
}

# The containers of a list from docker, on stdin, one a line. In docker's JSON a quote inside a string is escaped: a
# pattern with quotes around it matches members only.
split_containers() {
	sed 's/{"Id":"/\
&/g'
}

# Of one object a line, the ids: 64 hexadecimal digits.
container_ids() {
	sed -n 's/^{"Id":"\([0-9a-f]\{64\}\)".*/\1/p'
}
