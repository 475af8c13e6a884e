#!/bin/sh
# What `command` runs in the machine, as `/bin/sh -c TEXT`; stream.c and pump.c are the other side. POSIX sh:
# dash, busybox ash, bash. Comment lines are not sent, and the rest stays below 1 KB because it goes into the URL.
#
# Nothing has run before the ready mark was read, so the other side may try again until then.
printf '\036dpn-ready\n'

# "NONCE STDIN": STDIN is 1 when there is a stdin for the command, 0 when it was at its end from the start. Then the
# command as one line for printf %b. A line cut short is a line that hung up: nothing runs.
read -r _dpn || exit
# shellcheck disable=SC2086 # both words
set -- $_dpn
IFS= read -r _dpn || exit
# the dot keeps newlines at the command's end
_dpn=$(printf %b. "$_dpn")

# Our own stdin tells when the other side is done. The command sees none of this: no descriptor, argument or variable.
exec 3<&0
[ "$2" = 1 ] || exec </dev/null
(
	exec 3<&-
	set --
	eval "unset _dpn;${_dpn%.}"
)
_dpn=$?
printf '\036%s:%s\n' "$1" $_dpn
printf '\036%s:%s\n' "$1" $_dpn >&2

# Output would be lost if we ended before the other side has all of it (hashicorp/nomad#27146). Then it closes our stdin,
# after the nonce if that was the command's stdin too; where it was closed on the way nothing can tell, so we stay.
case $2$(tail -c 32 <&3) in
0* | "1$1") ;;
*) sleep 30 ;;
esac
