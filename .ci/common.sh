# What the scripts beside share; each sources it with its name set.

stop() { echo "$name: $*" >&2; exit 1; }

need() {
  local tool
  for tool; do
    command -v "$tool" >/dev/null || stop "$tool is missing: install it"
  done
}

need_node() {
  need node npm
  node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' || stop "node must be 20 or later"
}

# once FOLDER COMMAND FILE…: runs the command, which installs into the folder
# what the files list, unless it has done so.
once() {
  local folder=$1 command=$2
  shift 2
  if ! cat "$@" | cmp -s - "$folder/installed"; then
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$@" "$folder/"
    (cd "$folder" && "$command") || stop "$command in $folder: is there a network?"
    cat "$@" >"$folder/installed"
  fi
}

install_node() { npm ci --silent --ignore-scripts --no-audit --no-fund; }
