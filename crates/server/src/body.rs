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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer::Refusal;
use crate::config::Bounds;

/// The unit in which memory is counted: semaphores count in 32 bits.
const UNIT: usize = 1024;
/// How much is inflated at a time.
const CHUNK: usize = 64 << 10;

/// Reads bodies and counts the memory of all of them.
#[derive(Debug)]
pub(crate) struct Bodies {
    read_timeout: Duration,
    memory: Arc<Semaphore>,
}

/// A body whose memory is counted for as long as it lives.
#[derive(Debug)]
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Plain,
    Gzip,
    Deflate,
}

impl Bodies {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        let units = (bounds.max_bodies_bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self { read_timeout: bounds.body_read_timeout, memory: Arc::new(Semaphore::new(units)) }
    }

    /// Reads and, where the headers say so, inflates a body of at most `max_bytes`, before and after inflating. Memory grows
    /// with what arrives, never with what is announced.
    pub(crate) async fn read(
        self: &Arc<Self>,
        headers: &HeaderMap,
        body: Incoming,
        max_bytes: usize,
    ) -> Result<ReadBody, Refusal> {
        let encoding = encoding(headers)?;
        if body.size_hint().lower() > max_bytes as u64 {
            return Err(too_large(max_bytes));
        }
        let read = tokio::time::timeout(self.read_timeout, self.collect(body, max_bytes)).await.map_err(
            |_| {
                let message = format!("the body did not arrive within {} s", self.read_timeout.as_secs_f32());
                Refusal::new(StatusCode::REQUEST_TIMEOUT, message).and_close()
            },
        )??;
        if encoding == Encoding::Plain {
            return Ok(read);
        }
        let bodies = Arc::clone(self);
        tokio::task::spawn_blocking(move || bodies.inflate(encoding, &read.bytes, max_bytes))
            .await
            .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "inflating the body failed"))?
    }

    async fn collect(&self, mut body: Incoming, max_bytes: usize) -> Result<ReadBody, Refusal> {
        let mut memory = Memory::new(&self.memory);
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| Refusal::bad_request(format!("the body broke off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
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
        Ok(ReadBody { bytes, _memory: memory.permit })
    }

    fn inflate(&self, encoding: Encoding, packed: &[u8], max_bytes: usize) -> Result<ReadBody, Refusal> {
        let mut decoder: Box<dyn Read> = match encoding {
            Encoding::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Encoding::Deflate => Box::new(ZlibDecoder::new(packed)),
            Encoding::Plain => Box::new(packed),
        };
        let mut memory = Memory::new(&self.memory);
        let mut out = Vec::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = decoder
                .read(&mut chunk)
                .map_err(|error| Refusal::bad_request(format!("the body cannot be inflated: {error}")))?;
            if count == 0 {
                return Ok(ReadBody { bytes: Bytes::from(out), _memory: memory.permit });
            }
            if out.len() + count > max_bytes {
                return Err(too_large(max_bytes));
            }
            memory.grow_to(out.len() + count)?;
            out.extend_from_slice(&chunk[..count]);
        }
    }
}

fn too_large(max_bytes: usize) -> Refusal {
    let message = format!("the body is larger than {max_bytes} bytes; send a smaller batch");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message).and_close()
}

/// A growing share of the memory for bodies.
struct Memory<'a> {
    all: &'a Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<'a> Memory<'a> {
    const fn new(all: &'a Arc<Semaphore>) -> Self {
        Self { all, permit: None }
    }

    fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = bytes.div_ceil(UNIT).saturating_sub(held);
        if wanted == 0 {
            return Ok(());
        }
        let more = u32::try_from(wanted)
            .ok()
            .and_then(|wanted| Arc::clone(self.all).try_acquire_many_owned(wanted).ok());
        let Some(more) = more else {
            let message = "the server holds as many request bodies as its memory allows; try again soon";
            return Err(Refusal::unavailable(message, Duration::from_secs(1)).and_close());
        };
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            empty => *empty = Some(more),
        }
        Ok(())
    }
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
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).and_close())
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

    fn bodies(max_bodies_bytes: usize) -> Bodies {
        Bodies::new(&Bounds { max_bodies_bytes, ..Bounds::default() })
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
        let refusal = bodies(1 << 30).inflate(Encoding::Gzip, &bomb, MAX).unwrap_err();
        assert_eq!(refusal.into_response().status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn memory_is_bounded_over_all_bodies_and_given_back() {
        let bodies = bodies(256 << 10);
        let content = gzip(&vec![7; 200 << 10]);
        let first = bodies.inflate(Encoding::Gzip, &content, MAX).unwrap();
        let refusal = bodies.inflate(Encoding::Gzip, &content, MAX).unwrap_err();
        assert_eq!(refusal.into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(first);
        bodies.inflate(Encoding::Gzip, &content, MAX).unwrap();
    }

    #[test]
    fn a_packed_body_that_breaks_off_is_the_clients_fault() {
        let content = gzip(b"hello");
        let refusal = bodies(MAX).inflate(Encoding::Gzip, &content[..content.len() - 3], MAX).unwrap_err();
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
