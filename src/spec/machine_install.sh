#!/bin/sh
# What the image lacks: install it, and keep it for the next start. Functions of machine.sh.
# shellcheck disable=SC2154 # dir, root, tools, docker_mode: machine_base.sh

kept_bytes=1500000000
linked_bytes=1000000
package_databases='^[.]/(var/lib/dpkg|lib/apk|usr/lib/apk|etc/apk|var/lib/rpm|usr/lib/sysimage|var/lib/dnf)(/|$)'

# Sets $lacking, what the machine must have, and $wanted, what it can do without: docker's client in host mode, which
# DevPod installs in its own way where it is missing, and /bin/kill, which stops a machine after its inactivity timeout.
look_for_tools() {
	lacking='' wanted=''
	have curl || lacking="$lacking curl"
	have git || lacking="$lacking git"
	[ -s /etc/ssl/certs/ca-certificates.crt ] || [ -s /etc/pki/tls/certs/ca-bundle.crt ] || have update-ca-certificates ||
		lacking="$lacking ca-certificates"
	[ -x /bin/kill ] || wanted="$wanted kill"
	if [ "$docker_mode" = host ]; then
		have docker || wanted="$wanted docker"
		return 0
	fi
	have docker || lacking="$lacking docker"
	have dockerd || lacking="$lacking dockerd"
	have iptables || lacking="$lacking iptables"
}

install_missing() {
	look_for_tools
	[ -n "$lacking$wanted" ] || return 0
	missing="$lacking$wanted"
	key=$(image_key "$missing")
	began=$(date +%s)
	restored=false
	if restore_kept "$key"; then
		restored=true
		look_for_tools
		if [ -z "$lacking" ] && [ "$wanted" = "$(cat "$tools/kept/without")" ]; then
			return 0
		fi
	fi
	install_tools
	case " $missing " in *" curl "*) keep_curl ;; esac
	$restored || attended keep_installed "$key" "$began"
}

# Also what hack/machine-image makes an image with.
install_tools() {
	say "installing:$lacking$wanted"
	# shellcheck disable=SC2086 # words
	if ! install_packages $lacking $wanted && [ -n "$lacking" ] && [ -n "$wanted" ]; then
		install_packages $lacking
	fi
	look_for_tools
	[ -z "$lacking" ] ||
		fail "the image lacks:$lacking, and it could not be installed; use an image that has it, or give the machine a network"
	[ -z "$wanted" ] || say "warning: the image lacks:$wanted, and it could not be installed"
}

install_packages() {
	if have apt-get; then
		apt_install "$@"
	elif have apk; then
		attended apk_install "$@"
	elif have dnf; then
		rpm_install dnf "$@"
	elif have microdnf; then
		rpm_install microdnf "$@"
	else
		say "no apt-get, apk, dnf or microdnf in this image"
		return 1
	fi
}

apt_install() {
	export DEBIAN_FRONTEND=noninteractive
	attended apt-get -qq -o Acquire::Languages=none update || return 1
	packages=''
	for tool in "$@"; do
		case $tool in
		docker) tool=$(apt_client) ;;
		dockerd) tool=docker.io ;;
		kill) tool=procps ;;
		esac
		packages="$packages $tool"
	done
	# Packages start their services: dockerd is started here or not at all. A container that loses its power loses its file
	# system with it, so dpkg need not wait for the disk.
	policy=/usr/sbin/policy-rc.d
	if in_container && ! [ -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
	else
		policy=''
	fi
	# shellcheck disable=SC2086 # words
	attended apt-get -qq install -y --no-install-recommends -o Dpkg::Options::=--force-unsafe-io $packages >/dev/null
	installed=$?
	[ -z "$policy" ] || rm -f "$policy"
	return $installed
}

# Newer Debians have the client in a package of its own, where docker.io only recommends it.
apt_client() {
	if apt-cache show docker-cli >/dev/null 2>&1; then
		echo docker-cli
	else
		echo docker.io
	fi
}

apk_install() {
	packages=''
	for tool in "$@"; do
		case $tool in
		docker) tool=docker-cli ;;
		dockerd) tool=docker ;;
		kill) tool=procps ;;
		esac
		packages="$packages $tool"
	done
	# shellcheck disable=SC2086 # words
	apk add --quiet --no-cache $packages
}

# rpm_install MANAGER TOOL...
rpm_install() {
	manager=$1
	shift
	packages=''
	for tool in "$@"; do
		case $tool in
		docker)
			# Fedora's; an older one has the client only together with the daemon
			tool=moby-engine
			[ -z "$("$manager" -q repoquery docker-cli 2>/dev/null)" ] || tool=docker-cli
			;;
		dockerd) tool=moby-engine ;;
		kill) tool=util-linux ;;
		esac
		packages="$packages $tool"
	done
	# shellcheck disable=SC2086 # words
	attended "$manager" -y install $packages >/dev/null
}

# The task `stopped` and the clean-up start from the bare image and may have no network: leave them a curl.
keep_curl() {
	have ldd || return 0
	libraries=$tools/lib
	rm -rf "$tools/curl" "$libraries"
	mkdir -p "$libraries"
	cp "$(command -v curl)" "$tools/curl" || return 0
	ldd "$tools/curl" | sed -n 's/.*=> *\(\/[^ ]*\).*/\1/p' | while read -r library; do
		cp "$library" "$libraries/"
	done
}

