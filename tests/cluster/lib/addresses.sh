# The addresses of a cluster with a node: one network of 16 bits that nothing else on this machine uses, such as 10.213,
# cut into three.
#   10.213.0.0/30    the cable between the machine (.1) and the node (.2)
#   10.213.1.0/24    pods
#   10.213.128.0/17  Services; the cluster's DNS is 10.213.128.10

# Private addresses, and those for benchmarks, which hardly any network uses.
candidates="$(echo 10.{213..244} 172.{20..31} 198.{18..19})"

# A route of this metric is this cluster's, so that it is found again however `up` ended.
metric() { echo $((4096 + $(cksum <<<"$name" | cut -d' ' -f1) % 1000000)); }

in_use() { # NETWORK: as a whole, in part, or within something larger that is not a default route, whole or in halves
  ip -4 route show table all root "$1"
  ip -4 route show table all match "$1" | grep -vE '^(default|0\.0\.0\.0/1|128\.0\.0\.0/1) ' || :
}

take_addresses() { # claims a free network and remembers it
  # One at a time on this machine, for the look and the claim.
  exec 7</run
  flock 7
  for net in $candidates; do
    [ -z "$(in_use "$net.0.0/16")" ] || continue
    # Without the node's link its addresses must not fall through to the default route: something out there might answer.
    ip route add unreachable "$net.0.0/16" metric "$(metric)"
    exec 7<&-
    echo "$net" >"$state/net"
    addresses
    return
  done
  die "this machine uses all of these networks of 16 bits: $candidates"
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
