//! Where a model is: `s3://`, `gs://`, `az://`, `http(s)://`, `pvc://` and `file:` uris.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use url::Url;

use crate::Error;

/// The longest uri, in bytes.
const MAX_URI: usize = 2048;

/// A checked uri. It never holds userinfo, a query or a fragment: those carry credentials or mean nothing here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceUri {
    text: String,
    place: Place,
}

/// What a [`SourceUri`] names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// A bucket or container of an object store and a key or prefix in it.
    Bucket { store: ObjectStoreKind, bucket: String, key: String },
    /// A web server.
    Http(Url),
    /// A path in a Kubernetes volume.
    Volume { claim: String, path: String },
    /// A local path, absolute.
    File(PathBuf),
}

/// The object stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ObjectStoreKind {
    S3,
    Gcs,
    Azure,
}

impl SourceUri {
    /// Reads a uri. A relative `file:` uri (`file:models/model.onnx`) is taken from `base`, the folder of the file
    /// that it is written in; without `base` it is refused.
    ///
    /// ```
    /// use modelwright_artifact::SourceUri;
    /// assert!(SourceUri::parse("s3://models/bc/", None).unwrap().is_folder());
    /// assert!(SourceUri::parse("models/bc", None).is_err());
    /// ```
    pub fn parse(text: &str, base: Option<&Path>) -> Result<Self, Error> {
        let refuse =
            |problem: &str| Err(Error::InvalidUri { uri: without_userinfo(text), problem: problem.into() });
        if text.len() > MAX_URI {
            return refuse("it is longer than 2048 bytes");
        }
        if text.chars().any(char::is_control) {
            return refuse("it holds a control character");
        }
        let Some((scheme, rest)) = text.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
            return refuse("it has no scheme; write s3://, gs://, az://, https://, http://, pvc:// or file:");
        };
        let place = match scheme {
            "s3" => bucket(ObjectStoreKind::S3, rest),
            "gs" => bucket(ObjectStoreKind::Gcs, rest),
            "az" => bucket(ObjectStoreKind::Azure, rest),
            "http" | "https" => web(text),
            "pvc" => volume(rest),
            "file" => file(rest, base),
            _ => Err(format!("the scheme {scheme} is not known; use s3, gs, az, https, http, pvc or file")),
        };
        match place {
            Ok(place) => Ok(Self { text: text.to_owned(), place }),
            Err(problem) => refuse(&problem),
        }
    }

    /// The uri of a local path.
    pub fn from_path(path: &Path) -> Result<Self, Error> {
        let text = format!("file:{}", path.display());
        if path.is_absolute() {
            Ok(Self { text, place: Place::File(path.to_owned()) })
        } else {
            Err(Error::InvalidUri { uri: text, problem: "the path is not absolute".into() })
        }
    }

    /// The scheme: `s3`, `gs`, `az`, `http`, `https`, `pvc` or `file`.
    pub fn scheme(&self) -> &str {
        self.text.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// Whether the uri ends in `/`, so that it can only be a prefix or a revision's folder.
    pub fn is_folder(&self) -> bool {
        self.text.ends_with('/')
    }

    /// The local path of a `file:` uri.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            _ => None,
        }
    }

    /// The uri of a path below this one; a final `/` stays.
    pub(crate) fn below(&self, path: &str) -> Result<Self, Error> {
        if let Some(folder) = self.local_path() {
            return Self::from_path(&folder.join(path));
        }
        Self::parse(&format!("{}/{path}", self.text.trim_end_matches('/')), None)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl fmt::Display for SourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether this can stand before the colon (RFC 3986 §3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// A refused uri for a message: shortened, and without anything that may be a credential. It is refused because it is
/// mistyped, so nothing is taken to be where it belongs: all from the scheme to the last `@` goes, and all from a `?`
/// or `#` on; if the `@` comes behind those, a password may hold them, and nothing but the scheme is left.
fn without_userinfo(text: &str) -> String {
    let start = text.find(':').filter(|at| is_scheme(&text[..*at])).map_or(0, |at| at + 1);
    let end = text[start..].find(['?', '#']).map_or(text.len(), |at| start + at);
    let (scheme, seen, cut) = (&text[..start], &text[start..end], &text[end..]);
    let rest = match seen.rfind('@') {
        _ if cut.contains('@') => "…".to_owned(),
        Some(at) => format!("…{}", &seen[at..]),
        None => seen.to_owned(),
    };
    let end = if cut.is_empty() || rest == "…" { "" } else { "…" };
    format!("{scheme}{rest}{end}").chars().take(200).flat_map(char::escape_debug).collect()
}

fn authority(rest: &str) -> Result<(&str, &str), String> {
    let Some(rest) = rest.strip_prefix("//") else {
        return Err("write two slashes after the scheme".into());
    };
    let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
    if name.contains('@') {
        return Err("it holds a user or password; credentials go into a Secret or an environment file".into());
    }
    if rest.contains(['?', '#']) {
        return Err("a query or fragment (? or #) is not supported".into());
    }
    Ok((name, path))
}

/// Refuses components that an object store or file system would read differently than people do.
fn check_path(path: &str) -> Result<(), String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if !path.is_empty() && path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("its path holds an empty component, . or ..".into());
    }
    Ok(())
}

fn bucket(store: ObjectStoreKind, rest: &str) -> Result<Place, String> {
    let (bucket, key) = authority(rest)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() {
        return Err("it names no bucket".into());
    }
    if !bucket.chars().all(allowed) || bucket.starts_with('.') {
        return Err("the bucket's name may hold letters, digits, -, _ and .".into());
    }
    check_path(key)?;
    Ok(Place::Bucket { store, bucket: bucket.into(), key: key.into() })
}