# The name of the image's state that what is kept belongs to: its distribution, its packages, and what it lacks. Nothing
# where there is no package database.
image_key() {
	set -- "$1" "$root/var/lib/dpkg/status" "$root/lib/apk/db/installed" "$root/usr/lib/apk/db/installed" \
		"$root/var/lib/rpm/rpmdb.sqlite" "$root/var/lib/rpm/Packages" "$root/usr/lib/sysimage/rpm/rpmdb.sqlite"
	key_of=$1
	shift
	for database in "$@"; do
		if [ -s "$database" ] && have sha256sum; then
			{
				echo "$key_of"
				uname -m
				cat "$root/etc/os-release" "$database" 2>/dev/null
			} | sha256sum | cut -c1-64
			return
		fi
	done
}

# The regular files, links and directories below the root that have changed since the second $1, each behind its
# size (a directory: "d"); no caches, logs or documentation. An inode's ctime is the one stamp that a package manager does not set; what is on
# another device than the root is mounted and not the image's.
changed_since() {
	cd "$root/" && find . -xdev \( -path "./proc" -o -path "./sys" -o -path "./dev" -o -path "./run" -o -path "./var/run" \
		-o -path "./tmp" -o -path "./var/tmp" -o -path "./var/cache" -o -path "./var/log" -o -path "./var/lib/apt/lists" \
		-o -path "./usr/share/doc" -o -path "./usr/share/man" -o -path "./usr/share/locale" -o -path ".$dir" \) -prune \
		-o \( -type f -o -type l -o -type d \) -exec stat -c '%d %Z %s %A %n' {} + |
		awk -v since="$1" 'NR == 1 { device = $1 }
			$1 == device && $2 >= since {
				size = $4 ~ /^d/ ? "d" : $4 ~ /^-/ ? $3 : 0
				sub(/^[0-9]+ [0-9]+ [0-9]+ [^ ]+ /, "")
				print size " " $0
			}'
}

# keep_installed KEY SECOND: what has changed since goes into $tools/kept:
#   key           the image's state that it belongs to
#   without       what could not be installed
#   directories.tar  restored first: overlayfs copies each up with an fsync, which is cheap before there is anything to write
#   files.tar     the files
#   large/        large files, docker's programs above all, linked to instead of copied at a start: to write them again costs
#                 seconds where the disk is busy. No libraries: apt's methods load them, and only root can enter here
#   packages.tar  the package database: not before the files are seen to work may it say that they are there
keep_installed() {
	if [ -z "$1" ] || ! in_container || ! have find || ! have awk || ! have tar; then
		return 0
	fi
	new=$tools/kept.new
	rm -rf "$new"
	mkdir -p "$new/large" || return 0
	changed_since "$2" >"$new/changed"
	if [ "$(awk '{ sum += $1 } END { print sum + 0 }' "$new/changed")" -gt "$kept_bytes" ]; then
		say "warning: what was installed is more than $kept_bytes bytes and is not kept for the next start"
	elif keep_changed && printf '%s\n' "$1" >"$new/key" && rm -rf "$tools/kept" && mv "$new" "$tools/kept"; then
		return 0
	else
		say "warning: what was installed could not be kept for the next start"
	fi
	rm -rf "$new"
}

keep_changed() {
	printf '%s\n' "$wanted" >"$new/without"
	for list in linked directories files packages; do
		: >"$new/$list"
	done
	awk -v size="$linked_bytes" -v databases="$package_databases" -v to="$new/" '{
			directory = $1 == "d"
			large = !directory && $1 > size + 0
			sub(/^[0-9d]+ /, "")
			print >(to (directory ? "directories" : $0 ~ databases ? "packages" : large && !/[.]so/ && !/^[.]\/(etc|var)\// ? "linked" : "files"))
		}' "$new/changed"
	while read -r file; do
		mkdir -p "$new/large/$(dirname "$file")" && cp -p "$root/$file" "$new/large/$file" || return 1
	done <"$new/linked"
	pack directories && pack files && pack packages && rm -f "$new/changed" "$new/directories" "$new/files" "$new/packages"
}

# Not every busybox's tar can read a list, nor append: all names are arguments.
pack() (
	IFS='
'
	set -f
	# shellcheck disable=SC2046 # a word is a line
	tar -C "$root/" -cf "$new/$1.tar" --no-recursion $(cat "$new/$1")
)

# restore_kept KEY: false when there is nothing of use; then the image is as it was, but for files that no package owns.
restore_kept() {
	kept=$tools/kept kept_key=''
	rm -rf "$kept.new"
	[ -f "$kept/key" ] && read -r kept_key <"$kept/key"
	if [ -n "$1" ] && [ "$kept_key" = "$1" ] && have tar; then
		attended tar -C "$root/" -xpf "$kept/directories.tar" && attended tar -C "$root/" -xpf "$kept/files.tar" && link_large && tools_run &&
			attended tar -C "$root/" -xpf "$kept/packages.tar" && return 0
		say "warning: what was kept of the last installation does not work and is removed"
		unlink_large
	fi
	rm -rf "$kept"
	return 1
}

link_large() {
	while read -r file; do
		ln -sf "$kept/large/$file" "$root/$file" || return 1
	done <"$kept/linked"
}

# A package manager would write through the links.
unlink_large() {
	while read -r file; do
		rm -f "$root/$file"
	done <"$kept/linked"
}

# Each that was missing says its version.
tools_run() {
	for tool in $missing; do
		case $tool in
		ca-certificates | kill) ;;
		*) "$tool" --version >/dev/null 2>&1 || return 1 ;;
		esac
	done
}
