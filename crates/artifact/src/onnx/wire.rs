//! An incremental reader of protobuf's wire format: bytes in, fields out, nothing kept but what is asked for.
//!
//! The format is <https://protobuf.dev/programming-guides/encoding/>: a field is a tag (number and wire type, a varint)
//! and a varint, 4 or 8 bytes, or a length and that many bytes. The reader holds the ends of the messages that are open,
//! at most ten bytes of a varint (as a number), and at most one captured text.

use super::OnnxError;

/// The largest message that protobuf's own readers accept.
const LARGEST_MESSAGE: u64 = i32::MAX as u64;

/// The wire types that exist, groups (deprecated, never used by ONNX) aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Delimited = 2,
    Fixed32 = 5,
}

/// What to do with a length-delimited field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Pass over its bytes.
    Skip,
    /// It is a message: report its fields, then [`Handler::leave`].
    Enter,
    /// It is a packed list: report each varint.
    Varints,
    /// It is text: report it, cut after this many bytes.
    Capture(usize),
}

/// Receives what the reader finds. An error ends the reading.
pub(super) trait Handler {
    /// A varint; also each one of a packed list.
    fn varint(&mut self, field: u32, value: u64) -> Result<(), OnnxError>;
    /// A field of any wire type begins at `offset`; called before everything else about it, once for a packed list.
    fn field(&mut self, field: u32, wire_type: WireType, offset: u64) -> Result<(), OnnxError>;
    /// A length-delimited field of `length` bytes.
    fn delimited(&mut self, field: u32, length: u64) -> Result<Action, OnnxError>;
    /// The bytes that a [`Action::Capture`] asked for.
    fn captured(&mut self, field: u32, bytes: Vec<u8>) -> Result<(), OnnxError>;
    /// The message entered last has ended.
    fn leave(&mut self) -> Result<(), OnnxError>;
}

/// A varint whose bytes are still coming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Varint {
    value: u64,
    bytes: u32,
}

impl Varint {
    /// Takes the next byte. Returns the number once it is complete.
    fn push(&mut self, byte: u8) -> Result<Option<u64>, &'static str> {
        // The tenth byte has room for one bit.
        if self.bytes == 9 && byte > 1 {
            return Err("a number is longer than 64 bits");
        }
        self.value |= u64::from(byte & 0x7f) << (7 * self.bytes);
        self.bytes += 1;
        Ok((byte < 0x80).then_some(self.value))
    }
}

#[derive(Debug)]
enum State {
    /// Between fields, or inside of a tag.
    Tag(Varint),
    Number {
        field: u32,
        varint: Varint,
    },
    Length {
        field: u32,
        varint: Varint,
    },
    Skip {
        until: u64,
    },
    Capture {
        field: u32,
        until: u64,
        keep: usize,
        bytes: Vec<u8>,
    },
}

/// A message or packed list that is open.
#[derive(Debug)]
struct Open {
    end: u64,
    /// The field, if it is a packed list.
    packed: Option<u32>,
}

/// The reader. After an error it must not be used again.
#[derive(Debug)]
pub(super) struct Reader {
    offset: u64,
    size: Option<u64>,
    state: State,
    open: Vec<Open>,
}

impl Reader {
    /// A reader of a file of `size` bytes, if that is known.
    pub(super) fn new(size: Option<u64>) -> Self {
        Self { offset: 0, size, state: State::Tag(Varint::default()), open: Vec::new() }
    }

    /// Bytes read so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next bytes of the file.
    pub(super) fn push(&mut self, mut input: &[u8], handler: &mut impl Handler) -> Result<(), OnnxError> {
        while let Some(&byte) = input.first() {
            match self.state {
                State::Skip { until } | State::Capture { until, .. } => {
                    let wanted = usize::try_from(until - self.offset).unwrap_or(usize::MAX);
                    let (taken, rest) = input.split_at(wanted.min(input.len()));
                    input = rest;
                    self.take(taken, until, handler)?;
                }
                _ => {
                    input = &input[1..];
                    self.take_byte(byte, handler)?;
                }
            }
        }
        Ok(())
    }

    /// Ends the file.
    pub(super) fn finish(&self) -> Result<(), OnnxError> {
        let pending = match self.state {
            State::Tag(varint) if varint == Varint::default() => None,
            State::Tag(_) | State::Number { .. } | State::Length { .. } => Some(self.offset + 1),
            State::Skip { until } | State::Capture { until, .. } => Some(until),
        };
        let announced = self.size.filter(|size| *size > self.offset);
        match pending.max(self.open.first().map(|outermost| outermost.end)).max(announced) {
            None => Ok(()),
            Some(needed) => Err(OnnxError::TruncatedModel { bytes: self.offset, needed }),
        }
    }

