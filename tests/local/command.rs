//! Starts the binary and reads what it says.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Long enough for a loaded machine; nothing is asserted about how long things take.
const PATIENCE: Duration = Duration::from_mins(2);

/// The binary with a clean environment: nothing of the developer's credentials or settings reaches a test.
pub(crate) fn modelwright() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelwright"));
    let kept =
        ["HOME", "PATH", "XDG_CACHE_HOME", "ORT_DYLIB_PATH"].map(|name| (name, std::env::var_os(name)));
    command.env_clear();
    command.envs(kept.into_iter().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// The repository's root.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// ONNX Runtime's library, where the tests find it.
pub(crate) fn onnxruntime() -> PathBuf {
    let name = if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };
    std::env::var_os("ORT_DYLIB_PATH").map_or_else(
        || {
            let cache = modelwright_test_servers::cache_folder().unwrap();
            cache.join("onnxruntime").join(modelwright_runtime::library::RELEASE).join(name)
        },
        PathBuf::from,
    )
}

/// A small real model that is part of the repository: adds two vectors.
pub(crate) fn fixture(name: &str) -> PathBuf {
    repository().join("crates/runtime/testdata").join(name)
}

/// What a finished command said.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// The exit code, which must be `code`; all output is shown if not.
    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that standard error says all of this.
    #[track_caller]
    pub(crate) fn expect_error(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing in:\n{}", self.stderr);
        }
        self
    }

    /// The final JSON object: the last line of standard output.
    #[track_caller]
    pub(crate) fn outcome(&self) -> serde_json::Value {
        let line =
            self.stdout.lines().last().unwrap_or_else(|| panic!("no output; stderr:\n{}", self.stderr));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Finished {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Finished { status, stdout: text(stdout), stderr: text(stderr) }
}

/// A folder with manifests and files, and a data folder beside them.
pub(crate) struct Workbench {
    pub(crate) folder: TempDir,
}

impl Workbench {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Copies one of the repository's small models.
    pub(crate) fn copy_fixture(&self, fixture_name: &str, name: &str) -> PathBuf {
        self.write(name, std::fs::read(fixture(fixture_name)).unwrap())
    }

    /// `modelwright run` on free ports with this workbench's data folder.
    pub(crate) fn run_command(&self, manifest: &str) -> Command {
        let mut command = modelwright();
        command.arg("run").arg(self.write("model.yaml", manifest));
        command
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.path("data"));
        command
    }

    /// Runs the manifest with `--once`.
    pub(crate) fn run_once(&self, manifest: &str) -> Finished {
        finish(self.run_command(manifest).arg("--once"))
    }

    /// Starts the manifest and waits until `count` models are ready.
    pub(crate) fn serve(&self, manifest: &str, count: usize) -> Serving {
        Serving::start(&mut self.run_command(manifest), count)
    }
}

/// A manifest of one Model in its shortest form.
pub(crate) fn manifest(name: &str, uri: &str) -> String {
    manifest_with(name, &format!("source: {{uri: {uri:?}}}"))
}

/// A manifest of one Model with this spec, in YAML's flow style or indented by two.
pub(crate) fn manifest_with(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n"
    )
}

/// A process that serves. Killed when dropped.
pub(crate) struct Serving {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    stderr: Receiver<String>,
    /// Name and URL of each model that is ready.
    pub(crate) ready: Vec<(String, String)>,
}

impl Serving {
    /// Starts a command and waits until it said `ready` for `count` models.
    pub(crate) fn start(command: &mut Command, count: usize) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let (send, stderr) = channel();
        let mut reader = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = reader.read_to_string(&mut text);
            let _ = send.send(text);
        });
        let mut serving = Self { child, lines, said: Vec::new(), stderr, ready: Vec::new() };
        serving.wait_ready(count);
        serving
    }

    fn wait_ready(&mut self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.ready.len() < count {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix("ready ") {
                        let (name, url) = rest.split_once(' ').unwrap();
                        self.ready.push((name.to_owned(), url.to_owned()));
                    }
                    self.said.push(line);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    panic!(
                        "not ready in time; stdout:\n{}\nstderr:\n{}",
                        self.said.join("\n"),
                        self.stderr_text()
                    );
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended early; stdout:\n{}\nstderr:\n{}", self.said.join("\n"), self.stderr_text());
                }
            }
        }
    }

    fn stderr_text(&self) -> String {
        self.stderr.recv_timeout(PATIENCE).unwrap_or_default()
    }

    /// The URL of the first model that was ready.
    pub(crate) fn url(&self) -> &str {
        &self.ready[0].1
    }

    /// Everything said on standard output so far, waiting for a line that starts with `prefix`.
    pub(crate) fn line_starting_with(&mut self, prefix: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.said.iter().find(|line| line.trim_start().starts_with(prefix)) {
                return line.trim().to_owned();
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(error) => panic!("{error}: no line starts with {prefix:?}:\n{}", self.said.join("\n")),
            }
        }
    }

    /// Asks the process to end (SIGTERM), waits for it, and returns what it said.
    pub(crate) fn terminate(mut self) -> Finished {
        let process = i32::try_from(self.child.id()).unwrap();
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(process).unwrap(),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        let status = self.child.wait().unwrap();
        self.said.extend(self.lines.iter());
        Finished { status, stdout: self.said.join("\n"), stderr: self.stderr_text() }
    }

    /// Ends the process at once (SIGKILL).
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Already ended by `terminate` or `kill`, or the test failed: either way the process must not stay.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends one request and returns status and body, over a new connection.
pub(crate) fn http(method: &str, url: &str, body: Option<&str>) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.request(method.parse().unwrap(), url);
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    })
}

/// Sends one request that must succeed and returns the JSON of the answer.
#[track_caller]
pub(crate) fn http_json(method: &str, url: &str, body: Option<&str>) -> serde_json::Value {
    let (status, body) = http(method, url, body);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}
