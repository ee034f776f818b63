//! A training's data: where it lies, whether it fits into memory, and its copy on this machine.

use std::path::Path;
use std::sync::Arc;

use modelwright_api::contract::ExitCode;
use modelwright_api::training::{DataFormat, DataSource, TrainingData};
use modelwright_artifact::data::{
    DataFile, DataListing, DataRequest, MAX_TAIL_BYTES, data_digest, fetch_data, list_data, read_tail,
};
use modelwright_artifact::{Connection, Digest, Error, Progress, Retry, SourceUri};
use modelwright_runtime::memory;
use modelwright_trainer::data::{self as rows, FileSet, estimate};
use modelwright_trainer::pipeline::Request;

use crate::failure::Failure;

/// What a failure of a store means: where credentials come from a Secret, the Secret is named.
pub(crate) type Explain = Arc<dyn Fn(Error) -> Failure + Send + Sync>;

/// What rows are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rows {
    /// To learn from.
    Training,
    /// To judge by.
    Validation,
    /// To measure once.
    Test,
}

impl Rows {
    /// The field of a manifest that says where they are.
    const fn field(self) -> &'static str {
        match self {
            Self::Training => "spec.training.data.source",
            Self::Validation => "spec.training.data.validation.source",
            Self::Test => "spec.training.data.test.source",
        }
    }
}

/// A uri and how to reach it.
#[derive(Clone)]
pub(crate) struct Reached {
    pub(crate) uri: SourceUri,
    pub(crate) connection: Connection,
    pub(crate) explain: Explain,
}

/// Where the rows of one kind lie and how they are written.
#[derive(Clone)]
struct Place {
    uri: SourceUri,
    format: DataFormat,
    connection: Connection,
    explain: Explain,
}

/// Where all rows lie.
#[derive(Clone)]
pub(crate) struct Places {
    training: Place,
    validation: Option<Place>,
    test: Option<Place>,
}

/// What lies there now.
pub(crate) struct Listings {
    training: (Place, DataListing),
    validation: Option<(Place, DataListing)>,
    test: Option<(Place, DataListing)>,
}

/// The files on this machine.
pub(crate) struct Fetched {
    pub(crate) digest: Digest,
    pub(crate) training: Vec<DataFile>,
    pub(crate) validation: Option<Vec<DataFile>>,
    pub(crate) test: Option<Vec<DataFile>>,
}

impl Places {
    /// `reach` says how each place is reached.
    pub(crate) fn new(
        data: &TrainingData,
        reach: impl Fn(&DataSource, Rows) -> Result<Reached, Failure>,
    ) -> Result<Self, Failure> {
        let place = |source: Option<&DataSource>, rows: Rows| {
            source.map(|source| Place::new(source, rows, reach(source, rows)?)).transpose()
        };
        let validation = data.validation.as_ref().and_then(|validation| validation.source.as_ref());
        Ok(Self {
            training: Place::new(&data.source, Rows::Training, reach(&data.source, Rows::Training)?)?,
            validation: place(validation, Rows::Validation)?,
            test: place(data.test.as_ref().map(|test| &test.source), Rows::Test)?,
        })
    }

    /// Looks at what lies there, without reading it.
    pub(crate) async fn list(&self, retry: Retry) -> Result<Listings, Failure> {
        Ok(Listings {
            training: self.training.list(retry).await?,
            validation: match &self.validation {
                Some(place) => Some(place.list(retry).await?),
                None => None,
            },
            test: match &self.test {
                Some(place) => Some(place.list(retry).await?),
                None => None,
            },
        })
    }
}

impl Place {
    fn new(source: &DataSource, rows: Rows, reached: Reached) -> Result<Self, Failure> {
        let path = rows.field();
        let format = source.format.or_else(|| format_of(&source.uri)).ok_or_else(|| {
            Failure::new(
                ExitCode::InvalidConfiguration,
                "FormatUnknown",
                format!(
                    "{path}: the uri {} does not end in .csv or .parquet, so the format is not known; write {path}.format: \
                     CSV or Parquet",
                    source.uri
                ),
            )
        })?;
        let Reached { uri, connection, explain } = reached;
        Ok(Self { uri, format, connection, explain })
    }

    async fn list(&self, retry: Retry) -> Result<(Self, DataListing), Failure> {
        let request = DataRequest {
            uri: self.uri.clone(),
            endings: match self.format {
                DataFormat::Csv => vec![".csv", ".tsv", ".txt"],
                DataFormat::Parquet => vec![".parquet", ".pq"],
            },
            connection: Connection { retry, ..self.connection.clone() },
        };
        let listing = list_data(&request).await.map_err(|error| (self.explain)(error))?;
        Ok((self.clone(), listing))
    }
}

/// The format that the ending of a name tells.
fn format_of(uri: &str) -> Option<DataFormat> {
    let name = uri.trim_end_matches('/').to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ends(&[".csv", ".tsv", ".txt"]) {
        Some(DataFormat::Csv)
    } else {
        ends(&[".parquet", ".pq"]).then_some(DataFormat::Parquet)
    }
}

