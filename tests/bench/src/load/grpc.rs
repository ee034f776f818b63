//! Unary calls of gRPC over HTTP/2 (RFC 9113), as much of it as a load needs.
//!
//! One call at a time on a connection, like the HTTP/1.1 load. Written by hand because a library's client takes more of the
//! processors than the server that is measured: the head of a request never changes, and of an answer only the frames
//! matter. A success is an answer with a message, then the trailers; a failure has trailers and no message.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Answer;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATH: &[u8] = b"/inference.GRPCInferenceService/ModelInfer";
/// The size of a window before anybody changes it, and of the largest frame.
const WINDOW: i64 = 65_535;
const MAX_FRAME: usize = 16_384;
const FRAME_HEAD: usize = 9;

// Types and flags of frames, and the setting of a stream's first window.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u16 = 4;

pub(super) struct Connection {
    stream: TcpStream,
    message: Bytes,
    headers: Vec<u8>,
    next_stream: u32,
    windows: Windows,
    input: Vec<u8>,
    /// What of `input` is filled, and what of that is done with.
    filled: usize,
    done: usize,
    output: Vec<u8>,
}

/// What a frame meant for the call that is under way.
#[derive(Debug, PartialEq)]
enum Event {
    Nothing,
    Message,
    End,
    Reset,
}

impl Connection {
    pub(super) async fn open(mut stream: TcpStream, message: Bytes) -> io::Result<Self> {
        let mut hello = PREFACE.to_vec();
        push_frame(&mut hello, SETTINGS, 0, 0, &[]);
        // Answers are small: this window outlasts the run.
        push_frame(&mut hello, WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
        stream.write_all(&hello).await?;
        Ok(Self {
            stream,
            message,
            headers: header_block(),
            next_stream: 1,
            windows: Windows { connection: WINDOW, stream: WINDOW, first: WINDOW },
            input: vec![0; 64 << 10],
            filled: 0,
            done: 0,
            output: Vec::with_capacity(32 << 10),
        })
    }

    /// One call, to the end of its answer.
    pub(super) async fn exchange(&mut self) -> io::Result<Answer> {
        let id = self.next_stream;
        self.next_stream += 2;
        self.windows.stream = self.windows.first;
        push_frame(&mut self.output, HEADERS, END_HEADERS, id, &self.headers);
        let message = self.message.clone();
        let mut sent = 0;
        let mut has_message = false;
        loop {
            sent += self.queue(id, &message[sent..]);
            // Acknowledgements of what was read go with it.
            self.stream.write_all(&self.output).await?;
            self.output.clear();
            match self.next_event(id).await? {
                Event::Nothing => {}
                Event::Message => has_message = true,
                Event::End if has_message => return Ok(Answer::Success),
                Event::End => return Ok(failure("the call failed: trailers without a message")),
                Event::Reset => return Ok(failure("the server reset the call")),
            }
        }
    }

    /// Queues as much of the message as the windows allow; how much that was.
    fn queue(&mut self, id: u32, message: &[u8]) -> usize {
        let mut sent = 0;
        while sent < message.len() {
            let allowed = usize::try_from(self.windows.connection.min(self.windows.stream)).unwrap_or(0);
            let length = (message.len() - sent).min(MAX_FRAME).min(allowed);
            if length == 0 {
                break;
            }
            let flags = if sent + length == message.len() { END_STREAM } else { 0 };
            push_frame(&mut self.output, DATA, flags, id, &message[sent..sent + length]);
            sent += length;
            let length = i64::try_from(length).unwrap_or(WINDOW);
            self.windows.connection -= length;
            self.windows.stream -= length;
        }
        sent
    }

    /// Reads frames until one means something.
    async fn next_event(&mut self, id: u32) -> io::Result<Event> {
        loop {
            let bytes = &self.input[self.done..self.filled];
            if let Some((frame, length)) = Frame::read(bytes) {
                let event = handle(&frame, id, &mut self.output, &mut self.windows)?;
                self.done += length;
                if event != Event::Nothing || !self.output.is_empty() || frame_opens_window(frame.kind) {
                    return Ok(event);
                }
                continue;
            }
            if self.done == self.filled {
                (self.done, self.filled) = (0, 0);
            } else if self.filled == self.input.len() {
                self.input.copy_within(self.done..self.filled, 0);
                (self.done, self.filled) = (0, self.filled - self.done);
            }
            let read = self.stream.read(&mut self.input[self.filled..]).await?;
            if read == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
            self.filled += read;
        }
    }
}

/// Whether more of a message may be sent after such a frame.
fn frame_opens_window(kind: u8) -> bool {
    kind == WINDOW_UPDATE || kind == SETTINGS
}

/// Bytes that the server lets us send.
#[derive(Debug, PartialEq)]
struct Windows {
    connection: i64,
    /// In the call that is under way.
    stream: i64,
    /// In a call that begins.
    first: i64,
}

fn handle(frame: &Frame<'_>, id: u32, output: &mut Vec<u8>, windows: &mut Windows) -> io::Result<Event> {
    let ours = frame.stream == id;
    let ends = frame.flags & END_STREAM != 0;
    match frame.kind {
        DATA if ours && !ends && !frame.payload.is_empty() => return Ok(Event::Message),
        DATA | HEADERS if ours && ends => return Ok(Event::End),
        RST_STREAM if ours => return Ok(Event::Reset),
        SETTINGS if frame.flags & ACK == 0 => {
            for setting in frame.payload.as_chunks::<6>().0 {
                if u16::from_be_bytes([setting[0], setting[1]]) == INITIAL_WINDOW_SIZE {
                    let size =
                        i64::from(u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]));
                    windows.stream += size - windows.first;
                    windows.first = size;
                }
            }
            push_frame(output, SETTINGS, ACK, 0, &[]);
        }
        PING if frame.flags & ACK == 0 => push_frame(output, PING, ACK, 0, frame.payload),
        WINDOW_UPDATE => {
            let increment =
                frame.payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes) & 0x7fff_ffff);
            match frame.stream {
                0 => windows.connection += i64::from(increment),
                _ if ours => windows.stream += i64::from(increment),
                _ => {}
            }
        }
        GOAWAY => return Err(io::Error::other("the server sent GOAWAY")),
        _ => {}
    }
    Ok(Event::Nothing)
}

