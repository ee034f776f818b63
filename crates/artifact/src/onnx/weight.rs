//! One weight, while it is read: how many bytes it stands for and where they are.

use super::facts::bits;

/// `TensorProto.DataType.STRING`.
const STRING: i64 = 8;

/// A `TensorProto` without its data.
#[derive(Debug)]
pub(super) struct Weight {
    pub(super) name: String,
    /// `TensorProto.DataType`.
    pub(super) data_type: i64,
    /// Product of the dimensions so far; `None` once it overflows or a dimension is negative.
    elements: Option<u64>,
    has_zero: bool,
    pub(super) raw_bytes: Option<u64>,
    pub(super) string_bytes: u64,
    pub(super) is_external: bool,
    /// Whether a file is named for it.
    pub(super) has_location: bool,
}

impl Weight {
    pub(super) fn new() -> Self {
        Self {
            name: String::new(),
            data_type: 0,
            elements: Some(1),
            has_zero: false,
            raw_bytes: None,
            string_bytes: 0,
            is_external: false,
            has_location: false,
        }
    }

    /// Takes one dimension.
    pub(super) fn dimension(&mut self, size: i64) {
        self.has_zero |= size == 0;
        self.elements = self
            .elements
            .zip(u64::try_from(size).ok())
            .and_then(|(elements, size)| elements.checked_mul(size.max(1)));
    }

    /// Bytes of the data, or what is wrong with them.
    pub(super) fn bytes(&self) -> Result<u64, String> {
        if self.data_type == STRING {
            return Ok(self.string_bytes);
        }
        let Some(bits) = bits(self.data_type) else { return Ok(self.raw_bytes.unwrap_or(0)) };
        let whole =
            self.elements.and_then(|elements| elements.checked_mul(bits)).map(|bits| bits.div_ceil(8));
        let Some(whole) = whole else {
            return Err(format!("the dimensions of the weight {:?} are impossible", self.name));
        };
        let bytes = if self.has_zero { 0 } else { whole };
        match self.raw_bytes {
            Some(raw) if raw != bytes && !self.is_external => {
                Err(format!("the weight {:?} has {raw} bytes where its dimensions need {bytes}", self.name))
            }
            _ => Ok(bytes),
        }
    }
}
