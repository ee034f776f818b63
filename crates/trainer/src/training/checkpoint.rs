//! The state of a training in a file.
//!
//! ```text
//! MWTRAIN1                                 8 bytes
//! identity, numerics version, SIMD class   each: length, bytes
//! epochs, steps in the next, all steps     3 numbers
//! loss of these steps                      2 numbers of double precision
//! weights and biases                       lists
//! what the optimizer keeps of each         lists of lists
//! history                                  list of 5 numbers
//! best epoch                               0, or 1 and: epoch, value, 0 or 1 and weights and biases
//! SHA-256 of all before, in hexadecimal    64 bytes
//! ```
//!
//! Numbers are little-endian, whole ones of 64 bits; a list is its length and its members. A file that is damaged, of
//! another identity or of another form is as good as none: its training begins anew and replaces it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use modelwright_artifact::Digest;

use super::progress::Best;
use super::run::State;
use super::{CheckpointPlace, EpochRecord, Position, TrainingError};
use crate::NUMERICS_VERSION;
use crate::network::{LossSum, Network, simd_class};

const MAGIC: &[u8] = b"MWTRAIN1";

/// The hexadecimal digits of the digest at the end.
const DIGEST: usize = 64;

/// How often the state is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The end of an epoch is passed over when the last writing is not that many times its own duration ago.
    pub(super) spacing: u32,
    /// Within an epoch it is written when the last writing is longer ago.
    pub(super) most: Duration,
}

impl Pace {
    /// At the end of every epoch and every minute. An epoch may take a millisecond, and writing ten: it is not given more
    /// than a twentieth of the time.
    pub(super) const USUAL: Self = Self { spacing: 20, most: Duration::from_mins(1) };
}

/// Where the state is kept, if anywhere.
pub(super) struct Store<'a> {
    place: Option<&'a CheckpointPlace>,
    pace: Pace,
    written: Instant,
    /// How long the last writing took.
    took: Duration,
}

impl<'a> Store<'a> {
    pub(super) fn new(place: Option<&'a CheckpointPlace>, often: Pace) -> Self {
        Self { place, pace: often, written: Instant::now(), took: Duration::ZERO }
    }

    /// The state that is kept there; `None` if there is none that continues the training which begins with `first`.
    pub(super) fn find(&self, first: &State) -> Option<State> {
        let place = self.place?;
        let bytes = match std::fs::read(&place.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %place.path.display(), %error, "the checkpoint cannot be read; starting anew");
                return None;
            }
        };
        let state = decode(&bytes, &place.identity, first);
        if state.is_none() {
            let path = place.path.display();
            tracing::info!(%path, "the checkpoint is damaged or of another training; starting anew");
        }
        state
    }

    /// Writes the state. Returns whether there is a place for it.
    pub(super) fn write(&mut self, state: &State) -> Result<bool, TrainingError> {
        let Some(place) = self.place else { return Ok(false) };
        let started = Instant::now();
        replace(&place.path, &encode(state, &place.identity))
            .map_err(|source| TrainingError::CheckpointUnwritable { path: place.path.clone(), source })?;
        self.written = Instant::now();
        self.took = started.elapsed();
        Ok(true)
    }

    /// Writes the state at the end of an epoch.
    pub(super) fn write_if_due(&mut self, state: &State) -> Result<(), TrainingError> {
        self.write_after(self.took * self.pace.spacing, state)
    }

    /// Writes the state within an epoch.
    pub(super) fn write_if_late(&mut self, state: &State) -> Result<(), TrainingError> {
        self.write_after(self.pace.most, state)
    }

    fn write_after(&mut self, pause: Duration, state: &State) -> Result<(), TrainingError> {
        if self.place.is_some() && self.written.elapsed() >= pause {
            self.write(state)?;
        }
        Ok(())
    }
}

