# etcd, API server, controller manager and scheduler.

# Scale tests would otherwise measure the client limits: 20 requests a second for the controllers of 1,000 Deployments.
limits=(--kube-api-qps=1000 --kube-api-burst=2000)

etcd_and_api_server() { # API-SERVER-OPTION...
  local etcd=unix://$state/etcd.sock p=$state/pki
  # The data is gone with the cluster, so nothing needs to reach the disk.
  keep_running etcd etcd --data-dir="$state/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls=$etcd --advertise-client-urls=$etcd \
    --listen-peer-urls=$etcd.peer --initial-advertise-peer-urls=$etcd.peer --initial-cluster=default=$etcd.peer
  eventually test -S "$state/etcd.sock"
  keep_running kube-apiserver kube-apiserver --etcd-servers=$etcd --service-cluster-ip-range=$services \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged \
    --client-ca-file=$p/ca.crt --tls-cert-file=$p/apiserver.crt --tls-private-key-file=$p/apiserver.key \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file=$p/service-accounts.key --service-account-signing-key-file=$p/service-accounts.key \
    --kubelet-client-certificate=$p/admin.crt --kubelet-client-key=$p/admin.key \
    --kubelet-certificate-authority=$p/ca.crt --kubelet-preferred-address-types=InternalIP \
    --requestheader-client-ca-file=$p/front-proxy-ca.crt --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file=$p/front-proxy-client.crt --proxy-client-key-file=$p/front-proxy-client.key "$@"
  eventually kubectl get --raw=/readyz
}

controllers() { # OPTION-OF-BOTH... -- CONTROLLER-MANAGER-OPTION...
  local both=() p=$state/pki k=$state/controller-manager.kubeconfig
  while [ "$1" != -- ]; do both+=("$1"); shift; done; shift
  keep_running kube-controller-manager kube-controller-manager --leader-elect=false "${limits[@]}" "${both[@]}" \
    --kubeconfig=$k --authentication-kubeconfig=$k --authorization-kubeconfig=$k --use-service-account-credentials \
    --service-account-private-key-file=$p/service-accounts.key --root-ca-file=$p/ca.crt \
    --cluster-signing-cert-file=$p/ca.crt --cluster-signing-key-file=$p/ca.key --service-cluster-ip-range=$services \
    --flex-volume-plugin-dir="$state/volume-plugins" \
    --horizontal-pod-autoscaler-sync-period="${CLUSTER_AUTOSCALER_PERIOD:-2s}" "$@"
  k=$state/scheduler.kubeconfig
  keep_running kube-scheduler kube-scheduler --leader-elect=false "${limits[@]}" "${both[@]}" \
    --kubeconfig=$k --authentication-kubeconfig=$k --authorization-kubeconfig=$k
}

# Nothing answers at the addresses of Services here, and nothing may try outside: a TCP connection to a multicast address
# ends in the kernel, which knows that TCP cannot do it.
without_node() { services=239.255.0.0/16 kubernetes_ip=239.255.0.1; }

up_control_plane() {
  without_node
  pki 127.0.0.1 $kubernetes_ip "https://127.0.0.1:${CLUSTER_PORT:?}"
  start control_plane_process
  eventually test -e "$state/started"
  eventually kubectl get serviceaccount default
}

control_plane_process() {
  without_node
  # A loopback address cannot be advertised, so there are no Endpoints of the Service `kubernetes` to reconcile.
  etcd_and_api_server --bind-address=127.0.0.1 --secure-port="${CLUSTER_PORT:?}" --endpoint-reconciler-type=none
  # No ports: nobody asks these two anything.
  controllers --secure-port=0 --
  touch "$state/started"
  wait
}
