//! Refuses an image in which a program or library lacks a library that it is linked with.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use super::layer::Layer;

/// What a program of the image gets from elsewhere when it runs, so the image lacks it rightly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elsewhere {
    /// Names of libraries.
    pub(super) libraries: &'static [&'static str],
    /// Whether a function comes from one of those libraries, or from whoever loads this one.
    pub(super) is_function: fn(&str) -> bool,
}

impl Elsewhere {
    /// Everything is in the image.
    pub(super) const NOTHING: Self = Self { libraries: &[], is_function: |_| false };
}

/// Asks the image's own loader whether it finds everything that `programs` (paths in the image) need: libraries, and the
/// versions of symbols in them, so a glibc that is older than the one linked with is noticed as well.
///
/// The loader takes files from the folder to which the image is unpacked here, so no root is needed. `folders` (paths in
/// the image) are where it looks first, as by `LD_LIBRARY_PATH`.
pub(super) fn check(
    layers: &[Layer],
    programs: &[String],
    folders: &[&str],
    elsewhere: Elsewhere,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().canonicalize()?;
    for layer in layers {
        unpack(layer, &root)?;
    }
    let loader = find_loader(&root.join("usr/lib"))?
        .context("the base has no program loader: is libc6 among its packages?")?;
    let own = loader.parent().context("the loader has no folder")?.to_owned();
    let looked = folders.iter().map(|folder| root.join(folder)).chain([own]);
    let looked = std::env::join_paths(looked)?;
    for program in programs {
        let file = root.join(program);
        ensure!(is_elf(&file)?, "/{program} is no program or library for Linux");
        let output = Command::new(&loader)
            .args(["--inhibit-cache", "--library-path"])
            .arg(&looked)
            .arg(&file)
            // As `ldd -r`: list the libraries and go on if one is missing, look up every function, say which are missing.
            .envs([("LD_TRACE_LOADED_OBJECTS", "1"), ("LD_WARN", "yes"), ("LD_BIND_NOW", "yes")])
            .env_remove("LD_PRELOAD")
            .output()
            .with_context(|| format!("cannot run the image's loader {}", loader.display()))?;
        let said = [output.stdout, output.stderr].concat();
        let problems = problems(&String::from_utf8_lossy(&said), &root, elsewhere);
        ensure!(
            problems.is_empty() && output.status.success(),
            "/{program} does not start in the image, because of its libraries:\n{}\nAdd their package to `PACKAGES` of \
             `cargo xtask image`, or pass --refresh if the base is older than the program's.",
            problems.join("\n")
        );
    }
    Ok(())
}

/// Unpacks a layer. It passes through a pipe: CUDA's have gigabytes, and a disk needs room for them once.
pub(super) fn unpack(layer: &Layer, root: &Path) -> anyhow::Result<()> {
    let (reader, writer) = io::pipe()?;
    std::thread::scope(|scope| {
        let written = scope.spawn(move || layer.write_tar(io::BufWriter::with_capacity(1 << 16, writer)));
        let mut archive = tar::Archive::new(reader);
        let unpacked = archive.unpack(root).with_context(|| format!("cannot unpack to {}", root.display()));
        // A writer that waits for a reader that gave up ends once the pipe is closed.
        let rest = io::copy(&mut archive.into_inner(), &mut io::sink());
        let written = written.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.and(unpacked).and(rest.map(drop).map_err(Into::into))
    })
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
fn problems(answer: &str, root: &Path, elsewhere: Elsewhere) -> Vec<String> {
    let is_problem = |line: &str| match line.trim().split_once(" => ") {
        Some((library, "not found")) => !elsewhere.libraries.contains(&library),
        Some((_, found)) => !Path::new(found.split(" (0x").next().unwrap_or_default()).starts_with(root),
        // Neither the kernel's own library nor the loader is looked for.
        None => match line.strip_prefix("undefined symbol: ") {
            Some(symbol) => !(elsewhere.is_function)(symbol.split('\t').next().unwrap_or_default()),
            None => !line.contains(" (0x") && line.trim() != "statically linked",
        },
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
        assert!(problems(answer, Path::new("/image"), Elsewhere::NOTHING).is_empty());
        assert!(problems("\tstatically linked\n", Path::new("/image"), Elsewhere::NOTHING).is_empty());
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
            assert_eq!(problems(line, Path::new("/image"), Elsewhere::NOTHING), [line]);
        }
    }

    #[test]
    fn only_what_comes_from_elsewhere_may_be_missing() {
        let elsewhere =
            Elsewhere { libraries: &["libcuda.so.1"], is_function: |name| name.starts_with("cuMem") };
        let answer = "\tlibcuda.so.1 => not found\n\tlibcudart.so.13 => not found\n\
                      undefined symbol: cuMemAlloc\t(/image/p)\nundefined symbol: cublasCreate\t(/image/p)\n";
        let expected = ["\tlibcudart.so.13 => not found", "undefined symbol: cublasCreate\t(/image/p)"];
        assert_eq!(problems(answer, Path::new("/image"), elsewhere), expected);
        assert_eq!(problems(answer, Path::new("/image"), Elsewhere::NOTHING).len(), 4);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn program_without_its_libraries_is_refused_by_name() {
        let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"].map(Path::new);
        let loader = loaders.into_iter().find(|loader| loader.exists()).unwrap();
        let this = std::env::current_exe().unwrap();
        let files = [("usr/lib/test/ld-linux.so.2", loader, 0o755), ("bin/this", this.as_path(), 0o755)];
        let layers = [Layer::from_files("test", files).unwrap()];
        let check = |layers: &[Layer]| check(layers, &["bin/this".to_owned()], &[], Elsewhere::NOTHING);
        let error = check(&layers).unwrap_err().to_string();
        assert!(error.contains("/bin/this") && error.contains("libc.so.6"), "{error}");
        let error = check(&layers[..0]).unwrap_err().to_string();
        assert!(error.contains("loader"), "{error}");
    }
}
