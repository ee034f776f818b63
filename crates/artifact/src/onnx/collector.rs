//! The facts collected so far, and the messages that are open.

use std::collections::{BTreeSet, HashSet};

use super::schema::{Content, Field, Message, known};
use super::value::{Kind, Value};
use super::weight::Weight;
use super::wire::{Action, Handler, WireType};
use super::{Dimension, Limits, OnnxError, OnnxFacts};
use crate::RelativePath;

/// What one entry of a map, set or list takes beside its text; rounded up.
const ENTRY_BYTES: usize = 64;
/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// An operator or a function that stands for one: its domain and its name.
type Operator = (String, String);

/// Receives the fields of a file and keeps the facts.
#[derive(Debug)]
pub(super) struct Collector {
    limits: Limits,
    facts: OnnxFacts,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
    /// Names of the main graph's initializers.
    initializers: HashSet<String>,
    operators: BTreeSet<Operator>,
    functions: BTreeSet<Operator>,
    /// Messages that are open, the model first, each with the field that it is.
    open: Vec<(Message, Field)>,
    field: Option<(Field, Content, &'static str)>,
    offset: u64,
    /// Nodes that are open: one for each level of subgraphs.
    nodes: Vec<Operator>,
    function: Operator,
    opset: (String, i64),
    entry: (String, String),
    dimension: Dimension,
    weight: Weight,
    value: Value,
    has_ir_version: bool,
    has_graph: bool,
    recognised: bool,
    retained: usize,
    peak: usize,
}

impl Collector {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            facts: OnnxFacts::default(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            initializers: HashSet::new(),
            operators: BTreeSet::new(),
            functions: BTreeSet::new(),
            open: vec![(Message::Model, Field::MainGraph)],
            field: None,
            offset: 0,
            nodes: Vec::new(),
            function: Operator::default(),
            opset: (String::new(), 0),
            entry: (String::new(), String::new()),
            dimension: Dimension::Unknown,
            weight: Weight::new(),
            value: Value::default(),
            has_ir_version: false,
            has_graph: false,
            recognised: false,
            retained: 0,
            peak: 0,
        }
    }

    /// Whether the bytes so far are those of an ONNX file: damage after them is damage to a model.
    pub(super) fn is_recognised(&self) -> bool {
        self.recognised
    }

    /// Whether what every model has was there.
    pub(super) fn is_model(&self) -> bool {
        self.has_ir_version && self.has_graph
    }

    /// The most bytes ever held at once.
    pub(super) fn peak_bytes(&self) -> usize {
        self.peak
    }

    /// The facts of a file that ended at `offset`.
    pub(super) fn finish(mut self, offset: u64) -> Result<OnnxFacts, OnnxError> {
        self.offset = offset;
        if self.facts.opsets.is_empty() {
            // Writers put the imports behind the graph: a file cut there looks complete otherwise.
            return Err(self.invalid("it imports no operator set; it may be cut off behind its graph"));
        }
        for value in self.inputs.into_iter().filter(|value| !self.initializers.contains(&value.name)) {
            self.facts.inputs.push(value.into_fact("input")?);
        }
        for value in self.outputs {
            self.facts.outputs.push(value.into_fact("output")?);
        }
        for (domain, name) in self.operators.difference(&self.functions).cloned() {
            self.facts.operators.entry(domain).or_default().insert(name);
        }
        Ok(self.facts)
    }

    fn message(&self) -> Message {
        self.open.last().map_or(Message::Model, |(message, _)| *message)
    }

    /// Whether the innermost open message is the main graph.
    fn in_main_graph(&self) -> bool {
        matches!(self.open[..], [_, (Message::Graph, Field::MainGraph)])
    }

    fn invalid(&self, problem: impl Into<String>) -> OnnxError {
        OnnxError::InvalidModel { offset: self.offset, problem: problem.into() }
    }

    /// Counts memory that stays until the end.
    fn retain(&mut self, bytes: usize) -> Result<(), OnnxError> {
        self.retained += bytes + ENTRY_BYTES;
        self.measure(0);
        if self.retained > self.limits.retained_bytes {
            return Err(OnnxError::ModelTooComplex {
                what: format!("more than {} bytes of names and shapes", self.limits.retained_bytes),
            });
        }
        Ok(())
    }