    /// Passes over or keeps `taken`, which ends at or before `until`.
    fn take(&mut self, taken: &[u8], until: u64, handler: &mut impl Handler) -> Result<(), OnnxError> {
        self.offset += taken.len() as u64;
        if let State::Capture { keep, bytes, .. } = &mut self.state {
            let room = *keep - bytes.len();
            bytes.extend_from_slice(&taken[..room.min(taken.len())]);
        }
        if self.offset == until {
            let finished = std::mem::replace(&mut self.state, State::Tag(Varint::default()));
            if let State::Capture { field, bytes, .. } = finished {
                handler.captured(field, bytes)?;
            }
            self.close(handler)?;
        }
        Ok(())
    }

    /// Takes one byte of a varint.
    fn take_byte(&mut self, byte: u8, handler: &mut impl Handler) -> Result<(), OnnxError> {
        if self.offset == self.end() {
            return Err(self.invalid(match self.open.last() {
                Some(_) => "a number runs over the end of its message",
                None => "the file goes on after the bytes that were announced",
            }));
        }
        let (State::Tag(varint) | State::Number { varint, .. } | State::Length { varint, .. }) =
            &mut self.state
        else {
            return Ok(());
        };
        let pushed = varint.push(byte);
        let Some(value) = pushed.map_err(|problem| self.invalid(problem))? else {
            self.offset += 1;
            return Ok(());
        };
        self.offset += 1;
        match self.state {
            State::Tag(_) => self.tag(value, handler),
            State::Length { field, .. } => self.length(field, value, handler),
            State::Number { field, .. } => {
                handler.varint(field, value)?;
                self.close(handler)
            }
            State::Skip { .. } | State::Capture { .. } => Ok(()),
        }
    }

    /// A field begins.
    fn tag(&mut self, tag: u64, handler: &mut impl Handler) -> Result<(), OnnxError> {
        let Ok(field @ 1..=0x1fff_ffff) = u32::try_from(tag >> 3) else {
            return Err(self.invalid(format!("{} is no field number", tag >> 3)));
        };
        let wire_type = match tag & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Delimited,
            5 => WireType::Fixed32,
            other => {
                return Err(
                    self.invalid(format!("field {field} has wire type {other}, which ONNX never uses"))
                );
            }
        };
        handler.field(field, wire_type, self.offset)?;
        match wire_type {
            WireType::Varint => self.state = State::Number { field, varint: Varint::default() },
            WireType::Delimited => self.state = State::Length { field, varint: Varint::default() },
            WireType::Fixed64 => self.state = State::Skip { until: self.bounded(field, 8)? },
            WireType::Fixed32 => self.state = State::Skip { until: self.bounded(field, 4)? },
        }
        if self.offset == self.end() {
            return Err(self.invalid(format!("field {field} has no value")));
        }
        Ok(())
    }

    /// The length of a field is known.
    fn length(&mut self, field: u32, length: u64, handler: &mut impl Handler) -> Result<(), OnnxError> {
        let until = self.bounded(field, length)?;
        self.state = State::Tag(Varint::default());
        match handler.delimited(field, length)? {
            Action::Enter => self.open.push(Open { end: until, packed: None }),
            Action::Varints => self.open.push(Open { end: until, packed: Some(field) }),
            // No byte follows that would end these two.
            Action::Capture(_) if length == 0 => handler.captured(field, Vec::new())?,
            Action::Skip if length == 0 => {}
            Action::Skip => self.state = State::Skip { until },
            Action::Capture(keep) => {
                let bytes = Vec::with_capacity(keep.min(usize::try_from(length).unwrap_or(keep)));
                self.state = State::Capture { field, until, keep, bytes };
            }
        }
        if matches!(self.state, State::Tag(_)) { self.close(handler) } else { Ok(()) }
    }

    /// A field is complete: closes every message that ends here and says what comes next.
    fn close(&mut self, handler: &mut impl Handler) -> Result<(), OnnxError> {
        while let Some(finished) = self.open.pop_if(|open| open.end == self.offset) {
            if finished.packed.is_none() {
                handler.leave()?;
            }
        }
        self.state = match self.open.last().and_then(|open| open.packed) {
            Some(field) => State::Number { field, varint: Varint::default() },
            None => State::Tag(Varint::default()),
        };
        Ok(())
    }

    /// Where the innermost message ends; for the file itself, its size if known.
    fn end(&self) -> u64 {
        self.open.last().map_or(self.size.unwrap_or(u64::MAX), |open| open.end)
    }

    /// The end of `length` bytes from here, if they lie within the innermost message.
    fn bounded(&self, field: u32, length: u64) -> Result<u64, OnnxError> {
        let until = self.offset.saturating_add(length);
        if let Some(message) = self.open.last()
            && until > message.end
        {
            let left = message.end - self.offset;
            return Err(
                self.invalid(format!("field {field} has {length} bytes where its message has {left} left"))
            );
        }
        if let Some(size) = self.size
            && until > size
        {
            return Err(OnnxError::TruncatedModel { bytes: size, needed: until });
        }
        if length > LARGEST_MESSAGE {
            return Err(OnnxError::ModelTooLarge { bytes: length });
        }
        Ok(until)
    }

    fn invalid(&self, problem: impl Into<String>) -> OnnxError {
        OnnxError::InvalidModel { offset: self.offset, problem: problem.into() }
    }
}
