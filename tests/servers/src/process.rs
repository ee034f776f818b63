//! A child process that never outlives this one, however this one ends.
//!
//! A shell stands between: it starts the program and watches a pipe that only this process holds open. Once this process
//! drops the pipe or dies, the kernel closes it, the shell reads its end and kills the program. Until then each line in the
//! pipe is a signal name that the shell passes on, answered by a line.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A background command of a shell has no standard input unless it is given one, hence descriptor 3.
const SUPERVISOR: &str = r#"
exec 3<&0
"$@" </dev/null >&2 3<&- &
program=$!
{
    while read -r signal; do
        kill -s "$signal" "$program"
        echo sent
    done
    kill -s KILL "$program"
} <&3 &
watcher=$!
exec 3<&- >&-
wait "$program"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
"#;

/// A running program and the shell that watches over it.
#[derive(Debug)]
pub(crate) struct Process {
    shell: Child,
    /// `None` once the program was told to end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// Starts the words of `command`; both of its outputs go to `log`.
    pub(crate) fn start<I, S>(command: I, environment: &[(&str, OsString)], log: File) -> io::Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut shell = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .args(command)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let orders = shell.stdin.take();
        let answers = shell.stdout.take().ok_or_else(|| io::Error::other("the shell has no output"))?;
        Ok(Self { shell, orders, answers: BufReader::new(answers) })
    }

    /// True if the program has ended by itself or was killed.
    pub(crate) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.shell.try_wait()?.is_some())
    }

    /// Sends the program a signal, named as in `kill -s`, and returns after it was sent.
    pub(crate) fn signal(&mut self, name: &str) -> io::Result<()> {
        let orders = self.orders.as_mut().ok_or_else(|| io::Error::other("the program was stopped"))?;
        writeln!(orders, "{name}")?;
        match self.answers.read_line(&mut String::new())? {
            0 => Err(io::Error::other("the program has ended")),
            _ => Ok(()),
        }
    }

    /// Kills the program and waits until it is gone; does nothing the second time.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.orders = None;
        self.shell.wait().map(|_| ())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to tell; the pipe is closed in any case and the shell does its part.
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path, thread, time::Duration};

    use super::*;

    /// A program that writes its process id to the file and then lives for ten minutes.
    fn long_running(file: &Path) -> Process {
        let log = File::create(file.with_extension("log")).unwrap();
        let script = r#"echo $$ > "$1.new"; mv "$1.new" "$1"; exec sleep 600"#;
        let words = ["sh", "-c", script, "program"].map(OsStr::new);
        Process::start(words.into_iter().chain([file.as_os_str()]), &[], log).unwrap()
    }

    fn read_when_there(file: &Path) -> String {
        loop {
            if let Ok(content) = fs::read_to_string(file) {
                return content.trim().to_owned();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The state that `ps` shows, empty once the process is gone.
    fn state(pid: &str) -> String {
        let output = Command::new("ps").args(["-o", "stat=", "-p", pid]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn wait_until(what: impl Fn() -> bool) {
        while !what() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn drop_ends_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let process = long_running(&folder.path().join("pid"));
        let pid = read_when_there(&folder.path().join("pid"));
        assert_ne!(state(&pid), "");
        drop(process);
        assert_eq!(state(&pid), "");
    }

    #[test]
    fn paused_program_stands_still_and_still_ends() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = long_running(&folder.path().join("pid"));
        let pid = read_when_there(&folder.path().join("pid"));
        process.signal("STOP").unwrap();
        wait_until(|| state(&pid).starts_with('T'));
        process.signal("CONT").unwrap();
        wait_until(|| state(&pid).starts_with('S'));
        process.signal("STOP").unwrap();
        process.kill().unwrap();
        assert_eq!(state(&pid), "");
        assert!(process.signal("CONT").is_err());
    }

    #[test]
    fn program_that_cannot_start_has_ended_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process = Process::start(["/nonexistent/program"], &[], File::create(&log).unwrap()).unwrap();
        while !process.has_ended().unwrap() {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(fs::read_to_string(&log).unwrap().contains("/nonexistent/program"));
    }

    const HOLDER: &str = "MODELWRIGHT_TEST_HOLDER";

    /// Not a test by itself: the process that `program_ends_when_its_owner_is_killed` kills.
    #[test]
    #[ignore = "run by program_ends_when_its_owner_is_killed"]
    fn hold_a_program() {
        let Some(file) = env::var_os(HOLDER) else { return };
        let _process = long_running(Path::new(&file));
        thread::sleep(Duration::from_mins(10));
    }

    #[test]
    fn program_ends_when_its_owner_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let mut owner = Command::new(env::current_exe().unwrap())
            .args(["--exact", "process::tests::hold_a_program", "--ignored"])
            .env(HOLDER, &file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = read_when_there(&file);
        assert_ne!(state(&pid), "");
        owner.kill().unwrap();
        owner.wait().unwrap();
        wait_until(|| state(&pid).is_empty());
    }
}