    /// Notes how much is held now, `arriving` bytes of text included.
    fn measure(&mut self, arriving: usize) {
        let nodes: usize = self.nodes.iter().map(|(domain, name)| domain.capacity() + name.capacity()).sum();
        let texts = [&self.function.0, &self.function.1, &self.opset.0, &self.entry.0, &self.entry.1];
        let open = texts.iter().map(|text| text.capacity()).sum::<usize>()
            + self.weight.name.capacity()
            + self.value.name.capacity();
        self.peak = self.peak.max(self.retained + nodes + open + arriving);
    }

    /// The meaning of a length-delimited field, and what to prepare for a message that opens.
    fn enter(&mut self, field: Field, message: Message) -> Result<Action, OnnxError> {
        match field {
            // Those of subgraphs are not the model's, and no facts are read from them.
            Field::Input | Field::Output if !self.in_main_graph() => return Ok(Action::Skip),
            Field::MainGraph => self.has_graph = true,
            Field::Dimension => self.dimension = Dimension::Unknown,
            Field::Shape => {
                self.value.shape.get_or_insert_default();
            }
            Field::Tensor => self.value.kind = Kind::Tensor,
            _ => {}
        }
        match message {
            Message::Node => self.nodes.push(Operator::default()),
            Message::Function => self.function = Operator::default(),
            Message::OperatorSet => self.opset = (String::new(), 0),
            Message::Entry => self.entry = (String::new(), String::new()),
            Message::Tensor => self.weight = Weight::new(),
            Message::ValueInfo => self.value = Value::default(),
            _ => {}
        }
        if self.open.len() >= self.limits.nesting {
            return Err(OnnxError::ModelTooComplex {
                what: format!("more than {} messages inside each other (subgraphs)", self.limits.nesting),
            });
        }
        self.open.push((message, field));
        Ok(Action::Enter)
    }

    fn leave_node(&mut self) -> Result<(), OnnxError> {
        self.facts.nodes += 1;
        let Some((domain, name)) = self.nodes.pop() else { return Ok(()) };
        let operator = (standard(domain), name);
        if matches!(operator.0.as_str(), "" | "ai.onnx.ml") || self.operators.contains(&operator) {
            return Ok(());
        }
        self.retain(operator.0.len() + operator.1.len())?;
        self.operators.insert(operator);
        Ok(())
    }

    fn leave_function(&mut self) -> Result<(), OnnxError> {
        let (domain, name) = std::mem::take(&mut self.function);
        self.retain(domain.len() + name.len())?;
        self.functions.insert((standard(domain), name));
        Ok(())
    }

    fn leave_operator_set(&mut self) -> Result<(), OnnxError> {
        let (domain, version) = std::mem::take(&mut self.opset);
        self.retain(domain.len())?;
        self.facts.opsets.insert(standard(domain), version);
        Ok(())
    }

    fn leave_entry(&mut self, field: Field) -> Result<(), OnnxError> {
        let (key, value) = std::mem::take(&mut self.entry);
        if field == Field::ExternalData {
            if key == "location" {
                // Each that is named, whether or not this weight turns out to use it: of repeated entries, and of
                // messages that are repeated where one belongs, protobuf's readers see all together.
                self.weight.has_location = true;
                self.add_external(&value)?;
            }
        } else if self.facts.metadata.len() < self.limits.metadata_entries {
            self.retain(key.len() + value.len())?;
            self.facts.metadata.insert(key, value);
        }
        Ok(())
    }

    fn leave_weight(&mut self) -> Result<(), OnnxError> {
        let weight = std::mem::replace(&mut self.weight, Weight::new());
        let bytes = weight.bytes().map_err(|problem| self.invalid(problem))?;
        self.facts.parameter_bytes = self.facts.parameter_bytes.saturating_add(bytes);
        if weight.is_external && !weight.has_location {
            return Err(OnnxError::MissingExternalData { tensor: shortened(&weight.name) });
        }
        let is_initializer = matches!(
            self.open[..],
            [_, (_, Field::MainGraph)] | [_, (_, Field::MainGraph), (_, Field::SparseWeight)]
        );
        if is_initializer && !weight.name.is_empty() {
            self.retain(weight.name.len())?;
            self.initializers.insert(weight.name);
        }
        Ok(())
    }

