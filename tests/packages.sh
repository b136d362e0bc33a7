# Sourced by tests/run and quickstart: installs the Debian packages that are missing.

# missing_packages FILE KIND...: the packages of these kinds that are not installed, a line each. A
# package is not missed where the command is there that the file names behind it: Node.js is often
# installed from elsewhere, and Debian's would then not install.
missing_packages() {
    local file=$1 kind package command
    shift
    while read -r kind package command; do
        case " $* " in
        *" $kind "*) ;;
        *) continue ;;
        esac
        [ -n "$command" ] && command -v "$command" >/dev/null && continue
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            echo "$package"
    done < <(grep -v '^#' "$file")
}

# install_packages LOG PACKAGE...: by apt-get as root or through sudo; false when it cannot. One that
# cannot be installed does not keep the others away.
install_packages() {
    local log=$1 as_root=()
    shift
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null && [ ! -t 0 ]; then
            echo "these packages are missing and need root (or sudo) to install: $*" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120)
    local install=("${apt[@]}" install -y --no-install-recommends) package failed=()
    "${apt[@]}" update >>"$log" 2>&1 </dev/null
    "${install[@]}" "$@" >>"$log" 2>&1 </dev/null && return 0
    for package in "$@"; do
        "${install[@]}" "$package" >>"$log" 2>&1 </dev/null || failed+=("$package")
    done
    [ "${#failed[@]}" -eq 0 ] && return 0
    echo "apt-get could not install: ${failed[*]}" >&2
    tail -n 15 "$log" >&2
    return 1
}
