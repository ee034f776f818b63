# The cluster's certificates: one authority for everything, one for the aggregation layer's front proxy.

certificate() { # NAME SUBJECT AUTHORITY EXTENSION...: AUTHORITY - signs itself
  local name=$1 subject=$2 authority=$3 arguments=() extension; shift 3
  [ "$authority" = - ] || arguments+=(-CA "$authority.crt" -CAkey "$authority.key")
  for extension; do arguments+=(-addext "$extension"); done
  # A configuration of its own: Debian's makes every certificate an authority.
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
    -config <(printf '[req]\ndistinguished_name=dn\n[dn]\n') -subj "$subject" \
    -keyout "$name.key" -out "$name.crt" "${arguments[@]}" 2>/dev/null
}

kubeconfig() { # NAME URL: with the certificate NAME
  cat >"$state/$1.kubeconfig" <<X
apiVersion: v1
kind: Config
clusters: [{name: modelwright, cluster: {server: "$2", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
contexts: [{name: modelwright, context: {cluster: modelwright, user: $1}}]
current-context: modelwright
X
}

pki() ( # API-SERVER-ADDRESS KUBERNETES-SERVICE-ADDRESS URL
  local authority name client=extendedKeyUsage=clientAuth server=extendedKeyUsage=serverAuth
  mkdir -m 700 "$state/pki"; cd "$state/pki"; umask 077
  for authority in ca front-proxy-ca; do
    certificate $authority /CN=$authority - basicConstraints=critical,CA:TRUE keyUsage=critical,keyCertSign,digitalSignature
  done
  certificate apiserver /CN=kube-apiserver ca $server \
    "subjectAltName=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$1,IP:$2"
  certificate kubelet-server /CN=$node ca $server "subjectAltName=DNS:$node,IP:$1"
  certificate front-proxy-client /CN=front-proxy-client front-proxy-ca $client
  openssl ecparam -name prime256v1 -genkey -noout -out service-accounts.key
  certificate admin /O=system:masters/CN=admin ca $client
  certificate kubelet /O=system:nodes/CN=system:node:$node ca $client
  for name in controller-manager scheduler proxy; do certificate $name /CN=system:kube-$name ca $client; done
  for name in admin kubelet controller-manager scheduler proxy; do kubeconfig $name "$3"; done
)
