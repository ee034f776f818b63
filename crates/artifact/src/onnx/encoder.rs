//! A tiny protobuf writer for tests: what it writes is in plain sight, and it can write what no library would.

/// A message under construction.
#[derive(Clone, Default)]
pub(crate) struct Encoder(pub(crate) Vec<u8>);

impl Encoder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn raw_varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
        self
    }

    pub(crate) fn tag(self, field: u64, wire_type: u64) -> Self {
        self.raw_varint(field << 3 | wire_type)
    }

    pub(crate) fn number(self, field: u64, value: i64) -> Self {
        self.tag(field, 0).raw_varint(value.cast_unsigned())
    }

    pub(crate) fn bytes(mut self, field: u64, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self = self.tag(field, 2).raw_varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }
}

/// `ValueInfoProto` of a tensor; negative dimensions are left open.
pub(crate) fn tensor_value(name: &str, element_type: i64, dims: &[i64]) -> Encoder {
    let shape = dims.iter().fold(Encoder::new(), |shape, dim| {
        shape.message(1, &if *dim < 0 { Encoder::new() } else { Encoder::new().number(1, *dim) })
    });
    typed_value(name, &Encoder::new().message(1, &Encoder::new().number(1, element_type).message(2, &shape)))
}

/// `ValueInfoProto` of any `TypeProto`.
pub(crate) fn typed_value(name: &str, kind: &Encoder) -> Encoder {
    Encoder::new().bytes(1, name).message(2, kind)
}

/// `TensorProto` of floats with its raw data.
pub(crate) fn weight(name: &str, dims: &[i64]) -> Encoder {
    let elements: i64 = dims.iter().product();
    dims.iter()
        .fold(Encoder::new(), |tensor, dim| tensor.number(1, *dim))
        .number(2, 1)
        .bytes(8, name)
        .bytes(9, vec![0; usize::try_from(elements).unwrap() * 4])
}

/// A whole model around a `GraphProto`.
pub(crate) fn model(graph: &Encoder) -> Vec<u8> {
    Encoder::new()
        .number(1, 10)
        .bytes(2, "test")
        .message(7, graph)
        .message(8, &Encoder::new().bytes(1, "").number(2, 21))
        .0
}

/// A graph with one input and one output.
pub(crate) fn graph() -> Encoder {
    Encoder::new()
        .bytes(2, "g")
        .message(11, &tensor_value("x", 1, &[-1, 4]))
        .message(12, &tensor_value("y", 1, &[-1]))
}