/// Puts a file with these bytes in the place of another, so that there is always a whole one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn encode(state: &State, identity: &str) -> Vec<u8> {
    let State { network, optimizer, position, loss, history, best } = state;
    let mut writer = Writer(MAGIC.to_vec());
    for text in header(identity) {
        writer.bytes(text.as_bytes());
    }
    for number in [u64::from(position.epochs), position.steps, optimizer.steps] {
        writer.whole(number);
    }
    for number in [loss.weighted, loss.weight] {
        writer.double(number);
    }
    writer.network(network);
    optimizer.memory.iter().flatten().for_each(|list| writer.list(list));
    writer.whole(history.len() as u64);
    for record in history {
        let EpochRecord { epoch, learning_rate, training_loss, validation_loss, validation_score } = *record;
        writer.whole(u64::from(epoch));
        for number in [learning_rate, training_loss, validation_loss, validation_score] {
            writer.double(number);
        }
    }
    writer.whole(u64::from(best.is_some()));
    if let Some(Best { epoch, value, network }) = best {
        writer.whole(u64::from(*epoch));
        writer.double(*value);
        writer.whole(u64::from(network.is_some()));
        if let Some(network) = network {
            writer.network(network);
        }
    }
    let digest = Digest::of(&writer.0).hex();
    writer.0.extend_from_slice(digest.as_bytes());
    writer.0
}

/// What must be the same for a state to be continued.
fn header(identity: &str) -> [&str; 3] {
    [identity, NUMERICS_VERSION, simd_class()]
}

/// The state in `bytes`, of the shape of `first`.
fn decode(bytes: &[u8], identity: &str, first: &State) -> Option<State> {
    let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
    if Digest::of(body).hex().as_bytes() != digest {
        return None;
    }
    let mut reader = Reader(body.strip_prefix(MAGIC)?);
    for text in header(identity) {
        let length = reader.size()?;
        (reader.take(length)? == text.as_bytes()).then_some(())?;
    }
    let mut state = first.clone();
    state.position = Position { epochs: reader.count()?, steps: reader.whole()? };
    state.optimizer.steps = reader.whole()?;
    state.loss = LossSum { weighted: reader.double()?, weight: reader.double()? };
    reader.network(&mut state.network)?;
    for list in state.optimizer.memory.iter_mut().flatten() {
        reader.list(list)?;
    }
    for _ in 0..reader.whole()? {
        state.history.push(EpochRecord {
            epoch: reader.count()?,
            learning_rate: reader.double()?,
            training_loss: reader.double()?,
            validation_loss: reader.double()?,
            validation_score: reader.double()?,
        });
    }
    if reader.flag()? {
        let (epoch, value) = (reader.count()?, reader.double()?);
        let mut network = reader.flag()?.then(|| first.network.clone());
        if let Some(network) = &mut network {
            reader.network(network)?;
        }
        state.best = Some(Best { epoch, value, network });
    }
    reader.0.is_empty().then_some(state)
}

struct Writer(Vec<u8>);

impl Writer {
    fn whole(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn double(&mut self, number: f64) {
        self.whole(number.to_bits());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.whole(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn list(&mut self, numbers: &[f32]) {
        self.whole(numbers.len() as u64);
        self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    fn network(&mut self, network: &Network<f32>) {
        network.parameters().for_each(|values| self.list(values));
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn whole(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.whole()?).ok()
    }

    fn count(&mut self) -> Option<u32> {
        u32::try_from(self.whole()?).ok()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.whole()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn double(&mut self) -> Option<f64> {
        Some(f64::from_bits(self.whole()?))
    }

    /// A list of as many numbers as are in `numbers`.
    fn list(&mut self, numbers: &mut [f32]) -> Option<()> {
        if self.size()? != numbers.len() {
            return None;
        }
        let bytes = self.take(numbers.len().checked_mul(4)?)?;
        numbers.iter_mut().zip(bytes.as_chunks().0).for_each(|(to, from)| *to = f32::from_le_bytes(*from));
        Some(())
    }

    fn network(&mut self, network: &mut Network<f32>) -> Option<()> {
        network.parameters_mut().try_for_each(|values| self.list(values))
    }
}
