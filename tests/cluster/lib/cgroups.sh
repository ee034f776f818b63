# A cgroup tree of its own for the node, of the same shape as the machine's: version 1, version 2, or both.

# Where the hierarchies are mounted.
hierarchies() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts; }
only_version_2() { [ "$(hierarchies)" = /sys/fs/cgroup ]; }

make_cgroups() {
  local g f
  for g in $(hierarchies); do mkdir -p "$g/$name"; done
  # A cpuset of version 1 takes no process before it has CPUs and memory nodes.
  for g in $(hierarchies); do
    for f in cpus mems; do [ ! -e "$g/cpuset.$f" ] || only_version_2 || cat "$g/cpuset.$f" >"$g/$name/cpuset.$f"; done
  done
}

join_cgroups() { local g; for g in $(hierarchies); do echo $BASHPID >"$g/$name/cgroup.procs"; done; }

mount_cgroups() { # inside the node, whose root is the cgroup that it joined
  if only_version_2; then
    umount /sys/fs/cgroup; mount -t cgroup2 cgroup /sys/fs/cgroup
    # A cgroup that hands controllers to its children holds no process of its own.
    mkdir /sys/fs/cgroup/init
    local pid; while read -r pid; do echo "$pid" >/sys/fs/cgroup/init/cgroup.procs || :; done </sys/fs/cgroup/cgroup.procs
    sed 's/[^ ]*/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
    return
  fi
  local type options point
  awk '$3 == "cgroup" || $3 == "cgroup2" { print $3, $4, $2 }' /proc/mounts >"$state/cgroups"
  while read -r type options point; do umount "$point"; done <"$state/cgroups"
  umount /sys/fs/cgroup; mount -t tmpfs cgroup /sys/fs/cgroup
  while read -r type options point; do
    # Only the names of controllers are left of the options.
    options=$(sed -E 's/\b(rw|ro|nosuid|nodev|noexec|relatime|nsdelegate|memory_recursiveprot)\b//g; s/,+/,/g; s/^,|,$//g; s/^name=/none,name=/' <<<"$options")
    mkdir -p "$point"; mount -t "$type" ${options:+-o "$options"} cgroup "$point"
  done <"$state/cgroups"
}

remove_cgroups() {
  local g
  for g in $(hierarchies); do
    [ ! -d "$g/$name" ] || eventually find "$g/$name" -depth -type d -exec rmdir {} +
  done
}
