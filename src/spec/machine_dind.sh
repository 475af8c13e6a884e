#!/bin/sh
# Docker inside the machine's task (dind). Functions of machine.sh.
#
# The task's container is privileged, and nothing of dockerd's runs or is mounted outside it: when the container ends, by
# whatever cause, so do dockerd and its containers. What lasts is the data root, $dir/docker.
# shellcheck disable=SC2154 # dir, tools, sock, allocation: machine_base.sh

dockerd_log=$root/var/log/devpod-dockerd.log
dockerd_log_bytes=1000000
dockerd_stop_seconds=20 # of the 30 that Nomad gives the task; docker gives a container 10
# Neither outlives the container: a dockerd that was killed must not be taken for running by the next one.
dockerd_pid_file=$root/var/run/docker.pid
dockerd_exec_root=$root/var/run/docker

# divide_cgroup ROOT PATH: let the cgroup PATH below ROOT, which is the task's, have children with limits of their own.
# With cgroup v2 it may not have processes of its own then: they go into a child. Nomad's limits are the task's cgroup's and
# hold for all that is below. With cgroup v1 there is nothing to do: below the roots that the container sees there is
# only the task's own part of each hierarchy, and a cgroup may have both.
divide_cgroup() {
	case $2 in
	/) own=$1 ;;
	*) own=$1$2 ;;
	esac
	mkdir -p "$own/machine" || return 1
	for attempt in 1 2 3 4 5; do
		# one that has ended meanwhile cannot be moved; one that is new is found the next time
		while read -r pid; do
			echo "$pid" >>"$own/machine/cgroup.procs"
		done <"$own/cgroup.procs" 2>/dev/null
		undivided=
		read -r controllers <"$own/cgroup.controllers"
		for controller in $controllers; do
			{ echo "+$controller" >>"$own/cgroup.subtree_control"; } 2>/dev/null || undivided="$undivided $controller"
		done
		[ -n "$undivided" ] || return 0
	done
	say "warning: cgroup v2: not divided after $attempt attempts:$undivided; limits that a devcontainer sets itself for these do not work"
}