    /// Keeps the path of a weight's file, if it stays beneath the model's folder.
    fn add_external(&mut self, location: &str) -> Result<(), OnnxError> {
        // Some exporters write `./weights.bin`, which is the same file.
        let location = location.trim_start_matches("./");
        if self.facts.external_data.contains(location) {
            return Ok(());
        }
        let refused =
            |problem| Err(OnnxError::UnsafeExternalDataPath { location: shortened(location), problem });
        match RelativePath::new(location) {
            // ONNX Runtime's mark for weights that lie in its own memory, at an address that the file would choose.
            _ if location.contains("_ORT_MEM_ADDR_") => {
                refused("that names an address in memory, not a file")
            }
            Ok(_) => {
                self.retain(location.len())?;
                self.facts.external_data.insert(location.to_owned());
                Ok(())
            }
            Err(crate::Error::UnsafePath { problem, .. }) => refused(problem),
            Err(_) => refused("it is no path"),
        }
    }

    fn leave_value(&mut self, field: Field) -> Result<(), OnnxError> {
        let value = std::mem::take(&mut self.value);
        self.retain(value.name.len())?;
        let values = if field == Field::Input { &mut self.inputs } else { &mut self.outputs };
        values.push(value);
        Ok(())
    }

    fn leave_dimension(&mut self) -> Result<(), OnnxError> {
        let dimension = std::mem::replace(&mut self.dimension, Dimension::Unknown);
        self.retain(if let Dimension::Symbolic(name) = &dimension { name.len() } else { 0 })?;
        self.value.shape.get_or_insert_default().push(dimension);
        Ok(())
    }

