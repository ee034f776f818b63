//! What a request asks of the API server, and which requests a fault is about.
use std::fmt;

use http::{Method, Uri};

/// A request in the terms of the Kubernetes API.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; of a path outside the API's
    /// groups the HTTP method in small letters.
    pub verb: String,
    /// The API group; empty is the core group.
    pub group: String,
    /// The plural, with the subresource: `pods`, `pods/status`; empty outside the API's groups.
    pub resource: String,
    /// Empty for objects of the cluster and for requests over all namespaces.
    pub namespace: String,
    /// Empty where the request names no object: a creation, a list.
    pub name: String,
    /// The path with its query, as it came.
    pub path: String,
    /// Nothing is to be stored.
    pub dry_run: bool,
}

impl Request {
    /// Reads method and path.
    pub(super) fn new(method: &Method, uri: &Uri) -> Self {
        let path = uri.path_and_query().map_or(uri.path(), http::uri::PathAndQuery::as_str).to_owned();
        let query: Vec<_> = uri.query().unwrap_or_default().split('&').collect();
        let parts: Vec<_> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let (group, rest) = match parts.as_slice() {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => ("", [].as_slice()),
        };
        // Not of a namespace but the object itself: /api/v1/namespaces/NAME, .../status, .../finalize.
        let (namespace, rest) = match rest {
            ["namespaces", namespace, resource, rest @ ..] if !matches!(*resource, "status" | "finalize") => {
                (*namespace, [&[*resource], rest].concat())
            }
            rest => ("", rest.to_vec()),
        };
        let name = rest.get(1).copied().unwrap_or_default();
        let mut resource = rest.first().copied().unwrap_or_default().to_owned();
        if let Some(subresource) = rest.get(2) {
            resource = format!("{resource}/{subresource}");
        }
        let watch = query.iter().any(|item| matches!(*item, "watch=true" | "watch=1" | "watch"));
        let verb = match (method.as_str(), resource.is_empty(), name.is_empty()) {
            (other, true, _) => other.to_ascii_lowercase(),
            ("GET", ..) if watch => "watch".to_owned(),
            ("GET", _, true) => "list".to_owned(),
            ("POST", ..) => "create".to_owned(),
            ("PUT", ..) => "update".to_owned(),
            ("DELETE", _, true) => "deletecollection".to_owned(),
            (other, ..) => other.to_ascii_lowercase(),
        };
        Self {
            verb,
            group: group.to_owned(),
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            path,
            dry_run: query.iter().any(|item| item.starts_with("dryRun=")),
        }
    }

    /// It changes something that is stored: reviews and dry runs do not.
    pub fn is_write(&self) -> bool {
        let changes = matches!(&*self.verb, "create" | "update" | "patch" | "delete" | "deletecollection");
        let asks = matches!(&*self.group, "authorization.k8s.io" | "authentication.k8s.io")
            || matches!(
                &*self.resource,
                "serviceaccounts/token" | "pods/exec" | "pods/portforward" | "pods/attach"
            );
        changes && !asks && !self.dry_run
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.resource.is_empty() {
            return write!(f, "{} {}", self.verb, self.path);
        }
        write!(f, "{} {}", self.verb, self.resource)?;
        for (sign, part) in [(".", &self.group), (" ", &self.namespace), ("/", &self.name)] {
            if !part.is_empty() {
                write!(f, "{sign}{part}")?;
            }
        }
        Ok(())
    }
}

/// Which requests a fault is about; every part that is named must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requests {
    writes: bool,
    verbs: Vec<String>,
    resource: Option<String>,
    namespace: Option<String>,
    path: Option<String>,
    except: Option<String>,
}

impl Requests {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Every request that changes something.
    pub fn writes() -> Self {
        Self { writes: true, ..Self::default() }
    }

    /// Requests of that verb, or of another named like this: `get`, `list`, `watch`, `create`, `update`, `patch`,
    /// `delete`, `deletecollection`.
    #[must_use]
    pub fn verb(mut self, verb: &str) -> Self {
        self.verbs.push(verb.to_owned());
        self
    }

    /// Requests about that resource: `pods`, `models/status`.
    #[must_use]
    pub fn resource(mut self, resource: &str) -> Self {
        self.resource = Some(resource.to_owned());
        self
    }

    /// Requests about any resource but that one.
    #[must_use]
    pub fn except(mut self, resource: &str) -> Self {
        self.except = Some(resource.to_owned());
        self
    }

    /// Requests in that namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Requests whose path with query contains that.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Whether a request is one of these.
    pub fn contain(&self, request: &Request) -> bool {
        (!self.writes || request.is_write())
            && (self.verbs.is_empty() || self.verbs.contains(&request.verb))
            && self.resource.as_ref().is_none_or(|resource| *resource == request.resource)
            && self.except.as_ref().is_none_or(|resource| *resource != request.resource)
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == request.namespace)
            && self.path.as_ref().is_none_or(|part| request.path.contains(part))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn request(method: &str, path: &str) -> Request {
        Request::new(&method.parse().unwrap(), &path.parse().unwrap())
    }

    #[rstest]
    #[case("GET", "/api/v1/pods?limit=500", "list pods")]
    #[case("GET", "/api/v1/namespaces/n/pods?watch=true&limit=5", "watch pods n")]
    #[case("GET", "/api/v1/namespaces/n/pods/p", "get pods n/p")]
    #[case("PATCH", "/api/v1/namespaces/n/pods/p/status?", "patch pods/status n/p")]
    #[case("GET", "/api/v1/namespaces", "list namespaces")]
    #[case("DELETE", "/api/v1/namespaces/n", "delete namespaces/n")]
    #[case("PUT", "/api/v1/namespaces/n/finalize", "update namespaces/finalize/n")]
    #[case("POST", "/apis/apps/v1/namespaces/n/deployments", "create deployments.apps n")]
    #[case("DELETE", "/apis/apps/v1/namespaces/n/deployments", "deletecollection deployments.apps n")]
    #[case("PATCH", "/apis/modelwright.dev/v1/namespaces/n/models/m", "patch models.modelwright.dev n/m")]
    #[case("GET", "/apis/apps/v1", "get /apis/apps/v1")]
    #[case("GET", "/version", "get /version")]
    fn requests_are_read(#[case] method: &str, #[case] path: &str, #[case] expected: &str) {
        assert_eq!(request(method, path).to_string(), expected);
    }

    #[rstest]
    #[case("GET", "/api/v1/pods", false)]
    #[case("POST", "/api/v1/namespaces/n/pods", true)]
    #[case("POST", "/api/v1/namespaces/n/pods?dryRun=All", false)]
    #[case("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", false)]
    #[case("PATCH", "/api/v1/namespaces/n/pods/p", true)]
    fn writes_are_told_from_questions(#[case] method: &str, #[case] path: &str, #[case] expected: bool) {
        assert_eq!(request(method, path).is_write(), expected);
    }

    #[test]
    fn a_matcher_wants_every_part() {
        let patch = request("PATCH", "/api/v1/namespaces/n/pods/p/status?fieldManager=me");
        for (requests, expected) in [
            (Requests::any(), true),
            (Requests::writes().verb("create").verb("patch").resource("pods/status").namespace("n"), true),
            (Requests::any().path("fieldManager=me"), true),
            (Requests::any().verb("get"), false),
            (Requests::any().resource("pods"), false),
            (Requests::writes().namespace("m"), false),
        ] {
            assert_eq!(requests.contain(&patch), expected, "{requests:?}");
        }
    }
}
