//! Reads the Dockerfiles of the examples as a linter does: nobody builds them in the tests.

use std::{fs, path::PathBuf};

fn dockerfiles() -> Vec<PathBuf> {
    let examples = fs::read_dir(crate::root().join("examples")).unwrap().flatten();
    let mut found: Vec<_> = examples.map(|example| example.path().join("Dockerfile")).collect();
    found.retain(|file| file.is_file());
    found.sort();
    found
}

/// Every instruction with its arguments.
fn instructions(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\\\n", "");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
        .map(|(name, arguments)| (name.to_owned(), arguments.trim().to_owned()))
        .collect()
}

#[test]
fn dockerfiles_of_examples_copy_what_is_there_and_pin_what_they_install() {
    let dockerfiles = dockerfiles();
    assert!(dockerfiles.len() >= 3, "{dockerfiles:?}");
    for file in dockerfiles {
        let (folder, name) = (file.parent().unwrap(), file.display());
        let instructions = instructions(&fs::read_to_string(&file).unwrap());
        let arguments = |wanted: &str| -> Vec<&str> {
            let found = instructions.iter().filter(|(instruction, _)| instruction == wanted);
            found.map(|(_, arguments)| arguments.as_str()).collect()
        };
        assert_eq!(instructions[0].0, "FROM", "{name}");
        for base in arguments("FROM") {
            let tag = base.rsplit_once(':').map_or("", |(_, tag)| tag);
            assert!(!["", "latest"].contains(&tag), "{name}: FROM {base} names no version");
        }
        for copied in arguments("COPY") {
            let words: Vec<&str> = copied.split_whitespace().collect();
            let (_, sources) = words.split_last().unwrap();
            for source in sources {
                assert!(folder.join(source).exists(), "{name}: COPY {source}, which is not there");
            }
        }
        for installed in arguments("RUN") {
            for word in installed.split_whitespace().filter(|word| word.contains('=')) {
                assert!(word.starts_with("--") || word.contains("=="), "{name}: {word} is not pinned");
            }
            let by_name = installed.split_whitespace().any(|word| word.contains("=="));
            let by_file = installed.contains("-r requirements.txt");
            assert!(by_name || by_file, "{name}: RUN {installed} pins nothing");
        }
        assert_eq!(arguments("USER"), ["65532:65532"], "{name}");
        assert_eq!(arguments("CMD"), ["[\"python\", \"train.py\"]"], "{name}");
    }
}