impl Listings {
    fn all(&self) -> impl Iterator<Item = &(Place, DataListing)> {
        [Some(&self.training), self.validation.as_ref(), self.test.as_ref()].into_iter().flatten()
    }

    /// What changes when the data does, as text; empty if a store tells too little to be sure.
    pub(crate) fn fingerprint(&self) -> Result<String, Failure> {
        // The place is a part of it: two servers may give files of one size the same entity tag.
        let probes: Vec<_> =
            self.all().map(|(place, listing)| (place.uri.to_string(), listing.probe())).collect();
        if !probes.iter().all(|(_, probe)| probe.is_conclusive()) {
            return Ok(String::new());
        }
        serde_json::to_string(&probes)
            .map_err(|error| Failure::bug(format!("a listing does not serialise: {error}")))
    }

    /// The same for programs elsewhere; `None` if a store tells too little to be sure.
    pub(crate) fn fingerprint_digest(&self) -> Option<Digest> {
        let each = self.all().map(|(place, listing)| Some(listing.probe().fingerprint(&place.uri)?.hex()));
        let all: Vec<String> = each.collect::<Option<_>>()?;
        Some(Digest::of(all.join("\n").as_bytes()))
    }

    /// Refuses data that cannot fit into memory, before it is fetched.
    pub(crate) async fn check_size(&self) -> Result<(), Failure> {
        let available = memory::available();
        let mut needed = 0_u64;
        for (place, listing) in self.all() {
            needed = needed.saturating_add(place.memory(listing).await?);
        }
        let what = self.training.0.uri.to_string();
        Ok(estimate::check(needed, available, &what)?)
    }

    /// Copies all files below `folder`.
    pub(crate) async fn fetch(&self, folder: &Path, progress: &dyn Progress) -> Result<Fetched, Failure> {
        let training = fetch(&self.training, &folder.join("training"), progress).await?;
        let validation = match &self.validation {
            Some(listed) => Some(fetch(listed, &folder.join("validation"), progress).await?),
            None => None,
        };
        let test = match &self.test {
            Some(listed) => Some(fetch(listed, &folder.join("test"), progress).await?),
            None => None,
        };
        let digest = data_digest(&training, validation.as_deref(), test.as_deref())?;
        Ok(Fetched { digest, training, validation, test })
    }

    /// What the trainer takes.
    pub(crate) fn request(
        &self,
        fetched: &Fetched,
        spec: modelwright_api::training::resolved::ResolvedTraining,
    ) -> Request {
        let set = |place: &Place, files: &[DataFile], delimiter| FileSet {
            files: files
                .iter()
                .map(|file| rows::DataFile { path: file.path.clone(), name: file.name.clone() })
                .collect(),
            format: place.format,
            delimiter,
        };
        let delimiters = spec.delimiters;
        let other = |listed: Option<&(Place, DataListing)>, files: Option<&Vec<DataFile>>, delimiter| {
            Some(set(&listed?.0, files?, delimiter))
        };
        Request {
            training: set(&self.training.0, &fetched.training, delimiters.training),
            validation: other(self.validation.as_ref(), fetched.validation.as_ref(), delimiters.validation),
            test: other(self.test.as_ref(), fetched.test.as_ref(), delimiters.test),
            spec,
            memory: memory::available(),
        }
    }
}

impl Place {
    /// The bytes of memory that the rows of a listing take at most.
    async fn memory(&self, listing: &DataListing) -> Result<u64, Failure> {
        match self.format {
            DataFormat::Csv => Ok(estimate::csv_bytes(listing.total_bytes().unwrap_or(0))),
            DataFormat::Parquet => {
                let mut needed = 0_u64;
                for index in 0..listing.files.len() {
                    let shape = parquet_shape(listing, index).await?;
                    needed = needed.saturating_add(estimate::parquet_bytes(&shape));
                }
                Ok(needed)
            }
        }
    }
}

async fn parquet_shape(listing: &DataListing, index: usize) -> Result<estimate::Shape, Failure> {
    let name = listing.names().swap_remove(index);
    let end = read_tail(listing, index, estimate::PARQUET_TAIL as u64).await?;
    // A file that is shorter than that is no Parquet, which zeros are not either.
    let mut last = [0; estimate::PARQUET_TAIL];
    let from = last.len().saturating_sub(end.len());
    last[from..].copy_from_slice(&end);
    let length = estimate::parquet_footer_bytes(&name, last)?;
    let footer = read_tail(listing, index, length.min(MAX_TAIL_BYTES)).await?;
    Ok(estimate::parquet_shape(&name, &footer)?)
}

async fn fetch(
    (place, listing): &(Place, DataListing),
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Vec<DataFile>, Failure> {
    fetch_data(listing, folder, progress).await.map_err(|error| (place.explain)(error))
}
