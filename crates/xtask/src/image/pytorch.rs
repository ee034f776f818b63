//! The image of `examples/pytorch-training`, for its test on a node: what its Dockerfile makes, without Docker or a registry.
//!
//! Python is this machine's, with the libraries that it is linked with; packages come from PyPI, in the versions of the example's
//! `requirements.txt`. PyPI has PyTorch for GPUs only, so [`stand_ins`] take the place of CUDA.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use modelwright_test_servers::{cache_folder, sha256};
use serde::Deserialize;

use super::{
    base, debian,
    layer::{Content, Layer},
    libraries,
    oci::Image,
    stand_ins,
};
use crate::wheel;

const EXAMPLE: &str = "examples/pytorch-training";
/// The name by which pods ask for it.
const NAME: &str = "localhost/pytorch-training:1";
/// Where packages are in the image; Debian's Python and others do not agree on a place of their own.
const PACKAGES: &str = "usr/local/lib/packages";
/// Parts of the standard library and of packages that no training imports.
const LEFT_OUT: [&str; 9] = [
    "__pycache__",
    "dist-packages",
    "ensurepip",
    "idlelib",
    "include",
    "lib2to3",
    "site-packages",
    "test",
    "tkinter",
];
/// As `pip` puts it beside Python.
const TORCHRUN: &str =
    "#!/usr/local/bin/python3\nimport sys\nfrom torch.distributed.run import main\nsys.exit(main())\n";

/// The Python of this machine.
#[derive(Debug, Deserialize)]
struct Python {
    /// Such as `3.11`.
    version: String,
    program: PathBuf,
    /// The folder of the standard library.
    library: PathBuf,
}

