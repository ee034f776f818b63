//! From what a shell or a kubelet gives to arguments.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::builder::Resettable;
use clap::{Command, CommandFactory as _, Error, FromArgMatches as _};

use crate::arguments::Arguments;

/// What the program is called as a plugin of kubectl, which runs it for `kubectl model …`.
const PLUGIN: &str = "kubectl-model";

/// Reads a command line, with the environment for what it leaves out.
///
/// A variable that is set to nothing counts as absent: that is how a chart leaves a value out. Called `kubectl-model`, the
/// program takes the same commands.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Arguments, Error> {
    let words: Vec<_> = words.into_iter().collect();
    let is_set = |name: &OsStr| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let mut command = without_unset(Arguments::command(), &is_set);
    if words.first().is_some_and(|program| Path::new(program).file_stem() == Some(OsStr::new(PLUGIN))) {
        command = command.bin_name(PLUGIN.replace('-', " "));
    }
    Arguments::from_arg_matches(&command.try_get_matches_from(words)?)
}

/// The command without the variables that are not set, in its own arguments and those of its subcommands.
fn without_unset(command: Command, is_set: &impl Fn(&OsStr) -> bool) -> Command {
    command
        .mut_args(|argument| match argument.get_env() {
            Some(name) if !is_set(name) => argument.env(Resettable::Reset),
            _ => argument,
        })
        .mut_subcommands(|subcommand| without_unset(subcommand, is_set))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn variable_that_is_set_to_nothing_is_absent() {
        let variables = |command: &Command| -> Vec<_> {
            let operator = command.find_subcommand("operator").unwrap();
            operator.get_arguments().filter_map(|argument| argument.get_env().map(OsStr::to_owned)).collect()
        };
        let command = Arguments::command();
        assert!(variables(&command).len() > 10);
        let left = variables(&without_unset(command, &|name| name == "MODELWRIGHT_IMAGE_CPU"));
        assert_eq!(left, ["MODELWRIGHT_IMAGE_CPU"]);
    }

    #[test]
    fn plugin_of_kubectl_takes_the_same_commands_and_says_its_own_name() {
        assert!(parse(words("/usr/local/bin/kubectl-model crd")).is_ok());
        let usage = parse(words("kubectl-model nonsense")).unwrap_err().to_string();
        assert!(usage.contains("Usage: kubectl model"), "{usage}");
        let usage = parse(words("modelwright nonsense")).unwrap_err().to_string();
        assert!(usage.contains("Usage: modelwright"), "{usage}");
    }
}