# Sets $cgroup_parent, where dockerd puts its containers: below the task's cgroup, also when the container sees the
# host's whole tree (cgroup namespace `host`), where dockerd's own choice, /docker, would be outside.
prepare_cgroup() {
	cgroup_parent=/docker
	[ -f "$root/sys/fs/cgroup/cgroup.controllers" ] || return 0
	own_path=$(sed -n 's/^0:://p' "$root/proc/self/cgroup")
	case $own_path in
	/../* | /.. | "")
		fail "the container's cgroup ('$own_path') is not below its /sys/fs/cgroup: Nomad's limits would not hold for the devcontainers" ;;
	/) ;;
	*) cgroup_parent=$own_path/docker ;;
	esac
	divide_cgroup "$root/sys/fs/cgroup" "$own_path" || fail "cgroup v2: $own_path cannot be divided"
}

iptables_works() {
	iptables -w -t filter -nL >/dev/null 2>&1 && iptables -w -t nat -nL >/dev/null 2>&1
}

# dockerd calls iptables by its name. A kernel may have the modules of only one of its two kinds.
choose_iptables() {
	iptables_works && return 0
	first_path=$PATH
	# docker's own image has a directory of links; other images have the older kind under names of its own
	if ! [ -x /usr/local/sbin/.iptables-legacy/iptables ] && have iptables-legacy; then
		mkdir -p /usr/local/sbin/.iptables-legacy
		ln -sf "$(command -v iptables-legacy)" /usr/local/sbin/.iptables-legacy/iptables
		ln -sf "$(command -v ip6tables-legacy)" /usr/local/sbin/.iptables-legacy/ip6tables
	fi
	PATH=/usr/local/sbin/.iptables-legacy:$PATH
	if iptables_works; then
		say "iptables: the legacy kind, since nft's does not work with this kernel"
		return 0
	fi
	PATH=$first_path
	say "warning: iptables does not work: $(iptables -w -t nat -nL 2>&1 | head -n 1); the client's kernel lacks nf_tables and nft_compat, or ip_tables and iptable_nat: load them there (modprobe)"
}

run_dockerd() {
	# What the kernel kills first when memory is short should be in a devcontainer (docker gives those 0), not dockerd. Needs
	# CAP_SYS_RESOURCE, which not every host can give: then all are alike.
	{ echo -500 >/proc/self/oom_score_adj; } 2>/dev/null
	# The driver of images and containers is dockerd's to choose: overlay2 where that works, and the one that the data root
	# has been made with. Only vfs it would not take again where overlay2 works now, and the devcontainers would be gone.
	[ "$(ls "$dir/docker/image" 2>/dev/null)" != vfs ] || set -- --storage-driver vfs
	# for devcontainers that ask for the GPUs of this task
	if have nvidia-container-runtime; then
		set -- "$@" --add-runtime "nvidia=$(command -v nvidia-container-runtime)"
	fi
	# cgroupfs: there is no systemd here to ask
	exec dockerd "$@" --data-root "$dir/docker" --exec-root "$dockerd_exec_root" --pidfile "$dockerd_pid_file" \
		--host "unix://$sock" --cgroup-parent "$cgroup_parent" --exec-opt native.cgroupdriver=cgroupfs \
		>>"$dockerd_log" 2>&1
}

bound_dockerd_log() {
	while sleep 600; do
		if [ "$(wc -c <"$dockerd_log")" -gt "$dockerd_log_bytes" ]; then
			tail -n 1000 "$dockerd_log" >"$dockerd_log.new"
			cat "$dockerd_log.new" >"$dockerd_log"
		fi
	done
}

# It is not started again here: without it the devcontainers are gone anyway, since a new dockerd ends those it finds
# running. Nomad shows the failed task with these lines, and a start brings the machine back.
dockerd_ended() {
	say "dockerd has ended by itself; the last lines of its log:"
	grep -v 'module=grpc$' "$dockerd_log" | tail -n 15 | cut -c 1-500 | sed 's/^/machine: dockerd: /'
	fail "dockerd: exit code $1: $(tail -n 1 "$dockerd_log" | cut -c 1-300)"
}

start_dind() {
	prepare_cgroup
	choose_iptables
	# A devcontainer may ask for mounts with shared propagation, as on a host with systemd. Not mounted, though docker's own
	# image does: securityfs, with which dockerd would want apparmor_parser in this image for a profile inside an
	# unconfined container; a tmpfs on /tmp, which dockerd does not use.
	mount --make-rshared / || say "warning: the mounts could not be made shared: devcontainers cannot have mounts with shared propagation"
	rm -rf "$dockerd_exec_root" "$dockerd_pid_file" "$sock" || fail "$sock is in use: a dind machine has no docker socket mounted"
	find_curl
	dockerd=
	trap stop_dind TERM INT
	mkdir -p "$root/var/log"
	run_dockerd &
	dockerd=$!
	until [ -S "$sock" ]; do
		kill -0 "$dockerd" 2>/dev/null || stay_with_dind
		attended sleep 0.05
	done
	# dockerd takes the connection at once and answers when it is up
	if ! attended docker_api 600 GET /_ping 200 >/dev/null; then
		kill "$dockerd" 2>/dev/null
		stay_with_dind
	fi
	driver=$(docker_api 30 GET /info 200 | sed -n 's/.*"Driver":"\([a-z0-9-]*\)".*/\1/p')
	case $driver in
	vfs | native)
		say "warning: docker's storage driver is $driver, since overlay does not work on the file system of $dir: every layer is a full copy, so images and devcontainers are slow to make and need several times the space" ;;
	esac
	start_noted
	bound_dockerd_log &
}

# Until dockerd ends: a TERM runs stop_dind and comes not back.
stay_with_dind() {
	await "$dockerd"
	dockerd_ended $?
}

# The containers that run are noted for a restart of the task in the same allocation, and end with dockerd, as it
# would end them: asking for each one's stop would make docker forget those with a restart policy.
stop_dind() {
	trap : TERM INT
	[ -n "$dockerd" ] || exit 0
	note_running
	kill "$dockerd"
	{
		sleep "$dockerd_stop_seconds"
		say "warning: dockerd has not stopped within $dockerd_stop_seconds s and is killed"
		kill -KILL "$dockerd"
	} &
	await "$dockerd" # a second TERM changes nothing
	exit 0
}

note_running() {
	running=$(docker_api 5 GET /containers/json 200) || return 0
	mkdir -p "$tools" || return 0
	{
		printf '%s\n' "$allocation"
		# the oldest first: another may use its network
		printf '%s\n' "$running" | split_containers | container_ids | sed '1!G;h;$!d'
	} >"$tools/running.new" && mv "$tools/running.new" "$tools/running"
}

# A new allocation is a start, and what runs then is for DevPod to say.
start_noted() {
	[ -f "$tools/running" ] || return 0
	if [ -n "$allocation" ] && [ "$(sed 1q "$tools/running")" = "$allocation" ]; then
		running=$(sed 1d "$tools/running")
		for id in $running; do
			# 304: its restart policy was faster; 404: removed meanwhile
			attended docker_api 60 POST "/containers/$id/start" 204 304 404 >/dev/null ||
				say "warning: container $id, which ran before the task was restarted, does not start"
		done
	fi
	rm -f "$tools/running"
}
