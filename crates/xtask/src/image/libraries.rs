//! Refuses an image in which a program or library lacks a library that it is linked with.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use super::layer::Layer;

/// Asks the image's own loader whether it finds everything that `programs` (paths in the image) need: libraries, and the
/// versions of symbols in them, so a glibc that is older than the one linked with is noticed as well.
///
/// The loader takes files from the folder to which the image is unpacked here, so no root is needed.
pub(super) fn check(layers: &[Layer], programs: &[&str]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().canonicalize()?;
    for layer in layers {
        let mut archive = tempfile::tempfile()?;
        layer.write_tar(&mut archive)?;
        archive.rewind()?;
        tar::Archive::new(io::BufReader::new(archive)).unpack(&root)?;
    }
    let loader = find_loader(&root.join("usr/lib"))?
        .context("the base has no program loader: is libc6 among its packages?")?;
    let libraries = loader.parent().context("the loader has no folder")?;
    for program in programs {
        let file = root.join(program);
        ensure!(is_elf(&file)?, "/{program} is no program or library for Linux");
        let output = Command::new(&loader)
            .args(["--inhibit-cache", "--library-path"])
            .arg(libraries)
            .arg("--list")
            .arg(&file)
            // As `ldd -r`: also look up every function, and say which are missing.
            .envs([("LD_WARN", "yes"), ("LD_BIND_NOW", "yes")])
            .env_remove("LD_PRELOAD")
            .output()
            .with_context(|| format!("cannot run the image's loader {}", loader.display()))?;
        let said = [output.stdout, output.stderr].concat();
        let problems = problems(&String::from_utf8_lossy(&said), &root);
        ensure!(
            problems.is_empty() && output.status.success(),
            "/{program} does not start in the image, because of its libraries:\n{}\nAdd their package to `PACKAGES` of \
             `cargo xtask image`, or pass --refresh if the base is older than the program's.",
            problems.join("\n")
        );
    }
    Ok(())
}

/// The loader itself, wherever the release keeps it, and not a link to it, which would lead out of the image.
fn find_loader(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if let Some(loader) = find_loader(&entry.path())? {
                return Ok(Some(loader));
            }
        } else if kind.is_file() && entry.file_name().to_string_lossy().starts_with("ld-linux") {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

fn is_elf(file: &Path) -> anyhow::Result<bool> {
    let mut start = [0; 4];
    let mut open = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    Ok(open.read_exact(&mut start).is_ok() && start == *b"\x7fELF")
}

/// The lines of the loader's answer that speak of something missing, or of a library outside of `root`.
fn problems(answer: &str, root: &Path) -> Vec<String> {
    let is_problem = |line: &str| match line.trim().split_once(" => ") {
        Some((_, found)) => !Path::new(found.split(" (0x").next().unwrap_or_default()).starts_with(root),
        // Neither the kernel's own library nor the loader is looked for.
        None => !line.contains(" (0x") && line.trim() != "statically linked",
    };
    answer.lines().filter(|line| !line.trim().is_empty() && is_problem(line)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_programs_have_no_problems() {
        let answer = "\tlinux-vdso.so.1 (0x00007f)\n\tlibm.so.6 => /image/usr/lib/libm.so.6 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 => /image/usr/lib/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert!(problems(answer, Path::new("/image")).is_empty());
        assert!(problems("\tstatically linked\n", Path::new("/image")).is_empty());
    }

    #[test]
    fn missing_libraries_versions_symbols_and_those_of_this_machine_are_problems() {
        for line in [
            "\tlibssl.so.3 => not found",
            "\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)",
            "/image/p: /image/usr/lib/libc.so.6: version `GLIBC_2.38' not found (required by /image/p)",
            "undefined symbol: x\t(/image/p)",
            "p: error while loading shared libraries: p: cannot open shared object file: No such file or directory",
        ] {
            assert_eq!(problems(line, Path::new("/image")), [line]);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn program_without_its_libraries_is_refused_by_name() {
        let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"].map(Path::new);
        let loader = loaders.into_iter().find(|loader| loader.exists()).unwrap();
        let this = std::env::current_exe().unwrap();
        let files = [("usr/lib/test/ld-linux.so.2", loader, 0o755), ("bin/this", this.as_path(), 0o755)];
        let layers = [Layer::from_files("test", files).unwrap()];
        let error = check(&layers, &["bin/this"]).unwrap_err().to_string();
        assert!(error.contains("/bin/this") && error.contains("libc.so.6"), "{error}");
        let error = check(&layers[..0], &["bin/this"]).unwrap_err().to_string();
        assert!(error.contains("loader"), "{error}");
    }
}
