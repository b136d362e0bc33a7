# Sourced by tests/run and quickstart: installs the Debian packages that are missing.

# missing_packages FILE KIND...: the packages of these kinds that are not installed, a line each.
missing_packages() {
    local file=$1 kind package
    shift
    while read -r kind package _; do
        case " $* " in
        *" $kind "*) ;;
        *) continue ;;
        esac
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            echo "$package"
    done < <(grep -v '^#' "$file")
}

# install_packages LOG PACKAGE...: by apt-get as root or through sudo; false when it cannot.
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
    if "${apt[@]}" update >>"$log" 2>&1 </dev/null &&
        "${apt[@]}" install -y --no-install-recommends "$@" >>"$log" 2>&1 </dev/null; then
        return 0
    fi
    echo "apt-get could not install: $*" >&2
    tail -n 15 "$log" >&2
    return 1
}
