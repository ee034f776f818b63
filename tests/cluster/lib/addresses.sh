# The addresses of a cluster with a node: one 10.X.0.0/16 that nothing else on this machine uses, cut into three.
#   10.X.0.0/30    the cable between the machine (.1) and the node (.2)
#   10.X.1.0/24    pods
#   10.X.128.0/17  Services; the cluster's DNS is 10.X.128.10

# A route of this metric is this cluster's, so that it is found again however `up` ended.
metric() { echo $((4096 + $(cksum <<<"$name" | cut -d' ' -f1) % 1000000)); }

in_use() { # NETWORK: as a whole, in part, or within something larger that is not the default route
  ip -4 route show table all root "$1"
  ip -4 route show table all match "$1" | grep -v '^default' || :
}

take_addresses() { # claims a free network and remembers it
  local x
  # One at a time on this machine, for the look and the claim.
  exec 7</run
  flock 7
  for x in {213..244}; do
    [ -z "$(in_use 10.$x.0.0/16)" ] || continue
    # Without the node's link its addresses must not fall through to the default route: something out there might answer.
    ip route add unreachable 10.$x.0.0/16 metric "$(metric)"
    exec 7<&-
    echo 10.$x >"$state/net"
    addresses
    return
  done
  die "every network from 10.213.0.0/16 to 10.244.0.0/16 is in use on this machine"
}

addresses() { # those of the claimed network
  net=$(cat "$state/net") host_ip=$net.0.1 node_ip=$net.0.2
  pods=$net.1.0/24 services=$net.128.0/17 kubernetes_ip=$net.128.1 dns_ip=$net.128.10
}

give_addresses_back() {
  local net
  command -v ip >/dev/null || return 0 # then this machine never had a node
  for net in $(ip -4 route show type unreachable | awk -v metric="$(metric)" '/ metric / && $4 == metric { print $2 }'); do
    ip route delete unreachable "$net" metric "$(metric)"
  done
}