#[derive(Debug, PartialEq)]
struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame and its length, once it is there as a whole.
    fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let head: &[u8; FRAME_HEAD] = bytes.first_chunk()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = bytes.get(FRAME_HEAD..FRAME_HEAD + length)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some((Self { kind: head[3], flags: head[4], stream, payload }, FRAME_HEAD + length))
    }
}

fn push_frame(output: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    output.extend_from_slice(&length[1..]);
    output.extend_from_slice(&[kind, flags]);
    output.extend_from_slice(&stream.to_be_bytes());
    output.extend_from_slice(payload);
}

/// The head of every request in HPACK (RFC 7541), without its dynamic table and without Huffman's code, so that it needs no
/// state.
fn header_block() -> Vec<u8> {
    // `:method: POST` and `:scheme: http` are entries 3 and 6 of the static table.
    let mut block = vec![0x83, 0x86];
    // Literals whose names are entries 4 (`:path`), 1 (`:authority`) and 31 (`content-type`: 15 in the prefix and 16 more).
    for (name, value) in [(&[4_u8][..], PATH), (&[1], b"127.0.0.1"), (&[15, 16], b"application/grpc")] {
        block.extend_from_slice(name);
        push_text(&mut block, value);
    }
    block.push(0);
    push_text(&mut block, b"te");
    push_text(&mut block, b"trailers");
    block
}

/// Texts here are shorter than the 127 bytes that the length's first byte holds.
fn push_text(block: &mut Vec<u8>, text: &[u8]) {
    block.push(u8::try_from(text.len()).unwrap_or(0));
    block.extend_from_slice(text);
}

fn failure(message: &str) -> Answer {
    Answer::Failure { overloaded: false, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handled(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> (Event, Vec<u8>, [i64; 3]) {
        let (mut output, mut windows) =
            (Vec::new(), Windows { connection: WINDOW, stream: WINDOW, first: WINDOW });
        let event = handle(&Frame { kind, flags, stream, payload }, 3, &mut output, &mut windows).unwrap();
        (event, output, [windows.connection, windows.stream, windows.first])
    }

    #[test]
    fn frame_is_read_once_it_is_whole() {
        let mut bytes = Vec::new();
        push_frame(&mut bytes, DATA, END_STREAM, 5, b"abc");
        let expected = Frame { kind: DATA, flags: END_STREAM, stream: 5, payload: b"abc" };
        assert_eq!(Frame::read(&bytes), Some((expected, 12)));
        assert_eq!(Frame::read(&bytes[..11]), None);
    }

    #[test]
    fn trailers_of_the_call_end_it_and_those_of_another_do_not() {
        assert_eq!(handled(HEADERS, END_STREAM | END_HEADERS, 3, &[]).0, Event::End);
        assert_eq!(handled(HEADERS, END_STREAM | END_HEADERS, 1, &[]).0, Event::Nothing);
        assert_eq!(handled(DATA, 0, 3, b"x").0, Event::Message);
        assert_eq!(handled(RST_STREAM, 0, 3, &[0; 4]).0, Event::Reset);
    }

    #[test]
    fn settings_are_acknowledged_and_change_the_windows_of_streams_only() {
        let (event, output, windows) = handled(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]);
        assert_eq!((event, windows), (Event::Nothing, [WINDOW, 65_536, 65_536]));
        assert_eq!(Frame::read(&output).unwrap().0.flags, ACK);
    }

    #[test]
    fn window_update_counts_for_its_stream_or_the_connection() {
        assert_eq!(handled(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 5]).2, [WINDOW + 5, WINDOW, WINDOW]);
        assert_eq!(handled(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 5]).2, [WINDOW, WINDOW + 5, WINDOW]);
        assert_eq!(handled(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 5]).2, [WINDOW; 3]);
    }
}
