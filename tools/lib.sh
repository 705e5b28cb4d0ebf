# shellcheck shell=bash
# What the scripts in tools/ have in common: words to the person at the terminal, Debian packages,
# the web pages. Sourced with the working directory at the root of the checkout.

# FFmpeg's libraries and what it takes to bind them; a linker for Rust; a font for the clock of `test`.
# shellcheck disable=SC2034 # for those who source this
BUILD_PACKAGES=(
  clang libclang-dev pkg-config gcc libc6-dev ca-certificates
  libavcodec-dev libavformat-dev libavfilter-dev libavutil-dev libswscale-dev libswresample-dev
  fonts-dejavu-core
)

# The oldest that the crates and the web build work with.
RUST_LEAST=1.95
NODE_LEAST=18

say() { printf '%s\n' "$*"; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# target_dir: where cargo builds.
target_dir() { printf '%s' "${CARGO_TARGET_DIR:-$PWD/target}"; }

# at_least VERSION LEAST: VERSION is LEAST or newer.
at_least() { [[ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" == "$2" ]]; }

# missing_packages NAME...: those that are not installed.
missing_packages() {
  local name
  for name in "$@"; do
    [[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" == installed ]] || printf '%s\n' "$name"
  done
}

# need_packages LOG NAME...: installs what is missing, and says so only then.
need_packages() {
  local log=$1 missing as_root=()
  shift
  command -v dpkg-query >/dev/null || die "this is no Debian; install what corresponds to: $*"
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  if [[ "$(id -u)" != 0 ]]; then
    command -v sudo >/dev/null || die "no root and no sudo here; install as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${missing[*]}"
  as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
  if ! { "${as_root[@]}" update && "${as_root[@]}" install --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1 </dev/null; then
    tail -n 30 "$log" >&2
    die "Debian packages cannot be installed; all that apt-get said is in $log"
  fi
}

# need_rust: cargo is there, and new enough.
need_rust() {
  local version
  [[ -d "${CARGO_HOME:-$HOME/.cargo}/bin" ]] && PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
  command -v cargo >/dev/null || die "no Rust here; install it from https://rustup.rs"
  version=$(rustc --version | cut -d ' ' -f 2)
  at_least "$version" "$RUST_LEAST" || die "Rust $version is too old; $RUST_LEAST is needed: rustup update stable"
}

# need_node LOG: Node is there, from Debian if need be, and new enough.
need_node() {
  local version
  command -v node >/dev/null || need_packages "$1" nodejs
  command -v npm >/dev/null || need_packages "$1" npm
  version=$(node --version)
  at_least "${version#v}" "$NODE_LEAST" || die "Node $version is too old; $NODE_LEAST or newer is needed"
}

# web_packages: what the pages are built from, as the lock file says.
web_packages() (
  cd web || exit
  [[ node_modules/.package-lock.json -nt package-lock.json ]] || npm ci --no-audit --no-fund
)

# web_is_stale: some page has not been built from the sources that are here.
web_is_stale() {
  local page
  for page in web/dist/{player,ops,analytics}/index.html; do
    [[ -f $page ]] || return 0
    [[ -z "$(find web/src web/build.mjs web/package.json web/package-lock.json -newer "$page" -print -quit)" ]] || return 0
  done
  return 1
}

# build_web: the pages that the programs carry, if they are not there yet.
build_web() {
  web_is_stale || return 0
  web_packages
  (cd web && npm run --silent build)
}
