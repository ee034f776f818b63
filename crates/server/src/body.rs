//! Reading request bodies within bounds of size, memory and time.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::answer::Refusal;
use crate::config::Bounds;
use crate::memory::{Memory, MemoryHandle, Share};
use crate::ticks::within;
use crate::workers::Workers;

/// How much is inflated at a time.
const CHUNK: usize = 64 << 10;
/// How long the rest of a refused request's body is read and thrown away.
const DISCARD: Duration = Duration::from_secs(1);

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Incoming,
    ended: bool,
    received: usize,
}

impl Upload {
    pub(crate) const fn new(body: Incoming) -> Self {
        Self { body, ended: false, received: 0 }
    }

    /// The bytes that were read so far.
    pub(crate) const fn received(&self) -> usize {
        self.received
    }

    /// Whether some of it is, or may be, still to come.
    pub(crate) fn is_unread(&self) -> bool {
        !self.ended && !self.body.is_end_stream()
    }

    /// Reads the rest for a while, up to so many bytes, and throws it away. While a connection has unread bytes, closing
    /// it resets it, and the reset can overtake the answer: a client that writes its whole request before it reads would
    /// never see why it was refused.
    pub(crate) async fn discard(mut self, max_bytes: usize) {
        let discarding = async {
            let mut length = 0;
            while let Ok(Some(data)) = self.next().await
                && length < max_bytes
            {
                length += data.len();
            }
        };
        if tokio::time::timeout(DISCARD, discarding).await.is_err() {
            tracing::debug!("the rest of a refused body did not arrive in time");
        }
    }

    /// The next piece; trailers are passed over.
    async fn next(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.inspect_err(|_| self.ended = true)?.into_data() {
                self.received += data.len();
                return Ok(Some(data));
            }
        }
        self.ended = true;
        Ok(None)
    }
}

/// Reads bodies and counts the memory of all of them.
#[derive(Debug)]
pub(crate) struct Bodies {
    read_timeout: Duration,
    /// In a handle of the thread's own, so that counting its holders writes nothing that another thread reads.
    memory: MemoryHandle,
    workers: Workers,
}

/// A body, and the memory of the request that it is for.
#[derive(Debug)]
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    pub(crate) memory: Share,
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Plain,
    Gzip,
    Deflate,
}

impl Bodies {
    pub(crate) fn new(bounds: &Bounds, workers: Workers) -> Self {
        let memory = Arc::new(Arc::new(Memory::new(bounds.max_bodies_bytes)));
        Self { read_timeout: bounds.body_read_timeout, memory, workers }
    }

    /// The same for one thread; the bounds hold for all together.
    pub(crate) fn for_thread(&self) -> Self {
        let memory = Arc::new(Arc::clone(&*self.memory));
        Self { read_timeout: self.read_timeout, memory, workers: self.workers.clone() }
    }

    /// A share of the memory of all bodies, for one that is read elsewhere.
    pub(crate) fn share(&self) -> Share {
        Share::of(&self.memory)
    }

    /// How long a client may take for a body.
    pub(crate) const fn read_timeout(&self) -> Duration {
        self.read_timeout
    }

    /// Reads and, where the headers say so, inflates a body of at most `max_bytes`, before and after inflating. Memory grows
    /// with what arrives, never with what is announced.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        upload: &mut Upload,
        max_bytes: usize,
    ) -> Result<ReadBody, Refusal> {
        let encoding = encoding(headers)?;
        if upload.body.size_hint().lower() > max_bytes as u64 {
            return Err(too_large(max_bytes));
        }
        let read = within(self.read_timeout, self.collect(upload, max_bytes)).await.map_err(|_| {
            let message = format!("the body did not arrive within {} s", self.read_timeout.as_secs_f32());
            Refusal::new(StatusCode::REQUEST_TIMEOUT, message)
        })??;
        if encoding == Encoding::Plain {
            return Ok(read);
        }
        self.workers.run(move || inflate(encoding, read, max_bytes)).await?
    }

    async fn collect(&self, upload: &mut Upload, max_bytes: usize) -> Result<ReadBody, Refusal> {
        let mut memory = Share::of(&self.memory);
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        let broken = |error| Refusal::bad_request(format!("the body broke off: {error}"));
        while let Some(data) = upload.next().await.map_err(broken)? {
            let length = first.len() + rest.len() + data.len();
            if length > max_bytes {
                return Err(too_large(max_bytes));
            }
            memory.grow_to(length)?;
            // Most bodies arrive in one piece, which then needs no copy.
            if first.is_empty() && rest.is_empty() {
                first = data;
                continue;
            }
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&data);
        }
        let bytes = if rest.is_empty() { first } else { rest.freeze() };
        Ok(ReadBody { bytes, memory })
    }
}

