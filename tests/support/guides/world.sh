#!/bin/bash
# A machine for one page: executed by tests/support/guide.py in namespaces of its own (files, processes, network), so that
# the page's commands are typed as they are. What they write goes to memory and is gone with the last process.
#   world.sh REPOSITORY SCENE SCRIPT
set -eu
repository=$1 scene=$2 script=$3
exec 9<"$script" 8<"$scene" # either may be hidden below a directory of the new world
mount -t tmpfs world /mnt
cover() { # PLACE: what is written or changed below it from now on is not there outside
    mkdir -p "/mnt/$1/upper" "/mnt/$1/work"
    chmod --reference="/$1" "/mnt/$1/upper"
    mount -t overlay -o "lowerdir=/$1,upperdir=/mnt/$1/upper,workdir=/mnt/$1/work" overlay "/$1"
}
covered=" etc home opt root run srv tmp usr/local var "
for place in $covered; do cover "$place"; done
# The page's user must reach the repository and its .venv by their own path, also where that is in a directory of root alone.
place=
is_covered=
while read -r -d / part; do
    place=${place:+$place/}$part
    [[ $covered != *" $place "* ]] || is_covered=yes
    if [ -n "$place" ] && (($(stat -c '0%a' "/$place") % 2 == 0)); then
        [ -n "$is_covered" ] || cover "$place"
        is_covered=yes
        chmod o+x "/$place"
    fi
done <<<"${repository#/}/"
ip link set lo up
hostname web1
mkdir -p /run/pyfpm /var/log/pyfpm /home/me /etc/pyfpm/pools.d
rm -rf /run/nginx.pid /etc/nginx/sites-enabled/*
ln -sf "$repository/.venv/bin/pyfpm" /usr/local/sbin/pyfpm
for program in systemctl pip python3; do
    [ ! -e "$repository/tests/support/guides/$program" ] || cp "$repository/tests/support/guides/$program" /usr/local/bin/
done
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYFPM_REPOSITORY=$repository
cd /home/me
set +eu
# shellcheck disable=SC1091
source "$repository/tests/support/guides/start.sh"
# shellcheck disable=SC1091  # the page's surroundings
source /dev/fd/8 >&2 </dev/null
if [ -n "${page_user:-}" ]; then
    runuser -u "$page_user" -- bash -c 'source /dev/fd/9'
else
    # shellcheck disable=SC1091  # the page's commands
    source /dev/fd/9
fi
for job in $(jobs -rp); do kill -QUIT "$job"; done
wait