fn web(text: &str) -> Result<Place, String> {
    let rest = text.split_once(':').map_or("", |(_, rest)| rest);
    // Looked at before it is parsed: the parser takes `https:///a` for the host `a`.
    if authority(rest)?.0.is_empty() {
        return Err("it names no host".into());
    }
    Url::parse(text).map(Place::Http).map_err(|error| error.to_string())
}

fn volume(rest: &str) -> Result<Place, String> {
    let (claim, path) = authority(rest)?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    if claim.is_empty() || !claim.chars().all(allowed) {
        return Err(
            "write pvc://<claim>/<path>; a claim's name holds lower-case letters, digits, - and .".into()
        );
    }
    check_path(path)?;
    Ok(Place::Volume { claim: claim.into(), path: path.into() })
}

fn file(rest: &str, base: Option<&Path>) -> Result<Place, String> {
    if rest.contains(['?', '#']) {
        return Err("a query or fragment (? or #) is not supported".into());
    }
    let path = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(_) => return Err("write file:///absolute/path, or file:relative/path without slashes".into()),
        None => rest,
    };
    if path.is_empty() {
        return Err("it names no path".into());
    }
    let path = Path::new(path);
    if path.is_absolute() {
        return Ok(Place::File(path.to_owned()));
    }
    let Some(base) = base else {
        return Err("a relative path needs a folder to start from; write file:///absolute/path".into());
    };
    let mut joined = std::path::absolute(base).map_err(|error| error.to_string())?;
    for component in path.components() {
        match component {
            Component::ParentDir => {
                joined.pop();
            }
            Component::Normal(name) => joined.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(Place::File(joined))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("s3://models/bc/model.onnx", ObjectStoreKind::S3, "models", "bc/model.onnx")]
    #[case("gs://models/bc/", ObjectStoreKind::Gcs, "models", "bc/")]
    #[case("az://container", ObjectStoreKind::Azure, "container", "")]
    #[case("s3://models/with space/größe", ObjectStoreKind::S3, "models", "with space/größe")]
    fn bucket_uris_are_split(
        #[case] text: &str,
        #[case] store: ObjectStoreKind,
        #[case] bucket: &str,
        #[case] key: &str,
    ) {
        let uri = SourceUri::parse(text, None).unwrap();
        assert_eq!(*uri.place(), Place::Bucket { store, bucket: bucket.into(), key: key.into() });
        assert_eq!(uri.to_string(), text);
    }

    #[rstest]
    #[case("file:model.onnx", "/work/model.onnx")]
    #[case("file:./a/model.onnx", "/work/a/model.onnx")]
    #[case("file:../model.onnx", "/model.onnx")]
    #[case("file:/a/b.onnx", "/a/b.onnx")]
    #[case("file:///a/b.onnx", "/a/b.onnx")]
    fn file_uris_are_taken_from_the_base_folder(#[case] text: &str, #[case] path: &str) {
        let uri = SourceUri::parse(text, Some(Path::new("/work"))).unwrap();
        assert_eq!(uri.local_path(), Some(Path::new(path)));
    }

    #[rstest]
    #[case("models/bc", "no scheme")]
    #[case("ftp://h/a", "scheme ftp is not known")]
    #[case("s3:models/bc", "two slashes")]
    #[case("s3:///bc", "names no bucket")]
    #[case("s3://b/a/../c", "empty component")]
    #[case("s3://b//c", "empty component")]
    #[case("s3://b/c?versionId=1", "query")]
    #[case("s3://us er/c", "bucket's name")]
    #[case("https://user:secret@h/a", "user or password")]
    #[case("https://h/a?token=secret", "query")]
    #[case("https://h/a#secret", "query or fragment")]
    #[case("https:///a", "no host")]
    #[case("file://host/a", "file:///absolute")]
    #[case("file:a", "relative path needs a folder")]
    #[case("file:", "names no path")]
    #[case("pvc:///a", "pvc://<claim>")]
    #[case("pvc://claim/../a", "empty component")]
    #[case("pvc://claim/a/..", "empty component")]
    #[case("pvc://claim//etc/passwd", "empty component")]
    #[case("https://h/a\nb", "control character")]
    #[case("s3://AKIA:ab/cdsecret@bucket/m.onnx", "bucket's name")]
    #[case("https:/user:secret@h/a", "two slashes")]
    #[case("https:user:secret@h/a", "two slashes")]
    #[case("https://user:pa/secret@h/a", "invalid port")]
    #[case("https://user:a?secret@h/a", "user or password")]
    #[case("https://user:secret?b@h/a", "user or password")]
    #[case("https//user:secret@h/a", "no scheme")]
    #[case("secret@h:443/a", "no scheme")]
    #[case("user:secret@h/a", "scheme user is not known")]
    #[case("s3://b/c?a=@secret", "query")]
    fn unusable_uri_is_refused_with_advice(#[case] text: &str, #[case] problem: &str) {
        let message = SourceUri::parse(text, None).unwrap_err().to_string();
        assert!(message.contains(problem), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }

    #[test]
    fn refused_uri_is_named_as_far_as_it_is_harmless() {
        let named = |text: &str| without_userinfo(text);
        assert_eq!(named("ftp://h/a"), "ftp://h/a");
        assert_eq!(named("https://user:secret@h/a"), "https:…@h/a");
        assert_eq!(named("https://h/a?token"), "https://h/a…");
        assert_eq!(named("https://u:a?b@h/a"), "https:…");
        assert_eq!(named("models/bc"), "models/bc");
        assert!(named(&"x".repeat(5000)).len() == 200);
    }
}