/// Inflates a body. Both forms count as long as both are there, for one and the same request: a body that is alone in
/// memory cannot be refused because of itself.
fn inflate(encoding: Encoding, packed: ReadBody, max_bytes: usize) -> Result<ReadBody, Refusal> {
    let ReadBody { bytes: packed, mut memory } = packed;
    let mut decoder: Box<dyn Read + '_> = match encoding {
        Encoding::Gzip => Box::new(MultiGzDecoder::new(packed.as_ref())),
        Encoding::Deflate => Box::new(ZlibDecoder::new(packed.as_ref())),
        Encoding::Plain => Box::new(packed.as_ref()),
    };
    let mut out = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = decoder
            .read(&mut chunk)
            .map_err(|error| Refusal::bad_request(format!("the body cannot be inflated: {error}")))?;
        if count == 0 {
            break;
        }
        if out.len() + count > max_bytes {
            return Err(too_large(max_bytes));
        }
        memory.grow_to(packed.len() + out.len() + count)?;
        out.extend_from_slice(&chunk[..count]);
    }
    drop(decoder);
    drop(packed);
    memory.shrink_to(out.len());
    Ok(ReadBody { bytes: Bytes::from(out), memory })
}

fn too_large(max_bytes: usize) -> Refusal {
    let message = format!("the body is larger than {max_bytes} bytes; send a smaller batch");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let Some(value) = encodings.next() else { return Ok(Encoding::Plain) };
    let text = value.to_str().unwrap_or("").trim().to_ascii_lowercase();
    match (text.as_str(), encodings.next()) {
        ("" | "identity", None) => Ok(Encoding::Plain),
        ("gzip" | "x-gzip", None) => Ok(Encoding::Gzip),
        ("deflate", None) => Ok(Encoding::Deflate),
        _ => {
            let message = "this Content-Encoding is not understood; send the body plain, or packed once by gzip or deflate";
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;

    use super::*;

    const MAX: usize = 1 << 20;

    fn packed(memory: &MemoryHandle, content: &[u8]) -> ReadBody {
        let (bytes, mut memory) = (Bytes::copy_from_slice(content), Share::of(memory));
        memory.grow_to(bytes.len()).unwrap();
        ReadBody { bytes, memory }
    }

    fn memory(most: usize) -> MemoryHandle {
        Arc::new(Arc::new(Memory::new(most)))
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_small_body_that_inflates_beyond_the_bound_is_refused() {
        let bomb = gzip(&vec![0; 50 << 20]);
        assert!(bomb.len() < 100 << 10);
        let refusal = inflate(Encoding::Gzip, packed(&memory(1 << 30), &bomb), MAX).unwrap_err();
        assert_eq!(refusal.into_response().status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn memory_is_bounded_over_all_bodies_and_given_back() {
        let memory = memory(256 << 10);
        let content = gzip(&vec![7; 200 << 10]);
        let first = inflate(Encoding::Gzip, packed(&memory, &content), MAX).unwrap();
        let refusal = inflate(Encoding::Gzip, packed(&memory, &content), MAX).unwrap_err();
        assert_eq!(refusal.into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(first);
        inflate(Encoding::Gzip, packed(&memory, &content), MAX).unwrap();
    }

    #[test]
    fn a_lone_packed_body_is_inflated_even_if_both_forms_exceed_the_bound() {
        let noise: Vec<u8> =
            (0_u32..200_000).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let content = gzip(&noise);
        let body = inflate(Encoding::Gzip, packed(&memory(noise.len()), &content), noise.len()).unwrap();
        assert_eq!(body.bytes, noise);
    }

    #[test]
    fn a_packed_body_that_breaks_off_is_the_clients_fault() {
        let content = gzip(b"hello");
        let cut = packed(&memory(MAX), &content[..content.len() - 3]);
        let refusal = inflate(Encoding::Gzip, cut, MAX).unwrap_err();
        assert_eq!(refusal.into_response().status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn one_known_encoding_is_taken() {
        let header = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
            headers
        };
        assert_eq!(encoding(&HeaderMap::new()), Ok(Encoding::Plain));
        assert_eq!(encoding(&header("GZIP")), Ok(Encoding::Gzip));
        assert_eq!(encoding(&header("deflate")), Ok(Encoding::Deflate));
        for unknown in ["br", "gzip, gzip", "zstd"] {
            assert!(encoding(&header(unknown)).is_err(), "{unknown}");
        }
        let mut twice = header("gzip");
        twice.append(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(encoding(&twice).is_err());
    }
}