    /// Text whose beginning is enough, cut between characters.
    fn cut(&self, mut bytes: Vec<u8>) -> String {
        if bytes.len() > self.limits.text_bytes {
            bytes.truncate(self.limits.text_bytes);
            if let Err(error) = std::str::from_utf8(&bytes)
                && error.error_len().is_none()
            {
                bytes.truncate(error.valid_up_to());
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A fact whose beginning is enough.
    fn describe(&mut self, bytes: Vec<u8>) -> Result<Option<String>, OnnxError> {
        let text = self.cut(bytes);
        self.retain(text.len())?;
        Ok((!text.is_empty()).then_some(text))
    }

    /// Text of an entry: a path must be whole, of metadata the beginning is enough.
    fn entry_text(&self, bytes: Vec<u8>) -> Result<String, OnnxError> {
        match self.open.last() {
            Some((_, Field::ExternalData)) => self.name(bytes),
            _ => Ok(self.cut(bytes)),
        }
    }

    /// Text that must be whole.
    fn name(&self, bytes: Vec<u8>) -> Result<String, OnnxError> {
        let (_, _, schema) = self.field.unwrap_or((Field::Key, Content::Text, "a name"));
        if bytes.len() > self.limits.text_bytes {
            return Err(OnnxError::ModelTooComplex {
                what: format!("a {schema} of more than {} bytes", self.limits.text_bytes),
            });
        }
        String::from_utf8(bytes).map_err(|_| self.invalid(format!("{schema} is not UTF-8")))
    }
}

impl Handler for Collector {
    fn field(&mut self, field: u32, wire_type: WireType, offset: u64) -> Result<(), OnnxError> {
        self.offset = offset;
        self.field = known(self.message(), field);
        let Some((meaning, content, schema)) = self.field else { return Ok(()) };
        if !content.allows(wire_type) {
            return Err(self.invalid(format!("{schema} has protobuf's wire type {}", wire_type as u8)));
        }
        // Only now: other formats rarely have both a version first and one of these.
        self.recognised |= self.has_ir_version
            && matches!(meaning, Field::ProducerName | Field::MainGraph | Field::OpsetImport);
        Ok(())
    }

    #[expect(
        clippy::cast_possible_wrap,
        clippy::cast_possible_truncation,
        reason = "protobuf writes negative numbers as their two's complement, and reads an enum from the low 32 bits"
    )]
    fn varint(&mut self, _: u32, value: u64) -> Result<(), OnnxError> {
        let Some((field, ..)) = self.field else { return Ok(()) };
        let number = value as i64;
        match field {
            Field::IrVersion => {
                self.facts.ir_version = number;
                self.has_ir_version = true;
            }
            Field::OpsetVersion => self.opset.1 = number,
            Field::TensorType => self.weight.data_type = number,
            // What protobuf's readers make of it: the low 32 bits, and a later value that they do not know does not
            // count. Once external is therefore external: to take a weight for internal that ONNX Runtime reads from
            // a file would let it load bytes that no digest covers.
            Field::DataLocation => self.weight.is_external |= number as i32 == EXTERNAL,
            Field::TensorDims => self.weight.dimension(number),
            Field::ElementType => self.value.element_type = number,
            Field::DimValue if number < 0 => self.dimension = Dimension::Unknown,
            Field::DimValue => self.dimension = Dimension::Fixed(number),
            _ => {}
        }
        Ok(())
    }

    fn delimited(&mut self, _: u32, length: u64) -> Result<Action, OnnxError> {
        let Some((field, content, _)) = self.field else { return Ok(Action::Skip) };
        match content {
            Content::Message(message) => return self.enter(field, message),
            // One byte more than allowed tells that there are more.
            Content::Text => return Ok(Action::Capture(self.limits.text_bytes + 1)),
            Content::Numbers => return Ok(Action::Varints),
            Content::Number | Content::Bytes | Content::Presence => {}
        }
        match field {
            Field::RawData => self.weight.raw_bytes = Some(length),
            Field::StringData => {
                self.weight.string_bytes = self.weight.string_bytes.saturating_add(length);
            }
            Field::Sequence => self.value.kind = Kind::Sequence,
            Field::Map => self.value.kind = Kind::Map,
            Field::Opaque => self.value.kind = Kind::Opaque,
            Field::SparseTensor => self.value.kind = Kind::SparseTensor,
            Field::Optional => self.value.kind = Kind::Optional,
            _ => {}
        }
        Ok(Action::Skip)
    }

    fn captured(&mut self, _: u32, bytes: Vec<u8>) -> Result<(), OnnxError> {
        let Some((field, ..)) = self.field else { return Ok(()) };
        self.measure(bytes.capacity());
        match field {
            Field::ProducerName => self.facts.producer = self.describe(bytes)?,
            Field::ProducerVersion => self.facts.producer_version = self.describe(bytes)?,
            Field::GraphName if self.in_main_graph() => self.facts.graph_name = self.describe(bytes)?,
            Field::Key => self.entry.0 = self.entry_text(bytes)?,
            Field::Value => self.entry.1 = self.entry_text(bytes)?,
            Field::OpsetDomain => self.opset.0 = self.name(bytes)?,
            Field::FunctionDomain => self.function.0 = self.name(bytes)?,
            Field::FunctionName => self.function.1 = self.name(bytes)?,
            Field::TensorName => self.weight.name = self.name(bytes)?,
            Field::ValueName => self.value.name = self.name(bytes)?,
            Field::DimParam => {
                let name = self.name(bytes)?;
                // An empty name is how some exporters leave a dimension open.
                self.dimension = if name.is_empty() { Dimension::Unknown } else { Dimension::Symbolic(name) };
            }
            Field::OperatorDomain | Field::OperatorType => {
                let name = self.name(bytes)?;
                if let Some(node) = self.nodes.last_mut() {
                    *(if field == Field::OperatorDomain { &mut node.0 } else { &mut node.1 }) = name;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), OnnxError> {
        let Some((message, field)) = self.open.pop() else { return Ok(()) };
        match message {
            Message::OperatorSet => self.leave_operator_set(),
            Message::Function => self.leave_function(),
            Message::Node => self.leave_node(),
            Message::Tensor => self.leave_weight(),
            Message::ValueInfo => self.leave_value(field),
            Message::Dimension => self.leave_dimension(),
            Message::Entry => self.leave_entry(field),
            Message::Model
            | Message::Graph
            | Message::Attribute
            | Message::SparseTensor
            | Message::Type
            | Message::TensorType
            | Message::Shape => Ok(()),
        }
    }
}

/// The standard domain has two spellings.
fn standard(domain: String) -> String {
    if domain == "ai.onnx" { String::new() } else { domain }
}

/// At most 80 characters of hostile text, for a message.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
