#!/bin/sh
# What `command` runs in the machine when it has a terminal, as bootstrap.sh where it has none: see there. Here the
# three streams are a pty. All that comes before the start mark is dropped by the other side.
#
# Without stty the head is echoed before the start mark, and sizes come late, by Nomad's frames.
stty -echo 2>/dev/null
printf '\036dpn-ready\n'

# "NONCE ROWS COLUMNS TERM"; then the command for printf %b in lines, as a terminal cuts a line at 4095 bytes and acts
# on control characters; then an empty line. Lines that break off run nothing.
read -r _dpn || exit
# shellcheck disable=SC2086 # the words
set -- $_dpn
_dpn=
while IFS= read -r _dpl || exit; [ "$_dpl" ]; do
	_dpn=$_dpn$_dpl
done
_dpn=$(printf %b. "$_dpn")
stty echo rows "$2" cols "$3" 2>/dev/null

# ^C and ^\ are for the command; we have something to say after it
trap : INT QUIT
printf '\036%s:0\n' "$1"
(
	[ -z "$4" ] || export TERM="$4"
	set --
	eval "unset _dpn _dpl;${_dpn%.}"
)
_dpn=$?

# It may have left the terminal in any mode, and its own group in the foreground.
trap '' INT QUIT TSTP TTIN TTOU
stty sane -echo 2>/dev/null
printf '\036%s:%s\n' "$1" $_dpn

# A terminal has no end that told when the other side is done. It says so by the nonce, and is answered by the mark.
exec 3<&0 # what is in the background would have /dev/null
sleep 5 &
_dpl=$!
while IFS= read -r _dpn; do
	case $_dpn in *"$1") kill $_dpl ;; esac
done <&3 &
wait $_dpl
printf '\036%s:0\n' "$1"
kill $!
