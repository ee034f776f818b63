//! Keeps the `Dockerfile` equal to the image that is made here: its settings are read and compared.

use std::{collections::BTreeMap, fs};

use super::{Compression, PROGRAM, Variant, image, program};

/// A stage of the file: what it starts from, and its instructions with their arguments.
#[derive(Debug)]
struct Stage {
    from: String,
    name: String,
    instructions: Vec<(String, String)>,
}

fn stages() -> Vec<Stage> {
    let text = fs::read_to_string(crate::root().join("Dockerfile")).unwrap();
    let mut stages: Vec<Stage> = Vec::new();
    for line in text.replace("\\\n", "").lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let Some((instruction, arguments)) = line.split_once(' ') else { continue };
        if instruction == "FROM" {
            let (from, name) = arguments.split_once(" AS ").unwrap_or((arguments, ""));
            stages.push(Stage { from: from.into(), name: name.into(), instructions: Vec::new() });
        } else if let Some(stage) = stages.last_mut() {
            stage.instructions.push((instruction.into(), arguments.into()));
        }
    }
    stages
}

impl Stage {
    fn arguments(&self, instruction: &str) -> Vec<String> {
        let found = self.instructions.iter().filter(|(name, _)| name == instruction);
        found.map(|(_, arguments)| arguments.replace('"', "")).collect()
    }
}

/// The instructions that make the image of a variant, from the lowest stage on.
fn arguments(variant: &str, instruction: &str) -> Vec<String> {
    let stages = stages();
    let mut name = stages.last().unwrap().from.replace("${VARIANT}", variant);
    let mut arguments = stages.last().unwrap().arguments(instruction);
    while let Some(stage) = stages.iter().find(|stage| stage.name == name) {
        arguments = [stage.arguments(instruction), arguments].concat();
        name.clone_from(&stage.from);
    }
    arguments
}

#[test]
fn dockerfile_has_the_settings_of_the_image() {
    let facts = program::facts().unwrap();
    for (name, variant) in [("cpu", Variant::Cpu), ("cuda", Variant::Cuda)] {
        let image = image("localhost/modelwright:1".into(), variant, &facts, vec![], Compression::None);
        assert_eq!(arguments(name, "ENV"), image.environment, "{name}");
        assert_eq!(arguments(name, "USER"), [image.user], "{name}");
        assert_eq!(arguments(name, "ENTRYPOINT"), [format!("[{}]", image.entrypoint.join(", "))], "{name}");
        assert_eq!(arguments(name, "CMD"), image.command, "{name}");
        assert!(arguments(name, "WORKDIR").is_empty() && image.working_directory.is_empty(), "{name}");
        let ports: Vec<_> = image.ports.iter().map(u16::to_string).collect();
        assert_eq!(arguments(name, "EXPOSE"), [ports.join(" ")], "{name}");
        let labels: BTreeMap<_, _> = arguments(name, "LABEL")
            .iter()
            .filter_map(|label| label.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(labels, image.labels, "{name}");
    }
}

#[test]
fn dockerfile_builds_the_same_program_and_puts_it_at_the_same_path() {
    let stages = stages();
    let build = stages.iter().find(|stage| stage.name == "build").unwrap().arguments("RUN").join("\n");
    for expected in [
        "cargo build --release --locked -p modelwright --bin modelwright --no-default-features",
        "cargo xtask onnxruntime --variant $VARIANT --root /runtime",
        &format!("/runtime/{PROGRAM}"),
    ] {
        assert!(build.contains(expected), "the stage `build` lacks {expected}");
    }
    assert_eq!(stages.last().unwrap().arguments("COPY"), ["--from=build /runtime /"]);
}

#[test]
fn dockerfile_installs_what_the_variants_need_and_makes_the_user() {
    let packages = arguments("cuda", "RUN").join("\n");
    for expected in Variant::Cuda.packages().iter().chain(&["ca-certificates", "libstdc++6", "tzdata"]) {
        assert!(packages.contains(expected), "{expected} is not installed");
    }
    let user = format!("--uid {0} --gid {0} --home-dir /tmp", super::base::USER);
    assert!(packages.contains(&user), "{packages}");
}
