//! A training's data: where it lies, whether it fits into memory, and its copy on this machine.

use std::path::Path;

use modelwright_api::contract::ExitCode;
use modelwright_api::training::{DataFormat, DataSource, TrainingData};
use modelwright_artifact::data::{
    DataFile, DataListing, DataRequest, MAX_TAIL_BYTES, data_digest, fetch_data, list_data, read_tail,
};
use modelwright_artifact::{AccessRules, Connection, Digest, Progress, Retry, SourceUri};
use modelwright_runtime::memory;
use modelwright_trainer::data::{self as rows, FileSet, estimate};
use modelwright_trainer::pipeline::Request;

use crate::failure::Failure;
use crate::local::manifests::{Entry, Secrets};

/// Where the rows of one kind lie and how they are written.
#[derive(Clone, Debug)]
struct Place {
    uri: SourceUri,
    format: DataFormat,
    connection: Connection,
}

/// Where all rows lie.
#[derive(Clone, Debug)]
pub(super) struct Places {
    training: Place,
    validation: Option<Place>,
    test: Option<Place>,
}

/// What lies there now.
pub(super) struct Listings {
    training: (Place, DataListing),
    validation: Option<(Place, DataListing)>,
    test: Option<(Place, DataListing)>,
}

/// The files on this machine.
pub(super) struct Fetched {
    pub(super) digest: Digest,
    pub(super) training: Vec<DataFile>,
    pub(super) validation: Option<Vec<DataFile>>,
    pub(super) test: Option<Vec<DataFile>>,
}

impl Places {
    pub(super) fn new(data: &TrainingData, entry: &Entry, secrets: &Secrets) -> Result<Self, Failure> {
        let place = |source: &DataSource, path: &str| Place::new(source, path, entry, secrets);
        let validation = data.validation.as_ref().and_then(|validation| validation.source.as_ref());
        Ok(Self {
            training: place(&data.source, "spec.training.data.source")?,
            validation: validation
                .map(|source| place(source, "spec.training.data.validation.source"))
                .transpose()?,
            test: data
                .test
                .as_ref()
                .map(|test| place(&test.source, "spec.training.data.test.source"))
                .transpose()?,
        })
    }

    /// Looks at what lies there, without reading it.
    pub(super) async fn list(&self, retry: Retry) -> Result<Listings, Failure> {
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
    fn new(source: &DataSource, path: &str, entry: &Entry, secrets: &Secrets) -> Result<Self, Failure> {
        let uri = SourceUri::parse(&source.uri, Some(&entry.folder))?;
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
        let connection = Connection {
            credentials: secrets.find(&source.uri, source.credentials_secret_ref.as_ref())?,
            rules: AccessRules::LOCAL,
            retry: Retry::FETCH,
            ..Connection::default()
        };
        Ok(Self { uri, format, connection })
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
        let listing = list_data(&request).await?;
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
    pub(super) fn fingerprint(&self) -> Result<String, Failure> {
        // The place is a part of it: two servers may give files of one size the same entity tag.
        let probes: Vec<_> =
            self.all().map(|(place, listing)| (place.uri.to_string(), listing.probe())).collect();
        if !probes.iter().all(|(_, probe)| probe.is_conclusive()) {
            return Ok(String::new());
        }
        serde_json::to_string(&probes)
            .map_err(|error| Failure::bug(format!("a listing does not serialise: {error}")))
    }

    /// Refuses data that cannot fit into memory, before it is fetched.
    pub(super) async fn check_size(&self) -> Result<(), Failure> {
        let available = memory::available();
        let mut needed = 0_u64;
        for (place, listing) in self.all() {
            needed = needed.saturating_add(place.memory(listing).await?);
        }
        let what = self.training.0.uri.to_string();
        Ok(estimate::check(needed, available, &what)?)
    }

    /// Copies all files below `folder`.
    pub(super) async fn fetch(&self, folder: &Path, progress: &dyn Progress) -> Result<Fetched, Failure> {
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
    pub(super) fn request(
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
    (_, listing): &(Place, DataListing),
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Vec<DataFile>, Failure> {
    Ok(fetch_data(listing, folder, progress).await?)
}
