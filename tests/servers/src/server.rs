//! Starting the servers and what a test needs to know of a running one.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::{process::Process, program::Program};

/// The bucket, or Azure container, that every server has from the start.
const BUCKET: &str = "models";

/// How long a server may take until it answers: generous, because Node.js reads hundreds of files on a busy machine.
const START_LIMIT: Duration = Duration::from_mins(1);

/// Between two looks whether a server answers.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// A free port can be taken by another process between the choice and the server's bind.
const START_ATTEMPTS: usize = 3;

/// The account that every Azure Blob Storage emulator has. Its key is public and the same everywhere:
/// <https://learn.microsoft.com/azure/storage/common/storage-connect-azurite>.
const AZURE_ACCOUNT: &str = "devstoreaccount1";
const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// An account shared access signature made with that key, which allows to create containers and never expires. It saves
/// signing a single request here.
const AZURE_CREATE_CONTAINER: &str = "sv=2018-11-09&ss=b&srt=c&sp=c&se=2999-01-01T00%3A00%3A00Z\
    &sig=S3%2Fh21ohzdNeMlcfHrkTWwFwOXMpGr4KM3dTUxpLEA0%3D";

/// An object storage server that ends, with all its data, when this is dropped or this process dies.
///
/// It listens on 127.0.0.1 only, speaks plain HTTP, and keeps one empty bucket `models`. [`credentials`](Self::credentials)
/// holds what a client needs, by the names that a Kubernetes Secret for Modelwright has:
///
/// | scheme | names |
/// |---|---|
/// | `s3` | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL` |
/// | `az` | `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`, and `AZURE_STORAGE_ENDPOINT` |
/// | `gs` | `GOOGLE_SERVICE_ACCOUNT_KEY` |
///
/// The endpoint of an emulator is no credential of the real services, so it takes the form that the `object_store` crate
/// knows: `AZURE_STORAGE_ENDPOINT` is its option `azure_storage_endpoint` and, as emulators want, has the account as its
/// path; the service account key names the endpoint in `gcs_base_url` and has `disable_oauth`. Clients must allow plain HTTP.
#[derive(Debug)]
pub struct Server {
    program: Program,
    endpoint: String,
    credentials: BTreeMap<String, String>,
    process: Process,
    folder: TempDir,
}

/// Starts an S3 server that honours `If-None-Match` and `If-Match` on writes (versitygw).
///
/// It keeps objects as files, so a key cannot be another key's folder (`a` and `a/b`), unlike in S3 itself.
///
/// # Errors
/// Fails if the program does not answer, with the end of its log, or is missing where it is [required](crate::required).
pub fn versitygw() -> anyhow::Result<Option<Server>> {
    start(Program::VersityGw)
}

/// Starts an S3 server that ignores `If-None-Match` on writes and overwrites (s3rver).
///
/// # Errors
/// As [`versitygw`].
pub fn s3rver() -> anyhow::Result<Option<Server>> {
    start(Program::S3rver)
}

/// Starts an Azure Blob Storage server (Azurite).
///
/// # Errors
/// As [`versitygw`].
pub fn azurite() -> anyhow::Result<Option<Server>> {
    start(Program::Azurite)
}

/// Starts a Google Cloud Storage server that honours `x-goog-if-generation-match` (fake-gcs-server).
///
/// # Errors
/// As [`versitygw`].
pub fn fake_gcs() -> anyhow::Result<Option<Server>> {
    start(Program::FakeGcs)
}

impl Server {
    /// The URL that clients are pointed to, without a final slash. For Azure it has the account as its path.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The bucket, or container, that exists.
    #[allow(clippy::unused_self, reason = "callers need not know that every server has the same")]
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }

    /// `s3`, `az` or `gs`.
    pub fn scheme(&self) -> &'static str {
        match self.program {
            Program::VersityGw | Program::S3rver => "s3",
            Program::Azurite => "az",
            Program::FakeGcs => "gs",
        }
    }

    /// The URI of an object or prefix of the bucket, such as `s3://models/bc/model.onnx`.
    pub fn uri(&self, path: &str) -> String {
        format!("{}://{BUCKET}/{}", self.scheme(), path.trim_start_matches('/'))
    }

    /// Access and endpoint by the names that the type's documentation lists.
    pub fn credentials(&self) -> BTreeMap<String, String> {
        self.credentials.clone()
    }

    /// Stops answering while connections stay open, as behind a network that drops packets.
    ///
    /// # Errors
    /// Fails if the program has ended.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.process.signal("STOP").with_context(|| format!("cannot pause {}", self.program.name()))
    }

    /// Goes on after [`pause`](Self::pause).
    ///
    /// # Errors
    /// Fails if the program has ended.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.process.signal("CONT").with_context(|| format!("cannot resume {}", self.program.name()))
    }

    /// Kills the program: from now on connections are refused. Does nothing the second time.
    ///
    /// # Errors
    /// Fails if the operating system cannot say whether the program is gone.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process.kill().with_context(|| format!("cannot stop {}", self.program.name()))
    }

    /// What the program has printed so far, for the message of a failed test.
    pub fn log(&self) -> String {
        read_log(self.folder.path())
    }
}

/// Starts `program` on a free port, or answers `None` if it is not installed.
fn start(program: Program) -> anyhow::Result<Option<Server>> {
    let Some(command) = program.command()? else { return Ok(None) };
    for _ in 1..START_ATTEMPTS {
        if let Some(server) = start_once(program, &command)? {
            return Ok(Some(server));
        }
    }
    match start_once(program, &command)? {
        Some(server) => Ok(Some(server)),
        None => bail!("{} ended at once, {START_ATTEMPTS} times", program.name()),
    }
}

