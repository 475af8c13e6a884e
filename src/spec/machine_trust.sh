#!/bin/sh
# The registry's certificate, which is mounted from the client, becomes one that all programs in the machine trust. Part of
# the machine script, behind machine_base.sh.
# shellcheck disable=SC2154 # the variables: machine_base.sh

trust_certificates() {
	certificate=$root/usr/local/share/ca-certificates/registry.cluster.crt
	if [ -d "$certificate" ]; then
		say "warning: the client has no file $certificate, docker made a directory of it: the registry's certificate is not trusted"
	fi
	[ -f "$certificate" ] || return 0
	# Debian, Alpine and their relatives; then Fedora's. Where there are both, the first one knows the certificate's place.
	if have update-ca-certificates; then
		trust_at_once
	elif have update-ca-trust; then
		attended trust_anchor
	else
		say "warning: the image has neither update-ca-certificates nor update-ca-trust: only docker trusts the registry's certificate"
	fi
}

# update-ca-certificates takes half a second. In a container of its own, whose bundle nobody else reads, the certificate is
# trusted at once and the rest, which writes the bundle anew with it, need not be waited for.
trust_at_once() {
	bundle=$root/etc/ssl/certs/ca-certificates.crt
	if in_container && [ -s "$bundle" ]; then
		cat "$certificate" >>"$bundle"
		update_certificates &
	else
		attended update_certificates
	fi
}

update_certificates() {
	update-ca-certificates >/dev/null 2>&1 || say "warning: update-ca-certificates failed"
}

# Its anchors are in another directory.
trust_anchor() {
	cp "$certificate" "$root/etc/pki/ca-trust/source/anchors/" && update-ca-trust >/dev/null 2>&1 && return 0
	say "warning: update-ca-trust failed"
}
