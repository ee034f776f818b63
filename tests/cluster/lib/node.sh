# A node made of namespaces: its first process is this script, everything else of the cluster runs beneath it.

up_node() {
  take_addresses
  pki $node_ip $kubernetes_ip https://$node_ip:6443
  make_cgroups
  (
    join_cgroups
    # Descriptor 9 is the machine's network namespace: the node plugs its cable in there.
    exec 9</proc/self/ns/net
    export CLUSTER_PROCESS_OF=$state
    # The lock is held until this process is one that `down` finds.
    exec setsid unshare -C -m -n -u -i -p -f --kill-child --mount-proc --propagation private "$self" node_process 8>&-
  ) >>"$state/log/init.log" 2>&1 </dev/null &
  eventually test -e "$state/started"
  local archive
  for archive in "${CLUSTER_IMAGES:?}"/*.tar; do load_image <"$archive"; done >>"$state/log/load-image.log" 2>&1
  sed "s/@dns_ip@/$dns_ip/" "$here"/deploy/*.yaml | kubectl apply -f - >>"$state/log/deploy.log"
  ready
}

ready() {
  {
    kubectl wait --for=create node/$node --timeout=60s
    kubectl wait --for=condition=Ready node/$node --timeout=60s
    kubectl -n kube-system rollout status deployment --timeout=120s
    kubectl -n s3 rollout status deployment --timeout=120s
    kubectl wait --for=condition=Available apiservice/v1beta1.metrics.k8s.io --timeout=60s
  } >>"$state/log/deploy.log" 2>&1 || die "$(tail -1 "$state/log/deploy.log") (logs: $state/log)"
}

node_process() { # the first process of the node
  addresses
  hostname $node
  mount_cgroups
  private_files
  plug_in
  configure
  keep_running containerd containerd -c "$state/containerd.toml"
  etcd_and_api_server --bind-address=0.0.0.0 --advertise-address=$node_ip --secure-port=6443
  controllers -- --allocate-node-cidrs --cluster-cidr=$pods
  keep_running kubelet kubelet --config="$state/kubelet.yaml" --kubeconfig="$state/kubelet.kubeconfig" \
    --hostname-override=$node --node-ip=$node_ip --root-dir="$state/kubelet" --cert-dir="$state/pki"
  keep_running kube-proxy kube-proxy --config="$state/kube-proxy.yaml"
  [ -z "${CLUSTER_POLICIES:-}" ] || keep_running kube-router "$CLUSTER_POLICIES" --kubeconfig="$state/admin.kubeconfig" \
    --hostname-override=$node --run-firewall --run-router=false --run-service-proxy=false --enable-cni=false \
    --service-cluster-ip-range=$services
  touch "$state/started"
  # The first process also reaps whatever loses its parent.
  while :; do wait; sleep 1; done
}

private_files() { # what the node writes to, and kernel settings that the kubelet changes and the machine must keep
  local f k
  mount -t tmpfs run /run; mkdir -p /run/lock
  mount -t tmpfs log /var/log
  # CNI and the kubelet have fixed folders in /var/lib; what they make there is this node's alone.
  mkdir -p /run/var-lib/{new,work} /run/state; mount --bind "$state" /run/state
  mount -t overlay -o lowerdir=/var/lib,upperdir=/run/var-lib/new,workdir=/run/var-lib/work var-lib /var/lib
  case $state in /var/lib/*) mount --bind /run/state "$state" ;; esac
  printf '127.0.0.1 localhost\n%s %s\n' $node_ip $node >"$state/hosts"
  echo "nameserver $dns_ip" >"$state/resolv.conf"
  for f in hosts resolv.conf; do mount --bind "$state/$f" "$(readlink -f /etc/$f)"; done
  for k in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops; do
    f=$state/sysctl/$k; mkdir -p "${f%/*}"; cat /proc/sys/$k >"$f"; mount --bind "$f" /proc/sys/$k
  done
  # Pods with user namespaces need one /proc that nothing is mounted over.
  mkdir /run/proc; mount -t proc proc /run/proc
  mount --make-rshared /
}

plug_in() { # one cable to the machine, pods behind a bridge; no default route, so nothing leaves the machine
  ip link set lo up
  ip link add eth0 type veth peer name "$name" netns /proc/self/fd/9
  ip addr add $node_ip/30 dev eth0; ip link set eth0 up
  # The node's own traffic to a Service needs some route before its address is rewritten.
  ip route add $services via $host_ip
  nsenter --net=/proc/self/fd/9 sh -ec "ip addr add $host_ip/30 dev $name; ip link set $name up; ip route add $net.0.0/16 via $node_ip"
  exec 9<&-
  echo 1 >/proc/sys/net/ipv4/ip_forward
  nft "table ip pods { chain post { type nat hook postrouting priority 101; ip saddr $pods ip daddr != $pods masquerade; }; }"
}

configure() { # the files in node/, with this cluster's values
  local file runc
  runc=$(command -v runc)
  for file in containerd.toml kubelet.yaml kube-proxy.yaml pods.conflist; do
    sed "s|@state@|$state|; s|@bin@|$bin|; s|@runc@|$runc|; s|@node@|$node|; s|@pods@|$pods|; s|@dns_ip@|$dns_ip|; s|@open_files@|$(ulimit -Hn)|" \
      "$here/node/$file" >"$state/$file"
  done
  mkdir "$state/cni"; mv "$state/pods.conflist" "$state/cni/"
}

remove_node() {
  # Half-closed connections can hold a dead node's network namespace, and with it the cable, for a minute.
  # By asking the kernel: /sys may show the devices of another network namespace.
  ! ip link show "$name" >/dev/null 2>&1 || ip link delete "$name"
  give_addresses_back
  remove_cgroups
}

first_process() { # of the node: number 1 in its own namespace
  local pid
  for pid in $(processes); do
    ! grep -qsE '^NSpid:\s+[0-9]+\s+1$' "/proc/$pid/status" || echo "$pid"
  done
}

node() {
  local first
  first=$(first_process); [ -n "$first" ] || die "no node is running: cargo xtask cluster up"
  exec nsenter -t "$first" -m -n -u -i -p -C --wd=/ -- "$@"
}

load_image() { (node ctr -n k8s.io images import --local=false -); }
