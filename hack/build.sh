#!/bin/sh
# Builds the executable for this platform and writes release/provider.yaml, from provider.yaml.in and the option table.
#   RELEASE_VERSION=0.1.0 hack/build.sh --dev    paths of this checkout: devpod provider add ./release/provider.yaml
#   RELEASE_VERSION=0.1.0 hack/build.sh          GitHub release URLs of $RELEASE_REPOSITORY (owner/name)
set -eu
cd "$(dirname "$0")/.."

usage() {
	echo "usage: RELEASE_VERSION=X.Y.Z hack/build.sh [--dev]" >&2
	exit 2
}
dev=false
[ $# -le 1 ] || usage
case "${1-}" in
--dev) dev=true ;;
"") ;;
*) usage ;;
esac
version=${RELEASE_VERSION-}
version=${version#v}
case "$version" in
[0-9]*.[0-9]*.[0-9]*) ;;
*)
	echo "error: RELEASE_VERSION '$version': not like 1.2.3 or 1.2.3-dev" >&2
	usage
	;;
esac
case "$version" in *[!0-9A-Za-z.+-]*) usage ;; esac

case "$(uname -s)" in
Linux) os=linux ;;
Darwin) os=darwin ;;
*) echo "error: no build for $(uname -s) yet" >&2 && exit 1 ;;
esac
case "$(uname -m)" in
x86_64 | amd64) arch=amd64 ;;
aarch64 | arm64) arch=arm64 ;;
*) echo "error: no build for $(uname -m)" >&2 && exit 1 ;;
esac

if $dev; then
	from=$PWD/release
else
	repository=${RELEASE_REPOSITORY:-${GITHUB_REPOSITORY-}}
	case "$repository" in
	?*/?*) ;;
	*) echo "error: RELEASE_REPOSITORY '$repository': set it to the GitHub repository, owner/name" >&2 && exit 1 ;;
	esac
	from=https://github.com/$repository/releases/download/v$version
fi

cmake --preset release -DDPN_VERSION="$version" >/dev/null
cmake --build --preset release >/dev/null
mkdir -p release
binary=devpod-provider-nomad-$os-$arch
install -m 755 build/release/devpod-provider-nomad "release/$binary"
strip "release/$binary"
if command -v sha256sum >/dev/null 2>&1; then
	checksum=$(sha256sum "release/$binary")
else
	checksum=$(shasum -a 256 "release/$binary")
fi
checksum=${checksum%% *}
(cd release && printf '%s  %s\n' "$checksum" "$binary" >checksums.txt)

# Of the list of binaries, four lines each, those stay that were built.
platform=$(printf '%s_%s' "$os" "$arch" | tr '[:lower:]' '[:upper:]')
build/release/dpn-reference provider-yaml >release/options.tmp
awk -v version="v$version" -v path="$from/$binary" -v checksum="$checksum" -v platform="$platform" '
	/^#/ { next }
	/^@OPTIONS@$/ { while ((getline line < "release/options.tmp") > 0) print line; next }
	/^    - os: / { entry = $0; next }
	/^      arch: / { entry = entry "\n" $0; next }
	/@PATH_/ { keep = index($0, "@PATH_" platform "@"); if (keep) print entry "\n      path: \"" path "\""; next }
	/@CHECKSUM_/ { if (keep) print "      checksum: " checksum; next }
	{ sub(/@VERSION@/, version); print }
' provider.yaml.in >release/provider.yaml
rm release/options.tmp
if grep -n '@[A-Z_]*@' release/provider.yaml; then
	echo "error: provider.yaml.in has a name that hack/build.sh does not fill in" >&2
	exit 1
fi
echo "release/$binary $(wc -c <"release/$binary") bytes"
echo "release/provider.yaml"
