//! `modelwright hash-key`: the line for the Secret of `serving.access.apiKeys`.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::ExitCode as ProcessExit;

use modelwright_api::contract::ExitCode;
use modelwright_artifact::Digest;

use crate::arguments::HashKeyArguments;
use crate::failure::Failure;

/// Before every key, so that those who look for secrets in repositories know one.
const PREFIX: &str = "mw_";
/// A key is hashed once, so it must not be guessable.
const SHORTEST: usize = 20;
/// Longer ones would not fit into a header everywhere.
const LONGEST: usize = 1024;

/// Runs it.
pub(crate) fn run(arguments: &HashKeyArguments) -> ProcessExit {
    let made = if arguments.stdin { read() } else { random() };
    match made {
        Ok(key) => {
            if !arguments.stdin {
                // Beside the hash, which may go into a file.
                eprintln!("key: {key}\nGive it to the client; it is not shown again. For the Secret:");
            }
            match writeln!(std::io::stdout(), "{}", Digest::of(key.as_bytes())) {
                Ok(()) => ExitCode::Done.number().into(),
                Err(_) => ExitCode::OutputUnwritable.number().into(),
            }
        }
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            failure.exit.number().into()
        }
    }
}

fn read() -> Result<String, Failure> {
    let mut key = String::new();
    let read = std::io::stdin().take(LONGEST as u64 + 2).read_to_string(&mut key);
    read.map_err(|error| {
        Failure::invalid_arguments(format!("cannot read a key from standard input: {error}"))
    })?;
    let key = key.trim_end_matches(['\r', '\n']);
    check(key)?;
    Ok(key.to_owned())
}

fn check(key: &str) -> Result<(), Failure> {
    if key.len() < SHORTEST || key.len() > LONGEST {
        return Err(Failure::invalid_arguments(format!(
            "a key has {SHORTEST} to {LONGEST} characters and this one {}; leave --stdin out for one that nobody guesses",
            key.len()
        )));
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = "a key holds visible ASCII characters only, without blanks: it travels in a header";
        return Err(Failure::invalid_arguments(message));
    }
    Ok(())
}

/// 256 bits of the operating system's.
fn random() -> Result<String, Failure> {
    let mut bytes = [0_u8; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| Failure::bug(format!("cannot read /dev/urandom: {error}")))?;
    // Hashed, because that is how bytes become text here already; nothing of the randomness is lost.
    Ok(format!("{PREFIX}{}", Digest::of(&bytes).hex()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_keys_are_good_and_never_the_same() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_ne!(one, other);
        check(&one).unwrap();
        assert_eq!((one.len(), &one[..3]), (67, "mw_"));
    }

    #[test]
    fn keys_that_can_be_guessed_or_not_sent_are_refused() {
        assert!(check("hunter2").unwrap_err().message.contains("20 to 1024 characters"));
        assert!(check(&"k".repeat(1025)).is_err());
        assert!(check("correct horse battery staple").unwrap_err().message.contains("visible ASCII"));
        check(&"k".repeat(20)).unwrap();
    }
}