/// Starts `program` on some free port, or answers `None` if it ended because the port was taken meanwhile.
fn start_once(program: Program, command: &[OsString]) -> anyhow::Result<Option<Server>> {
    let folder = tempfile::Builder::new().prefix(program.name()).tempdir()?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Launch { arguments, environment, endpoint, credentials } = launch(program, address, folder.path())?;

    let log = File::create(folder.path().join("log"))?;
    let process = Process::start(command.iter().chain(&arguments), &environment, log)
        .with_context(|| format!("cannot start {}", program.name()))?;
    let mut server = Server { program, endpoint, credentials, process, folder };
    if !answers(&mut server, address)? {
        let log = server.log();
        ensure!(
            log.contains("address already in use") || log.contains("EADDRINUSE"),
            "{} ended:\n{log}",
            program.name()
        );
        return Ok(None);
    }
    if program == Program::Azurite {
        let path = format!("/{AZURE_ACCOUNT}/{BUCKET}?restype=container&{AZURE_CREATE_CONTAINER}");
        let status = request(address, "PUT", &path)?;
        ensure!(
            status == 201,
            "azurite answered {status} to the creation of container {BUCKET}:\n{}",
            server.log()
        );
    }
    Ok(Some(server))
}

/// How one program is started and reached.
struct Launch {
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    endpoint: String,
    credentials: BTreeMap<String, String>,
}

/// Prepares the bucket beneath `folder` where that takes a folder, and says how to start `program`.
fn launch(program: Program, address: SocketAddr, folder: &Path) -> anyhow::Result<Launch> {
    let data = folder.join("data");
    let data_word = data.clone().into_os_string();
    fs::create_dir(&data)?;
    let url = format!("http://{address}");
    let port = address.port().to_string();
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    Ok(match program {
        Program::VersityGw => {
            let [sidecar, versions] = ["sidecar", "versions"].map(|name| folder.join(name));
            for folder in [&sidecar, &versions, &data.join(BUCKET)] {
                fs::create_dir(folder)?;
            }
            // Metadata beside the files, because temporary folders may lack extended attributes.
            let mut arguments =
                words(&["--port", &address.to_string(), "--keep-alive", "posix", "--sidecar"]);
            arguments.extend([sidecar.into(), "--versioning-dir".into(), versions.into(), data_word]);
            let (key, secret) = ("test-access-key", "test-secret-key");
            let environment = vec![("ROOT_ACCESS_KEY", key.into()), ("ROOT_SECRET_KEY", secret.into())];
            Launch { arguments, environment, credentials: s3_credentials(key, secret, &url), endpoint: url }
        }
        Program::S3rver => {
            let mut arguments = words(&["--address", "127.0.0.1", "--port", &port, "--no-vhost-buckets"]);
            arguments.extend(["--configure-bucket".into(), BUCKET.into(), "--directory".into(), data_word]);
            // The program knows this one pair.
            let credentials = s3_credentials("S3RVER", "S3RVER", &url);
            Launch { arguments, environment: Vec::new(), credentials, endpoint: url }
        }
        Program::Azurite => {
            let mut arguments = words(&["--blobHost", "127.0.0.1", "--blobPort", &port]);
            // Nothing may leave the machine.
            arguments.extend(words(&["--disableTelemetry", "--disableProductStyleUrl", "--location"]));
            arguments.push(data_word);
            let endpoint = format!("{url}/{AZURE_ACCOUNT}");
            let credentials = named([
                ("AZURE_STORAGE_ACCOUNT_NAME", AZURE_ACCOUNT),
                ("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY),
                ("AZURE_STORAGE_ENDPOINT", &endpoint),
            ]);
            Launch { arguments, environment: Vec::new(), credentials, endpoint }
        }
        Program::FakeGcs => {
            fs::create_dir(data.join(BUCKET))?;
            let mut arguments = words(&["-address", &address.to_string(), "-root"]);
            arguments.push(data_word);
            let key = format!(
                r#"{{"gcs_base_url":"{url}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#
            );
            let credentials = named([("GOOGLE_SERVICE_ACCOUNT_KEY", key.as_str())]);
            Launch { arguments, environment: Vec::new(), credentials, endpoint: url }
        }
    })
}

fn s3_credentials(key: &str, secret: &str, endpoint: &str) -> BTreeMap<String, String> {
    named([
        ("AWS_ACCESS_KEY_ID", key),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", endpoint),
    ])
}

fn named<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Waits until the server answers HTTP; false if it ended instead.
fn answers(server: &mut Server, address: SocketAddr) -> anyhow::Result<bool> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let answered = request(address, "GET", "/").is_ok();
        // Looked at after the request: an answer may have come from whoever took the port first.
        if server.process.has_ended()? {
            return Ok(false);
        }
        if answered {
            return Ok(true);
        }
        ensure!(
            Instant::now() < deadline,
            "{} did not answer within {START_LIMIT:?}:\n{}",
            server.program.name(),
            server.log()
        );
        thread::sleep(POLL_INTERVAL);
    }
}

/// Sends a request without a body and returns the status.
fn request(address: SocketAddr, method: &str, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, START_LIMIT)?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    // The shortest status line: `HTTP/1.1 200`.
    let mut line = [0; 12];
    stream.read_exact(&mut line)?;
    let status = line.strip_prefix(b"HTTP/1.").and_then(|rest| str::from_utf8(&rest[2..]).ok());
    status
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn read_log(folder: &Path) -> String {
    match fs::read(folder.join("log")) {
        Ok(log) => String::from_utf8_lossy(&log).into_owned(),
        Err(error) => format!("(no log: {error})"),
    }
}
