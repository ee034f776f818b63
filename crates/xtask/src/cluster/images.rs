//! The images that every node gets: its own, and those that tests and examples run.

use std::{fs, path::Path};

use modelwright_test_servers::Program;

use super::Programs;
use crate::{
    image::{Image, Layer},
    test_servers,
};

/// Commands of the test clients: busybox acts as what it is called.
const COMMANDS: [&str; 6] = ["sh", "cat", "mkdir", "nslookup", "sleep", "wget"];
/// The file of the image that is written last.
const LAST: &str = "busybox.tar";

/// Whether the archives have been written.
pub(super) fn are_there(programs: &Programs) -> bool {
    programs.images().join(LAST).is_file()
}

/// Writes the archives that are missing.
pub(super) fn ensure(programs: &Programs) -> anyhow::Result<()> {
    if are_there(programs) {
        return Ok(());
    }
    let folder = programs.images();
    test_servers::install_one(Program::VersityGw)?;
    fs::create_dir_all(&folder)?;
    programs.locked(|_| {
        for name in ["pause", "coredns", "metrics-server"] {
            write(&folder, name, single(name, &programs.program(name))?)?;
        }
        write(&folder, "versitygw", single("versitygw", &Program::VersityGw.file()?)?)?;
        write(&folder, "busybox", busybox()?)
    })
}

/// An image of one program that needs nothing else.
fn single(name: &str, program: &Path) -> anyhow::Result<Image> {
    let layer = Layer::from_files(name, [(name, program, 0o755)])?;
    Ok(Image { entrypoint: vec![format!("/{name}")], layers: vec![layer], ..Image::default() })
}

/// A shell and a few commands, for what tests do from inside the cluster.
fn busybox() -> anyhow::Result<Image> {
    let mut layer = Layer::from_files("busybox", [("bin/busybox", Path::new("/bin/busybox"), 0o755)])?;
    for command in COMMANDS {
        layer.add_symlink(&format!("bin/{command}"), "busybox")?;
    }
    Ok(Image { command: vec!["sh".to_owned()], layers: vec![layer], ..Image::default() })
}

fn write(folder: &Path, name: &str, image: Image) -> anyhow::Result<()> {
    Image { name: format!("localhost/{name}:1"), ..image }.write(&folder.join(format!("{name}.tar")))?;
    Ok(())
}