impl Python {
    fn of_this_machine() -> anyhow::Result<Self> {
        const QUESTION: &str = "import json, os, sys, sysconfig; print(json.dumps({\
            'version': '%d.%d' % sys.version_info[:2], 'program': os.path.realpath(sys._base_executable), \
            'library': sysconfig.get_path('stdlib')}))";
        let output = Command::new("python3").args(["-c", QUESTION]).output();
        let output = output.context("python3 is not installed: install Python 3 with pip")?;
        ensure!(output.status.success(), "python3 ended with {}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Writes the image and returns the archive. Packages are installed once for the versions that are asked for.
pub(crate) fn write() -> anyhow::Result<PathBuf> {
    let example = crate::root().join(EXAMPLE);
    let python = Python::of_this_machine()?;
    let packages = ensure_packages(&example.join("requirements.txt"), &python)?;
    let (release, debian) = debian::packages(false, &[])?;

    let mut layers = vec![base::layer(&release, &debian)?];
    let library = format!("usr/local/lib/python{}", python.version);
    let mut interpreter = Layer::new(format!("Python {}", python.version));
    add_tree(&mut interpreter, &library, &python.library)?;
    let program = format!("usr/local/bin/python{}", python.version);
    interpreter.add_file(&program, Content::File(python.program.clone()), 0o755)?;
    for name in ["python", "python3"] {
        interpreter.add_symlink(&format!("usr/local/bin/{name}"), format!("python{}", python.version))?;
    }
    for (path, file) in needed(&python, &layers[0])? {
        interpreter.add_file(&path, Content::File(file), 0o755)?;
    }
    layers.push(interpreter);
    let mut installed = Layer::new("packages of requirements.txt");
    add_tree(&mut installed, PACKAGES, &packages)?;
    installed.add_file("usr/local/bin/torchrun", Content::Bytes(TORCHRUN.into()), 0o755)?;
    layers.push(installed);
    let script = example.join("train.py");
    layers.push(Layer::from_files("train.py", [("training/train.py", script.as_path(), 0o644)])?);
    libraries::check(&layers[..2], &[program], &["usr/local/lib"], libraries::Elsewhere::NOTHING)?;

    let environment = ["HOME=/tmp".to_owned(), format!("PYTHONPATH=/{PACKAGES}"), PATH.into(), LOADER.into()];
    let image = Image {
        name: NAME.into(),
        command: vec!["python".into(), "train.py".into()],
        user: format!("{0}:{0}", base::USER),
        environment: environment.into(),
        working_directory: "/training".into(),
        layers,
        ..Image::default()
    };
    let archive = crate::root().join("target/image/pytorch-training.tar");
    let written = image.write(&archive)?;
    eprintln!("{NAME}: {:.1} GB", written.size as f64 / 1e9);
    Ok(archive)
}

const PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin";
const LOADER: &str = "LD_LIBRARY_PATH=/usr/local/lib";

/// The packages in `<cache>/example-images/`, installed if need be: a folder that appears whole, by one rename.
fn ensure_packages(requirements: &Path, python: &Python) -> anyhow::Result<PathBuf> {
    let text = fs::read(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let key = &sha256(&[python.version.as_bytes(), &text].concat())[..12];
    let images = cache_folder()?.join("example-images");
    let folder = images.join(format!("pytorch-{key}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(&images).with_context(|| format!("cannot create {}", images.display()))?;
    let work = tempfile::Builder::new().prefix(".install-").tempdir_in(&images)?;
    let staged = work.path().join("packages");
    eprintln!("installing the packages of {}: 0.6 GB to download", requirements.display());
    wheel::run(
        Command::new("python3")
            // Every package is named, so pip has nothing to resolve, and does not bring the libraries of CUDA.
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:"])
            .args(["--disable-pip-version-check", "--no-cache-dir", "--root-user-action=ignore", "--target"])
            .arg(&staged)
            .arg("--requirement")
            .arg(requirements),
    )?;
    stand_ins::make(&staged.join("torch/lib"))?;
    // Nobody can write beside the modules in a pod, which would then compile them at every start. Layers have no times to compare.
    wheel::run(
        Command::new("python3")
            .args(["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"])
            .arg(&staged),
    )?;
    if let Err(error) = fs::rename(&staged, &folder) {
        ensure!(folder.is_dir(), "cannot move packages to {}: {error}", folder.display());
    }
    Ok(folder)
}

/// Adds everything below a folder but what is left out; what links lead to instead of them.
fn add_tree(layer: &mut Layer, at: &str, folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let (file, name) = (entry.path(), entry.file_name());
        let name = name.to_str().with_context(|| format!("{} is not UTF-8", file.display()))?;
        // Modules of packages are compiled for the image, those of Python for this machine's files.
        let left_out = LEFT_OUT.contains(&name) && !(name == "__pycache__" && at.starts_with(PACKAGES));
        if left_out || name.starts_with("config-") {
            continue;
        }
        let path = format!("{at}/{name}");
        // A link to nothing is none of the modules.
        let Ok(metadata) = fs::metadata(&file) else { continue };
        if metadata.is_dir() {
            add_tree(layer, &path, &file)?;
        } else if metadata.is_file() {
            let mode = if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
            layer.add_file(&path, Content::File(file), mode)?;
        }
    }
    Ok(())
}

/// The libraries that Python and its modules are linked with and that are not in the base, by their places in the image.
fn needed(python: &Python, base: &Layer) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut programs = vec![python.program.clone()];
    for entry in fs::read_dir(python.library.join("lib-dynload"))? {
        programs.push(entry?.path());
    }
    let output = Command::new("ldd").args(&programs).output().context("cannot run ldd")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let there: BTreeSet<&str> = base.names().collect();
    let found = linked(&said).filter(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        !there.contains(name.as_ref())
    });
    Ok(found
        .map(|file| {
            (format!("usr/local/lib/{}", file.file_name().unwrap_or_default().to_string_lossy()), file)
        })
        .collect())
}

/// The files in what `ldd` says.
fn linked(said: &str) -> impl Iterator<Item = PathBuf> {
    let found = said.lines().filter_map(|line| line.split_once(" => ")?.1.split_once(" (0x"));
    found.map(|(file, _)| PathBuf::from(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_that_the_loader_found() {
        let said = "/usr/bin/python3:\n\tlinux-vdso.so.1 (0x00007f)\n\tlibz.so.1 => /lib/libz.so.1 (0x00007f)\n\
                    \tlibx.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(linked(said).collect::<Vec<_>>(), [PathBuf::from("/lib/libz.so.1")]);
    }

    #[test]
    fn every_package_of_the_example_has_its_version() {
        let requirements = fs::read_to_string(crate::root().join(EXAMPLE).join("requirements.txt")).unwrap();
        let packages: Vec<_> = requirements.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(packages.len() > 10 && packages.iter().all(|line| line.contains("==")), "{packages:?}");
    }

    #[test]
    fn tree_comes_without_tests_and_with_what_links_lead_to() {
        let folder = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let file = folder.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, path).unwrap();
        };
        for path in ["os.py", "json/decoder.py", "test/test_os.py", "__pycache__/os.pyc"] {
            make(path);
        }
        std::os::unix::fs::symlink("os.py", folder.path().join("link.py")).unwrap();
        let mut layer = Layer::new("test");
        add_tree(&mut layer, "usr/local/lib/python3", folder.path()).unwrap();
        assert_eq!(
            layer.names().collect::<Vec<_>>(),
            ["usr", "local", "lib", "python3", "json", "decoder.py", "link.py", "os.py"]
        );
    }
}
