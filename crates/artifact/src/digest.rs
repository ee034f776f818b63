//! SHA-256 digests, written `sha256:<64 lower-case hexadecimal digits>` as container images write theirs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// The hexadecimal digits of a revision's display id.
const ID_DIGITS: usize = 16;

/// A SHA-256 digest.
///
/// ```
/// use modelwright_artifact::Digest;
/// let digest = Digest::of(b"");
/// assert_eq!(digest.id(), "e3b0c44298fc1c14");
/// assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The 64 hexadecimal digits, without `sha256:`.
    pub fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
            text
        })
    }

    /// The first 16 hexadecimal digits: what people and label values see of a revision.
    pub fn id(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(ID_DIGITS);
        hex
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub(crate) fn from_hex(hex: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem: String| Error::InvalidDigest { text: text.to_owned(), problem };
        let Some(hex) = text.strip_prefix("sha256:") else {
            return Err(match text.split_once(':') {
                Some((algorithm, _)) => refuse(format!("{algorithm} is not supported; only sha256 is")),
                None => refuse("write the algorithm too: sha256:<64 hexadecimal digits>".into()),
            });
        };
        Self::from_hex(hex).ok_or_else(|| {
            if hex.len() == 64 {
                refuse("the digits must be 0-9 and lower-case a-f".into())
            } else {
                refuse(format!("it has {} characters after sha256:, not 64", hex.chars().count()))
            }
        })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a [`Digest`] of bytes that arrive in pieces.
#[derive(Clone, Debug, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes seen.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn pieces_hash_like_the_whole() {
        let mut hasher = Hasher::new();
        hasher.update(b"ab");
        hasher.update(b"c");
        assert_eq!(hasher.finish(), Digest::of(b"abc"));
        assert_eq!(
            Digest::of(b"abc").to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[rstest]
    #[case("", "write the algorithm too")]
    #[case("ba7816bf", "write the algorithm too")]
    #[case("md5:abc", "md5 is not supported")]
    #[case("sha256:abc", "3 characters")]
    #[case("sha256:ééé", "3 characters")]
    #[case("sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD", "lower-case")]
    #[case("sha256:xa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "lower-case")]
    fn malformed_digest_is_refused_with_what_is_wrong(#[case] text: &str, #[case] problem: &str) {
        let message = text.parse::<Digest>().unwrap_err().to_string();
        assert!(message.contains(problem), "{message}");
    }
}
